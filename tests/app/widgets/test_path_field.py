from pathlib import Path

from PySide6.QtCore import Qt
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
