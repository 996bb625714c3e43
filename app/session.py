"""What every screen of a window is given: the open project, the backend, and the person's view settings."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QSettings

from app.backend_process import Backend
from app.open_project import OpenProject


@dataclass(frozen=True)
class Session:
    """settings: view state alone (sizes, recent files, theme); what belongs to an experiment is in the project."""

    project: OpenProject
    backend: Backend
    settings: QSettings
