"""What health says and what it is told: findings, and the readings that are no curves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["good", "warning", "bad"]


@dataclass(frozen=True)
class Finding:
    """sign: which of the signs, as a key. sentence: what it means and what to do. reading: the numbers behind it."""

    sign: str
    level: Level
    sentence: str
    reading: str


@dataclass(frozen=True)
class TeacherReading:
    """How well a teacher denoises real samples, in squared error of x0 over that of the best linear denoiser.

    error: read as its card says, `declared`. likely: the prediction type as which it does best, with likely_error.
    told: how many times the true noise it is best told, and gain: how many times smaller its error then is.
    """

    declared: str
    error: float
    likely: str
    likely_error: float
    told: float
    gain: float


@dataclass(frozen=True)
class GuidanceReading:
    """Of guided predictions: the scale asked for, the one that was found, and how far the condition moves them.

    effect: the size of what the condition changes, as a share of the prediction's error.
    """

    asked: float
    found: float
    effect: float


def mean(values: Sequence[float]) -> float:
    """Not a number where there are none."""
    return sum(values) / len(values) if values else math.nan


def ratio(before: float, after: float) -> float:
    """after / before, of figures that are not negative; 1 where both are nothing."""
    if before == after:
        return 1.0
    return after / before if before > 0 else math.inf
