"""Every view of the window as it was when somebody last looked at it: a change of what is seen is seen.

    .venv/bin/pytest tests/app/test_reference_pictures.py -n 0 --renew-pictures

takes the pictures anew; look at them before they are kept.
"""

import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QSettings
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QLabel, QLineEdit, QProgressBar, QTableWidget, QWidget
from pytestqt.qtbot import QtBot

from app import look
from app.main_window import MainWindow
from app.screens import Screen
from app.screens.run import RunScreen
from backend.contract import liveness
from backend.contract.project_file import ProjectFile

from .scripted import ScriptedBackend
from .test_every_screen import SCREENS, no_cache, opened
from .views import empty_views, every_state, in_sight, show_band, views, waiting_views

__all__ = ["no_cache"]
PICTURES = Path(__file__).parent / "pictures"
SIZE = (1280, 800)
NOW = 1_800_000_000.0
LEAST_CHANGE = 24
"""Of 255; by so much the edges of letters may differ."""
MOST_CHANGED = 16
"""Pixels of a picture at half the size; a word has more."""
TIMES_EQUAL = 4
"""So often in a row a view looks the same when it has come to rest."""


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same moment in the same place, always."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        for module in ("app.screens.run", "app.run_commands"):
            patch.setattr(f"{module}.time", SimpleNamespace(time=lambda: NOW))
        for limit in ("SILENCE_SECONDS", "START_SILENCE_SECONDS"):  # no process here gives signs of life
            patch.setattr(liveness, limit, 1e9)
        yield
    time.tzset()


def set_times(path: Path) -> None:
    """Have all that a project tells of have happened at fixed times. A live run's heartbeat stays: it is judged by."""
    with sqlite3.connect(path) as project:
        for table, columns in {
            "runs": ("created",),
            "attempts": ("launched", "started"),
            "events": ("time",),
            "commands": ("issued", "acknowledged", "finished"),
            "evaluations": ("time",),
            "exports": ("time",),
        }.items():
            for column in columns:
                project.execute(f"UPDATE {table} SET {column} = ? - 60 * id WHERE {column} IS NOT NULL", (NOW,))
        project.execute("UPDATE attempts SET ended = started + 50 WHERE ended IS NOT NULL")
        project.execute("UPDATE attempts SET heartbeat = ended WHERE ended IS NOT NULL")
    project.close()


def hide_folder(window: QWidget, folder: Path) -> None:
    """Write another folder's name where the test's own is seen."""
    for part in window.findChildren(QWidget):
        part.blockSignals(True)
        if isinstance(part, QLineEdit | QLabel) and str(folder) in part.text():
            part.setText(part.text().replace(str(folder), "/lab"))
        if isinstance(part, QTableWidget):
            for row in range(part.rowCount()):
                for column in range(part.columnCount()):
                    item = part.item(row, column)
                    if item is not None and str(folder) in item.text():
                        item.setText(item.text().replace(str(folder), "/lab"))
        part.blockSignals(False)


def seen(window: QWidget) -> Image.Image:
    """What is shown, the window or a dialog, at half its size."""
    shot = window.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(shot.constBits(), np.uint8).reshape(shot.height(), shot.bytesPerLine())
    whole = rows[:, : 3 * shot.width()].reshape(shot.height(), shot.width(), 3)
    return Image.fromarray(whole.copy()).resize((window.width() // 2, window.height() // 2), Image.Resampling.BOX)


def differs(name: str, now: Image.Image, folder: Path, renew: bool) -> str:
    """What is wrong with a picture, "" where nothing is. folder: where what is seen now is kept if it is another."""
    file = PICTURES / f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}.webp"
    if renew:
        now.save(file, lossless=True, quality=100, method=6)
        return ""
    if not file.exists():
        return f"{name}: there is no picture {file.name}"
    with Image.open(file) as kept:
        before = np.asarray(kept.convert("RGB"), dtype=np.int16)
    if before.shape != np.asarray(now).shape:
        return f"{name}: the picture has another size"
    changed = int((np.abs(before - np.asarray(now, dtype=np.int16)).max(2) > LEAST_CHANGE).sum())
    if changed <= MOST_CHANGED:
        return ""
    now.save(folder / file.name)
    return f"{name}: {changed} pixels are others; {folder / file.name} beside {file}"


def hide_what_moves(window: QWidget) -> None:
    """A bar that says that something is on its way is never at rest."""
    for bar in window.findChildren(QProgressBar):
        bar.setTextVisible(False)
        bar.setMaximum(max(bar.maximum(), 1))


def come_to_rest(qtbot: QtBot, window: MainWindow) -> None:
    """Let everything be drawn that will be, with nothing in it that blinks."""
    qtbot.waitUntil(lambda: window.is_settled)
    focus = QApplication.focusWidget()
    if focus is not None:
        focus.clearFocus()
    window.statusBar().clearMessage()
    before, equal = QImage(), 0

    def is_still() -> bool:
        nonlocal before, equal
        last, before = before, in_sight(window).grab().toImage()
        equal = equal + 1 if last == before else 0
        return equal == TIMES_EQUAL

    qtbot.waitUntil(is_still)


@pytest.mark.usefixtures("still")
def test_every_view_looks_as_it_did(
    qtbot: QtBot, settings: QSettings, project_path: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    renew = bool(request.config.getoption("renew_pictures"))
    ids = every_state(project_path)
    set_times(project_path)
    faults = []
    with opened(qtbot, settings, project_path) as window:
        window.resize(*SIZE)
        for name in views(qtbot, window, ids):
            come_to_rest(qtbot, window)
            hide_folder(window, tmp_path)
            faults.append(differs(name, seen(in_sight(window)), tmp_path, renew))
    assert not any(faults), "\n".join(filter(None, faults))


@pytest.mark.usefixtures("still", "no_cache")
def test_every_empty_page_looks_as_it_did(
    qtbot: QtBot, settings: QSettings, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    renew = bool(request.config.getoption("renew_pictures"))
    path = tmp_path / "empty.distill"
    ProjectFile.create(path).close()
    faults = []
    for knows, shown in ((True, empty_views), (False, waiting_views)):
        with opened(qtbot, settings, path, knows) as window:
            window.resize(*SIZE)
            for name in shown(qtbot, window):
                hide_what_moves(window)
                come_to_rest(qtbot, window)
                hide_folder(window, tmp_path)
                faults.append(differs(name, seen(window), tmp_path, renew))
    assert not any(faults), "\n".join(filter(None, faults))


@pytest.mark.usefixtures("still")
def test_every_screen_looks_as_it_did_in_the_dark(
    qtbot: QtBot,
    qapp: QApplication,
    settings: QSettings,
    project_path: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    renew = bool(request.config.getoption("renew_pictures"))
    every_state(project_path)
    set_times(project_path)
    look.use(qapp, look.DARK)
    faults = []
    with opened(qtbot, settings, project_path) as window:
        window.resize(*SIZE)
        for key in SCREENS:
            window.show_screen(key, 1 if key in ("run", "compare", "export") else None)
            qtbot.waitUntil(lambda: isinstance(window.screen_shown(), Screen))
            come_to_rest(qtbot, window)
            hide_folder(window, tmp_path)
            faults.append(differs(f"dark {key}", seen(window), tmp_path, renew))
        window.show_screen("run", 1)
        screen = window.screen_shown()
        assert isinstance(screen, RunScreen)
        show_band(qtbot, screen)
        come_to_rest(qtbot, window)
        faults.append(differs("dark run with a band", seen(window), tmp_path, renew))
    assert not any(faults), "\n".join(filter(None, faults))


@pytest.mark.parametrize("scheme", [look.LIGHT, look.DARK], ids=lambda scheme: scheme.name)
def test_the_first_screen_looks_as_it_did(
    qtbot: QtBot,
    qapp: QApplication,
    settings: QSettings,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    scheme: look.Scheme,
) -> None:
    look.use(qapp, scheme)
    backend = ScriptedBackend()
    window = MainWindow(settings, backend)
    window.resize(*SIZE)
    window.show()
    come_to_rest(qtbot, window)
    fault = differs(f"welcome {scheme.name}", seen(window), tmp_path, bool(request.config.getoption("renew_pictures")))
    backend.close()
    window.close()
    window.deleteLater()
    assert not fault
