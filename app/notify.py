"""Tells a person who looks elsewhere that something has happened."""

from __future__ import annotations

from PySide6.QtWidgets import QApplication, QSystemTrayIcon, QWidget

SHOWN_MILLISECONDS = 10_000

_icons: list[QSystemTrayIcon] = []


def notify(window: QWidget, title: str, words: str) -> None:
    """A notification of the desktop where it has a place for them; and the window asks for attention."""
    QApplication.alert(window)
    if not QSystemTrayIcon.isSystemTrayAvailable():
        return
    icon = QSystemTrayIcon(window.windowIcon(), window)
    icon.show()
    icon.showMessage(title, words, window.windowIcon(), SHOWN_MILLISECONDS)
    icon.messageClicked.connect(window.activateWindow)
    while _icons:  # the one before has been seen, or never will be
        _icons.pop().hide()
    _icons.append(icon)
