"""What a screen shows where it has nothing to show: what is missing, and a button that leads on."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QFrame, QPushButton, QVBoxLayout, QWidget

from app import look


class EmptyPage(QFrame):
    """A title, a sentence and a button, in the middle."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        column = QVBoxLayout(self)
        column.setContentsMargins(look.MARGIN, look.MARGIN, look.MARGIN, look.MARGIN)
        column.setSpacing(look.GAP)
        self.title = look.label("", "heading", wraps=True)
        self.words = look.label("", "body", "muted", wraps=True)
        self.button = QPushButton()
        self.button.hide()
        column.addStretch(1)
        for label in (self.title, self.words):
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            column.addWidget(label)
        column.addSpacing(look.GAP)
        column.addWidget(self.button, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(2)
        self._leads: Callable[[], object] = lambda: None
        self.button.clicked.connect(self._lead)

    def say(self, title: str, words: str, button: str = "", leads: Callable[[], object] = lambda: None) -> None:
        """What is missing and what to do; `leads` does it when the button is pressed."""
        self.title.setText(title)
        self.words.setText(words)
        self.button.setText(button)
        self.button.setVisible(bool(button))
        self._leads = leads

    @Slot()
    def _lead(self) -> None:
        self._leads()
