"""What follows the training of the demo: the student is measured, exported and checked, as `distill demo` does it."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from app.open_project import OpenProject
from app.widgets.work_line import WorkLine
from backend.contract import demo
from backend.contract.files import files_folder
from backend.contract.project_file import ProjectFile


class Demo(QObject):
    """The demo of a window's project, if it has one. done: all of it is there, of the run with this id.

    What is left is read from the project, before each command anew: another window or the command line may have begun
    or done it. One command is done after the other where the window shows such work; one that fails or is cancelled is
    the last, in this window and in those to come.
    """

    done = Signal(int)

    def __init__(self, project: OpenProject, work: WorkLine, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._project, self._work = project, work
        self._begun: list[demo.Left] = []
        self._is_at_it = False
        self._is_over = True
        project.changed.connect(self._follow)
        work.changed.connect(self._go_on)

    def look(self) -> None:
        """There may be a demo, as when the project is opened and when a run is started."""
        self._project.ask(demo.left, self._hear, key="demo")

    def _follow(self) -> None:
        if not self._is_over and not self._is_at_it:
            self.look()

    def _hear(self, left: demo.Left | None) -> None:
        if self._is_at_it:
            return
        self._is_over = left is None or left in self._begun
        if left is None and self._begun:
            self.done.emit(self._begun.pop().run)
            self._begun.clear()
        elif left is not None and left.work is not None and not self._is_over and not self._work.is_busy:
            self._begin(left)

    def _begin(self, left: demo.Left) -> None:
        self._begun.append(left)
        self._is_at_it = True
        of = [str(self._project.path), str(left.run), "--checkpoint", "last"]
        if left.work == "evaluate":
            words = self.tr("Measuring the student and its teacher")
            self._work.begin(words, ["evaluate", *of], self._answered, "evaluate")
        else:
            place = files_folder(self._project.path) / "exports" / f"run-{left.run}"
            words = self.tr("Exporting and checking the student")
            self._work.begin(words, ["export", *of, "--out", str(place)], self._answered, "export-diffusers")

    def _answered(self, _: object) -> None:
        self._is_at_it = False

    def _go_on(self) -> None:
        """Work began where the window shows it, or came to an end; perhaps this demo's."""
        if self._work.is_busy:
            return
        if self._is_at_it:  # it ended without an answer
            self._is_at_it, self._is_over = False, True
            run = self._begun.pop().run
            self._begun.clear()

            def call_off(project: ProjectFile) -> None:
                demo.call_off(project, run)

            self._project.write(call_off)
        self._follow()
