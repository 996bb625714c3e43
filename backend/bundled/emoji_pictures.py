"""Draws the emoji that the emoji teachers learn: `python -m backend.bundled.emoji_pictures [--font FILE]`.

Every named single code point beyond ASCII of which Noto Color Emoji has a glyph, on white, at 64x64; its name is
Unicode's, in lower case. Needs the font (Debian: fonts-noto-color-emoji); what it writes into resources/emoji is all
that the program reads. Names and so the number of pictures are those of Unicode 14 (Python 3.11) and font 2.042.
"""

import argparse
import unicodedata
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from backend.resources import RESOURCES

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
STRIKE = 109  # the one size of the bitmaps in the font
GLYPH = (136, 128)  # pixels of a bitmap
SIZE = 64
COLUMNS = 38
LEFT_OUT = {0x20E3}  # the combining keycap is half a picture
FIRST, LAST = 0x80, 0x1FBFF  # ASCII has glyphs only to go under that keycap

LICENCE = """\
emoji.webp shows glyphs of Noto Color Emoji 2.042

    Copyright 2013-2017 Google Inc. and others
    https://github.com/googlefonts/noto-emoji

The images are under the Apache License, Version 2.0, https://www.apache.org/licenses/LICENSE-2.0,
the font from which they were drawn is under the SIL Open Font License, Version 1.1, https://openfontlicense.org.
No part of the font itself is here.

What was changed: each glyph was laid on white and made smaller, 64x64 pixels, and all were put on one sheet. names.txt
has their names, which are those of the Unicode Standard, in lower case; in the order of the sheet, row by row.
"""


def glyph(character: str, font: ImageFont.FreeTypeFont) -> Image.Image | None:
    """The glyph on white in the middle of a square, 64x64 RGB; None where the font has none."""
    left, _, right, _ = font.getbbox(character)
    drawn = Image.new("RGBA", GLYPH)
    if right > left:
        ImageDraw.Draw(drawn).text((0, 0), character, font=font, embedded_color=True)
    if drawn.getchannel("A").getbbox() is None:
        return None
    square = Image.new("RGBA", (max(GLYPH), max(GLYPH)), "white")
    square.alpha_composite(drawn, (0, (max(GLYPH) - GLYPH[1]) // 2))
    return square.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def glyphs(font: ImageFont.FreeTypeFont) -> dict[str, Image.Image]:
    """Name to picture, in the order of the code points."""
    found = {}
    for point in range(FIRST, LAST):
        name = unicodedata.name(chr(point), "").lower()
        picture = glyph(chr(point), font) if name and point not in LEFT_OUT else None
        if picture is not None:
            found[name] = picture
    return found


def font_of(file: Path) -> ImageFont.FreeTypeFont:
    """The font at its one size, without the full layout engine, which refuses code points that have no glyph."""
    return ImageFont.truetype(file, STRIKE, layout_engine=ImageFont.Layout.BASIC)


def write(font: Path, folder: Path) -> None:
    """Write emoji.webp, names.txt and LICENSE.txt into `folder`."""
    found = glyphs(font_of(font))
    sheet = Image.new("RGB", (COLUMNS * SIZE, -(-len(found) // COLUMNS) * SIZE), "white")
    for i, picture in enumerate(found.values()):
        sheet.paste(picture, (i % COLUMNS * SIZE, i // COLUMNS * SIZE))
    folder.mkdir(parents=True, exist_ok=True)
    sheet.save(folder / "emoji.webp", lossless=True, quality=100, method=6)
    (folder / "names.txt").write_text("\n".join(found) + "\n", encoding="utf-8")
    (folder / "LICENSE.txt").write_text(LICENCE, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--font", type=Path, default=FONT)
    parser.add_argument("--out", type=Path, default=RESOURCES / "emoji")
    asked = parser.parse_args()
    write(asked.font, asked.out)


if __name__ == "__main__":
    main()
