"""What the project file holds, as plain values: one frozen dataclass for each kind of row.

Times are Unix times in seconds. `run` and `attempt` are ids of the project file. The fields of a
dataclass are the columns of its table; `columns` and `read` map between the two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any, Literal, TypeVar

Outcome = Literal["finished", "stopped", "failed"]
VIEWS = ("student_view", "noised_view", "teacher_view", "fake_score_view")
"""Kinds of samples that show what training sees: one picture holds a row of samples, `position` is that of the noise
level and `sampler` says which, {"t": 0.6}. The last is there where the method has such a network."""
Verb = Literal["stop", "pause", "resume", "sample", "save", "set"]


@dataclass(frozen=True)
class Run:
    """One training of one recipe, as it was asked for.

    recipe: as `Recipe.from_values` reads it. declaration: JSON Schema of the method's settings at that
    time. consumes: what it takes from other runs, name -> hash. queue_position: None when it does not
    wait to be started.
    """

    id: int
    name: str
    kind: str
    recipe: dict[str, Any]
    recipe_hash: str
    declaration: dict[str, Any]
    created: float
    notes: str
    tags: tuple[str, ...]
    queue_position: int | None
    teacher_hash: str | None
    data_hash: str | None
    consumes: dict[str, str]


@dataclass(frozen=True)
class Process:
    """One operating system process, told apart from a later one with the same pid.

    start: when it started, on a clock of that machine that never jumps where there is one.
    boot: which start of the machine it belongs to.
    """

    pid: int
    start: float
    boot: str
    host: str


@dataclass(frozen=True)
class Attempt:
    """One life of a run's process.

    process: None until it is known. launched: when it was asked for. started: when the worker itself
    took over, None before. first_step: the first step it took, None before it. last_step: the newest
    step it reported. ended, outcome: None while it runs, and for ever when it died without a word.
    log: relative to the project's folder of files.
    """

    id: int
    run: int
    number: int
    process: Process | None
    launched: float
    started: float | None
    heartbeat: float | None
    first_step: int | None
    last_step: int | None
    ended: float | None
    outcome: Outcome | None
    reason: str
    traceback: str
    log: str | None


@dataclass(frozen=True)
class Sample:
    """One picture (or other sample) of a grid; its bytes come from `ProjectFile.image`.

    kind: "preview", "teacher", ..., or one of `VIEWS`. position: its place in the grid, from 0. label: class or prompt.
    sampler: what draws it again. scores: name -> figure. media: MIME type of its bytes.
    path: where it lies when it is not inside the database.
    """

    id: int
    run: int
    attempt: int | None
    step: int
    kind: str
    position: int
    label: str
    seed: int | None
    sampler: dict[str, Any]
    scores: dict[str, float]
    media: str
    path: PurePosixPath | None
    sha256: str


@dataclass(frozen=True)
class Checkpoint:
    """A run's whole state at a step, on disk. kept: False once its file was given up."""

    id: int
    run: int
    attempt: int
    step: int
    path: PurePosixPath
    sha256: str
    bytes: int
    is_best: bool
    kept: bool
    meta: dict[str, Any]


@dataclass(frozen=True)
class LogEvent:
    """One line of what happened, for a person. kind: "info", "warning", "error", ...

    "health": a sign changed; data is {"sign", "level": "good" | "warning" | "bad", "reading"}. "set": settings were
    changed while the run went on; data is name -> value. "demo": what is to follow the training; see `demo`. An event
    by which an attempt broke down may say in "go_back" at which step the last good checkpoint is.
    """

    id: int
    run: int
    attempt: int | None
    step: int | None
    time: float
    kind: str
    text: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Command:
    """A request to a run. It is open until `finished`; a pause stays open while the run is paused."""

    id: int
    run: int
    verb: Verb
    arguments: dict[str, Any]
    issued: float
    acknowledged: float | None
    finished: float | None
    result: str | None


@dataclass(frozen=True)
class Evaluation:
    """Figures of a student. recipe: how they were made (feature network, count, seed, nfe, ...)."""

    id: int
    run: int
    step: int
    time: float
    recipe: dict[str, Any]
    figures: dict[str, Any]


@dataclass(frozen=True)
class Export:
    """A student that left the project. verification: what loading it in a fresh process showed."""

    id: int
    run: int
    time: float
    format: str
    path: str
    sha256: str
    verification: dict[str, Any]


@dataclass(frozen=True)
class Series:
    """One curve of a run."""

    id: int
    run: int
    name: str


@dataclass(frozen=True)
class RunState:
    """What a run is doing, judged at the moment of asking.

    reason: one sentence; empty where there is nothing to add. attempt: id of the newest attempt.
    step: the newest step on the run's line, None before the first.
    """

    state: Literal["queued", "starting", "running", "paused", "stopping", "stopped", "finished", "failed", "lost"]
    reason: str = ""
    attempt: int | None = None
    step: int | None = None

    @property
    def is_live(self) -> bool:
        """Whether a process works on the run."""
        return self.state in ("starting", "running", "paused", "stopping")


@dataclass(frozen=True)
class RunRow:
    """A run in a list of all runs: what `ProjectFile.run_rows` says of each.

    steps: how many it was asked for. score, score_step: the best-scored checkpoint ever made, smaller being better, and
    score_name what it measures. latest: name of a curve -> its value at the end of the line. seconds: of training; of
    attempts before the newest, from their start to their last sign of life. nfe: network evaluations spent on training.
    figures: the newest evaluation of the student, with its recipe in `measured`. exports: how many were made.
    """

    id: int
    name: str
    method: str
    teacher: str
    created: float
    tags: tuple[str, ...]
    has_notes: bool
    queue_position: int | None
    state: RunState
    steps: int
    score: float | None = None
    score_step: int | None = None
    score_name: str = ""
    latest: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    nfe: int = 0
    figures: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    exports: int = 0


Row = TypeVar("Row")

_JSON = {
    *("recipe", "declaration", "tags", "consumes", "sampler", "scores", "meta", "data", "arguments"),
    *("figures", "verification"),
}
_PROCESS = ("pid", "process_start", "boot", "host")


def columns(kind: type[Any]) -> str:
    """The columns that `read` wants for a kind of row, in its order."""
    names: list[str] = []
    for column in fields(kind):
        names += _PROCESS if column.name == "process" else (column.name,)
    return ", ".join(names)


def read(kind: type[Row], row: Sequence[Any]) -> Row:
    """A row of the database as the dataclass `kind`."""
    values = dict(zip(columns(kind).split(", "), row, strict=True))
    for name in _JSON & values.keys():
        values[name] = json.loads(values[name])
    if "process_start" in values:
        process = [values.pop(name) for name in _PROCESS]
        values["process"] = Process(*process) if process[0] is not None else None
    if "tags" in values:
        values["tags"] = tuple(values["tags"])
    if kind in (Sample, Checkpoint) and values["path"] is not None:
        values["path"] = PurePosixPath(values["path"])
    for name in {"is_best", "kept"} & values.keys():
        values[name] = bool(values[name])
    return kind(**values)
