"""Teacher and students side by side."""

from __future__ import annotations

from app.screens import Screen


class CompareScreen(Screen):
    """Teacher and students side by side."""
