"""Smoothing has no lag and no bias at its ends."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.smoothing import smoothed


@pytest.mark.parametrize("amount", [0.3, 0.9, 0.99])
def test_it_is_the_weighted_mean_of_all(amount: float) -> None:
    values = np.random.default_rng(0).normal(5, 1, 300)
    weights = amount ** np.abs(np.arange(300)[:, None] - np.arange(300)[None, :])
    assert np.allclose(smoothed(values, amount), weights @ values / weights.sum(axis=1))


def test_forward_and_backward_are_alike() -> None:
    values = np.random.default_rng(1).normal(0, 1, 200)
    assert np.allclose(smoothed(values[::-1], 0.8), smoothed(values, 0.8)[::-1])


def test_a_step_stays_where_it_is() -> None:
    values = np.repeat([0.0, 1.0], 100)
    line = smoothed(values, 0.9)
    assert line[99] + line[100] == pytest.approx(1.0)
    assert line[0] == pytest.approx(0, abs=1e-4)
    assert line[-1] == pytest.approx(1, abs=1e-4)


@given(st.floats(-1e9, 1e9), st.floats(0, 0.99))
def test_a_constant_is_left_alone(value: float, amount: float) -> None:
    assert np.allclose(smoothed(np.full(150, value), amount), value)


def test_a_gap_stays_a_gap_and_pulls_nothing() -> None:
    values = np.array([2.0, 2.0, math.nan, 2.0, math.inf, 2.0])
    line = smoothed(values, 0.7)
    assert np.isnan(line[[2, 4]]).all()
    assert np.allclose(line[[0, 1, 3, 5]], 2.0)
    assert np.isnan(smoothed(np.full(3, math.nan), 0.5)).all()
    assert len(smoothed(np.empty(0), 0.5)) == 0
