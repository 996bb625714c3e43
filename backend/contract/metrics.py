"""The metrics of a project: every point ever recorded, as lines, and reduced to what a screen has room for.

A point belongs to a series and to the attempt that recorded it; nothing is overwritten by a later
attempt. The *line* of a series is what counts now: up to where a later attempt began, the earlier one;
from there on, the later. What an attempt recorded beyond that is superseded and can be asked for.

An overview is read from blocks of the `pyramid`, which grows in the points' own transaction.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from backend.contract.database import Database
from backend.contract.pyramid import BLOCK, END, Pyramid, Steps, Values, number, points_between, reduced
from backend.contract.rows import Series


@dataclass(frozen=True)
class MetricRow:
    """The metrics of one step.

    wall: seconds of training in this attempt so far. images, nfe: of the whole run so far. All three only
    grow; what is left out (a score made beside training) stands where the row before it stood.
    """

    step: int
    values: Mapping[str, float]
    wall: float = 0.0
    images: int = 0
    nfe: int = 0


@dataclass(frozen=True)
class Curve:
    """Points of one series in the order of their steps; three arrays of one length. NaN is a value."""

    steps: Steps
    values: Values
    attempts: Steps


@dataclass(frozen=True)
class NewPoints:
    """What was recorded after a cursor, by series name, and the cursor to ask with next."""

    cursor: int
    curves: Mapping[str, Curve]


@dataclass(frozen=True)
class Pace:
    """How fast a run goes. steps_per_second: over its last half minute of training, 0 before two reports.

    seconds: of training in the newest attempt. images, nfe: of the whole run so far.
    """

    steps_per_second: float = 0.0
    seconds: float = 0.0
    images: int = 0
    nfe: int = 0


@dataclass(frozen=True)
class Overview:
    """A series reduced to columns; arrays of one length, in the order of the steps.

    Every point of the range lies in a column: its step in [first, last], its value in [low, high].
    low and high are values that were recorded there; NaN only where nothing else was.
    """

    first: Steps
    last: Steps
    low: Values
    high: Values


class Metrics:
    """The metrics in one open project."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._series: dict[tuple[int, str], int] = {}
        self._pyramid = Pyramid(database)

    # Writing

    def record(self, run: int, attempt: int, rows: Sequence[MetricRow]) -> None:
        """Record the metrics of one or more steps, in the order of their steps, in one transaction."""
        if not rows:
            return
        rows = sorted(rows, key=lambda row: row.step)
        try:
            with self._db.write():
                lines: defaultdict[str, dict[int, float]] = defaultdict(dict)
                for row in rows:
                    step = row.step
                    for name, value in row.values.items():
                        lines[name][step] = value
                by_series = {self._series_id(run, name): points for name, points in lines.items()}
                self._db.insert(
                    "INSERT OR REPLACE INTO points (series, attempt, step, value) VALUES",
                    [(s, attempt, step, value) for s, points in by_series.items() for step, value in points.items()],
                )
                for series, points in by_series.items():
                    self._pyramid.append(series, attempt, points)
                self._pyramid.grow()
                self._db.run(
                    "INSERT INTO batches (run, attempt, first_step, last_step, first_wall, last_wall, images, nfe)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(run, attempt, rows[0].step, rows[-1].step),
                        *(rows[0].wall, max(row.wall for row in rows)),
                        *(max(row.images for row in rows), max(row.nfe for row in rows)),
                    ),
                )
                self._db.run(
                    "UPDATE attempts SET first_step = coalesce(first_step, ?),"
                    " last_step = max(coalesce(last_step, ?), ?) WHERE id = ?",
                    (rows[0].step, rows[-1].step, rows[-1].step, attempt),
                )
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        """After a failed transaction, what is remembered may be ahead of what is stored."""
        self._series.clear()
        self._pyramid.forget()

    def rebuild(self, run: int, *, only_dirty: bool = False) -> None:
        """Make the pyramids of a run again from its points."""
        try:
            self._pyramid.rebuild_of(run, only_dirty=only_dirty)
        except BaseException:
            self.forget()
            raise

    def _series_id(self, run: int, name: str) -> int:
        known = self._series.get((run, name))
        if known is None:
            self._db.run("INSERT OR IGNORE INTO series (run, name) VALUES (?, ?)", (run, name))
            found = self._db.first("SELECT id FROM series WHERE run = ? AND name = ?", (run, name))
            assert found is not None
            known = self._series[run, name] = int(found[0])
        return known

    # Reading

    def series(self, run: int) -> list[Series]:
        """The curves of a run, in the order in which they first appeared."""
        return [
            Series(*row) for row in self._db.rows("SELECT id, run, name FROM series WHERE run = ? ORDER BY id", (run,))
        ]

    def after(self, run: int, cursor: int) -> NewPoints:
        """Every point recorded after `cursor`; 0 for all. A point may come twice, never not at all."""
        batches = self._db.rows(
            "SELECT id, attempt, first_step, last_step FROM batches WHERE run = ? AND id > ? ORDER BY id",
            (run, cursor),
        )
        if not batches:
            return NewPoints(cursor, {})
        spans: list[list[int]] = []
        for _, attempt, first, last in batches:
            if spans and spans[-1][0] == attempt and first > spans[-1][2]:
                spans[-1][2] = last  # one read for what was recorded in a row
            else:
                spans.append([attempt, first, last])
        curves = {}
        for series in self.series(run):
            parts = [self._raw(series.id, *span) for span in spans]
            curve = _joined(parts)
            if len(curve.steps):
                curves[series.name] = curve
        return NewPoints(int(batches[-1][0]), curves)

    def latest(self, run: int) -> dict[str, tuple[int, float]]:
        """Name -> (step, value) at the end of each line."""
        found = {}
        for series in self.series(run):
            for attempt, low, high in reversed(self._spans(run, superseded=False)):
                row = self._db.first(
                    "SELECT step, value FROM points WHERE series = ? AND attempt = ? AND step BETWEEN ? AND ?"
                    " ORDER BY step DESC LIMIT 1",
                    (series.id, attempt, low, high),
                )
                if row is not None:
                    found[series.name] = (int(row[0]), number(row[1]))
                    break
        return found

    def latest_of_all(self, names: Collection[str] | None = None) -> dict[int, dict[str, float]]:
        """Run -> name -> value at the end of each line, of every run, with three queries. names: only these curves."""
        attempts: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for run, attempt, first in self._db.rows(
            "SELECT run, id, first_step FROM attempts WHERE first_step IS NOT NULL ORDER BY run, number"
        ):
            attempts[run].append((attempt, first))
        lines = {
            series: (run, name)
            for series, run, name in self._db.rows("SELECT id, run, name FROM series ORDER BY id")
            if run in attempts and (names is None or name in names)
        }
        wanted = []
        for series, (run, _) in lines.items():
            end = END
            for attempt, first in reversed(attempts[run]):  # the newest first, each up to where the next took over
                wanted.append((series, attempt, end - 1))
                end = min(end, first)
        found: defaultdict[int, dict[str, float]] = defaultdict(dict)
        for series, value in self._db.rows(
            "WITH wanted AS (SELECT value ->> 0 AS series, value ->> 1 AS attempt, value ->> 2 AS high"
            " FROM json_each(?)) SELECT points.series, points.value FROM wanted CROSS JOIN points"
            " ON points.series = wanted.series AND points.attempt = wanted.attempt AND points.step ="
            " (SELECT max(step) FROM points AS line WHERE line.series = wanted.series"
            " AND line.attempt = wanted.attempt AND line.step <= wanted.high)",
            (json.dumps(wanted),),
        ):
            run, name = lines[series]
            found[run].setdefault(name, number(value))
        return found

    def cursor(self, run: int) -> int:
        """The cursor that `after` would return now; it grows whenever something was recorded."""
        row = self._db.first("SELECT max(id) FROM batches WHERE run = ?", (run,))
        return int(row[0] or 0) if row else 0

    def pace(self, run: int, seconds: float = 30.0) -> Pace:
        """How fast the newest attempt goes, over its last `seconds` of training."""
        rows = self._db.rows(
            "SELECT last_step, last_wall, images, nfe FROM batches WHERE run = ? AND attempt ="
            " (SELECT attempt FROM batches WHERE run = ? ORDER BY id DESC LIMIT 1) ORDER BY id DESC LIMIT 256",
            (run, run),
        )
        if not rows:
            return Pace()
        step, wall, images, nfe = rows[0]
        recent = [row for row in rows if row[1] >= wall - seconds]
        steps, spent = step - recent[-1][0], wall - recent[-1][1]
        return Pace(steps / spent if spent > 0 else 0.0, float(wall), int(images), int(nfe))

    def last_step(self, run: int) -> int | None:
        """The newest step on the run's line."""
        row = self._db.first(
            "SELECT last_step FROM attempts WHERE run = ? AND last_step IS NOT NULL ORDER BY number DESC LIMIT 1",
            (run,),
        )
        return None if row is None else int(row[0])

    def points(self, series: Series, first: int = -END, last: int = END, *, superseded: bool = False) -> Curve:
        """The line of a series between two steps, both included; or what is superseded there."""
        return _joined(
            [
                self._raw(series.id, attempt, max(first, low), min(last, high))
                for attempt, low, high in self._spans(series.run, superseded)
            ]
        )

    def overview(
        self, series: Series, first: int = -END, last: int = END, pixels: int = 1000, *, superseded: bool = False
    ) -> Overview:
        """The line of a series between two steps in at most `pixels` columns, no extreme hidden."""
        parts = []
        for attempt, low, high in self._spans(series.run, superseded):
            parts += self._pyramid.blocks(series.id, attempt, max(first, low), min(last, high), pixels)
        blocks = np.concatenate(parts) if parts else np.empty(0, BLOCK)
        blocks = blocks[np.argsort(blocks["first"], kind="stable")]
        if len(blocks) > pixels:
            begin, span = int(blocks["first"][0]), int(blocks["last"].max() - blocks["first"][0]) + 1
            column = ((blocks["first"] - begin) / span * pixels).astype(np.int64)
            blocks = reduced(blocks, np.flatnonzero(np.diff(column, prepend=-1)))
        return Overview(blocks["first"], blocks["last"], blocks["low"], blocks["high"])

    def axis(self, run: int, kind: Literal["wall", "images", "nfe"], steps: Steps) -> Values:
        """Where steps of the run's line lie on another axis: seconds of training, images or network
        evaluations; between recorded batches in a straight line."""
        xs: list[float] = []
        ys: list[float] = []
        for attempt, _, high in self._spans(run, superseded=False):
            rows = np.array(
                self._db.rows(
                    "SELECT first_step, last_step, first_wall, last_wall, images, nfe FROM batches"
                    " WHERE attempt = ? AND first_step <= ? ORDER BY last_step",
                    (attempt, high),
                ),
                dtype=np.float64,
            ).reshape(-1, 6)
            if not len(rows):
                continue
            rows = np.maximum.accumulate(rows, axis=0)  # what was left out stands where it stood
            if kind == "wall":  # counted from each attempt's start; the line adds them up
                own_x, own_y = rows[:, :2].ravel(), np.maximum.accumulate(rows[:, 2:4].ravel())
                own_y = own_y + (ys[-1] if ys else 0.0)
            else:
                own_x, own_y = rows[:, 1], rows[:, 4 if kind == "images" else 5]
            inside = own_x <= high
            if not inside.all():  # this batch reaches beyond where a later attempt took over
                edge = float(np.interp(high, own_x, own_y))
                own_x, own_y = np.append(own_x[inside], high), np.append(own_y[inside], edge)
            xs += own_x.tolist()
            ys += own_y.tolist()
        if not xs:
            return np.full(len(steps), np.nan)
        return np.interp(steps, [0.0, *xs] if xs[0] > 0 else xs, [0.0, *ys] if xs[0] > 0 else ys)

    def _spans(self, run: int, superseded: bool) -> list[tuple[int, int, int]]:
        """(attempt, first step, last step) that make up the line, or what it leaves out."""
        attempts = self._db.rows(
            "SELECT id, first_step FROM attempts WHERE run = ? AND first_step IS NOT NULL ORDER BY number", (run,)
        )
        spans = []
        for index, (attempt, _) in enumerate(attempts):
            taken_over = min((first for _, first in attempts[index + 1 :]), default=END)
            spans.append((attempt, taken_over, END) if superseded else (attempt, -END, taken_over - 1))
        return [span for span in spans if span[1] < END]

    def _raw(self, series: int, attempt: int, first: int, last: int) -> Curve:
        steps, values = points_between(self._db, series, attempt, first, last)
        return Curve(steps, values, np.full(len(steps), attempt, np.int64))


def _joined(curves: Sequence[Curve]) -> Curve:
    """Several curves as one, by step and then by attempt."""
    if not curves:
        return Curve(np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))
    steps, values, attempts = (
        np.concatenate([getattr(curve, name) for curve in curves]) for name in ("steps", "values", "attempts")
    )
    order = np.lexsort((attempts, steps))
    return Curve(steps[order], values[order], attempts[order])
