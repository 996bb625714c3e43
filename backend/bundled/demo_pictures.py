"""Draws `resources/pictures/demo.png` and `welcome.png` from a finished run on the bundled digits, such as the demo's.

python -m backend.bundled.demo_pictures PROJECT.distill RUN
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

from backend import pictures, students
from backend.compare import COLUMNS
from backend.resources import RESOURCES

SHOWN = (2, 3, 5, 8)
"""The digits that the first screen shows, a column each."""

ROWS, SCALE, GAP, BETWEEN = 4, 6, 8, 48


def welcome(parts: Path) -> Image.Image:
    """Teacher in one evaluation, student, teacher in full, side by side on nothing, so that any ground suits them."""
    panels = []
    for side in range(3):
        files = sorted((parts / f"side-{side}").glob("*.png"))
        places = [row * COLUMNS + digit for row in range(ROWS) for digit in SHOWN]
        tiles = [Image.open(files[place]).convert("RGBA") for place in places]
        panel = pictures.tile(tiles, len(SHOWN), SCALE, GAP)
        panels.append(panel)
    width, height = panels[0].size
    page = Image.new("RGBA", (3 * width + 2 * BETWEEN, height))
    for side, panel in enumerate(panels):
        page.paste(panel, (side * (width + BETWEEN), 0))
    return page


def main() -> None:
    project, run = Path(sys.argv[1]), int(sys.argv[2])
    folder = RESOURCES / "pictures"
    with tempfile.TemporaryDirectory() as parts:
        students.compare_all(project, [(run, "last")], out=folder / "demo.png", parts=Path(parts))
        welcome(Path(parts)).save(folder / "welcome.png", optimize=True)


if __name__ == "__main__":
    main()
