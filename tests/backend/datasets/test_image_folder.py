import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backend.datasets import DataError, ImageSet, load_data
from backend.datasets.image_folder import image_folder

GREY, COLOUR = (1, 4, 4), (3, 4, 4)


def flat(value: float | tuple[int, ...], mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new(mode, size, value)


def level(data: ImageSet, index: int = 0) -> list[int]:
    """The one colour, 0..255, of a flat picture."""
    image = (data.images[index] + 1) * 127.5
    assert torch.allclose(image, image[:, :1, :1].expand_as(image), atol=1e-3)
    return [round(float(value)) for value in image[:, 0, 0]]


def test_class_folders_are_labels(tmp_path: Path) -> None:
    for name, value in (("cat", 10), ("dog", 20)):
        (tmp_path / name / "deeper").mkdir(parents=True)
        flat(value, "L").save(tmp_path / name / "a.png")
        flat(value + 100, "L").save(tmp_path / name / "deeper" / "b.png")
    data = load_data(tmp_path, GREY)
    assert data.names == ("cat", "dog")
    assert data.labels.tolist() == [0, 0, 1, 1]
    assert data.images.shape == (4, 1, 4, 4)
    assert [level(data, i)[0] for i in range(4)] == [10, 110, 20, 120]
    assert data.skipped_in_words() == ""


def test_numbered_classes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 0):
        (tmp_path / str(number)).mkdir()
        flat(number, "L").save(tmp_path / str(number) / "x.png")
    data = image_folder(tmp_path, GREY)
    assert data.names == ("0", "2", "10")
    assert [level(data, i)[0] for i in range(3)] == [0, 2, 10]


def test_without_class_folders_there_are_no_classes(tmp_path: Path) -> None:
    flat(5, "L").save(tmp_path / "b.png")
    flat(6, "L").save(tmp_path / "a.png")
    data = image_folder(tmp_path, GREY)
    assert data.names == ()
    assert data.labels.tolist() == [0, 0]
    assert [level(data, i)[0] for i in range(2)] == [6, 5]


def test_the_centre_is_kept(tmp_path: Path) -> None:
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert level(image_folder(tmp_path, (3, 4, 4))) == [200, 200, 200]


def test_a_camera_held_sideways(tmp_path: Path) -> None:
    picture = np.zeros((4, 4), np.uint8)
    picture[0] = 255  # the top row, which a quarter turn clockwise moves to the right
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    image = image_folder(tmp_path, GREY).images[0, 0]
    assert torch.equal(image[:, 3], torch.ones(4))
    assert torch.equal(image[:, :3], -torch.ones(4, 3))


@pytest.mark.parametrize(
    ("picture", "name", "expected"),
    [
        (flat((10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE), "palette.png", [10, 200, 30]),
        (flat((0, 0, 0, 0), "CMYK"), "paper.tif", [255, 255, 255]),
        (flat((255, 255, 0, 0), "CMYK"), "cyan-and-magenta.tif", [0, 0, 255]),
        (flat((255, 0, 0, 0), "RGBA"), "transparent.png", [255, 255, 255]),
        (flat((0, 0, 0, 128), "RGBA"), "half.png", [127, 127, 127]),
        (flat((100, 0), "LA"), "grey-transparent.png", [255, 255, 255]),
        (flat(1, "1"), "bilevel.png", [255, 255, 255]),
        (Image.fromarray(np.full((8, 8), 100 * 257, np.uint16)), "sixteen.png", [100, 100, 100]),
        (Image.fromarray(np.full((8, 8), 100 * 257, np.uint16)), "sixteen.tif", [100, 100, 100]),
        (Image.fromarray(np.full((8, 8), 100 * 257, np.uint16)), "sixteen.pgm", [100, 100, 100]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unusual_pictures_look_as_in_a_viewer(
    tmp_path: Path, picture: Image.Image, name: str, expected: list[int]
) -> None:
    picture.save(tmp_path / name)
    assert level(image_folder(tmp_path, COLOUR)) == expected


def test_palette_with_a_transparent_entry(tmp_path: Path) -> None:
    flat(0, "P").save(tmp_path / "see-through.png", transparency=0)
    assert level(image_folder(tmp_path, COLOUR)) == [255, 255, 255]


def test_cmyk_jpeg(tmp_path: Path) -> None:
    flat((255, 0, 0, 0), "CMYK").save(tmp_path / "cyan.jpg", quality=100)
    red, green, blue = level(image_folder(tmp_path, COLOUR))
    assert red < 5
    assert min(green, blue) > 250


def header_only_png(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def test_what_cannot_be_used_is_counted(tmp_path: Path) -> None:
    flat(7, "L").save(tmp_path / "good.png")
    flat(7, "L").save(tmp_path / "good-again.bmp")  # the same pixels in another file
    flat(9, "L", (64, 64)).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "whole.png").unlink()
    (tmp_path / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "words.jpg").write_text("not a picture")
    (tmp_path / "bomb.png").write_bytes(header_only_png(50_000, 50_000))
    (tmp_path / "large.png").write_bytes(header_only_png(10_000, 10_000))
    flat(0, "L").save(tmp_path / "moves.gif", save_all=True, append_images=[flat(99, "L")])
    flat(0.5, "F").save(tmp_path / "measured.tif")
    (tmp_path / "notes.txt").write_text("who took them")
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    # A sound picture for another decoder under a name that ends as one of ours: only the listed decoders run.
    flat(3, "L").save(tmp_path / "disguised.png", format="PCX")
    data = image_folder(tmp_path, GREY)
    assert len(data) == 1
    assert data.skipped == {
        "duplicates": ("good.png",),
        "broken": ("disguised.png", "empty.jpg", "truncated.png", "words.jpg"),
        "too large": ("bomb.png", "large.png"),
        "animated or of several pages": ("moves.gif",),
        "in a colour mode that is not read (F)": ("measured.tif",),
        "not pictures": ("notes.txt",),
    }
    assert data.skipped_in_words().startswith("left out 10 of 11 files: ")
    assert "4 broken" in data.skipped_in_words()


def test_any_cut_or_flipped_byte_is_survived(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flat(0, "L").save(tmp_path / "a.png")
    for suffix in ("png", "jpg", "gif", "webp", "tif", "bmp"):
        picture = Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8).astype(np.uint8))
        picture.save(tmp_path / f"whole.{suffix}")
        whole = (tmp_path / f"whole.{suffix}").read_bytes()
        for i in range(40):
            broken = bytearray(whole[: rng.integers(1, len(whole) + 1)])
            broken[rng.integers(len(broken))] ^= 1 << rng.integers(8)
            broken[rng.integers(min(len(broken), 64))] ^= 1 << rng.integers(8)
            (tmp_path / f"{i}.{suffix}").write_bytes(broken)
    data = image_folder(tmp_path, COLOUR)
    assert len(data) + sum(len(files) for files in data.skipped.values()) == 1 + 6 * 41


def test_pictures_beside_class_folders_are_counted(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "hollow").mkdir()
    flat(1, "L").save(tmp_path / "cat" / "a.png")
    flat(2, "L").save(tmp_path / "stray.png")
    data = image_folder(tmp_path, GREY)
    assert data.names == ("cat",)
    assert data.skipped == {"outside the class folders": ("stray.png",)}


def test_the_digest_is_the_content_not_the_files(tmp_path: Path) -> None:
    for folder, name in (("one", "a.png"), ("two", "b.bmp")):
        (tmp_path / folder).mkdir()
        flat(7, "L").save(tmp_path / folder / name)
    assert image_folder(tmp_path / "one", GREY).digest == image_folder(tmp_path / "two", GREY).digest


def test_refusals_name_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder or zip"):
        image_folder(tmp_path / "nowhere", GREY)
    (tmp_path / "file.png").write_bytes(b"x")
    with pytest.raises(DataError, match="not a folder"):
        image_folder(tmp_path / "file.png", GREY)
    with pytest.raises(DataError, match=r"can be used \(1 broken\)"):
        image_folder(tmp_path, GREY)
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match="it is empty"):
        image_folder(tmp_path / "void", GREY)
    with pytest.raises(DataError, match=r"shape \(2,\)"):
        image_folder(tmp_path, (2,))


def test_a_folder_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    for i in range(3):
        flat(i, "L").save(tmp_path / f"{i}.png")
    with pytest.raises(DataError, match=r"The 3 pictures in .* would need 10 GiB of memory .*at most 8 GiB"):
        image_folder(tmp_path, (3, 34_000, 34_000))
