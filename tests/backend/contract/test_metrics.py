import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.contract.metrics import MetricRow
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe


@pytest.fixture
def project(tmp_path):
    with ProjectFile.create(tmp_path / "a.distill") as project:
        yield project


def new_run(project):
    return project.add_run(Recipe(teacher="digits", method="dmd2"))


def new_attempt(project, run):
    """Another life of the run's process; the one before ends."""
    for attempt in project.attempts(run):
        if attempt.outcome is None:
            project.end_attempt(attempt.id, "stopped")
    return project.begin_attempt(run)


def rows(steps, value=float, name="loss", seconds=1.0):
    return [MetricRow(step, {name: value(step)}, step * seconds, step * 10, step * 30) for step in steps]


VALUE = st.floats(width=32) | st.sampled_from([math.nan, math.inf, -math.inf])
BATCHES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 400), st.integers(1, 50)), min_size=1, max_size=25)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), batches=BATCHES, pixels=st.integers(1, 60))
def test_no_overview_hides_an_extreme(project, data, batches, pixels):
    """Every point lies in a column, and every column's bounds were recorded inside it; at any zoom, over
    several attempts, with uneven steps and values that are no numbers."""
    run = new_run(project)
    start = 0
    for resumed_at, count, stride in batches[:3]:
        attempt = new_attempt(project, run)
        begin = max(1, start - resumed_at)
        steps = np.cumsum(np.random.default_rng(count).integers(1, stride + 1, count)) + begin
        values = np.random.default_rng(stride).normal(size=count)
        for index in data.draw(st.lists(st.integers(0, count - 1), max_size=3)):
            values[index] = data.draw(VALUE)
        recorded = [MetricRow(int(s), {"loss": float(v)}, 0.0) for s, v in zip(steps, values, strict=True)]
        cut = data.draw(st.integers(0, count))
        project.record(attempt, recorded[:cut])
        project.record(attempt, recorded[cut:])
        start = int(steps[-1])
    series = project.find_series(run, "loss")
    first, last = sorted([data.draw(st.integers(0, start)), data.draw(st.integers(0, start))])
    superseded = data.draw(st.booleans())

    points = project.points(series, first, last, superseded=superseded)
    overview = project.overview(series, first, last, pixels, superseded=superseded)

    assert len(overview.low) <= pixels
    assert (overview.first >= first).all()
    assert (overview.last <= last).all()
    for step, value in zip(points.steps, points.values, strict=True):
        inside = (overview.first <= step) & (step <= overview.last)
        assert inside.any()
        if not math.isnan(value):
            assert (inside & (overview.low <= value) & (value <= overview.high)).any()
    for begin, end, low, high in zip(overview.first, overview.last, overview.low, overview.high, strict=True):
        inside = points.values[(points.steps >= begin) & (points.steps <= end)]
        assert low in inside or np.isnan(inside).any()
        assert high in inside or np.isnan(inside).any()


@pytest.mark.parametrize(("first", "last"), [(1, 5000), (3, 4999), (777, 3333), (2048, 2049), (4990, 9999), (-5, 0)])
def test_an_overview_ends_exactly_where_it_was_asked_to(project, first, last):
    run = new_run(project)
    project.record(project.begin_attempt(run), rows(range(1, 5001)))
    overview = project.overview(project.find_series(run, "loss"), first, last, pixels=4)
    inside = [step for step in (max(first, 1), min(last, 5000)) if step in range(1, 5001) and first <= step <= last]
    assert [*overview.first[:1], *overview.last[-1:]] == inside
    assert [*overview.low[:1], *overview.high[-1:]] == inside


def test_a_resumed_run_keeps_what_it_supersedes(project):
    run = new_run(project)
    project.record(new_attempt(project, run), rows(range(1, 101), lambda step: 1.0))
    second = new_attempt(project, run)
    project.record(second, rows(range(61, 81), lambda step: 2.0))
    series = project.find_series(run, "loss")

    line, old = project.points(series), project.points(series, superseded=True)
    assert line.steps.tolist() == list(range(1, 81))
    assert line.values.tolist() == [1.0] * 60 + [2.0] * 20
    assert set(line.attempts[60:]) == {second}
    assert old.steps.tolist() == list(range(61, 101))
    assert set(old.values) == {1.0}
    assert project.latest_metrics(run) == {"loss": (80, 2.0)}
    assert project.run_state(run).step == 80


def test_a_cursor_brings_every_point_once_and_nothing_again(project):
    run, other = new_run(project), new_run(project)
    attempt = project.begin_attempt(run)
    project.record(project.begin_attempt(other), rows(range(1, 9)))
    assert project.metrics_after(run).curves == {}
    seen, cursor = [], 0
    for begin in range(1, 101, 10):
        project.record(attempt, rows(range(begin, begin + 10)))
        if begin % 20 == 1:
            continue
        new = project.metrics_after(run, cursor)
        seen += new.curves["loss"].steps.tolist()
        cursor = new.cursor
    assert seen == list(range(1, 101))
    assert project.metrics_after(run, cursor).curves == {}
    assert project.metrics_after(run).curves["loss"].steps.tolist() == seen


def test_values_that_are_no_numbers_come_back(project):
    run = new_run(project)
    values = {1: math.nan, 2: math.inf, 3: -math.inf, 4: 0.1}
    project.record(project.begin_attempt(run), rows(values, values.__getitem__))
    np.testing.assert_array_equal(project.points(project.series(run)[0]).values, list(values.values()))


def test_other_axes_follow_the_line(project):
    run = new_run(project)
    project.record(new_attempt(project, run), rows(range(1, 101)))
    steps = np.array([1, 50, 100])
    assert project.axis(run, "wall", steps).tolist() == [1.0, 50.0, 100.0]
    second = new_attempt(project, run)
    project.record(
        second, [MetricRow(61, {"loss": 0.0}, 1.0, 610, 1830), MetricRow(81, {"loss": 0.0}, 41.0, 810, 2430)]
    )
    # 60 seconds of the first attempt lie on the line, then the second, from step 61 on
    assert project.axis(run, "wall", np.array([60, 61, 71, 81])).tolist() == [60.0, 61.0, 81.0, 101.0]
    assert project.axis(run, "images", np.array([81])).tolist() == [810.0]
    assert project.axis(run, "nfe", np.array([81])).tolist() == [2430.0]


def test_figures_made_beside_training_do_not_move_the_other_axes(project):
    run = new_run(project)
    attempt = project.begin_attempt(run)
    project.record(attempt, [*rows(range(1, 11)), MetricRow(10, {"preview_frechet": 3.0})])
    project.record(attempt, [MetricRow(10, {"preview_coverage": 0.5})])
    project.record(attempt, rows(range(11, 21)))
    steps = np.array([1, 10, 11, 20])
    assert project.axis(run, "wall", steps).tolist() == [1.0, 10.0, 11.0, 20.0]
    assert project.axis(run, "nfe", steps)[1:].tolist() == [300.0, 330.0, 600.0]
