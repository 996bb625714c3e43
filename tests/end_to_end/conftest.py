"""The window as a person has it: a project of its own, the real command line, a cache that begins empty."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings
from pytestqt.qtbot import QtBot

from app.backend_process import Backend
from app.main_window import MainWindow
from backend.contract import launch
from backend.contract.project_file import ProjectFile
from tests.app import leaks

from . import hands


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where the program keeps what it has found out: at first an empty folder."""
    return tmp_path / "cache"


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MainWindow]:
    with leaks.nothing_left():
        yield from _window(qtbot, tmp_path, cache, monkeypatch)


def _window(qtbot: QtBot, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MainWindow]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    path = tmp_path / "lab.distill"
    ProjectFile.create(path).close()
    settings = QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)
    settings.setValue("window/closes_quietly", True)
    made = MainWindow(settings, Backend())
    made.resize(1280, 800)
    made.show()
    with qtbot.waitSignal(made.project_shown, timeout=hands.PATIENCE):
        made.open_project(path)
    yield made
    with ProjectFile.open(path, readonly=True) as project:
        live = [run.id for run, _ in project.live_runs()]
    made.close()
    made.deleteLater()
    for run in live:
        launch.end(path, run)
