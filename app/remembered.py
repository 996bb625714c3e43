"""What a person chose once in the window, and finds again at the next start."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QSettings
from PySide6.QtWidgets import QSplitter, QTabWidget


def tab(settings: QSettings, key: str, tabs: QTabWidget) -> None:
    """Show the tab that was chosen last, and keep what is chosen from now on."""
    kept = settings.value(key, tabs.currentIndex(), int)
    assert isinstance(kept, int)
    tabs.setCurrentIndex(kept)
    tabs.currentChanged.connect(lambda index: settings.setValue(key, index))


def shares(settings: QSettings, key: str, splitter: QSplitter) -> None:
    """Give each part the room that it had last, and keep what a person gives it from now on."""
    kept = settings.value(key)
    if isinstance(kept, QByteArray):
        splitter.restoreState(kept)
    splitter.splitterMoved.connect(lambda *_: settings.setValue(key, splitter.saveState()))
