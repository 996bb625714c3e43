"""A card that can be chosen: a radio button with what belongs to the choice, chosen by a click anywhere on it."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QFrame, QRadioButton, QSizePolicy, QVBoxLayout, QWidget

from app import look


class ChoiceCard(QFrame):
    """radio: the choice itself, for a button group. content: where the rest goes."""

    def __init__(self, title: str, words: str = "") -> None:
        super().__init__()
        self.setProperty("card", True)
        self.content = QVBoxLayout(self)
        self.content.setContentsMargins(look.MARGIN, look.GAP + look.SPACE, look.MARGIN, look.GAP + look.SPACE)
        self.content.setSpacing(look.SPACE)
        self.radio = QRadioButton(title)
        self.radio.setFont(look.font("strong"))
        self.radio.setAccessibleName(title)
        self.radio.setAccessibleDescription(words)
        self.radio.toggled.connect(self._show_chosen)
        self.content.addWidget(self.radio)
        self.words = look.label(words, "body", "muted", wraps=True)
        self.content.addWidget(self.words)
        self.words.setVisible(bool(words))  # in the card by now: shown before, it would be a window of its own
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)

    def say(self, words: str) -> None:
        """Other words about the choice."""
        self.words.setText(words)
        self.words.setVisible(bool(words))
        self.radio.setAccessibleDescription(words)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.radio.isEnabled():
            self.radio.setFocus(Qt.FocusReason.MouseFocusReason)
            self.radio.click()
        super().mousePressEvent(event)

    def minimumSizeHint(self) -> QSize:
        return QSize(40 * look.SPACE, super().minimumSizeHint().height())

    def _show_chosen(self, on: bool) -> None:
        group = self.radio.group()
        for radio in group.buttons() if on and group is not None else []:  # Tab goes to what is chosen, arrows beyond
            radio.setFocusPolicy(Qt.FocusPolicy.StrongFocus if radio is self.radio else Qt.FocusPolicy.ClickFocus)
        self.setProperty("chosen", on)
        for widget in (self, *self.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly)):
            look.dress_again(widget)
