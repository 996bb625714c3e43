"""What looks at the window sees what it is there to see: a widget with each fault is found, and one without is not."""

from collections.abc import Callable

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QListWidget,
    QPushButton,
    QTabBar,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app.widgets.elided_label import ElidedLabel
from app.widgets.step_list import StepList

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


NAME = "a name of many letters that somebody gave"


def elided(words: str) -> QWidget:
    label = ElidedLabel()
    label.setText(words)
    return label


def field(words: str) -> QWidget:
    made = QLineEdit(words)
    made.setToolTip(words)
    return made


def combo(words: str) -> QWidget:
    made = QComboBox()
    made.addItem(words)
    made.setToolTip(words)
    return made


def tabs(words: str) -> QWidget:
    made = QTabBar()
    made.addTab(words)
    made.setTabToolTip(0, words)
    return made


def rows(words: str) -> QWidget:
    made = QListWidget()
    made.addItem(words)
    made.item(0).setToolTip(words)
    return made


def steps(words: str) -> QWidget:
    made = StepList()
    made.add_step("one")
    made.show_step(0, words, "open")
    return made


def headed(words: str) -> QWidget:
    made = QTableWidget(1, 1)
    item = QTableWidgetItem(words)
    item.setToolTip(words)
    made.setHorizontalHeaderItem(0, item)
    made.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    made.setColumnWidth(0, 60)
    return made


KINDS: list[Callable[[str], QWidget]] = [elided, field, combo, rows, steps, headed]


@pytest.mark.parametrize("kind", [QLabel, QPushButton, *KINDS, tabs])
def test_words_that_are_cut_are_found(qtbot: QtBot, kind: Callable[[str], QWidget]) -> None:
    root = QWidget()
    qtbot.addWidget(root)
    part = kind("fourteen words")
    part.setParent(root)
    part.setMaximumWidth(64)
    part.setMinimumWidth(0)
    part.resize(64, 120)
    if isinstance(part, QComboBox):  # a tool tip is enough for one, whose list shows its words whole
        part.setToolTip("")
    root.resize(200, 200)
    root.show()
    assert any("fourteen words" in words for words in looking.clipped(root))
    part.setMaximumWidth(400)
    part.setMinimumWidth(400)
    part.resize(400, 120)
    if isinstance(part, QTableWidget):
        part.setColumnWidth(0, 300)
    assert looking.clipped(root) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_name_may_be_cut_where_its_tool_tip_has_it(qtbot: QtBot, kind: Callable[[str], QWidget]) -> None:
    root = QWidget()
    qtbot.addWidget(root)
    part = kind(NAME)
    part.setParent(root)
    part.setMaximumWidth(90)
    part.resize(90, 120)
    root.show()
    assert [words for words in looking.clipped(root) if NAME in words] == []
    for widget in (part, *part.findChildren(QWidget)):
        widget.setToolTip("")
    if isinstance(part, QListWidget):
        part.item(0).setToolTip("")
    if isinstance(part, QTableWidget):
        part.model().setHeaderData(0, Qt.Orientation.Horizontal, "", Qt.ItemDataRole.ToolTipRole)
    assert len([words for words in looking.clipped(root) if NAME in words]) == 1
