"""A folder of pictures as a data set; each folder directly inside it is a class.

Nothing in the folder is trusted. A picture is either turned into plain 8-bit pixels the way a viewer would
show it, or it is left out and counted under a reason; one bad file never ends the reading.
"""

import hashlib
import os
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from backend.datasets import DataError, ImageSet

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
# Named, so that no file can reach a decoder that starts other programs, as the one for EPS does.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
LARGEST_PICTURE = 64 * 1024 * 1024  # pixels, by the header; a small file can claim any number of them
LARGEST_SET = 8 * 1024**3  # bytes of float32 in memory

PLAIN_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})


class _LeftOut(Exception):
    """This file is no picture to train on; the message completes "3 ..." in a count."""


def image_folder(folder: Path, shape: tuple[int, ...]) -> ImageSet:
    """The pictures under `folder` as (N, C, H, W) in [-1, 1], for `shape` (C, H, W) with C 1 or 3.

    Each is cut to the shape's proportions around its centre and resized; transparency becomes white. Classes
    are sorted by name, by number where every name is one. Which files were left out, and why, is in the
    set's `skipped`. Raises `DataError` where the folder is missing or no picture is left.
    """
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(f"Pictures cannot be samples of shape {shape}; this teacher needs data of another kind.")
    if not folder.exists():
        raise DataError(f"There is no folder {folder}; choose one that holds pictures.")
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; choose the folder that holds the pictures.")
    names, files = _listed(folder)
    needed = len(files) * 4 * int(np.prod(shape))
    if needed > LARGEST_SET:
        raise DataError(
            f"The {len(files)} files in {folder} would need {needed / 1024**3:.0f} GiB of memory at this size; "
            f"choose a folder with fewer (at most {LARGEST_SET // 1024**3} GiB are read)."
        )
    pixels: list[np.ndarray] = []
    labels: list[int] = []
    skipped: dict[str, list[str]] = {}
    seen: set[bytes] = set()
    for path, label in files:
        try:
            if label is None:
                raise _LeftOut("outside the class folders")
            pixels.append(_read(path, shape, seen))
            labels.append(label)
        except _LeftOut as reason:
            skipped.setdefault(str(reason), []).append(path.relative_to(folder).as_posix())
    left_out = {reason: tuple(found) for reason, found in skipped.items()}
    if not pixels:
        counts = ", ".join(f"{len(found)} {reason}" for reason, found in left_out.items()) or "it is empty"
        raise DataError(f"No picture in {folder} can be used ({counts}); choose another folder.")
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return ImageSet.of(images, torch.tensor(labels), names, licence="not known", skipped=left_out)


def _listed(folder: Path) -> tuple[tuple[str, ...], list[tuple[Path, int | None]]]:
    """The classes, and every visible file with its label, in an order that depends on names alone.

    The label is None for a file beside the class folders, 0 where there are no class folders.
    """
    inside = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    below = {entry.name: sorted(_files(entry)) for entry in inside if entry.is_dir()}
    classes = [name for name, files in below.items() if files]
    numbered = all(name.isascii() and name.isdecimal() for name in classes)
    classes.sort(key=lambda name: (int(name) if numbered else 0, name))
    beside = sorted(entry for entry in inside if entry.is_file())
    labelled: list[tuple[Path, int | None]] = [(path, None if classes else 0) for path in beside]
    for label, name in enumerate(classes):
        labelled += [(path, label) for path in below[name]]
    return tuple(classes), labelled


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _read(path: Path, shape: tuple[int, ...], seen: set[bytes]) -> np.ndarray:
    """The picture's pixels (H, W, C) uint8; raises `_LeftOut`. `seen` holds the pictures before it."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        raise _LeftOut("not pictures")
    channels, height, width = shape
    try:
        # Pillow only warns between its own limit and twice that; our limit is below both.
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > LARGEST_PICTURE:
                raise _LeftOut("too large")
            # A camera's MPO is a JPEG with a second view after it; its first frame is the picture.
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                raise _LeftOut("animated or of several pages")
            image.load()
            deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
            upright = ImageOps.exif_transpose(image)
    except Image.DecompressionBombError:
        raise _LeftOut("too large") from None
    except PermissionError:
        raise _LeftOut("not allowed to be read") from None
    # What Pillow's decoders raise at bytes that lie; its own list (ImageFile, PngImagePlugin, TiffImagePlugin).
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, LookupError, EOFError, struct.error, TypeError):
        raise _LeftOut("broken") from None
    plain = _plain(upright, deep, "L" if channels == 1 else "RGB")
    known = hashlib.sha256(repr(plain.size).encode() + plain.tobytes()).digest()
    if known in seen:
        raise _LeftOut("duplicates")
    seen.add(known)
    fitted = ImageOps.fit(plain, (width, height), method=Image.Resampling.LANCZOS)
    return np.asarray(fitted, dtype=np.uint8).reshape(height, width, channels)


def _plain(image: Image.Image, deep: bool, mode: str) -> Image.Image:
    """`image` as 8-bit grey ("L") or colour ("RGB"), as a viewer shows it on white paper; `deep`: of 16 bits."""
    if deep:
        # Pillow's own conversion cuts 16-bit values off at 255 instead of scaling them.
        wide = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.clip(np.rint(wide / 257), 0, 255).astype(np.uint8))
    if image.mode not in PLAIN_MODES:
        raise _LeftOut(f"in a colour mode that is not read ({image.mode})")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque)
    return image.convert(mode)
