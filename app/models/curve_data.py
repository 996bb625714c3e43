"""What a plot asks a project: the columns of some series in a range of its x axis. Runs in the reader's thread.

The range in sight is asked for by itself, so that no column of it holds a point from outside; one width on either side
comes along for the next move. It knows no widgets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.models import band
from app.models.band import Bands, Reference
from app.models.curve_view import NOTHING, Axis, Columns, Span, Values, first_choice
from backend.contract.metrics import Overview
from backend.contract.project_file import ProjectFile
from backend.contract.pyramid import END
from backend.contract.rows import Series

TABLE = 1024
"""Places at which the steps of an answer are converted to another axis; between them it is a straight line."""


@dataclass(frozen=True)
class Question:
    """chosen: names of the series to draw. known: names that a person could choose already; the answer chooses among
    the others. span: None for the whole; where it follows, it is moved to the end of what there is. reference: whose
    bands are wanted; those of the series in `held` are there already, and made again with the facts alone."""

    runs: tuple[int, ...]
    axis: Axis
    chosen: frozenset[str]
    known: frozenset[str]
    span: Span | None
    pixels: int
    facts: bool = True
    follows: bool = False
    reference: Reference | None = None
    held: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Fact:
    """A whole series in a few figures. last_step: of its line; old_step: of anything superseded, if later.
    last: its newest (step, value)."""

    first_step: int
    last_step: int
    old_step: int
    low: float
    last: tuple[int, float]


@dataclass(frozen=True)
class RunCurves:
    """The curves of one run. steps, x: where its steps lie on the axis. facts: of every series, if asked for."""

    run: int
    name: str
    facts: Mapping[str, Fact]
    lines: Mapping[str, Columns]
    superseded: Mapping[str, Columns]
    steps: Values
    x: Values

    def step_at(self, x: float) -> float:
        return float(np.interp(x, self.x, self.steps)) if len(self.x) else x


@dataclass(frozen=True)
class Answer:
    """names: of every series there is, in the order in which they were first recorded, those of the first run first.
    whole: where all that was asked for lies on the x axis; end: where the newest of it does. span: what the lines are
    exact for. bands: of the chosen series, over the reference's whole length, but for those that were held."""

    question: Question
    runs: tuple[RunCurves, ...]
    chosen: frozenset[str]
    names: tuple[str, ...]
    whole: Span | None
    end: float
    span: Span | None
    bands: Bands | None = None

    def suffices(self, span: Span) -> bool:
        """Whether what was read covers a range, in columns that are not much too wide."""
        held = self.span
        if held is None:
            return False
        beside = 0.0 if self.question.span is None else held.width
        return (
            span.low >= held.low - beside and span.high <= held.high + beside and span.width > held.width / 4
        ) or span == self.whole


def look_up(project: ProjectFile, question: Question) -> Answer:
    """Answer a question about curves."""
    series = {run: project.series(run) for run in question.runs}
    names = tuple(dict.fromkeys(one.name for found in series.values() for one in found))
    chosen = question.chosen | first_choice(names, question.known)
    facts = {run: _facts(project, run, found, chosen, question.facts) for run, found in series.items()}
    # First where every run lies, then what to ask of each.
    tables = {run: _table(project, run, question.axis, known, chosen) for run, known in facts.items()}
    ends = [(x[0], x[-1]) for _, x in tables.values() if len(x) and np.isfinite(x).all()]
    whole = Span(float(min(e[0] for e in ends)), float(max(e[1] for e in ends))) if ends else None
    if whole is not None and whole.width <= 0:
        whole = Span(whole.low - 0.5, whole.high + 0.5)
    end = max((_end(question.axis, facts[run], chosen, *tables[run]) for run in question.runs), default=0.0)
    span = question.span or whole
    if question.follows and question.span is not None:
        span = Span(end - question.span.width, end)
    runs = []
    for run, found in series.items():
        steps, x = tables[run]
        lines: dict[str, Columns] = {}
        old: dict[str, Columns] = {}
        if span is not None and len(x):
            if question.axis != "step":
                steps, x = _refined(project, run, question.axis, steps, x, span)
            is_branched = len(project.attempts(run)) > 1
            for one in found:
                if one.name in chosen:
                    lines[one.name] = _columns(project, one, question, steps, x, span, False)
                    if is_branched:
                        columns = _columns(project, one, question, steps, x, span, True)
                        if len(columns.first):
                            old[one.name] = columns
        runs.append(RunCurves(run, project.run(run).name, facts[run], lines, old, steps, x))
    bands = None
    if question.reference is not None:
        bands = band.read(project, question.reference, chosen if question.facts else chosen - question.held)
    return Answer(question, tuple(runs), chosen, names, whole, end, span, bands)


def _facts(
    project: ProjectFile, run: int, series: Sequence[Series], chosen: frozenset[str], every: bool
) -> dict[str, Fact]:
    latest = project.latest_metrics(run) if every else {}
    is_branched = len(project.attempts(run)) > 1
    facts = {}
    for one in series:
        if every or one.name in chosen:
            column = project.overview(one, pixels=1)
            if len(column.first):
                first, last = int(column.first[0]), int(column.last[-1])
                low = float(column.low[0])
                old = project.overview(one, pixels=1, superseded=True).last if is_branched else column.last
                newest = latest.get(one.name, (last, float("nan")))
                facts[one.name] = Fact(first, last, max([last, *old.tolist()]), low, newest)
    return facts


def _table(
    project: ProjectFile, run: int, axis: Axis, facts: Mapping[str, Fact], chosen: frozenset[str]
) -> tuple[Values, Values]:
    """Some steps of a run, the first and last of what is shown among them, and where they lie on the axis."""
    known = [fact for name, fact in facts.items() if name in chosen]
    if not known:
        return np.empty(0), np.empty(0)
    # Only steps have a place beyond the line's end: nobody counted images there that still count.
    first = min(f.first_step for f in known)
    last = max(f.old_step if axis == "step" else f.last_step for f in known)
    steps = np.unique(np.linspace(first, last, TABLE).round()) if axis != "step" else np.array([first, last], float)
    return steps, _on_axis(project, run, axis, steps)


def _end(axis: Axis, facts: Mapping[str, Fact], chosen: frozenset[str], steps: Values, x: Values) -> float:
    """Where the newest step of a run lies."""
    newest = max((fact.last_step for name, fact in facts.items() if name in chosen), default=0)
    return float(np.interp(newest, steps, x)) if len(x) else -np.inf


def _refined(project: ProjectFile, run: int, axis: Axis, steps: Values, x: Values, span: Span) -> tuple[Values, Values]:
    """The same with more places in and around a range."""
    low, high = np.interp([span.low - span.width, span.high + span.width], x, steps)
    steps = np.union1d(steps, np.linspace(low, high, TABLE).round())
    return steps, _on_axis(project, run, axis, steps)


def _on_axis(project: ProjectFile, run: int, axis: Axis, steps: Values) -> Values:
    if axis == "step":
        return steps.astype(np.float64)
    found: Values = np.maximum.accumulate(project.axis(run, axis, steps.astype(np.int64)))
    return found


def _columns(
    project: ProjectFile, series: Series, question: Question, steps: Values, x: Values, span: Span, superseded: bool
) -> Columns:
    if question.axis == "step":
        low, high = int(np.ceil(span.low)), int(np.floor(span.high))
    else:
        # Where the axis stands still, all the steps that stand there are meant.
        low = int(np.ceil(np.interp(span.low, x, steps))) if span.low > x[0] else int(steps[0])
        high = int(np.floor(np.interp(span.high, x, steps))) if span.high < x[-1] else int(steps[-1])
    parts = [project.overview(series, low, high, question.pixels, superseded=superseded)]
    if question.span is not None:
        beside = max(high - low, 1)
        left, right = ((low - beside, low - 1), (-END, low - 1)), ((high + 1, high + beside), (high + 1, END))
        for place, (near, far) in ((0, left), (2, right)):
            part = project.overview(series, *near, question.pixels, superseded=superseded)
            if not len(part.first):  # sparse: where the line comes from lies farther away
                part = project.overview(series, *far, question.pixels, superseded=superseded)
            parts.insert(place, part)
    column = parts[len(parts) // 2]
    found = _joined(parts, steps, x, question.axis)
    wide = float(np.median(column.last - column.first)) + 1 if len(column.first) else 1.0
    if superseded and len(found.first):  # several attempts lie on top of each other
        order = np.argsort(found.x, kind="stable")
        found = Columns(found.first[order], found.last[order], found.low[order], found.high[order])
    return Columns(found.first, found.last, found.low, found.high, wide)


def _joined(parts: Iterable[Overview], steps: Values, x: Values, axis: Axis) -> Columns:
    columns = [part for part in parts if len(part.first)]
    if not columns:
        return NOTHING
    first, last, low, high = (np.concatenate([getattr(c, name) for c in columns]) for name in _FIELDS)
    if axis == "step":
        return Columns(first.astype(np.float64), last.astype(np.float64), low, high)
    return Columns(np.interp(first, steps, x), np.interp(last, steps, x), low, high)


_FIELDS = ("first", "last", "low", "high")
