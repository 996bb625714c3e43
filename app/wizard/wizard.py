"""The wizard: from a teacher to a run that has started."""

from __future__ import annotations

from app.screens import Screen


class Wizard(Screen):
    """The wizard: from a teacher to a run that has started."""
