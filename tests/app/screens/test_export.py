"""The export screen over a real project: what is chosen, what is refused, what earlier exports show."""

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QFileDialog
from pytestqt.qtbot import QtBot

from app.screens.export import ExportScreen
from app.session import Session
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from tests.app.conftest import built, picture_bytes


@pytest.fixture
def screen(qtbot: QtBot, session: Session) -> ExportScreen:
    made = built(ExportScreen, session)
    qtbot.addWidget(made)
    made.resize(1100, 800)
    made.show()
    made.show_item(1)
    qtbot.waitUntil(lambda: made.form.run.currentText() == "first" and made.start.isEnabled())
    return made


@pytest.fixture
def asked(screen: ExportScreen, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the command line was asked, without its process."""
    found: list[Any] = []
    monkeypatch.setattr(screen.work, "begin", lambda doing, arguments, then, like: found.append(arguments))
    return found


def record(path: Path, out: Path, difference: float = 4e-7) -> None:
    """An export of run 1 as the command line keeps it."""
    out.mkdir()
    (out / "README.md").write_text("# student\n```python\nprint('hello')\n```\n")
    with ProjectFile.open(path) as project:
        folder = project.files / "exports" / out.name
        folder.mkdir(parents=True)
        for name in ("preview.png", "plain-diffusers.png"):
            (folder / name).write_bytes(picture_bytes(1, 64))
        sheets = {"expected": f"exports/{out.name}/preview.png", "made": f"exports/{out.name}/plain-diffusers.png"}
        kept = {"max_abs_difference": difference, "tolerance": 1e-5, "sheets": sheets, "step": 400}
        project.add_export(1, "diffusers", str(out), "abc", kept)


def test_a_place_is_suggested_and_everything_is_asked_for(qtbot, screen, asked, project_path):
    assert screen.form.destination.text() == str(project_path.parent / "first")
    screen.form.weights.setCurrentIndex(screen.form.weights.findData("raw"))
    screen.form.nfe.setValue(2)
    qtbot.mouseClick(screen.start, Qt.MouseButton.LeftButton)
    out = str(project_path.parent / "first")
    request = ["export", str(project_path), "1", "--format", "diffusers", "--checkpoint", "best", "--out", out]
    assert asked == [[*request, "--weights", "raw", "--nfe", "2"]]


def test_nothing_can_be_pressed_before_the_project_is_read(session, qtbot):
    made = built(ExportScreen, session)
    qtbot.addWidget(made)
    assert not made.start.isEnabled()
    qtbot.waitUntil(made.start.isEnabled)


def test_checkpoints_are_offered_with_their_scores(screen):
    words = [screen.form.checkpoint.itemText(number) for number in range(screen.form.checkpoint.count())]
    assert words == ["Best: step 400, score 3.25", "Last: step 400, score 3.25", "Step 400, score 3.25"]


def test_another_form_has_another_suggestion_until_one_is_typed(qtbot, screen, project_path):
    qtbot.mouseClick(screen.form.formats["safetensors"], Qt.MouseButton.LeftButton, pos=QPoint(10, 10))
    assert screen.form.destination.text() == str(project_path.parent / "first.safetensors")
    screen.form.destination.clear()
    qtbot.keyClicks(screen.form.destination, str(project_path.parent / "mine"))
    assert "let its name end in .safetensors" in screen.form.wrong.text()
    assert screen.form.wrong.isVisible()
    assert not screen.start.isEnabled()
    qtbot.keyClicks(screen.form.destination, ".safetensors")
    assert not screen.form.wrong.isVisible()
    assert screen.start.isEnabled()


def test_a_form_that_cannot_be_used_says_why(screen):
    assert not screen.form.formats["lora"].isEnabled()
    assert "no LoRA" in screen.form._about_formats["lora"][0].text()


def test_a_student_of_points_has_no_diffusers_form(qtbot, screen, project_path):
    with ProjectFile.open(project_path) as project:
        run = project.add_run(Recipe.from_values({"teacher": "mixture-2d", "method": "dmd2"}), name="points")
    screen.show_item(run)
    qtbot.waitUntil(lambda: screen.form.run.currentText() == "points")
    assert not screen.form.formats["diffusers"].isEnabled()
    assert screen.form.format == "safetensors"
    assert "no checkpoint yet" in screen.form.hint.text()
    assert not screen.start.isEnabled()


def test_a_run_without_an_average_has_raw_weights_alone(qtbot, screen, project_path):
    recipe = {"teacher": "digits", "method": "dmd2", "training": {"ema_decay": 0}}
    with ProjectFile.open(project_path) as project:
        run = project.add_run(Recipe.from_values(recipe), name="raw")
    screen.show_item(run)
    qtbot.waitUntil(lambda: screen.form.run.currentText() == "raw")
    assert [screen.form.weights.itemData(n) for n in range(screen.form.weights.count())] == ["raw"]
    assert "kept no average" in screen.form.weights_words.text()


def test_earlier_exports_show_their_pictures_and_number(qtbot, screen, project_path, tmp_path):
    assert screen.none.isVisible()
    record(project_path, tmp_path / "out")
    qtbot.waitUntil(lambda: screen.view.isVisible() and screen.view.expected.has_picture)
    assert screen.view.made.has_picture
    assert "Sound" in screen.view.words.text()
    assert "4.0e-07" in screen.view.words.text()
    assert screen.list.item(0, 4).text() == str(tmp_path / "out")
    qtbot.mouseClick(screen.view.copy, Qt.MouseButton.LeftButton)
    assert QApplication.clipboard().text() == str(tmp_path / "out")
    qtbot.mouseClick(screen.view.copy_snippet, Qt.MouseButton.LeftButton)
    assert QApplication.clipboard().text() == "print('hello')"


def test_another_earlier_export_is_chosen(qtbot, screen, project_path, tmp_path):
    record(project_path, tmp_path / "old", difference=0.5)
    record(project_path, tmp_path / "new")
    qtbot.waitUntil(lambda: screen.list.rowCount() == 2 and screen.view.isVisible())
    screen.list.setFocus()
    screen.list.selectRow(0)
    qtbot.waitUntil(lambda: "Sound" in screen.view.words.text())
    qtbot.keyClick(screen.list, Qt.Key.Key_Down)
    qtbot.waitUntil(lambda: "Not sound" in screen.view.words.text())


def test_a_failure_is_one_sentence_to_copy(qtbot, screen):
    qtbot.mouseClick(screen.start, Qt.MouseButton.LeftButton)
    assert screen.work.is_busy
    assert not screen.start.isEnabled()
    screen.work._failed("The disk is full; make room.")  # the process itself takes seconds to say anything
    assert screen.work.words.text() == "The disk is full; make room."
    assert screen.start.isEnabled()
    qtbot.mouseClick(screen.work.copy, Qt.MouseButton.LeftButton)
    assert QApplication.clipboard().text() == "The disk is full; make room."
    screen.session.backend.close()


def test_an_export_is_cancelled(qtbot, screen):
    qtbot.mouseClick(screen.start, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(screen.work.cancel, Qt.MouseButton.LeftButton)
    assert not screen.work.is_busy
    assert screen.start.isEnabled()


def test_a_folder_that_is_dropped_is_where_to(qtbot, screen, tmp_path):
    full, empty = tmp_path / "full", tmp_path / "empty"
    for folder in (full, empty):
        folder.mkdir()
    (full / "x").write_text("")
    for folder, place in ((full, full / "first"), (empty, empty)):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(folder))])
        buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        enter = QDragEnterEvent(QPoint(50, 50), Qt.DropAction.CopyAction, data, buttons, keys)
        QApplication.sendEvent(screen, enter)
        assert enter.isAccepted()
        QApplication.sendEvent(screen, QDropEvent(QPointF(50, 50), Qt.DropAction.CopyAction, data, buttons, keys))
        qtbot.waitUntil(lambda place=place: screen.form.destination.text() == str(place))


def test_a_place_is_chosen_in_a_dialog(qtbot, screen, tmp_path):
    (tmp_path / "here").mkdir()
    qtbot.mouseClick(screen.form.browse, Qt.MouseButton.LeftButton)
    dialog = screen.findChild(QFileDialog)
    dialog.fileSelected.emit(str(tmp_path / "here"))
    dialog.close()
    assert screen.form.destination.text() == str(tmp_path / "here")


def test_what_is_exported_is_the_newest_finished_run_until_one_is_chosen(
    qtbot: QtBot, session: Session, project_path: Path
) -> None:
    made = built(ExportScreen, session)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitUntil(lambda: made.form.run.currentIndex() >= 0)
    made.hide()
    with ProjectFile.open(project_path) as project:
        run = project.add_run(Recipe.from_values(project.run(1).recipe), name="newer")
        project.end_attempt(project.begin_attempt(run), "finished")
    made.show()
    qtbot.waitUntil(lambda: made.form.run.currentText() == "newer")
    made.form.run.setCurrentIndex(made.form.run.findText("first"))
    made.form.run.activated.emit(made.form.run.currentIndex())
    made.hide()
    made.show()
    qtbot.waitUntil(lambda: not made._reading._is_asking)
    assert made.form.run.currentText() == "first"


def test_an_empty_project_says_what_to_do(qtbot, open_session, tmp_path):
    ProjectFile.create(tmp_path / "empty.distill").close()
    screen = built(ExportScreen, open_session(tmp_path / "empty.distill"))
    qtbot.addWidget(screen)
    screen.show()
    qtbot.waitUntil(lambda: "no run yet" in screen.form.hint.text())
    assert not screen.start.isEnabled()


def test_a_student_of_a_method_of_adapters_alone_has_a_lora(qtbot, screen, project_path):
    with ProjectFile.open(project_path) as project:
        recipe = Recipe.from_values(project.run(1).recipe)
        run = project.add_run(recipe, name="told", declaration={"adapters": True})
    screen.show_item(run)
    qtbot.waitUntil(lambda: screen.form.run.currentText() == "told")
    assert screen.form.formats["lora"].isEnabled()
