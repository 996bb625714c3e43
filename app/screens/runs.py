"""All runs of the project."""

from __future__ import annotations

from app.screens import Screen


class RunsScreen(Screen):
    """All runs of the project."""
