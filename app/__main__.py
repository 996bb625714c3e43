"""`distill-studio [PROJECT]`: the window."""

from __future__ import annotations

import argparse
import locale
import os
import sys
from pathlib import Path

from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import QApplication

from app import fault_report, look, recent, single_instance, translations
from app.asking import SUFFIX
from app.garbage import GarbageCollection
from app.main_window import new_window

ORGANISATION, NAME, APP_ID = "DistillStudio", "Distill Studio", "org.distillstudio.DistillStudio"
FRAME = 48
"""Pixels that a desktop's title bar and panel may take from a screen's height."""

SWITCH_SECONDS = 0.0005
"""How long a reading thread keeps the interpreter while the window waits for it. Ten times that, Python's default, is
paid at every step from Qt into Python: dozens in a frame.
"""


def main() -> int:
    """Start Qt, open the window, run until the last one is closed; the exit status."""
    parser = argparse.ArgumentParser(prog="distill-studio", description="Diffusion distillation experiments.")
    parser.add_argument("project", nargs="?", type=Path, help="a project file to open, NAME.distill")
    parser.add_argument("--measure-start", action="store_true", help=argparse.SUPPRESS)  # for `app.bench`
    asked = parser.parse_args()
    app = make_application(sys.argv[:1])
    settings = QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, ORGANISATION, "studio")
    look.choose(app, str(settings.value("look/scheme", "system")))  # type: ignore[arg-type]
    path = _with_suffix(asked.project.expanduser()).absolute() if asked.project else _last(settings)
    if path is not None and single_instance.hand_over(path):
        return 0
    os.environ.setdefault("DISTILL_STUDIO_NOTIFY", "1")  # runs that it starts tell of their end when it is closed
    fault_report.install()
    window = new_window(settings)
    available = window.screen().availableGeometry()
    if not settings.contains("window/geometry") and not available.contains(window.rect().adjusted(0, 0, 0, FRAME)):
        window.setWindowState(Qt.WindowState.WindowMaximized)  # a small screen is used whole
    if path is not None:
        window.open_project(path)
    if asked.measure_start:
        from app.bench.start import report_first_paint  # noqa: PLC0415

        report_first_paint(window)
    window.show()
    return app.exec()


def make_application(arguments: list[str]) -> QApplication:
    """Qt, dressed, with numbers read and written as Python does everywhere but on screen."""
    QApplication.setHighDpiScaleFactorRoundingPolicy(Qt.HighDpiScaleFactorRoundingPolicy.PassThrough)
    app = QApplication(arguments)
    locale.setlocale(locale.LC_NUMERIC, "C")  # Qt takes the system's, in which "0.5" may not be a number
    app.setOrganizationName(ORGANISATION)
    app.setApplicationName(NAME)
    app.setApplicationDisplayName(NAME)
    app.setDesktopFileName(APP_ID)
    translations.install(app)
    look.apply(app)
    sys.setswitchinterval(SWITCH_SECONDS)
    GarbageCollection(app)
    return app


def _last(settings: QSettings) -> Path | None:
    """What was open last, with the run that may be going on in it; None at the very first start."""
    return next(iter(recent.projects(settings)), None)


def _with_suffix(path: Path) -> Path:
    return path if path.suffix == SUFFIX or path.exists() else path.with_name(path.name + SUFFIX)


if __name__ == "__main__":
    sys.exit(main())
