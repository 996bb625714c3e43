"""The names of the screens at the window's left edge: where a person is, and the way elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtWidgets import QButtonGroup, QFrame, QToolButton, QVBoxLayout, QWidget

from app import look

ICON = QSize(20, 20)


@dataclass(frozen=True)
class Place:
    """A screen before it is made. place: its module and class."""

    key: str
    words: str
    icon: str
    place: str
    shortcut: str


class Rail(QFrame):
    """A button for each place, of which one at most is chosen. wanted: the key of a place that was pressed."""

    wanted = Signal(str)

    def __init__(self, places: Iterable[Place], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("rail")
        self._icons: dict[str, str] = {}
        self.buttons: dict[str, QToolButton] = {}
        self._group = QButtonGroup(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(look.GAP, look.MARGIN, look.GAP, look.MARGIN)
        column.setSpacing(look.SPACE)
        for place in places:
            self._icons[place.key] = place.icon
            button = self.buttons[place.key] = self._button(place)
            self._group.addButton(button)
            column.addWidget(button)
        column.addStretch(1)

    def _button(self, place: Place) -> QToolButton:
        button = QToolButton()
        button.setText(place.words)
        button.setIcon(look.icon(place.icon))
        button.setIconSize(ICON)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        button.setCheckable(True)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.setAccessibleName(place.words)
        button.setToolTip(f"{place.words} ({place.shortcut})")
        button.setSizePolicy(button.sizePolicy().Policy.Expanding, button.sizePolicy().Policy.Fixed)
        button.clicked.connect(lambda: self.wanted.emit(place.key))
        return button

    @property
    def chosen(self) -> str | None:
        """The place that is shown as the one where a person is."""
        return next((key for key, button in self.buttons.items() if button.isChecked()), None)

    def choose(self, key: str | None) -> None:
        """Show this place as the one where a person is; None for nowhere."""
        if key is not None:
            self.buttons[key].setChecked(True)
            return
        self._group.setExclusive(False)  # or one would stay chosen
        for button in self.buttons.values():
            button.setChecked(False)
        self._group.setExclusive(True)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            for key, button in self.buttons.items():
                button.setIcon(look.icon(self._icons[key]))
