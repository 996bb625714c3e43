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


def test_an_overview_of_many_points_reads_blocks_and_keeps_a_single_spike(project, monkeypatch):
    run = new_run(project)
    attempt = project.begin_attempt(run)
    spike = 12_345
    for begin in range(1, 50_001, 1000):
        project.record(attempt, rows(range(begin, begin + 1000), lambda step: 99.0 if step == spike else step % 7))
    series = project.find_series(run, "loss")
    read = []
    fetch = project._db.rows

    def fetch_and_note(*query):
        found = fetch(*query)
        read.extend(found)
        return found

    monkeypatch.setattr(project._db, "rows", fetch_and_note)
    overview = project.overview(series, pixels=100)
    assert overview.high.max() == 99.0
    column = int(np.argmax(overview.high))
    assert overview.first[column] <= spike <= overview.last[column]
    assert (len(overview.low), overview.first[0], overview.last[-1]) == (100, 1, 50_000)
    assert len(read) < 200


@pytest.mark.parametrize(("first", "last"), [(1, 5000), (3, 4999), (777, 3333), (2048, 2049), (4990, 9999), (-5, 0)])
def test_an_overview_ends_exactly_where_it_was_asked_to(project, first, last):
    run = new_run(project)
    project.record(project.begin_attempt(run), rows(range(1, 5001)))
    overview = project.overview(project.find_series(run, "loss"), first, last, pixels=4)
    inside = [step for step in (max(first, 1), min(last, 5000)) if step in range(1, 5001) and first <= step <= last]
    assert [*overview.first[:1], *overview.last[-1:]] == inside
    assert [*overview.low[:1], *overview.high[-1:]] == inside


def test_a_rebuilt_pyramid_is_the_one_that_grew(project):
    run = new_run(project)
    attempt = project.begin_attempt(run)
    for begin in range(1, 85 * 37, 37):  # the first alone, then fourteen at a time: none wait at the end
        project.record(attempt, rows(range(begin, begin + 37), math.sin))
    stored = "SELECT level, first_step, last_step, blocks FROM pyramid ORDER BY level, first_step"
    grown = project._db.rows(stored)
    project.rebuild_pyramid(run)
    assert project._db.rows(stored) == grown
    assert {row[0] for row in grown} == {1, 2, 3}


def test_a_step_recorded_twice_counts_once_and_spoils_no_overview(project):
    run = new_run(project)
    attempt = project.begin_attempt(run)
    project.record(attempt, rows(range(1, 101)))
    project.record(attempt, rows([50], lambda step: 1000.0))
    series = project.find_series(run, "loss")
    for _ in range(2):  # before the pyramid is made again, and after
        assert project.overview(series, pixels=4).high.max() == 1000.0
        assert len(project.points(series).steps) == 100
        project.rebuild_pyramid(run, only_dirty=True)


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


def test_a_failed_transaction_leaves_no_trace_in_the_pyramid(project):
    run = new_run(project)
    attempt = project.begin_attempt(run)
    project.record(attempt, rows(range(1, 101)))

    def fail_after_recording():
        with project.transaction():
            project.record(attempt, rows(range(101, 201), lambda step: 1e6))
            raise KeyError

    with pytest.raises(KeyError):
        fail_after_recording()
    project.record(attempt, rows(range(101, 301)))
    series = project.find_series(run, "loss")
    assert len(project.points(series).steps) == 300
    assert project.overview(series, pixels=10).high.max() == 300.0
    assert project._db.rows("SELECT points, dirty FROM pyramid_states") == [(300, 0)]
