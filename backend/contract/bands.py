"""Reference bands: where a curve lay in a sound run, so that a person sees whether theirs is where it should be.

A band is made of the columns that an overview of a whole run has, by one function for the window and for the bands that
ship with the program, so that both mean the same. Noise alone can leave it: it holds nine values of ten.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from backend.contract.project_file import ProjectFile
from backend.contract.rows import Series

Values = NDArray[np.float64]

FOLDER = Path(__file__).resolve().parents[2] / "resources" / "curves"
"""Where the bands that ship with the program lie, a file for each method."""
DEMO = "demo"
"""The name of the one that is of the demo's recipe, which is no method's preset."""
COLUMNS = 2048
"""Of the overview that a band is made of: as many as a wide plot draws, so that it is compared with its like."""
PLACES = 60
SHARE = 90.0
"""Percent of the values that lie within."""
LEAST = 31
"""Values of a window, at least: of fewer, leaving out one on either side leaves too little, and none too much."""
FEW = 2 * LEAST
"""Of fewer values the band goes from the lowest to the highest of neighbours."""
AIR = 0.15
"""How much of its height a band of few values gets on either side, as they do not say how far they scatter."""
DIGITS = 3


@dataclass(frozen=True)
class Band:
    """Where a curve lay: at each step, in rising order, from low to high; straight lines between them."""

    steps: Values
    low: Values
    high: Values

    def at(self, steps: Values) -> tuple[Values, Values]:
        """(low, high) at some steps; NaN before its first and beyond its last."""
        low = np.interp(steps, self.steps, self.low, np.nan, np.nan)
        return low, np.interp(steps, self.steps, self.high, np.nan, np.nan)

    def to_json(self) -> dict[str, list[float]]:
        """In three digits, never narrower than it is."""
        return {
            "steps": [int(step) for step in self.steps],
            "low": [_rounded(value, math.floor) for value in self.low.tolist()],
            "high": [_rounded(value, math.ceil) for value in self.high.tolist()],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Sequence[float]]) -> Self:
        """What `to_json` made. Raises `ValueError` where it did not."""
        steps, low, high = (np.array(found.get(name, ()), np.float64) for name in ("steps", "low", "high"))
        if not (steps.ndim == 1 and len(steps) and steps.shape == low.shape == high.shape and (low <= high).all()):
            raise ValueError("This is no band: its steps, low and high are not of one length and in order.")
        return cls(steps, low, high)


@dataclass(frozen=True)
class Shipped:
    """The bands of one sound run of a method's preset, with what tells whether a run can be held against them.

    preset: empty where it is the demo's recipe.
    teacher: name of a bundled one; teacher_hash: of its weights. settings: of the method, every one. score: name and
    value of the last preview; without a name where it has none. code: SHA-256 of the method's files.
    """

    method: str
    preset: str
    teacher: str
    teacher_hash: str
    settings: dict[str, Any]
    student: dict[str, Any]
    training: dict[str, Any]
    score: tuple[str, float]
    code: str
    bands: dict[str, Band]

    def to_json(self) -> str:
        """As a file holds it, a line for each curve."""
        about = {
            name: getattr(self, name)
            for name in ("method", "preset", "teacher", "teacher_hash", "settings", "student", "training", "code")
        }
        head = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in about.items()]
        head.append(f'"score": {json.dumps([self.score[0], float(f"{self.score[1]:.{DIGITS}g}")])}')
        curves = ",\n".join(f"{json.dumps(name)}: {json.dumps(band.to_json())}" for name, band in self.bands.items())
        return "{\n" + ",\n".join(head) + ',\n"bands": {\n' + curves + "\n}\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` made. Raises `ValueError`, `KeyError` or `TypeError` where it did not."""
        found = json.loads(text)
        bands = {name: Band.from_json(band) for name, band in found.pop("bands").items()}
        return cls(bands=bands, score=tuple(found.pop("score")), **found)


def read_shipped(name: str) -> Shipped | None:
    """The bands that ship with the program for a method, or for the demo; None where there are none to be read."""
    file = FOLDER / f"{name}.json"
    try:
        return Shipped.from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def is_of_the_machine(name: str) -> bool:
    """Whether a curve tells of the machine more than of the run: that of another one says nothing."""
    return name.endswith(("_mib", "_percent", "_celsius", "_watts", "_per_second")) or name.startswith("gpu_")


def bands_of(project: ProjectFile, run: int, names: frozenset[str] | None = None) -> dict[str, Band]:
    """The bands of a run's curves over its whole length, by name. names: of those that are wanted; None for all."""
    found = {one.name: band_of(project, one) for one in project.series(run) if names is None or one.name in names}
    return {name: band for name, band in found.items() if band is not None}


def band_of(project: ProjectFile, series: Series) -> Band | None:
    """The band of a series; None where nothing finite was recorded."""
    columns = project.overview(series, pixels=COLUMNS)
    return band((columns.first + columns.last) / 2, columns.low, columns.high)


def band(steps: Values, low: Values, high: Values) -> Band | None:
    """The band of columns with their lowest and highest values, in the order of their steps, arrays of one length.

    A value that is not finite counts for nothing; None where no other is left.
    """
    some = np.isfinite(low) | np.isfinite(high)
    steps, low, high = steps[some].astype(np.float64), low[some], high[some]
    low, high = np.where(np.isfinite(low), low, high), np.where(np.isfinite(high), high, low)
    if not len(steps):
        return None
    return _of_few(steps, low, high) if len(steps) < FEW else _of_many(steps, low, high)


def _of_many(steps: Values, low: Values, high: Values) -> Band:
    places = np.linspace(steps[0], steps[-1], PLACES)
    beside = (places[1] - places[0]) or 1.0
    begin, end = np.searchsorted(steps, places - beside, "left"), np.searchsorted(steps, places + beside, "right")
    tail = (100 - SHARE) / 2
    found = np.empty((2, PLACES))
    for place in range(PLACES):
        first, last = int(begin[place]), int(end[place])
        lacks = max(LEAST - (last - first), 0)
        # Where values are sparse, of those around; all on one side at the ends.
        first = min(max(first - (lacks + 1) // 2, 0), len(steps) - LEAST)
        last = max(last + lacks // 2, first + LEAST)
        # Not between two values, which would leave out one more on either side than it says.
        found[0, place] = np.percentile(low[first:last], tail, method="lower")
        found[1, place] = np.percentile(high[first:last], 100 - tail, method="higher")
    # A background is calm: what one value does to one place is shared with the next.
    found[:, 1:-1] = (found[:, :-2] + 2 * found[:, 1:-1] + found[:, 2:]) / 4
    return Band(places.round(), found[0], found[1])


def _of_few(steps: Values, low: Values, high: Values) -> Band:
    beside = max(len(steps) // 8, 1)  # the more there are, the more may a neighbour show how far they scatter
    around = np.clip(np.arange(-beside, beside + 1) + np.arange(len(steps))[:, None], 0, len(steps) - 1)
    lowest, highest = low[around].min(1), high[around].max(1)
    air = AIR * (highest - lowest)
    # What is positive stays so: a score below 0 there is none, and a logarithmic axis has no place for it.
    floor = np.where(lowest > 0, lowest / (1 + AIR), -np.inf)
    return Band(steps.round(), np.maximum(lowest - air, floor), highest + air)


def _rounded(value: float, towards: Any) -> float:
    if value == 0 or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - DIGITS + 1)
    return float(f"{towards(value / unit) * unit:.{DIGITS}g}")
