"""From a picture file's bytes to the pixels a network sees; whatever the bytes are, nothing but `LeftOut` is raised."""

import io
import struct
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from backend.picture_files.files import LeftOut

# Named, so that no file can reach a decoder that starts other programs, as the one for EPS does.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
LARGEST_PICTURE = 64 * 1024 * 1024  # pixels, by the header; a small file can claim any number of them

PLAIN_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})


def pixels(content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The picture as (C, H, W) uint8, for `shape` (C, H, W) with C 1 or 3. Raises `LeftOut` where it cannot be used.

    It is cut to the shape's proportions around its centre and resized; transparency becomes white.
    """
    channels, height, width = shape
    try:
        # Pillow only warns between its own limit and twice that; our limit is below both.
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > LARGEST_PICTURE:
                raise LeftOut("too large")
            # A camera's MPO is a JPEG with a second view after it; its first frame is the picture.
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                raise LeftOut("animated or of several pages")
            image.load()
            deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
            upright = ImageOps.exif_transpose(image)
    except Image.DecompressionBombError:
        raise LeftOut("too large") from None
    # What Pillow's decoders raise at bytes that lie; its own list (ImageFile, PngImagePlugin, TiffImagePlugin).
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, LookupError, EOFError, struct.error, TypeError):
        raise LeftOut("broken") from None
    plain = _plain(upright, deep, "L" if channels == 1 else "RGB")
    fitted = ImageOps.fit(plain, (width, height), method=Image.Resampling.LANCZOS)
    rows = np.asarray(fitted, dtype=np.uint8).reshape(height, width, channels)
    return np.ascontiguousarray(rows.transpose(2, 0, 1))


def _plain(image: Image.Image, deep: bool, mode: str) -> Image.Image:
    """`image` as 8-bit grey ("L") or colour ("RGB"), as a viewer shows it on white paper; `deep`: of 16 bits."""
    if deep:
        # Pillow's own conversion cuts 16-bit values off at 255 instead of scaling them.
        wide = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.clip(np.rint(wide / 257), 0, 255).astype(np.uint8))
    if image.mode not in PLAIN_MODES:
        raise LeftOut(f"in a colour mode that is not read ({image.mode})")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque)
    return image.convert(mode)
