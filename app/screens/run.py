"""A run, live."""

from __future__ import annotations

from app.screens import Screen


class RunScreen(Screen):
    """A run, live."""
