"""A whole copy of a project, database, weights and pictures, made in a process of its own."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.open_project import OpenProject
from app.widgets.work_line import WorkLine
from backend.contract.project_file import remove_unfinished_copies


class Copying(QObject):
    """The copies of one window, one at a time. said: one is made. refused: why it was not begun."""

    said = Signal(str)
    refused = Signal(str)

    def __init__(self, work: WorkLine, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._work = work
        self._project: OpenProject | None = None
        self._target: Path | None = None
        work.cancelled.connect(self._clean_up)

    def begin(self, project: OpenProject, target: Path) -> None:
        """Copy to `target`, which must not exist."""
        if self._work.is_busy:
            self.refused.emit(self.tr("Something else is being done; wait until it is, or cancel it below."))
            return
        self._project, self._target = project, target
        words, arguments = self.tr("Copying to {0}").format(target.name), ["copy", str(project.path), str(target)]
        self._work.begin(words, arguments, lambda _: self._done(target), "copy")

    def _done(self, target: Path) -> None:
        self._target = None
        self.said.emit(self.tr("Saved a copy as {0}.").format(target.name))

    def _clean_up(self) -> None:
        """Of one that was cancelled, in the thread that reads, so that the window does not wait."""
        target, self._target = self._target, None
        if self._project is not None and target is not None:
            self._project.ask(lambda _: remove_unfinished_copies(target), lambda _: None)

    def abandon(self) -> None:
        """Leave nothing of one whose process has just been ended, as the window is closed."""
        if self._target is not None:
            remove_unfinished_copies(self._target)
