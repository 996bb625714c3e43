"""The pyramid of a project's points: for any zoom, blocks of them that together hide no extreme.

It holds, for every 8, 64, 512, ... consecutive points of one series and attempt, their first and last step and their
lowest and highest value, so that an overview costs O(pixels). It grows in the points' own transaction whenever enough
of them wait (the few that it lacks are read as points), and can be rebuilt from them at any time. It knows no lines:
which attempt counts where is the business of `metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.contract.database import Database

Steps = NDArray[np.int64]
Values = NDArray[np.float64]

BRANCHING = 8
CHUNK_BLOCKS = 64
"""Blocks in one row of the pyramid: 2 kB."""
GROW_POINTS = 512
"""Points of a series that wait until its pyramid grows; few at a time would cost as much as recording them."""
BLOCK = np.dtype([("first", "<i8"), ("last", "<i8"), ("low", "<f8"), ("high", "<f8")])
END = 2**62
"""Beyond every step."""


@dataclass
class _Growing:
    """The unfinished edge of one pyramid: points it has yet to take in, and, by level, what is not yet a whole
    block or a whole chunk."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    points: int = 0
    first_step: int = 0
    last_step: int = -END
    pending: list[NDArray[np.void]] = field(default_factory=list)
    chunks: list[NDArray[np.void]] = field(default_factory=list)

    @property
    def newest(self) -> int:
        """The last step, taken in or waiting."""
        return self.steps[-1] if self.steps else self.last_step

    @property
    def is_due(self) -> bool:
        return len(self.steps) >= GROW_POINTS

    def take_in(self) -> Iterator[tuple[int, NDArray[np.void]]]:
        """Take in the points that wait and yield the (level, chunk) rows that they change."""
        blocks = _as_blocks(self.steps, self.values)
        self.steps, self.values = [], []
        if not self.points:
            self.first_step = int(blocks["first"][0])
        self.points += len(blocks)
        self.last_step = int(blocks["last"][-1])
        level = 0
        while True:
            if level == len(self.pending):
                self.pending.append(np.empty(0, BLOCK))
                self.chunks.append(np.empty(0, BLOCK))
            waiting = _end_to_end(self.pending[level], blocks)
            whole = len(waiting) // BRANCHING * BRANCHING
            self.pending[level] = waiting[whole:]
            if not whole:
                return
            blocks = reduced(waiting[:whole], np.arange(0, whole, BRANCHING))
            chunk = _end_to_end(self.chunks[level], blocks)
            for start in range(0, len(chunk), CHUNK_BLOCKS):
                yield level + 1, chunk[start : start + CHUNK_BLOCKS]
            self.chunks[level] = chunk[len(chunk) // CHUNK_BLOCKS * CHUNK_BLOCKS :]
            level += 1


class Pyramid:
    """The pyramids of every series and attempt in one open project. What changes them is called in a transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._growing: dict[tuple[int, int], _Growing] = {}

    # Writing

    def forget(self) -> None:
        """After a failed transaction, what is remembered may be ahead of what is stored."""
        self._growing.clear()

    def append(self, series: int, attempt: int, points: dict[int, float]) -> None:
        """Let the pyramid know of points that were stored."""
        growing = self._growing.get((series, attempt))
        if growing is None:
            state = self._db.first(
                "SELECT dirty FROM pyramid_states WHERE series = ? AND attempt = ?", (series, attempt)
            )
            # New, written by an earlier connection, or forgotten after a failure: the points themselves are right.
            if state is None or not state[0]:
                self._rebuild(series, attempt)
            return
        if next(iter(points)) <= growing.newest:
            # A step again, or one from the past: the blocks no longer tell the truth.
            del self._growing[series, attempt]
            self._db.run("UPDATE pyramid_states SET dirty = 1 WHERE series = ? AND attempt = ?", (series, attempt))
            return
        growing.steps += points
        growing.values += points.values()

    def grow(self) -> None:
        """Take in the points that wait, of every series of which enough do."""
        self._grow({pair: growing for pair, growing in self._growing.items() if growing.is_due})

    def _grow(self, due: Mapping[tuple[int, int], _Growing]) -> None:
        self._db.many(
            "INSERT OR REPLACE INTO pyramid (series, attempt, level, first_step, last_step, blocks)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [
                (*pair, level, int(chunk["first"][0]), int(chunk["last"][-1]), chunk.tobytes())
                for pair, growing in due.items()
                for level, chunk in growing.take_in()
            ],
        )
        self._db.many(
            "INSERT OR REPLACE INTO pyramid_states (series, attempt, points, first_step, last_step, dirty)"
            " VALUES (?, ?, ?, ?, ?, 0)",
            [(*pair, growing.points, growing.first_step, growing.last_step) for pair, growing in due.items()],
        )

    def _rebuild(self, series: int, attempt: int) -> None:
        """Make the pyramid of one series and attempt again from its points."""
        steps, values = points_between(self._db, series, attempt)
        self._db.run("DELETE FROM pyramid WHERE series = ? AND attempt = ?", (series, attempt))
        growing = self._growing[series, attempt] = _Growing(steps.tolist(), values.tolist())
        if growing.steps:
            self._grow({(series, attempt): growing})

    def rebuild_of(self, run: int, *, only_dirty: bool = False) -> None:
        """Make the pyramids of a run again, each in a transaction of its own."""
        pairs = self._db.rows(
            "SELECT state.series, state.attempt, state.dirty FROM pyramid_states AS state"
            " JOIN series ON series.id = state.series WHERE series.run = ?",
            (run,),
        )
        for series, attempt, dirty in pairs:
            if dirty or not only_dirty:
                with self._db.write():
                    self._rebuild(series, attempt)

    # Reading

    def blocks(self, series: int, attempt: int, first: int, last: int, pixels: int) -> list[NDArray[np.void]]:
        """Blocks that hold exactly the points from `first` to `last`, about as many as there are pixels or more."""
        return self._at_level(series, attempt, first, last, self._level(series, attempt, first, last, pixels))

    def _level(self, series: int, attempt: int, first: int, last: int, pixels: int) -> int:
        """The coarsest level with at least one block for each pixel, if steps are even; 0 is the points."""
        state = self._db.first(
            "SELECT points, first_step, last_step, dirty FROM pyramid_states WHERE series = ? AND attempt = ?",
            (series, attempt),
        )
        if state is None or state[3]:
            return 0
        count, begin, end, _ = state
        share = (min(last, end) - max(first, begin) + 1) / (end - begin + 1)
        blocks = count * share / max(pixels, 1)
        return int(math.log(blocks, BRANCHING)) if blocks > BRANCHING else 0

    def _at_level(self, series: int, attempt: int, first: int, last: int, level: int) -> list[NDArray[np.void]]:
        """Blocks that hold exactly the points from `first` to `last`: whole ones of `level` in the
        middle, finer ones at both ends."""
        if first > last:
            return []
        if level == 0:
            return [_as_blocks(*points_between(self._db, series, attempt, first, last))]
        rows = self._db.rows(
            "SELECT blocks FROM pyramid WHERE series = ? AND attempt = ? AND level = ?"
            " AND first_step BETWEEN coalesce((SELECT max(first_step) FROM pyramid WHERE series = ?"
            " AND attempt = ? AND level = ? AND first_step <= ?), ?) AND ? ORDER BY first_step",
            (series, attempt, level, series, attempt, level, first, first, last),
        )
        blocks = np.frombuffer(b"".join(row[0] for row in rows), BLOCK)
        blocks = blocks[(blocks["first"] >= first) & (blocks["last"] <= last)]
        if not len(blocks):
            return self._at_level(series, attempt, first, last, level - 1)
        before, after = int(blocks["first"][0]) - 1, int(blocks["last"][-1]) + 1
        return [
            *self._at_level(series, attempt, first, before, level - 1),
            blocks,
            *self._at_level(series, attempt, after, last, level - 1),
        ]


def points_between(
    database: Database, series: int, attempt: int, first: int = -END, last: int = END
) -> tuple[Steps, Values]:
    """The points themselves: steps and values in the order of the steps, both ends included."""
    rows = database.rows(
        "SELECT step, value FROM points WHERE series = ? AND attempt = ? AND step BETWEEN ? AND ?",
        (series, attempt, first, last),
    )
    steps = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    return steps, np.fromiter((number(row[1]) for row in rows), np.float64, len(rows))


def _as_blocks(steps: Any, values: Any) -> NDArray[np.void]:
    blocks = np.empty(len(steps), BLOCK)
    blocks["first"] = blocks["last"] = steps
    blocks["low"] = blocks["high"] = values
    return blocks


def _end_to_end(a: NDArray[np.void], b: NDArray[np.void]) -> NDArray[np.void]:
    """Both blocks one after the other; numpy's own way first compares the two identical types field by field."""
    if not len(a):
        return b
    return np.frombuffer(a.tobytes() + b.tobytes(), BLOCK)


def reduced(blocks: NDArray[np.void], starts: NDArray[np.int64]) -> NDArray[np.void]:
    """One block for each group that begins at an index in `starts`; NaN only where a group has no number."""
    merged = np.empty(len(starts), BLOCK)
    merged["first"] = np.minimum.reduceat(blocks["first"], starts)
    merged["last"] = np.maximum.reduceat(blocks["last"], starts)
    merged["low"] = np.fmin.reduceat(blocks["low"], starts)
    merged["high"] = np.fmax.reduceat(blocks["high"], starts)
    return merged


def number(value: float | None) -> float:
    """SQLite stores NaN as NULL."""
    return math.nan if value is None else value
