"""Takes the pictures of the window that the README shows: every screen of a project, in both schemes.

    python -m tests.app.take_pictures PROJECT.distill RUN

The run should be finished, evaluated, compared and exported once, so that there is something to see.
"""

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PIL import Image
from PySide6.QtCore import QSettings

from app import look
from app.__main__ import make_application
from app.bench.heartbeat import spin
from app.bench.window import settle
from app.main_window import MainWindow, new_window

FOLDER = look.RESOURCES / "pictures" / "window"
SCREENS = ("wizard", "run", "compare", "runs", "export")
COLOURS = 192
SIZE = (1280, 800)
PATIENCE = 120.0


def take(window: MainWindow, name: str) -> None:
    """Save what is shown, in few colours, as a small file."""
    path = FOLDER / f"{name}.png"
    window.grab().save(str(path))
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def main(project: Path, run: int) -> None:
    """Pictures of all screens, light and dark."""
    app = make_application(["pictures"])
    app.setQuitOnLastWindowClosed(False)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for scheme in (look.LIGHT, look.DARK):
        look.use(app, scheme)
        with tempfile.TemporaryDirectory() as folder:
            settings = QSettings(str(Path(folder) / "settings.ini"), QSettings.Format.IniFormat)
            settings.setValue("window/closes_quietly", True)
            window = new_window(settings)
            window.resize(*SIZE)
            window.show()
            settle(window)
            take(window, f"welcome-{scheme.name}")
            window.open_project(project)
            settle(window)
            for key in SCREENS:
                window.show_screen(key, run if key in ("run", "compare", "export") else None)
                settle(window)
                # A comparison is drawn, the catalogue made.
                spin(partial(getattr, window.backend, "is_idle"), PATIENCE)
                settle(window)
                take(window, f"{key}-{scheme.name}")
            window.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
