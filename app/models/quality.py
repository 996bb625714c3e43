"""Quality against time or network evaluations: which figures may stand on one axis, and which of them are not beaten.

Figures made with another feature network, number of samples or seed mean something else, so they never share a plot.
Plain values; it knows no widgets.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from backend.contract.rows import Evaluation

Who = Literal["student", "teacher", "teacher_at_student_nfe"]
Axis = Literal["seconds_per_image", "nfe"]
SECONDS = "seconds_per_image"
MAIN = ("frechet", "sliced_wasserstein")
"""The figures by which students are ranked, in the order in which one is chosen."""
HIGHER_IS_BETTER = frozenset(
    {
        *("precision", "recall", "density", "coverage", "class_accuracy", "agreement"),
        *("high_quality", "modes", "same_mode"),
    }
)
_SAME = ("measured_in", "features_digest", "reference_digest", "count", "seed", "version")


@dataclass(frozen=True)
class Measure:
    """How figures were made: only those of one measure may be compared."""

    measured_in: str
    count: int
    seed: int
    key: tuple[str, ...]

    @classmethod
    def of(cls, row: Evaluation) -> Measure:
        """The measure of an evaluation."""
        recipe = row.recipe
        return cls(
            str(recipe.get("measured_in", "")),
            int(recipe.get("count") or 0),
            int(recipe.get("seed") or 0),
            tuple(str(recipe.get(name)) for name in _SAME),
        )


@dataclass(frozen=True)
class Point:
    """One evaluation in a plot. x: seconds per image or NFE. y: the figure."""

    run: int
    name: str
    who: Who
    step: int
    nfe: int
    x: float
    y: float

    @property
    def is_student(self) -> bool:
        """Whether it is a run's own, not its teacher's."""
        return self.who == "student"


def measures(evaluations: Sequence[Evaluation]) -> list[Measure]:
    """The measures that students were judged by, the newest first."""
    return list(dict.fromkeys(Measure.of(row) for row in reversed(evaluations) if _who(row) == "student"))


def figures(evaluations: Iterable[Evaluation], measure: Measure) -> list[str]:
    """Names of the figures there are by this measure, the ranking one first."""
    names = {
        name
        for row in evaluations
        if Measure.of(row) == measure
        for name, value in row.figures.items()
        if name != SECONDS and isinstance(value, int | float) and math.isfinite(value)
    }
    return sorted(names, key=lambda name: (MAIN.index(name) if name in MAIN else len(MAIN), name))


def points(
    evaluations: Iterable[Evaluation], measure: Measure, figure: str, axis: Axis, names: Mapping[int, tuple[str, str]]
) -> list[Point]:
    """What is drawn: of each run and NFE the newest figure, of each teacher and NFE one point.

    names: run -> its name and its teacher's.
    """
    found: dict[tuple[object, ...], Point] = {}
    for row in evaluations:
        if Measure.of(row) != measure or row.run not in names:
            continue
        who, nfe = _who(row), int(row.recipe.get("nfe") or 0)
        x, y = (row.figures.get(SECONDS) if axis == SECONDS else nfe), row.figures.get(figure)
        if not _is_number(x) or not _is_number(y):
            continue
        run, teacher = names[row.run]
        key = ("student", row.run, nfe) if who == "student" else ("teacher", teacher, nfe)
        name = run if who == "student" else teacher
        found.pop(key, None)  # the newest is drawn last
        found[key] = Point(row.run, name, who, row.step, nfe, float(x), float(y))  # type: ignore[arg-type]
    return list(found.values())


def front(shown: Iterable[Point], higher: bool = False) -> list[Point]:
    """The points that none beats: nothing is both as fast and better, or as good and faster. By rising x."""
    sign = -1.0 if higher else 1.0
    kept: list[Point] = []
    for point in sorted(shown, key=lambda point: (point.x, sign * point.y)):
        if not kept or sign * point.y < sign * kept[-1].y:
            kept.append(point)
    return kept


def _who(row: Evaluation) -> Who:
    who = row.recipe.get("of", "student")
    return who if who in ("teacher", "teacher_at_student_nfe") else "student"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
