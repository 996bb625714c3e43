"""Follows one run of a project: asks for the rows after the last it has seen, and says what is new.

It does not know who shows it. Points of curves are not passed on, because there may be millions: a curve asks for the
columns that it can show whenever `metrics_arrived` says that there are more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from PySide6.QtCore import QObject, QTimer, Signal

from app.open_project import OpenProject
from app.reading import Question, Reading
from backend.contract.metrics import Pace
from backend.contract.project_file import ProjectFile
from backend.contract.rows import Attempt, Checkpoint, Command, LogEvent, Run, RunState, Sample

JUDGE_MILLISECONDS = 1000
"""How often a run that writes nothing is judged again: its process may have gone without a word."""
LEAST_MILLISECONDS = 150
"""No more often than this, however much is written."""


@dataclass(frozen=True)
class _Seen:
    """How far a run was read."""

    sample: int = 0
    event: int = 0
    metrics: int = -1


@dataclass(frozen=True)
class News:
    """What there is to say about a run since it was last asked; `pace` and `latest` are of the newest step."""

    run: Run
    state: RunState
    attempts: list[Attempt]
    checkpoints: list[Checkpoint]
    commands: list[Command]
    samples: list[Sample]
    events: list[LogEvent]
    metrics: int
    pace: Pace
    latest: Mapping[str, tuple[int, float]]


class RunWatcher(QObject):
    """The news of one run, as they come. `follow` begins; following another run begins from its first row.

    Each signal carries what `ProjectFile` returns. samples_arrived, events_arrived: only the new ones; the first after
    `follow` holds all. metrics_arrived: newest value by curve, name -> (step, value).
    """

    run_changed = Signal(object)
    state_changed = Signal(object)
    attempts_changed = Signal(object)
    checkpoints_changed = Signal(object)
    commands_changed = Signal(object)
    samples_arrived = Signal(object)
    events_arrived = Signal(object)
    metrics_arrived = Signal(object)
    pace_changed = Signal(object)

    def __init__(self, project: OpenProject, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._project = project
        self._run: int | None = None
        self._seen = _Seen()
        self._last: News | None = None
        self._reading = Reading(project, self._question, LEAST_MILLISECONDS, self)
        self._reading.found.connect(self._say)
        self._reading.missed.connect(project.troubled)
        self._clock = QTimer(self)
        self._clock.setInterval(JUDGE_MILLISECONDS)
        self._clock.timeout.connect(self._reading.look)

    @property
    def run(self) -> int | None:
        """The run that is followed."""
        return self._run

    @property
    def state(self) -> RunState | None:
        """What it was doing when last asked."""
        return self._last.state if self._last else None

    def follow(self, run: int | None) -> None:
        """Follow this run from its first row; None follows none."""
        self._run, self._seen, self._last = run, _Seen(), None
        if run is None:
            self._clock.stop()
            return
        self._clock.start()
        self._reading.look_at_another()

    def _question(self) -> Question | None:
        run, seen = self._run, self._seen
        return None if run is None else lambda project: _news(project, run, seen)

    def _say(self, news: News) -> None:
        if news.run.id != self._run:
            return
        before, self._last = self._last, news
        self._seen = _Seen(
            news.samples[-1].id if news.samples else self._seen.sample,
            news.events[-1].id if news.events else self._seen.event,
            news.metrics,
        )
        if before is None or news.run != before.run:
            self.run_changed.emit(news.run)
        if before is None or news.state != before.state:
            self.state_changed.emit(news.state)
        if before is None or news.attempts != before.attempts:
            self.attempts_changed.emit(news.attempts)
        if before is None or news.checkpoints != before.checkpoints:
            self.checkpoints_changed.emit(news.checkpoints)
        if before is None or news.commands != before.commands:
            self.commands_changed.emit(news.commands)
        if before is None or news.events:
            self.events_arrived.emit(news.events)
        if before is None or news.samples:
            self.samples_arrived.emit(news.samples)
        if before is None or news.metrics != before.metrics:
            self.metrics_arrived.emit(news.latest)
            self.pace_changed.emit(news.pace)


def _news(project: ProjectFile, run: int, seen: _Seen) -> News:
    cursor = project.metrics_cursor(run)
    return News(
        run=project.run(run),
        state=project.run_state(run),
        attempts=project.attempts(run),
        checkpoints=project.checkpoints(run),
        commands=project.commands(run),
        samples=project.samples_after(run, seen.sample),
        events=project.events_after(run, seen.event),
        metrics=cursor,
        pace=project.pace(run),
        latest=project.latest_metrics(run) if cursor != seen.metrics else {},
    )
