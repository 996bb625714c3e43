"""The pyramid of a project's points: what it spares, and that it never tells less than the points."""

import math

import numpy as np
import pytest

from .test_metrics import new_run, rows


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
