"""Smoothing that delays nothing: an exponential mean that looks as far forward as back.

It works on the columns that are drawn, so it costs the same for any run; it knows neither steps nor axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 64


def smoothed(values: NDArray[np.float64], amount: float) -> NDArray[np.float64]:
    """The mean of all values, weighted by `amount` ** distance. amount: 0 (leaves them) to below 1.

    Running an exponential mean forward and the same backward over its outcome has this very kernel; taking both at
    once, and dividing by the weights that exist, leaves no bias at either end. A value that is not finite has no
    weight and stays a gap.
    """
    known = np.isfinite(values)
    if amount <= 0 or not known.any():
        return np.where(known, values, np.nan)
    # Around their own middle: a small spread on a large offset keeps its digits.
    middle = float(np.median(values[known]))
    parts = np.stack([np.where(known, values - middle, 0.0), known.astype(np.float64)])
    summed = _decaying_sum(parts, amount) + _decaying_sum(parts[:, ::-1], amount)[:, ::-1] - parts
    with np.errstate(invalid="ignore", divide="ignore"):
        means = summed[0] / summed[1] + middle
    return np.where(known, means, np.nan)


def _decaying_sum(rows: NDArray[np.float64], amount: float) -> NDArray[np.float64]:
    """sum over j <= k of amount ** (k - j) * rows[:, j], a block of values at a time."""
    count = rows.shape[1]
    blocks = -(-count // BLOCK)
    padded = np.zeros((2, blocks * BLOCK))
    padded[:, :count] = rows
    ages = np.arange(BLOCK)[:, None] - np.arange(BLOCK)[None, :]
    weights = np.where(ages >= 0, amount ** np.maximum(ages, 0), 0.0)
    inside = padded.reshape(2, blocks, BLOCK) @ weights.T
    fading = amount ** np.arange(1, BLOCK + 1)
    carried = np.zeros(2)
    for index in range(blocks):
        inside[:, index] += carried[:, None] * fading
        carried = inside[:, index, -1]
    result: NDArray[np.float64] = inside.reshape(2, -1)[:, :count]
    return result
