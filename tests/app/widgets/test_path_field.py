from pathlib import Path

from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from app.widgets.path_field import Files, PathField


def test_a_zip_is_chosen_where_it_may_be(qtbot: QtBot, tmp_path: Path) -> None:
    (tmp_path / "pictures.zip").write_bytes(b"")
    field = PathField("Pictures", "Folder or zip", Files("Zip...", "Zip (*.zip)"))
    qtbot.addWidget(field)
    field.set_text(str(tmp_path / "pictures.zip"))
    heard: list[str] = []
    field.edited.connect(heard.append)
    qtbot.mouseClick(field.browse_file, Qt.MouseButton.LeftButton)
    (dialog,) = field.findChildren(QFileDialog)
    assert dialog.fileMode() == QFileDialog.FileMode.ExistingFile
    assert Path(dialog.directory().absolutePath()) == tmp_path
    with qtbot.waitSignal(field.finished):
        dialog.fileSelected.emit(str(tmp_path / "pictures.zip"))
    dialog.close()
    assert heard == [str(tmp_path / "pictures.zip")] == [field.line.text()]


def test_a_field_of_folders_offers_no_file(qtbot: QtBot) -> None:
    field = PathField("Teacher", "Folder")
    qtbot.addWidget(field)
    assert not hasattr(field, "browse_file")
    qtbot.mouseClick(field.browse, Qt.MouseButton.LeftButton)
    (dialog,) = field.findChildren(QFileDialog)
    assert dialog.fileMode() == QFileDialog.FileMode.Directory
    dialog.close()


def test_a_field_of_files_offers_no_folder(qtbot: QtBot) -> None:
    field = PathField("Prompts", "Text file", Files("Browse...", "Text (*.txt)"), folders=False)
    qtbot.addWidget(field)
    assert not hasattr(field, "browse")
    qtbot.mouseClick(field.browse_file, Qt.MouseButton.LeftButton)
    (dialog,) = field.findChildren(QFileDialog)
    assert dialog.nameFilters() == ["Text (*.txt)"]
    dialog.close()


def drop(field: PathField, *paths: Path, text: str = "") -> bool:
    what = QMimeData()
    if text:
        what.setText(text)
    else:
        what.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    event = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, what, buttons, keys)
    field.dropEvent(event)
    return event.isAccepted()


def test_the_first_that_fits_of_what_is_dropped_is_named(qtbot: QtBot, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "pictures.ZIP").touch()
    field = PathField("Pictures", "Folder or zip", Files("Zip...", "Zip (*.zip)"))
    qtbot.addWidget(field)
    heard: list[str] = []
    said: list[str] = []
    field.edited.connect(heard.append)
    field.says.connect(said.append)
    assert not field.line.acceptDrops()
    with qtbot.waitSignal(field.finished):
        assert drop(field, tmp_path / "notes.txt", tmp_path / "pictures.ZIP", tmp_path)
    assert heard == [str(tmp_path / "pictures.ZIP")] == [field.line.text()]
    assert said == ["Took pictures.ZIP, one of 3 that were dropped."]
    assert drop(field, tmp_path)
    assert field.line.text() == str(tmp_path)
    assert len(said) == 1


def test_what_fits_not_is_left_to_whatever_the_field_lies_in(qtbot: QtBot, tmp_path: Path) -> None:
    field = PathField("Prompts", "Text file", Files("Browse...", "Text (*.txt)"), folders=False)
    qtbot.addWidget(field)
    assert not drop(field, tmp_path)
    assert field.line.text() == ""


def test_words_that_are_dropped_are_taken_as_written(qtbot: QtBot) -> None:
    field = PathField("Teacher", "Folder or hub id")
    qtbot.addWidget(field)
    assert drop(field, text=" org/model\n")
    assert field.line.text() == "org/model"
