"""Where an axis has its figures, and how a figure is written. Pure; log axes are given and answer in log10."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Tick:
    """at: in the axis' own units (log10 of the value on a log axis)."""

    at: float
    words: str


def figure(value: float, digits: int = 4) -> str:
    """A value for people: 1,200 or 0.0123 or 1.2e-05."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e7:
        places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
        words = f"{value:,.{places}f}"
        return words.rstrip("0").rstrip(".") if "." in words else words
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"


def count_words(value: float) -> str:
    """A large number in few letters: 950, 12k, 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{figure(value / size, 4)}{letter}"
    return figure(value, 4)


def linear(low: float, high: float, wanted: int) -> list[Tick]:
    """About `wanted` round places between two ends, both included."""
    step = _round_step(low, high, wanted)
    if not step:
        return [Tick(low, figure(low))]
    places = max(-math.floor(math.log10(step) + 1e-9), 0)
    largest = max(abs(low), abs(high))
    marks = []
    for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        at = index * step
        scientific = at and (largest >= 1e7 or step < 1e-5)
        digits = max(2, math.ceil(math.log10(largest / step)) + 1) if largest > step else 2
        marks.append(Tick(at, figure(at, min(digits, 12)) if scientific else f"{at:,.{places}f}"))
    return marks


def counts(low: float, high: float, wanted: int) -> list[Tick]:
    """The same for steps, images and evaluations: whole numbers in few letters."""
    step = _round_step(low, high, wanted)
    if not step:
        return [Tick(low, figure(low))]
    largest = max(abs(low), abs(high))
    size, letter = next(((s, c) for s, c in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if largest >= 10 * s), (1.0, ""))
    step = max(step, 1.0)
    places = max(-math.floor(math.log10(step / size) + 1e-9), 0)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [Tick(i * step, "0" if i == 0 else f"{i * step / size:,.{places}f}{letter}") for i in range(first, last + 1)]


def logarithmic(low: float, high: float, wanted: int) -> list[Tick]:
    """Places on a log axis; low and high are log10 of its ends."""
    decades = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    if len(decades) >= 3 or high - low > 2:
        stride = max(1, -(-len(decades) // max(wanted, 1)))
        return [Tick(float(d), _power(d)) for d in decades if d % stride == 0]
    fine = [
        Tick(math.log10(m) + d, figure(m * 10.0**d, 2))
        for d in range(math.floor(low), math.ceil(high) + 1)
        for m in (1, 2, 5)
        if low <= math.log10(m) + d <= high
    ]
    if len(fine) >= 3:
        return fine
    return [Tick(math.log10(mark.at), mark.words) for mark in linear(10**low, 10**high, wanted) if mark.at > 0]


def _power(decade: int) -> str:
    return figure(10.0**decade, 2) if -4 <= decade < 6 else f"1e{decade}"


def _round_step(low: float, high: float, wanted: int) -> float:
    spread = high - low
    if not (math.isfinite(spread) and spread > max(abs(low), abs(high)) * 1e-12):
        return 0.0
    rough = spread / max(wanted, 1)
    size = 10.0 ** math.floor(math.log10(rough))
    return next(size * m for m in (1, 2, 5, 10) if size * m >= rough * (1 - 1e-9))
