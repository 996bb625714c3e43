"""A student leaves the project."""

from __future__ import annotations

from app.screens import Screen


class ExportScreen(Screen):
    """A student leaves the project."""
