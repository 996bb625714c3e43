"""What looks at the window sees what it is there to see: a widget with each fault is found, and one without is not."""

from PySide6.QtWidgets import QApplication, QCheckBox, QLineEdit, QPushButton, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from . import looking


def column(qtbot: QtBot, *parts: QWidget) -> QWidget:
    """A window of these parts, active."""
    root = QWidget()
    qtbot.addWidget(root)
    layout = QVBoxLayout(root)
    for part in parts:
        layout.addWidget(part)
    root.show()
    root.activateWindow()
    qtbot.waitUntil(root.isActiveWindow)
    return root


def test_a_focus_that_nothing_shows_is_found(qtbot: QtBot, qapp: QApplication) -> None:
    plain, bare, field = QPushButton("plain"), QPushButton("bare"), QLineEdit("a caret alone")
    bare.setStyleSheet(
        "QPushButton:focus { border: 1px solid gray; padding: 5px 12px; } QPushButton { border: 1px solid gray; }"
    )
    field.setStyleSheet("QLineEdit, QLineEdit:focus { border: 1px solid gray; padding: 4px; }")
    root = column(qtbot, plain, QCheckBox("box"), bare, field)
    found = looking.focus_unseen(root)
    assert ["bare" in words or "caret" in words for words in found] == [True, True]


def test_a_control_is_looked_at_once(qtbot: QtBot, qapp: QApplication) -> None:
    button, looked_at = QPushButton("one"), set[QWidget]()
    root = column(qtbot, button)
    looking.focus_unseen(root, looked_at)
    assert len(looked_at) == 1
    button.setStyleSheet("border: none")  # and now it would be found
    assert looking.focus_unseen(root, looked_at) == []
    assert len(looking.focus_unseen(root)) == 1
