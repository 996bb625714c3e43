"""What a person chose once in the window, and finds again at the next start."""

from __future__ import annotations

from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QTabWidget


def tab(settings: QSettings, key: str, tabs: QTabWidget) -> None:
    """Show the tab that was chosen last, and keep what is chosen from now on."""
    kept = settings.value(key, tabs.currentIndex(), int)
    assert isinstance(kept, int)
    tabs.setCurrentIndex(kept)
    tabs.currentChanged.connect(lambda index: settings.setValue(key, index))
