"""What follows the training of the demo: the student is measured, exported and checked, as `distill demo` does it."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from app.open_project import OpenProject
from app.widgets.work_line import WorkLine
from backend.contract.files import files_folder


@dataclass(frozen=True)
class _Work:
    """One command, as `WorkLine.begin` takes it."""

    doing: str
    arguments: list[str]
    like: str


class Demo(QObject):
    """One demo of a window. done: all of it is there, of the run with this id.

    Its commands are done one after the other where the window shows such work; one that fails or is cancelled is the
    last.
    """

    done = Signal(int)

    def __init__(self, project: OpenProject, work: WorkLine, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._path, self._work = project.path, work
        self._left: list[_Work] = []
        self._is_at_it = False
        work.changed.connect(self._go_on)

    def finish(self, run: int) -> None:
        """The run is trained: go on with it."""
        place = files_folder(self._path) / "exports" / f"run-{run}"
        of = [str(self._path), str(run), "--checkpoint", "last"]
        self._left = [
            _Work(self.tr("Measuring the student and its teacher"), ["evaluate", *of], "evaluate"),
            _Work(
                self.tr("Exporting and checking the student"), ["export", *of, "--out", str(place)], "export-diffusers"
            ),
        ]
        self._run = run
        self._go_on()

    def _go_on(self) -> None:
        if self._work.is_busy:
            return
        if self._is_at_it:  # it ended without an answer
            self._is_at_it = False
            self._left.clear()
        if self._left:
            work = self._left.pop(0)
            self._is_at_it = True
            self._work.begin(work.doing, work.arguments, self._answered, work.like)

    def _answered(self, _: object) -> None:
        self._is_at_it = False
        if not self._left:
            self.done.emit(self._run)
