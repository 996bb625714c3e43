"""Samples as pictures: PNG bytes for the project file, sheets for comparisons and cards."""

import io
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from backend.networks.codec import to_uint8

SCATTER_SIZE = 256
SCATTER_REACH = 1.6  # data units from the middle to the edge
SMALLEST_TILE = 32  # pixels across, on a sheet
GAP = 2  # pixels between the tiles of a sheet
PAPER = 250  # grey of what lies between them


def picture(sample: Tensor) -> Image.Image:
    """One sample (C, H, W): 3 channels in colour, any other number in grey and side by side."""
    pixels = to_uint8(sample.cpu())
    return Image.fromarray((pixels.permute(1, 2, 0) if len(pixels) == 3 else torch.cat([*pixels], 1)).numpy())


def scatter(points: Tensor) -> Image.Image:
    """(N, 2) points as one picture, brighter where they are denser."""
    place = ((points.detach().float().cpu() / SCATTER_REACH + 1) / 2 * SCATTER_SIZE).long()
    inside = ((place >= 0) & (place < SCATTER_SIZE)).all(1)
    counts = torch.zeros(SCATTER_SIZE, SCATTER_SIZE)
    x, y = place[inside].unbind(1)
    counts.index_put_((SCATTER_SIZE - 1 - y, x), torch.ones(len(x)), accumulate=True)
    return Image.fromarray((255 * (1 - (-counts).exp())).to(torch.uint8).numpy())


def png(image: Image.Image) -> bytes:
    """The picture as PNG."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def scale_of(image: Image.Image) -> int:
    """How many times a picture is enlarged on a sheet so that it can be seen."""
    return max(1, SMALLEST_TILE // min(image.size))


def sheet(samples: Tensor, columns: int, gap: int = 0) -> Image.Image:
    """Samples (B, C, H, W) as one picture, small ones enlarged; points (N, 2) as a scatter. gap: as in `tile`."""
    if samples.ndim == 2:
        return scatter(samples)
    tiles = [picture(sample) for sample in samples]
    return tile(tiles, columns, scale_of(tiles[0]), gap)


def tile(tiles: Sequence[Image.Image], columns: int, scale: int = 1, gap: int = 0) -> Image.Image:
    """Pictures of one size row by row, `columns` to a row, each enlarged `scale` times.

    gap: pixels of paper between them, without which digits on black run into each other.
    """
    width, height = tiles[0].width * scale, tiles[0].height * scale
    columns, rows = min(columns, len(tiles)), -(-len(tiles) // columns)
    size = (columns * (width + gap) - gap, rows * (height + gap) - gap)
    page = Image.new(tiles[0].mode, size, _paper(tiles[0].mode))
    for i, image in enumerate(tiles):
        place = (i % columns * (width + gap), i // columns * (height + gap))
        page.paste(image.resize((width, height), Image.Resampling.NEAREST), place)
    return page


def _paper(mode: str) -> float | tuple[float, ...]:
    """What lies between tiles of this mode: see-through where the mode can be."""
    return PAPER if mode == "L" else (PAPER,) * 3 if mode == "RGB" else 0


def comparison(parts: Sequence[tuple[str, Image.Image]], gap: int = 16) -> Image.Image:
    """Pictures of one height side by side, each under its words."""
    font = ImageFont.load_default(14)
    lines = [max(40, round(font.getlength(words))) for words, _ in parts]
    widths = [max(image.width, line) for (_, image), line in zip(parts, lines, strict=True)]
    top = 24 + gap
    page = Image.new("RGB", (sum(widths) + gap * (len(parts) + 1), parts[0][1].height + top + gap), (PAPER,) * 3)
    draw, x = ImageDraw.Draw(page), gap
    for (words, image), width in zip(parts, widths, strict=True):
        draw.text((x, gap // 2 + 4), words, fill=(30, 30, 30), font=font)
        page.paste(image.convert("RGB"), (x, top))
        x += width + gap
    return page


def open_png(data: bytes) -> Image.Image:
    """A stored picture."""
    return Image.open(io.BytesIO(data))
