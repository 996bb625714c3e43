"""Reference bands: how much of a curve they hold, and what becomes of few values, and of values that are none."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract import bands
from backend.contract.bands import FEW, LEAST, PLACES, Band, Shipped, band
from backend.contract.metrics import MetricRow

from .test_metrics import new_run, rows


def of_points(values, steps=None):
    values = np.asarray(values, np.float64)
    steps = np.arange(len(values)) if steps is None else np.asarray(steps)
    return band(steps, values, values)


def share_inside(made, steps, values):
    low, high = made.at(np.asarray(steps, np.float64))
    return float(((values >= low) & (values <= high)).mean())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**16),
    count=st.integers(FEW, 3000),
    wave=st.floats(0, 3),
    cycles=st.floats(0.5, 20),
    drop=st.floats(0, 5),
    heavy=st.booleans(),
)
def test_at_least_85_percent_of_the_points_lie_within(seed, count, wave, cycles, drop, heavy):
    rng = np.random.default_rng(seed)
    at = np.linspace(0, 1, count)
    noise = rng.standard_t(2, count) if heavy else rng.normal(0, 1, count)
    values = drop * np.exp(-5 * at) + wave * np.sin(2 * np.pi * cycles * at) + 0.3 * noise
    made = of_points(values)
    assert len(made.steps) == PLACES
    assert share_inside(made, np.arange(count), values) >= 0.85


def test_it_leaves_one_value_of_ten_out():
    values = np.random.default_rng(0).normal(0, 1, 6000)
    made = of_points(values)
    assert share_inside(made, np.arange(6000), values) == pytest.approx(0.9, abs=0.02)
    assert made.high.mean() == pytest.approx(1.645, abs=0.1)
    assert made.low.mean() == pytest.approx(-1.645, abs=0.1)


def test_spikes_do_not_widen_it_and_a_constant_has_no_height():
    values = np.ones(1000)
    made = of_points(np.where(np.arange(1000) % 50 == 7, 1e6, values))
    assert made.low.tolist() == made.high.tolist() == [1.0] * PLACES


def test_columns_count_with_their_lowest_and_their_highest_values():
    made = band(np.arange(500.0), np.full(500, -2.0), np.full(500, 3.0))
    assert made is not None
    assert (set(made.low), set(made.high)) == ({-2.0}, {3.0})


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_counts_for_nothing(odd):
    values = np.random.default_rng(1).normal(0, 1, 400)
    values[::7] = odd
    made = of_points(values)
    assert np.isfinite([made.low, made.high]).all()
    assert np.abs([made.low, made.high]).max() < 4
    assert of_points([odd] * 100) is None
    half = band(np.arange(100.0), np.zeros(100), np.full(100, odd))
    assert half is not None
    assert (set(half.low), set(half.high)) == ({0.0}, {0.0})


def test_of_few_values_it_goes_over_their_neighbours_with_some_air():
    scores = [13.0, 6.0, 3.0, 2.0, 1.5]
    made = of_points(scores, [0, 100, 200, 300, 400])
    assert made.steps.tolist() == [0, 100, 200, 300, 400]
    assert share_inside(made, made.steps, np.array(scores)) == 1
    assert made.low[2] < 2.0
    assert made.high[2] > 6.0
    assert made.high[2] - made.low[2] < 2 * (6.0 - 2.0)
    assert (made.low > 0).all()


@pytest.mark.parametrize("count", [1, 2, LEAST, FEW - 1, FEW])
def test_any_number_of_values_has_a_band(count):
    values = np.linspace(5, 1, count)
    made = of_points(values)
    assert share_inside(made, np.arange(count), values) >= 0.85
    assert len(made.steps) == (count if count < FEW else PLACES)


def test_none_has_no_band_and_beyond_its_ends_it_says_nothing():
    assert of_points([]) is None
    low, high = of_points(np.ones(100), np.arange(100, 200)).at(np.array([99.0, 100.0, 199.0, 200.0]))
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [True, False, False, True]


def test_it_is_written_in_three_digits_and_never_narrower():
    made = of_points(812.4 + np.random.default_rng(2).normal(0, 0.01, 500))
    text = json.dumps(made.to_json())
    again = Band.from_json(json.loads(text))
    assert (again.low <= made.low).all()
    assert (again.high >= made.high).all()
    assert set(again.low) == {812.0}
    assert set(again.high) == {813.0}
    negative = Band.from_json(of_points(-np.linspace(1.2345, 1.2346, 100)).to_json())
    assert set(negative.low) == {-1.24}
    assert len(text) < 2000


@pytest.mark.parametrize("odd", [{}, {"steps": [1], "low": [2.0], "high": [1.0]}, {"steps": [1, 2], "low": [1.0]}])
def test_what_is_no_band_is_refused(odd):
    with pytest.raises(ValueError, match="no band"):
        Band.from_json(odd)


def shipped(**changes):
    values = {
        "method": "dmd2",
        "preset": "one",
        "teacher": "digits",
        "teacher_hash": "abc",
        "settings": {"learning_rate": 1e-4},
        "student": {"kind": "full"},
        "training": {"steps": 400, "batch_size": 16},
        "score": ("preview_frechet", 0.4),
        "code": "def",
        "bands": {"gan": of_points(np.ones(100))},
    }
    return Shipped(**(values | changes))


def test_a_shipped_file_is_read_as_it_was_written_and_a_broken_one_as_none(tmp_path, monkeypatch):
    monkeypatch.setattr(bands, "FOLDER", tmp_path)
    assert bands.read_shipped("dmd2") is None
    wanted = shipped()
    (tmp_path / "dmd2.json").write_text(wanted.to_json())
    found = bands.read_shipped("dmd2")
    assert found is not None
    assert found.to_json() == wanted.to_json()
    assert (found.settings, found.score) == (wanted.settings, wanted.score)
    longer = wanted.to_json().replace('"low": [', '"low": [9, ')
    for broken in ("", "[]", "{}", '{"bands": {}}', longer):
        (tmp_path / "dmd2.json").write_text(broken)
        assert bands.read_shipped("dmd2") is None


def test_every_shipped_file_can_be_read_and_is_small():
    for file in bands.FOLDER.glob("*.json"):
        found = bands.read_shipped(file.stem)
        assert found is not None, file.name
        assert file.stem in (found.method, bands.DEMO)
        assert found.bands
        assert not any(map(bands.is_of_the_machine, found.bands))
        assert file.stat().st_size < 30_000


def test_the_bands_of_a_run_are_those_of_its_line(project):
    run = new_run(project)
    attempt = project.begin_attempt(run)
    project.record(attempt, rows(range(1, 401), lambda step: step % 10))
    project.record(attempt, [MetricRow(step, {"score": 100.0 / step}) for step in range(100, 401, 100)])
    found = bands.bands_of(project, run)
    assert set(found) == {"loss", "score"}
    assert (found["loss"].steps[0], found["loss"].steps[-1]) == (1, 400)
    assert (set(found["loss"].low), set(found["loss"].high)) == ({0.0}, {9.0})
    assert found["score"].steps.tolist() == [100, 200, 300, 400]
    assert set(bands.bands_of(project, run, frozenset({"score", "none"}))) == {"score"}
