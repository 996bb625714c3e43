from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from app.widgets.path_field import PathField


def test_a_zip_is_chosen_where_it_may_be(qtbot: QtBot, tmp_path: Path) -> None:
    (tmp_path / "pictures.zip").write_bytes(b"")
    field = PathField("Pictures", "Folder or zip", zips=True)
    qtbot.addWidget(field)
    field.set_text(str(tmp_path / "pictures.zip"))
    heard: list[str] = []
    field.edited.connect(heard.append)
    qtbot.mouseClick(field.browse_zip, Qt.MouseButton.LeftButton)
    (dialog,) = field.findChildren(QFileDialog)
    assert dialog.fileMode() == QFileDialog.FileMode.ExistingFile
    assert Path(dialog.directory().absolutePath()) == tmp_path
    with qtbot.waitSignal(field.finished):
        dialog.fileSelected.emit(str(tmp_path / "pictures.zip"))
    dialog.close()
    assert heard == [str(tmp_path / "pictures.zip")] == [field.line.text()]


def test_a_field_of_folders_offers_no_zip(qtbot: QtBot) -> None:
    field = PathField("Teacher", "Folder")
    qtbot.addWidget(field)
    assert not hasattr(field, "browse_zip")
    qtbot.mouseClick(field.browse, Qt.MouseButton.LeftButton)
    (dialog,) = field.findChildren(QFileDialog)
    assert dialog.fileMode() == QFileDialog.FileMode.Directory
    dialog.close()
