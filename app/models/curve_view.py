"""What of a curve is seen: the range in sight, its columns, how they are put on a scale and brought down to pixels.

Pure: arrays in, arrays out. Nothing here hides an extreme: whatever is in sight is in a column that is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.models.ticks import figure

Values = NDArray[np.float64]
Axis = Literal["step", "images", "wall", "nfe"]
Group = Literal["losses", "scores", "readings", "gradients", "memory", "machine", "other"]

GROUPS: tuple[Group, ...] = ("losses", "scores", "readings", "gradients", "memory", "machine", "other")
"""In the order in which their plots stand below each other."""
READINGS = ("_step", "_on_sample", "_on_student", "_on_real")
"""How names end of what the signs of health are judged by: no losses, and of other sizes."""
SHOWN_AT_FIRST: frozenset[Group] = frozenset(("losses", "scores"))
RANKING = ("preview_frechet", "preview_sliced_wasserstein")
CLIP_PERCENT = 2.0


def group_of(name: str) -> Group:
    """Series that are measured in the same thing share a plot."""
    if name.startswith(("preview_", "evaluation_")):
        return "scores"
    if "gradient" in name or name.startswith("grad_"):
        return "gradients"
    if name.endswith(("_mib", "_bytes")) or "memory" in name:
        return "memory"
    if name.startswith(("gpu_", "cpu_", "disk_")) or name.endswith(("_per_second", "_percent", "_celsius", "_watts")):
        return "machine"
    if name.startswith(("stage", "learning_rate")) or name.endswith(("_accuracy", "_recognised")):
        return "other"
    return "readings" if name in ("spread", "out_of_range") or name.endswith(READINGS) else "losses"


def slots(names: Iterable[str]) -> dict[str, int]:
    """Each series' place in its plot, from 0, in the order of the names: its colour, so that no two of a plot share one
    and a project that is opened again shows the same."""
    found: dict[str, int] = {}
    taken: dict[Group, int] = {}
    for name in dict.fromkeys(names):
        group = group_of(name)
        found[name] = taken.setdefault(group, 0)
        taken[group] += 1
    return found


def first_choice(names: Iterable[str], known: frozenset[str] = frozenset()) -> frozenset[str]:
    """What is shown before anyone chose, of what is not known yet: losses, and the score by which checkpoints are
    ranked (else all scores, which are of many sizes); at the very first everything where there is neither."""
    new = frozenset(names) - known
    shown = frozenset(name for name in new if group_of(name) in SHOWN_AT_FIRST)
    if any(name in RANKING for name in new | known):
        shown = frozenset(name for name in shown if name in RANKING or group_of(name) != "scores")
    return shown or (frozenset() if known else new)


@dataclass(frozen=True)
class Span:
    """A range of the x axis, in its units."""

    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low

    def zoomed(self, at: float, factor: float) -> Span:
        """`factor` times as wide, with `at` staying where it is."""
        return Span(at - (at - self.low) * factor, at + (self.high - at) * factor)

    def moved(self, by: float) -> Span:
        return Span(self.low + by, self.high + by)

    def within(self, whole: Span, least: float) -> Span:
        """Inside the whole and no narrower than `least`."""
        width = min(max(self.width, least), whole.width)
        middle = (self.low + self.high) / 2
        low = min(max(middle - width / 2, whole.low), whole.high - width)
        return Span(low, low + width)


@dataclass(frozen=True)
class Columns:
    """A line as columns, in the order of x: every point of [first, last] has its value in [low, high].

    first, last: x of a column's first and last point. steps: how many steps a column spans (1 where it is raw).
    """

    first: Values
    last: Values
    low: Values
    high: Values
    steps: float = 1.0

    @property
    def x(self) -> Values:
        return (self.first + self.last) / 2

    def seen(self, span: Span) -> NDArray[np.bool_]:
        """Which columns have a point in the range, or one on either side of it."""
        result: NDArray[np.bool_] = (self.last >= span.low) & (self.first <= span.high)
        return result


NOTHING = Columns(np.empty(0), np.empty(0), np.empty(0), np.empty(0))


@dataclass(frozen=True)
class Scaled:
    """Columns on the scale of a plot. NaN: a gap. odd: x of columns with a value that is not finite.
    dropped: columns with values that a log scale cannot show."""

    columns: Columns
    odd: Values
    dropped: int


def scaled(columns: Columns, log: bool) -> Scaled:
    """Put columns on a linear or log scale; log10 is taken here, so that nothing after this knows of it."""
    low, high = columns.low, columns.high
    odd = columns.x[~(np.isfinite(low) & np.isfinite(high))]
    low = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high, np.nan))
    high = np.where(np.isfinite(high), high, low)
    dropped = 0
    if log:
        hidden = low <= 0
        dropped = int(hidden.sum())
        with np.errstate(invalid="ignore", divide="ignore"):
            high = np.where(high > 0, np.log10(high), np.nan)
            low = np.where(hidden, high, np.log10(low))
    return Scaled(replace(columns, low=low, high=high), odd, dropped)


@dataclass(frozen=True)
class Drawn:
    """What is drawn of a line: at most one column for each pixel, and the nearest one on either side of the range.

    x: pixels from the left edge. joined: whether a line leads from the column before; its length is that of x.
    """

    x: Values
    low: Values
    high: Values
    joined: NDArray[np.bool_]


def drawn(columns: Columns, span: Span, pixels: int) -> Drawn:
    """Bring the columns in sight down to pixels; every extreme in sight is the low or high of one of them."""
    seen = columns.seen(span)
    inside = np.flatnonzero(seen)
    # The neighbours in the arrays are the neighbours on the axis: they only say where a line comes from and goes to.
    begin = int(inside[0]) if len(inside) else int(np.searchsorted(columns.first, span.low))
    end = int(inside[-1]) + 1 if len(inside) else begin
    around = slice(max(begin - 1, 0), min(end + 1, len(columns.first)))
    x, low, high, seen = columns.x[around], columns.low[around], columns.high[around], seen[around]
    # A column that reaches over the edge is drawn at the edge, not beyond it.
    place = np.where(seen, np.clip(x, span.low, span.high), x)
    place = (place - span.low) / max(span.width, 1e-300) * (pixels - 1) + 0.5
    place = np.where(seen, place, np.where(x < span.low, np.minimum(place, -0.5), np.maximum(place, pixels + 0.5)))
    gap = np.isnan(low)
    if len(place) <= pixels:
        joined = np.concatenate([[False], ~gap[1:] & ~gap[:-1]]) if len(gap) else gap
        keep = ~gap
        return Drawn(place[keep], low[keep], high[keep], joined[keep])
    cell = np.where(seen, np.clip(np.floor(place), 0, pixels - 1), np.where(place < 0, -1, pixels))
    starts = np.flatnonzero(np.diff(cell, prepend=-2.0))
    low, high = np.fmin.reduceat(low, starts), np.fmax.reduceat(high, starts)
    gap = np.isnan(low)
    place = np.where((cell[starts] >= 0) & (cell[starts] < pixels), cell[starts] + 0.5, place[starts])
    joined = np.concatenate([[False], ~gap[1:] & ~gap[:-1]])
    return Drawn(place[~gap], low[~gap], high[~gap], joined[~gap])


def typical(columns: Columns) -> Values:
    """One value for each column, to be smoothed: the middle of it. Where a column is many steps, a single spike would
    lift its middle by half; there it is the median with the columns beside it."""
    middle = (columns.low + columns.high) / 2
    if columns.steps <= 1 or len(middle) < 3:
        return middle
    before, after = np.roll(middle, 1), np.roll(middle, -1)
    lower, upper = np.fmin(before, after), np.fmax(before, after)
    result = np.where(np.isnan(middle), np.nan, np.fmax(lower, np.fmin(middle, upper)))
    result[[0, -1]] = middle[[0, -1]]
    return result


def height(lines: Sequence[Columns], span: Span, clip: bool) -> Span | None:
    """The range of y that shows every value in sight, with some air; or 2 to 98 percent of them. None: no values."""
    seen = [(c.low[s], c.high[s]) for c in lines if (s := c.seen(span)).any()]
    values = np.concatenate([part for pair in seen for part in pair]) if seen else np.empty(0)
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    if clip and len(values) > 4:
        low, high = (float(q) for q in np.percentile(values, (CLIP_PERCENT, 100 - CLIP_PERCENT)))
    else:
        low, high = float(values.min()), float(values.max())
    air = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return Span(low - air, high + air)


def widened(lines: Span, low: float, high: float) -> Span:
    """A range of y that shows what goes from low to high, too, as far as it does not get more than twice as high: what
    lies behind lines must not flatten them."""
    below, above = max(lines.low - low, 0.0), max(high - lines.high, 0.0)
    share = min(1.0, lines.width / max(below + above, 1e-300))
    return Span(lines.low - below * share, lines.high + above * share)


def nearest(columns: Columns, x: float) -> int | None:
    """The column at x, or the nearest."""
    count = len(columns.first)
    if not count:
        return None
    after = int(np.searchsorted(columns.first, x, side="right"))
    if after == 0 or (after < count and columns.first[after] - x < x - columns.last[after - 1]):
        return min(after, count - 1)
    return after - 1


def value_words(low: float, high: float) -> str:
    """A column in words: its value, or from where to where its values go."""
    return figure(low, 3) if low == high or math.isnan(low) else f"{figure(low, 2)}–{figure(high, 2)}"


def trend(columns: Columns) -> Literal["rising", "falling", "level", "unknown"]:
    """Whether the last quarter is above or below the quarter before it, by more than they scatter."""
    middle = (columns.low + columns.high) / 2
    middle = middle[np.isfinite(middle)]
    quarter = len(middle) // 4
    if quarter < 2:
        return "unknown"
    before, after = middle[-2 * quarter : -quarter], middle[-quarter:]
    step = float(after.mean() - before.mean())
    noise = math.sqrt(float(before.var() + after.var()) / quarter)
    if abs(step) <= max(2 * noise, 1e-12 * float(np.abs(middle).max())):
        return "level"
    return "rising" if step > 0 else "falling"
