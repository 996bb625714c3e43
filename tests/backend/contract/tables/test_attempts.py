"""One process at a time works on a run, and nobody waits for one that is gone."""

import os
import subprocess
import sys

from backend.contract import liveness
from tests.backend.contract.conftest import RECIPE, refused


def test_a_run_has_one_process_at_a_time(project):
    run = project.add_run(RECIPE)
    attempt = project.begin_attempt(run)
    expected = f"Run 1 is already being worked on in process {os.getpid()}; stop it first."
    assert refused(project.begin_attempt, run) == expected
    assert refused(project.prepare_attempt, run) == expected
    project.end_attempt(attempt, "failed", "Out of memory.", "Traceback ...")
    second = project.begin_attempt(run)
    assert [row.number for row in project.attempts(run)] == [1, 2]
    assert project.attempt(attempt).traceback == "Traceback ..."
    assert project.run_state(run).attempt == second


def test_commands_for_a_process_that_is_gone_are_closed_by_the_next(project):
    run = project.add_run(RECIPE)
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    attempt = project.prepare_attempt(run)
    project.set_process(attempt.id, liveness.process(child.pid))
    stop = project.issue(run, "stop")
    child.communicate()
    assert project.run_state(run).state == "lost"
    project.begin_attempt(run)
    assert project.open_commands(run) == []
    assert project.command(stop).result == "The process it was meant for had ended."
    assert project.run_state(run).state == "starting"
