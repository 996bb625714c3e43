"""Ranges, scales and columns: whatever a person looks at, its lowest and highest value are drawn."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.models.curve_view import (
    Columns,
    Span,
    drawn,
    first_choice,
    group_of,
    height,
    nearest,
    scaled,
    trend,
    typical,
    value_words,
)
from app.models.ink import column_spans, ink

from .curve_lines import line_of


def columns(values: list[float], width: int = 1) -> Columns:
    """Values at steps 0, 1, 2, ... as columns of `width` values."""
    parts = [values[i : i + width] for i in range(0, len(values), width)]
    first = np.arange(0, len(values), width, dtype=float)
    return Columns(
        first,
        np.array([f + len(p) - 1 for f, p in zip(first, parts, strict=True)]),
        np.array([np.fmin.reduce(p) for p in parts]),
        np.array([np.fmax.reduce(p) for p in parts]),
        steps=width,
    )


numbers = st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=300)


@settings(max_examples=300, deadline=None)
@given(
    values=numbers,
    width=st.integers(1, 7),
    pixels=st.integers(1, 120),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_no_extreme_in_sight_is_hidden(values: list[float], width: int, pixels: int, ends: tuple[float, float]) -> None:
    span = Span(min(ends) * len(values), max(ends) * len(values) + 1e-6)
    made = columns(values, width)
    seen = made.seen(span)
    true = np.concatenate([made.low[seen], made.high[seen]])
    true = true[~np.isnan(true)]
    shown = drawn(made, span, pixels)
    inside = (shown.x >= 0) & (shown.x <= pixels)
    assert inside.sum() <= pixels
    assert len(shown.x) <= pixels + 2
    if len(true):
        assert shown.low[inside].min() == true.min()
        assert shown.high[inside].max() == true.max()
    else:
        assert not inside.any() or np.isnan(shown.low[inside]).all()


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(-1e3, 1e3), min_size=20, max_size=1500),
    pixels=st.integers(10, 80),
    ends=st.tuples(st.integers(0, 1499), st.integers(0, 1499)),
)
def test_the_extremes_of_any_range_of_a_project_reach_the_picture(
    values: list[float], pixels: int, ends: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    first, last = sorted(min(end, len(values) - 1) for end in ends)
    span = Span(float(first), max(float(last), first + 0.5))
    line = line_of(tmp_path_factory.mktemp("lines"), values, span, pixels)
    truth = np.array(values[first : last + 1])
    shown = drawn(line, span, pixels)
    inside = (shown.x >= 0) & (shown.x <= pixels)
    assert shown.low[inside].min() == truth.min()
    assert shown.high[inside].max() == truth.max()
    fitted = height([line], span, clip=False)
    assert fitted is not None
    top, bottom = column_spans(shown, fitted, pixels, 200)
    per_unit = 199 / fitted.width
    assert np.nanmin(top) <= (fitted.high - truth.max()) * per_unit + 1e-6
    assert np.nanmax(bottom) >= (fitted.high - truth.min()) * per_unit - 1e-6


def test_a_gap_is_not_bridged_and_its_place_is_told() -> None:
    line = scaled(columns([1.0, 2.0, math.nan, 4.0, math.inf, 3.0]), log=False)
    assert line.odd.tolist() == [2.0, 4.0]
    shown = drawn(line.columns, Span(0, 5), 600)
    assert shown.low.tolist() == [1.0, 2.0, 4.0, 3.0]
    assert shown.joined.tolist() == [False, True, False, False]
    top, _ = column_spans(shown, Span(0, 5), 600, 100)
    assert not np.isnan(top[60])
    assert np.isnan(top[240])


def test_a_log_scale_drops_what_it_cannot_show_and_counts_it() -> None:
    line = scaled(columns([100.0, -1.0, 0.0, 0.01]), log=True)
    assert line.dropped == 2
    assert line.columns.high[[0, 3]].tolist() == [2.0, -2.0]
    assert np.isnan(line.columns.low[[1, 2]]).all()
    across = scaled(columns([-1.0, 10.0], width=2), log=True)
    assert (across.columns.low[0], across.columns.high[0], across.dropped) == (1.0, 1.0, 1)


def test_zoom_keeps_what_is_under_the_pointer_and_stays_inside() -> None:
    whole = Span(0, 1000)
    near = whole.zoomed(200, 0.1)
    assert (200 - near.low) / near.width == pytest.approx(0.2)
    assert near.moved(-500).within(whole, 8) == Span(0, 100)
    assert whole.zoomed(500, 3).within(whole, 8) == whole
    assert whole.zoomed(500, 1e-6).within(whole, 8) == Span(496, 504)


def test_the_height_holds_every_value_unless_it_is_clipped() -> None:
    values = [1.0] * 50 + [2.0] * 49 + [1000.0]
    full, clipped = (height([columns(values)], Span(0, 99), clip) for clip in (False, True))
    assert full is not None
    assert clipped is not None
    assert full.high > 1000
    assert clipped.high < 3
    assert height([columns([math.nan])], Span(0, 1), False) is None
    assert height([columns([5.0])], Span(-1, 1), False) == Span(4.75, 5.25)


def test_the_nearest_column_and_its_words() -> None:
    made = columns([float(i) for i in range(20)], width=5)
    assert [nearest(made, x) for x in (-3, 0, 4.4, 4.6, 12, 99)] == [0, 0, 0, 1, 2, 3]
    assert nearest(columns([1.0]), 5) == 0
    assert value_words(1.25, 1.25) == "1.25"
    assert value_words(0.1, 2) == "0.1–2"


def test_a_spike_does_not_lift_what_is_smoothed_but_a_step_stays() -> None:
    values = [1.0] * 20 + [2.0] * 20
    values[8] = 100.0
    assert typical(columns(values, width=4)).tolist() == [1.0] * 5 + [2.0] * 5
    assert typical(columns(values)).tolist() == values
    gap = typical(columns([1.0, 1.0, math.nan, math.nan, 3.0, 3.0], width=2))
    assert np.isnan(gap[1])
    assert gap[[0, 2]].tolist() == [1.0, 3.0]


def test_a_trend_needs_more_than_noise() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.1, 400)
    assert trend(columns(list(noise))) == "level"
    assert trend(columns(list(noise + np.linspace(0, 4, 400)))) == "rising"
    assert trend(columns(list(noise - np.linspace(0, 4, 400)))) == "falling"
    assert trend(columns([1.0, 2.0])) == "unknown"


def test_series_of_one_kind_share_a_plot_and_the_telling_ones_come_first() -> None:
    names = ["matching", "student_gradient_norm", "preview_frechet", "memory_mib", "gpu_percent", "real_recognised"]
    groups = ["losses", "gradients", "scores", "memory", "machine", "other"]
    assert [group_of(name) for name in names] == groups
    readings = ["spread", "out_of_range", "student_step", "gan_on_sample", "teacher_on_student", "fake_score_on_real"]
    assert {group_of(name) for name in readings} == {"readings"}
    assert first_choice([*names, *readings]) == {"matching", "preview_frechet"}
    assert first_choice(["memory_mib"]) == {"memory_mib"}
    assert first_choice(names, frozenset(["matching"])) == {"preview_frechet"}
    assert first_choice(["matching", "memory_mib"], frozenset(["matching"])) == frozenset()
    assert first_choice(["matching", "preview_recall", "preview_frechet"]) == {"matching", "preview_frechet"}
    assert first_choice(["preview_recall"], frozenset(["preview_frechet"])) == frozenset()
    assert first_choice(["preview_recall"]) == {"preview_recall"}


def test_ink_fills_from_top_to_bottom_and_leaves_the_dashes_out() -> None:
    picture = np.zeros((10, 8), np.uint32)
    top, bottom = np.full(8, 2.0), np.full(8, 4.0)
    top[7] = bottom[7] = np.nan
    ink(picture, top, bottom, 0xFF00FF00, dash=(2, 2))
    assert (picture[2:5, [0, 1, 4, 5]] == 0xFF00FF00).all()
    assert picture[:, [2, 3, 6, 7]].sum() == 0
    assert picture[:2].sum() == 0
    assert picture[5:].sum() == 0


def test_two_points_in_one_pixel_are_both_in_it() -> None:
    x, y = np.array([0.0, 50.1, 50.2, 100.0]), np.array([5.0, 0.0, 9.0, 5.0])
    made = Columns(x, x, y, y)
    top, bottom = column_spans(drawn(made, Span(0, 100), 11), Span(0, 10), 11, 101)
    assert (round(top[5]), round(bottom[5])) == (10, 100)


def test_a_value_beyond_the_clipped_axis_is_cut_off_at_the_edge() -> None:
    made = columns([0.5, 50.0, 0.5])
    top, bottom = column_spans(drawn(made, Span(0, 2), 30), Span(0, 1), 30, 100)
    picture = np.zeros((100, 30), np.uint32)
    ink(picture, top, bottom, 1)
    assert picture[0].any()
    assert picture[:, 0].any()


def test_the_project_is_only_touched_where_a_test_says(tmp_path: Path) -> None:
    line = line_of(tmp_path, [float(i % 7) for i in range(900)], Span(100, 120), 50)
    assert line.steps == 1
    assert line.first.min() < 100
    assert line.first.max() > 120
