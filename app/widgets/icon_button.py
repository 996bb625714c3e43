"""A button with a line icon that keeps the colours of the scheme when these change."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QToolButton, QWidget

from app import look

IN_FULL = "in_full"
"""The property of an action that says what it does where nothing around it does."""


class IconButton(QToolButton):
    """words: what it does; its text, or its tool tip and accessible name where the icon stands alone.

    gave_way: it had the focus, and can no longer be pressed."""

    gave_way = Signal()

    def __init__(
        self, icon: str, words: str, *, alone: bool = False, quiet: bool = False, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._name = icon
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setIconSize(QSize(16, 16))
        self.setAccessibleName(words)
        self.setToolTip(words)
        if alone:
            self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)
        else:
            self.setText(_apart(words))
            self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        if quiet:
            self.setProperty("quiet", True)
        self.setIcon(look.icon(icon))

    def show_icon(self, icon: str) -> None:
        """Another icon from now on."""
        self._name = icon
        self.setIcon(look.icon(icon))

    def say(self, words: str) -> None:
        """Another name from now on."""
        if self.toolButtonStyle() != Qt.ToolButtonStyle.ToolButtonIconOnly:
            self.setText(_apart(words))
        self.setAccessibleName(words)
        self.setToolTip(words)

    def follow(self, action: QAction) -> None:
        """Do what an action does, under its name, whenever it can be done."""

        def show() -> None:
            keys = action.shortcut().toString(action.shortcut().SequenceFormat.NativeText)
            self.say(action.text())
            self.setToolTip(f"{action.text()} ({keys})" if keys else action.text())
            had_focus = self.hasFocus()
            self.setEnabled(action.isEnabled())
            look.set_shown(self, action.isVisible())  # shown before it is in a row, it would be a window of its own
            if had_focus and not (action.isEnabled() and action.isVisible()):
                self.gave_way.emit()

        action.changed.connect(show)
        self.clicked.connect(action.trigger)
        show()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self.setIcon(look.icon(self._name))


def _apart(words: str) -> str:
    """Tool buttons set their words too close to the icon."""
    return f" {words}"


def action(words: str, deed: Callable[[], object], shortcut: str = "", in_full: str = "") -> QAction:
    """Something a person may want by name or by shortcut, while the screen that it is added to has the focus.

    in_full: what it does in words that say it by themselves, for a list of all there is; empty where `words` do.
    """
    made = QAction(words)
    made.setProperty(IN_FULL, in_full)
    made.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
    made.triggered.connect(lambda _=False: deed())
    if shortcut:
        made.setShortcut(shortcut)
    return made
