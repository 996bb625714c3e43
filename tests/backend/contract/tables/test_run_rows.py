"""The list of all runs: right for each, and quick whatever they have recorded."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.contract.metrics import MetricRow
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from tests.app.conftest import fill

RECIPE = {"teacher": "digits", "method": "dmd2", "training": {"steps": 40}}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[ProjectFile]:
    with ProjectFile.create(tmp_path / "lab.distill") as made:
        yield made


def add(project: ProjectFile, name: str) -> int:
    return project.add_run(Recipe.from_values(RECIPE), name=name)


def test_each_row_says_what_the_run_itself_says(project):
    finished, queued, _ = (add(project, name) for name in ("done", "waits", "fresh"))
    fill(project, finished, steps=40, previews=2)
    project.set_tags(finished, ["good", "night"])
    project.set_notes(finished, "keep")
    project.set_queue_position(queued, 1)
    project.add_evaluation(finished, 40, {"of": "student", "nfe": 1}, {"frechet": 0.5})
    project.add_evaluation(finished, 40, {"of": "student", "nfe": 2}, {"frechet": 0.4})
    project.add_evaluation(finished, 40, {"of": "teacher", "nfe": 50}, {"frechet": 0.1})
    project.add_export(finished, "diffusers", "/tmp/x", "abc", {})
    done, waits, new = project.run_rows()
    assert (done.name, done.method, done.teacher, done.steps) == ("done", "dmd2", "digits", 40)
    assert (done.tags, done.has_notes, done.exports) == (("good", "night"), True, 1)
    assert (done.score, done.score_step, done.score_name) == (6.5, 40, "frechet")
    assert (done.figures, done.measured["nfe"]) == ({"frechet": 0.4}, 2)
    assert (done.seconds, done.nfe) == (40 * 0.2, 40 * 16 * 8)
    assert done.latest == {name: value for name, (_, value) in project.latest_metrics(finished).items()}
    assert (waits.state.state, waits.queue_position, new.state.state) == ("queued", 1, "queued")
    assert (new.score, new.latest, new.seconds) == (None, {}, 0.0)
    for row in (done, waits, new):
        assert row.state == project.run_state(row.id)


def test_a_resumed_run_shows_its_line_and_all_its_seconds(project, monkeypatch):
    run = add(project, "resumed")
    first = project.begin_attempt(run)
    project.record(first, [MetricRow(step, {"loss": 1.0 * step, "early": 7.0}, wall=step) for step in range(1, 11)])
    project.end_attempt(first, "stopped")
    second = project.begin_attempt(run)
    project.set_first_step(second, 6)
    attempts = project.attempts(run)
    spent = attempts[0].ended - attempts[0].started
    assert project.run_rows()[0].seconds == pytest.approx(spent)  # the second has recorded nothing yet
    project.record(second, [MetricRow(step, {"loss": 100.0 + step}, wall=step - 5) for step in range(6, 9)])
    row = project.run_rows()[0]
    assert row.latest == {"loss": 108.0, "early": 7.0}
    assert row.latest == {name: value for name, (_, value) in project.latest_metrics(run).items()}
    assert row.seconds == pytest.approx(spent + 3)
    assert row.state == project.run_state(run)
    assert project.run_rows(["early"])[0].latest == {"early": 7.0}


def test_a_superseded_end_of_a_line_is_not_its_last_value(project):
    run = add(project, "back")
    first = project.begin_attempt(run)
    project.record(first, [MetricRow(step, {"rare": 1.0 * step}) for step in (2, 8)])
    project.end_attempt(first, "stopped")
    second = project.begin_attempt(run)
    project.record(second, [MetricRow(5, {"other": 1.0})])
    assert project.run_rows()[0].latest == {"rare": 2.0, "other": 1.0}


def queries(project: ProjectFile) -> list[str]:
    asked: list[str] = []
    project._db.connection.set_trace_callback(asked.append)
    project.run_rows()
    project._db.connection.set_trace_callback(None)
    return [sql for sql in asked if sql.startswith(("SELECT", "WITH"))]


def test_no_query_reads_all_points_or_batches(project):
    fill(project, add(project, "a"), steps=20, previews=2)
    few = len(queries(project))
    fill(project, add(project, "b"), steps=20, previews=2)
    selects = queries(project)
    assert len(selects) == few  # not some for each run
    plans = [row[3] for sql in selects for row in project._db.rows(f"EXPLAIN QUERY PLAN {sql}")]
    assert any(plan.startswith("SEARCH points") for plan in plans)
    assert any(plan.startswith("SEARCH batches") for plan in plans)
    big = ("points", "line", "batches", "pyramid", "samples", "pictures", "events")
    assert not [plan for plan in plans if plan.startswith("SCAN") and plan.split()[1] in big]


def test_evaluations_of_all_runs_come_together(project):
    a, b = add(project, "a"), add(project, "b")
    for run, value in ((b, 2.0), (a, 1.0)):
        project.add_evaluation(run, 1, {"of": "student"}, {"frechet": value})
    assert [(row.run, row.figures["frechet"]) for row in project.every_evaluation()] == [(b, 2.0), (a, 1.0)]
