"""Which weights are found by which name, and that a row never comes before its files."""

from tests.backend.contract.conftest import RECIPE, refused, weights


def test_checkpoints_are_found_by_step_last_and_best(project):
    run = project.add_run(RECIPE)
    attempt = project.begin_attempt(run)
    assert "has no checkpoint last; it has none yet" in refused(project.find_checkpoint, run)
    for step in (100, 200, 300):
        project.add_checkpoint(attempt, step, weights(project, str(step)), is_best=step < 300, meta={"score": step})
    assert project.find_checkpoint(run).step == 300
    best = project.find_checkpoint(run, "best")
    assert (best.step, best.bytes, best.meta) == (200, 7, {"score": 200})
    assert project.checkpoint_path(best) == project.files / "checkpoints" / "200"
    project.give_up_checkpoint(project.find_checkpoint(run, "100").id)
    assert [row.step for row in project.checkpoints(run)] == [200, 300]
    assert [row.step for row in project.checkpoints(run, kept=False)] == [100, 200, 300]
    assert refused(project.find_checkpoint, run, "100") == "Run 1 has no checkpoint 100; it has 200, 300."
    project.mark_best(project.find_checkpoint(run, "300"))
    assert project.find_checkpoint(run, "best").step == 300


def test_a_checkpoint_is_on_the_disk_when_its_row_is(project):
    attempt = project.begin_attempt(project.add_run(RECIPE))
    seen: list[str] = []
    project._db.connection.set_trace_callback(seen.append)
    project.add_checkpoint(attempt, 1, weights(project, "1"))
    project._db.connection.set_trace_callback(None)
    steps = [sql for sql in seen if "synchronous" in sql or sql in ("BEGIN IMMEDIATE", "COMMIT")]
    assert steps == ["PRAGMA synchronous = FULL", "BEGIN IMMEDIATE", "COMMIT", "PRAGMA synchronous = NORMAL"]
