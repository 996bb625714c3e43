"""The figures behind a plot as rows: one for each step at which a series has a value. Pure but for the file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from backend.contract.project_file import ProjectFile

PAGE = 256
"""Rows that are read at a time, at least."""
COPIED = 50_000
"""Rows that are copied at most; more than that is `distill metrics`' work."""


@dataclass(frozen=True)
class Column:
    """A series of a run, and what stands above it."""

    run: int
    name: str
    title: str


@dataclass(frozen=True)
class Page:
    """Rows of (step, a value or None for each column). next: the step to go on from; None at the end."""

    rows: list[tuple[int, tuple[float | None, ...]]]
    next: int | None


def read_page(project: ProjectFile, columns: Sequence[Column], first: int, last: int, least: int = PAGE) -> Page:
    """The rows from a step on; what is sparse is looked for in ever larger strides."""
    series = [project.find_series(column.run, column.name) for column in columns]
    found: dict[int, list[float | None]] = {}
    stride = least
    while first <= last and len(found) < least:
        until = min(first + stride - 1, last)
        for place, one in enumerate(series):
            if one is not None:
                curve = project.points(one, first, until)
                for step, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True):
                    found.setdefault(step, [None] * len(series))[place] = value
        first, stride = until + 1, min(stride * 2, 64 * least)
    rows = [(step, tuple(found[step])) for step in sorted(found)]
    return Page(rows, first if first <= last else None)


def as_csv(columns: Sequence[Column], rows: Sequence[tuple[int, Sequence[float | None]]]) -> str:
    """The rows with a line of titles; every figure in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["step", *(column.title for column in columns)])
    for step, values in rows:
        writer.writerow([step, *("" if v is None else "nan" if math.isnan(v) else repr(v) for v in values)])
    return out.getvalue()
