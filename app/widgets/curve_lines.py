"""What a plot of curves draws: lines, bands behind them, marks on the axis; and with which pens and colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtGui import QColor

from app import look
from app.models.band import Shade
from app.models.curve_view import Columns, Scaled, Values


@dataclass(frozen=True)
class Mark:
    """Something that happened at a step."""

    step: int
    words: str
    kind: Literal["best", "checkpoint", "attempt"]


@dataclass(frozen=True)
class Pen:
    """How a line is drawn. slot: of its colour. dash: pixels on, off, on, ...; empty for a full line."""

    slot: int
    dash: tuple[int, ...] = ()


DASHES: tuple[tuple[int, ...], ...] = (
    (),
    (10, 4),
    (2, 3),
    (10, 3, 2, 3),
    (5, 5),
    (10, 3, 2, 3, 2, 3),
    (22, 6),
    (3, 8),
)


def pen_of(place: int, order: int, several: bool) -> Pen:
    """The pen of a series of a run. place: of the series in its plot; order: of the run, 0 for the main one.

    A colour for each series; where several runs lie over each other, a colour for each run, which is what is compared
    then, and a kind of dash for each series: of noisy lines, colours are told apart and dashes hardly.
    """
    return Pen(order, DASHES[place % len(DASHES)]) if several else Pen(place)


@dataclass(frozen=True)
class Line:
    """A curve of one run. order: 0 for the main run, which lies on top, then the others.

    smooth: y of the smoothed line at the columns, drawn over them; None where it is not smoothed.
    """

    label: str
    pen: Pen
    order: int
    scaled: Scaled
    smooth: Values | None = None
    is_superseded: bool = False

    @property
    def columns(self) -> Columns:
        return self.scaled.columns

    def colour(self) -> QColor:
        colour = look.series_colour(self.pen.slot)
        return paler(colour, 0.4) if self.is_superseded else colour

    def dash(self, ratio: float) -> tuple[int, ...]:
        """Its pen's, in pixels of the screen. ratio: how many of these a pixel of the window has."""
        return tuple(max(round(part * ratio), 1) for part in self.pen.dash)


@dataclass(frozen=True)
class Shaded:
    """Where a curve may lie: a pale band behind all lines, in the colour of its own."""

    label: str
    pen: Pen
    shade: Shade


FILL, EDGE = 0.13, 0.3
"""How much of its colour a band has, and its edge, which is seen where bands lie over each other."""


def paler(colour: QColor, share: float) -> QColor:
    """So much of a colour on the surface; opaque, because see-through lines cost ten times as much."""
    under = look.colour("surface")
    parts = zip(colour.getRgb()[:3], under.getRgb()[:3], strict=True)  # type: ignore[index]
    return QColor(*(round(c * share + u * (1 - share)) for c, u in parts))
