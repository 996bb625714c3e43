"""The window with the real backend: from the wizard to a curve, a stop, a resume, a comparison and an export.

Everything is done by clicks and keys, and found by the names that a person reads.
"""

from pathlib import Path

import pytest
from PySide6.QtWidgets import QAbstractButton, QLineEdit
from pytestqt.qtbot import QtBot

from app.main_window import MainWindow
from backend.contract.project_file import ProjectFile

from .hands import click, has, named, screen, shown_words, state_of, type_in, until


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty for the first window, which has to wait for the catalogue; the second finds it there."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("teacher", ["Digits", "Ring of eight Gaussians"])
def test_from_the_wizard_to_an_exported_student(qtbot: QtBot, window: MainWindow, teacher: str, tmp_path: Path) -> None:
    until(qtbot, lambda: any(b.text() == teacher for b in screen(window).findChildren(QAbstractButton)))
    wizard = screen(window)
    click(qtbot, wizard, teacher)
    while "Training" not in shown_words(wizard).splitlines()[0:1] and not has(wizard, "Steps"):
        click(qtbot, wizard, "Next")
    type_in(qtbot, wizard, "Steps", "40")
    type_in(qtbot, wizard, "Batch size", "4")
    type_in(qtbot, wizard, "Preview every", "20")
    click(qtbot, wizard, "Start")
    until(qtbot, lambda: type(screen(window)).__name__ == "RunScreen")

    run = screen(window)
    until(qtbot, lambda: state_of(window) in ("running", "finished"))
    if teacher == "Digits":
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
