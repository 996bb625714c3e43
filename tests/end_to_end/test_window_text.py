"""The window with the bundled text-to-image teacher: prompts, guidance and each of four methods, to an export.

As in `test_window`, with the real backend, by clicks and keys; every screen on the way is looked at.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PySide6.QtWidgets import QAbstractButton, QLineEdit
from pytestqt.qtbot import QtBot

from app.main_window import MainWindow
from backend.contract.project_file import ProjectFile

from . import hands
from .hands import choose, click, go_to, named, screen, shown_words, state_of, type_in, until

NAMES = ("honeybee", "red apple", "snowman", "rocket", "elephant", "sunflower", "pizza", "guitar")
METHODS: dict[str, tuple[str, dict[str, str]]] = {
    "dmd2": ("Distribution matching (DMD2)", {"Student steps": "2", "Guidance scale": "2"}),
    "consistency": ("Consistency distillation", {"Student steps": "2", "Guidance scale": "2"}),
    "progressive": ("Progressive distillation", {"Start steps": "4", "Student steps": "2", "Guidance scale": "2"}),
    "gdd": ("Adversarial alone (GDD)", {}),
}


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """A file of prompts, one a line."""
    file = tmp_path / "names.txt"
    file.write_text("\n".join(NAMES), encoding="utf-8")
    return file


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Pictures with a caption beside each."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        Image.new("RGB", (64, 64), (30 * number, 255 - 30 * number, 90)).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(name, encoding="utf-8")
    return folder


@pytest.mark.long
@pytest.mark.parametrize("method", METHODS)
def test_from_prompts_to_an_exported_student(
    qtbot: QtBot, window: MainWindow, method: str, prompts: Path, photographs: Path, tmp_path: Path
) -> None:
    title, settings = METHODS[method]
    until(qtbot, lambda: any(b.text() == "Emoji" for b in screen(window).findChildren(QAbstractButton)))
    wizard = screen(window)
    click(qtbot, wizard, "Emoji")
    hands.look_at(qtbot, window, "teacher")
    go_to(qtbot, wizard, "Method")
    choose(qtbot, wizard, "Methods", title)
    for name, value in settings.items():
        type_in(qtbot, wizard, name, value)
    hands.look_at(qtbot, window, "method")
    go_to(qtbot, wizard, "Data")
    if method == "gdd":
        click(qtbot, wizard, "A folder or zip of pictures")
        type_in(qtbot, wizard, "Pictures", str(photographs))
    type_in(qtbot, wizard, "Prompts", str(prompts))
    hands.look_at(qtbot, window, "data")
    go_to(qtbot, wizard, "Training")
    for name, value in {"Steps": "5", "Batch size": "4", "Preview every": "0"}.items():
        type_in(qtbot, wizard, name, value)
    go_to(qtbot, wizard, "Review")  # which checks the recipe as it is shown
    until(qtbot, lambda: "teacher forwards for each sample" in shown_words(wizard))
    hands.look_at(qtbot, window, "review")
    click(qtbot, wizard, "Start the run")
    until(qtbot, lambda: type(screen(window)).__name__ == "RunScreen")

    until(qtbot, lambda: state_of(window) == "running")
    hands.look_at(qtbot, window, "run, running")
    until(qtbot, lambda: state_of(window) == "finished")
    hands.look_at(qtbot, window, "run, finished")
    assert window.session is not None
    with ProjectFile.open(window.session.project.path, readonly=True) as project:
        recipe = project.recipe(1)
        labels = {sample.position: sample.label for sample in project.samples_after(1) if sample.kind == "preview"}
    assert (recipe.teacher, recipe.method, recipe.prompts) == ("emoji", method, str(prompts))
    # The prompts that were asked for come first; a method that looks at data has its captions after them.
    assert [labels[place] for place in range(len(NAMES))] == list(NAMES)

    click(qtbot, screen(window), "Compare")
    until(qtbot, lambda: sum(words.startswith(("Teacher, ", "Student, ")) for words in _lines(window)) >= 3)
    hands.look_at(qtbot, window, "compare")
    window.show_screen("export", 1)
    export = screen(window)
    until(qtbot, lambda: bool(named(export, "Where to", QLineEdit).text()))
    type_in(qtbot, export, "Where to", str(tmp_path / "student"))
    click(qtbot, export, "Export")
    until(qtbot, lambda: (tmp_path / "student" / "README.md").exists() and "differ" in shown_words(export))
    hands.look_at(qtbot, window, "export")
    written: dict[str, Any] = json.loads((tmp_path / "student" / "distill.json").read_text(encoding="utf-8"))
    assert written["sheet"]["prompts"][: len(NAMES)] == list(NAMES)


def _lines(window: MainWindow) -> list[str]:
    return shown_words(screen(window)).splitlines()
