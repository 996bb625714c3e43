"""What a run is doing, from its first day to its last."""

from backend.contract.metrics import MetricRow
from tests.backend.contract.conftest import RECIPE


def test_state_follows_a_run_through_its_life(project):
    run = project.add_run(RECIPE)
    assert project.run_state(run).state == "queued"
    prepared = project.prepare_attempt(run)
    assert project.run_state(run).state == "starting"
    attempt = project.begin_attempt(run)
    assert attempt == prepared.id
    assert (project.attempt(attempt).log, project.run_state(run).state) == ("logs/run-1-attempt-1.log", "starting")
    project.record(attempt, [MetricRow(1, {"loss": 1.0}, 0.0)])
    assert project.run_state(run).state == "running"
    pause = project.issue(run, "pause")
    project.acknowledge(pause)
    assert project.run_state(run).state == "paused"
    project.finish(pause)
    assert project.run_state(run).state == "running"
    stop = project.issue(run, "stop")
    assert project.run_state(run).state == "stopping"
    project.end_attempt(attempt, "stopped", "You stopped it.")
    state = project.run_state(run)
    assert (state.state, state.reason, state.step) == ("stopped", "You stopped it.", 1)
    assert project.command(stop).result == "Done."
    project.set_queue_position(run, 1)
    assert project.run_state(run).state == "queued"
