"""Lines as pixels, drawn with numpy: what a line costs depends on the size of the plot alone, never on its points.

A painter strokes a noisy line of 2,400 points in 2 to 6 ms; here each pixel column is filled from the lowest to the
highest place the line has in it. It knows neither series nor scales: y is in pixels, downwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.models.curve_view import Drawn, Span

Values = NDArray[np.float64]
Pixels = NDArray[np.uint32]


def column_spans(line: Drawn, height: Span, width: int, rows: int) -> tuple[Values, Values]:
    """(top, bottom) of the line in every pixel column, in pixels from the top; NaN where it is not."""
    top, bottom = np.full(width, np.nan), np.full(width, np.nan)
    if not len(line.x):
        return top, bottom
    per_unit = (rows - 1) / max(height.width, 1e-300)
    above = (height.high - line.high) * per_unit
    below = (height.high - line.low) * per_unit
    inside = (line.x >= 0) & (line.x < width)
    cells = line.x[inside].astype(np.int64)
    np.fmin.at(top, cells, above[inside])
    np.fmax.at(bottom, cells, below[inside])
    if len(line.x) > 1:
        _join(line, above, below, top, bottom)
    return top, bottom


def _join(line: Drawn, above: Values, below: Values, top: Values, bottom: Values) -> None:
    """Widen the columns by the straight lines from each of the line's columns to the next."""
    # Between two columns the line leaves the one at the end that is nearer to the other.
    shared = (np.maximum(above[:-1], above[1:]) + np.minimum(below[:-1], below[1:])) / 2
    leave = np.clip(shared, above[:-1], below[:-1])
    arrive = np.clip(shared, above[1:], below[1:])
    edges = np.arange(len(top) + 1, dtype=np.float64)
    after = np.searchsorted(line.x, edges)
    known = (after > 0) & (after < len(line.x))
    after = np.clip(after, 1, len(line.x) - 1)
    known &= line.joined[after]
    start, length = line.x[after - 1], np.maximum(line.x[after] - line.x[after - 1], 1e-9)
    share = (edges - start) / length
    at = np.where(known, leave[after - 1] * (1 - share) + arrive[after - 1] * share, np.nan)
    np.fmin(top, np.fmin(at[:-1], at[1:]), out=top)
    np.fmax(bottom, np.fmax(at[:-1], at[1:]), out=bottom)


def ink(picture: Pixels, top: Values, bottom: Values, colour: int, *, thick: int = 1, dash: Sequence[int] = ()) -> None:
    """Fill the columns of a picture (rows x columns of 0xAARRGGBB). dash: so many pixels on, so many off, and so on,
    from the first column; empty for none."""
    rows, width = picture.shape
    known = ~np.isnan(top)
    known &= (bottom >= -1) & (top <= rows)
    if dash:
        is_on = np.repeat(np.arange(len(dash)) % 2 == 0, dash)
        known &= is_on[np.arange(width) % len(is_on)]
    if not known.any():
        return
    first = np.where(known, np.clip(np.rint(np.where(known, top, 0)), 0, rows), rows).astype(np.int32)
    last = np.where(known, np.clip(np.rint(np.where(known, bottom, 0)), -1, rows - 1), -1).astype(np.int32)
    last = np.where(known, np.minimum(last + thick - 1, rows - 1), -1)
    begin, end = int(first.min()), int(last.max()) + 1
    if begin >= end:
        return
    # The smallest whole numbers that can hold a row: the comparison is what a frame spends its time on.
    row = np.arange(begin, end, dtype=np.int16)[:, None]
    mask = (row >= first.astype(np.int16)) & (row <= last.astype(np.int16))
    np.copyto(picture[begin:end], np.uint32(colour), where=mask)
