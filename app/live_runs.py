"""The runs of a project that have a process now, and the moment one of them ends."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

from app.open_project import OpenProject
from backend.contract.project_file import ProjectFile
from backend.contract.rows import Run, RunState

JUDGE_MILLISECONDS = 1000

Live = list[tuple[Run, RunState]]


class LiveRuns(QObject):
    """changed: the runs in progress with their states, oldest first, or what waits. ended: one that was among them and
    is not now."""

    changed = Signal(object)
    ended = Signal(object, object)

    def __init__(self, project: OpenProject, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._project = project
        self.runs: Live = []
        self.steps: dict[int, int] = {}
        """How long each of them is to train, as it stands now."""
        self.waiting: list[Run] = []
        """Those of a queue that stands still: nothing runs, and nothing will start them."""
        self._clock = QTimer(self)
        self._clock.setInterval(JUDGE_MILLISECONDS)
        self._clock.timeout.connect(self._look)
        self._clock.start()
        self._look()

    def close(self) -> None:
        """Look no more."""
        self._clock.stop()

    def _look(self) -> None:
        before = [run.id for run, _ in self.runs]
        self._project.ask(lambda project: _live(project, before), self._say, key="live-runs")

    def _say(self, found: tuple[Live, dict[int, int], Live, list[Run]]) -> None:
        live, steps, ended, waiting = found
        if (live, steps, waiting) != (self.runs, self.steps, self.waiting):
            self.runs, self.steps, self.waiting = live, steps, waiting
            self.changed.emit(live)
        for run, state in ended:
            self.ended.emit(run, state)


def _live(project: ProjectFile, before: list[int]) -> tuple[Live, dict[int, int], Live, list[Run]]:
    live = project.live_runs()
    steps = {run.id: project.training(run.id).steps for run, _ in live}
    ids = {run.id for run, _ in live}
    ended = [(project.run(run), project.run_state(run)) for run in before if run not in ids]
    return live, steps, ended, project.stalled_queue()
