"""Which projects were opened last, and where new ones go."""

from __future__ import annotations

import os
from pathlib import Path

from PySide6.QtCore import QSettings, QStandardPaths

KEPT = 12


def projects(settings: QSettings) -> list[Path]:
    """The projects that were opened last and are still there, newest first."""
    value = settings.value("recent/projects", [])
    names = [value] if isinstance(value, str) else [str(name) for name in value or []]  # type: ignore[attr-defined]
    return [Path(name) for name in names if Path(name).exists()]


def remember(settings: QSettings, path: Path) -> None:
    """This project was opened now."""
    others = [other for other in projects(settings) if other != path]
    settings.setValue("recent/projects", [str(p) for p in [path, *others][:KEPT]])
    settings.setValue("recent/folder", str(path.parent))


def folder(settings: QSettings) -> Path:
    """Where the last project lies, else the person's documents."""
    documents = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
    last = Path(str(settings.value("recent/folder", "")) or documents or Path.home())
    for place in (last, Path(documents), Path.home()):
        if place.is_dir() and os.access(place, os.W_OK):
            return place
    return Path.home()


def free_name(where: Path, stem: str) -> Path:
    """A project name that is not taken there: stem, stem-2, ..."""
    names = (where / f"{stem}{'' if number == 1 else f'-{number}'}.distill" for number in range(1, 10_000))
    return next(path for path in names if not path.exists())
