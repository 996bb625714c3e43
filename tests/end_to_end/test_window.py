"""The window with the real backend: from the wizard to a curve, a stop, a resume, a comparison and an export.

Everything is done by clicks and keys, and found by the names that a person reads.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import QAbstractButton, QLabel, QLineEdit, QWidget
from pytestqt.qtbot import QtBot

from app.backend_process import Backend
from app.main_window import MainWindow
from app.run_watcher import RunWatcher
from backend.contract import launch
from backend.contract.project_file import ProjectFile

W = TypeVar("W", bound=QWidget)
PATIENCE = 180_000  # milliseconds; a whole training run on a busy machine


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MainWindow]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "lab.distill"
    ProjectFile.create(path).close()
    settings = QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)
    settings.setValue("window/closes_quietly", True)
    made = MainWindow(settings, Backend())
    made.resize(1280, 800)
    made.show()
    with qtbot.waitSignal(made.project_shown):
        made.open_project(path)
    yield made
    with ProjectFile.open(path, readonly=True) as project:
        live = [run.id for run, _ in project.live_runs()]
    made.close()
    for run in live:
        launch.end(path, run)


def named(root: QWidget, name: str, kind: type[W]) -> W:
    """The visible control of that name."""
    found = [
        widget
        for widget in root.findChildren(kind)
        if widget.isVisibleTo(root)
        and name in (widget.accessibleName(), widget.text().strip() if isinstance(widget, QAbstractButton) else "")
    ]
    assert found, f"there is no {name!r}"
    return found[0]


def click(qtbot: QtBot, root: QWidget, name: str) -> None:
    """Press a button once it can be pressed."""
    qtbot.waitUntil(lambda: named(root, name, QAbstractButton).isEnabled(), timeout=PATIENCE)
    qtbot.mouseClick(named(root, name, QAbstractButton), Qt.MouseButton.LeftButton)


def type_in(qtbot: QtBot, root: QWidget, name: str, text: str) -> None:
    """Write a field anew."""
    field = named(root, name, QLineEdit)
    field.setFocus()
    field.selectAll()
    qtbot.keyClicks(field, text)
    qtbot.keyClick(field, Qt.Key.Key_Return)


def shown_words(root: QWidget) -> str:
    return "\n".join(label.text() for label in root.findChildren(QLabel) if label.isVisibleTo(root))


def screen(window: MainWindow) -> QWidget:
    shown = window.screen_shown()
    assert shown is not None
    return shown


def state_of(window: MainWindow) -> str:
    watcher = screen(window).findChild(RunWatcher)
    return watcher.state.state if watcher is not None and watcher.state is not None else ""


def until(qtbot: QtBot, condition: Callable[[], bool]) -> None:
    qtbot.waitUntil(condition, timeout=PATIENCE)


@pytest.mark.parametrize("teacher", ["Digits", "Ring of eight Gaussians"])
def test_from_the_wizard_to_an_exported_student(qtbot: QtBot, window: MainWindow, teacher: str, tmp_path: Path) -> None:
    until(qtbot, lambda: any(b.text() == teacher for b in screen(window).findChildren(QAbstractButton)))
    wizard = screen(window)
    click(qtbot, wizard, teacher)
    while "Training" not in shown_words(wizard).splitlines()[0:1] and not _field(wizard, "Steps"):
        click(qtbot, wizard, "Next")
    type_in(qtbot, wizard, "Steps", "40")
    type_in(qtbot, wizard, "Batch size", "4")
    type_in(qtbot, wizard, "Preview every", "20")
    click(qtbot, wizard, "Start")
    until(qtbot, lambda: type(screen(window)).__name__ == "RunScreen")

    run = screen(window)
    until(qtbot, lambda: state_of(window) == "running")
    click(qtbot, run, "Stop")
    until(qtbot, lambda: state_of(window) in ("stopped", "finished"))
    if state_of(window) == "stopped":
        click(qtbot, run, "Resume")
    until(qtbot, lambda: state_of(window) == "finished")
    assert window.session is not None
    with ProjectFile.open(window.session.project.path, readonly=True) as project:
        matching = project.find_series(1, "matching")
        assert matching is not None
        assert project.points(matching).steps.tolist() == list(range(1, 41))

    click(qtbot, run, "Compare")
    sides = ("Teacher, 1 NFE", "Student, 1 NFE", "Teacher, 50 NFE")
    until(qtbot, lambda: all(side in shown_words(screen(window)).splitlines() for side in sides))

    window.show_screen("export", 1)
    export = screen(window)
    until(qtbot, lambda: bool(named(export, "Where to", QLineEdit).text()))
    type_in(qtbot, export, "Where to", str(tmp_path / "student"))
    if teacher == "Digits":
        click(qtbot, export, "Export")
        until(qtbot, lambda: (tmp_path / "student" / "README.md").exists() and "differ" in shown_words(export))


def _field(root: QWidget, name: str) -> bool:
    return any(f.accessibleName() == name and f.isVisibleTo(root) for f in root.findChildren(QLineEdit))
