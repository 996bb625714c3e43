"""A window that is killed takes nothing with it: the run goes on, and the next window finds it."""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from backend.contract import launch
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

TIMES = 20
RECIPE = {
    "teacher": "digits",
    "method": "dmd2",
    "training": {"steps": 100_000, "batch_size": 4, "preview_every": 50, "threads": 1},
}


@pytest.mark.long
def test_a_run_goes_on_when_its_window_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lab.distill"
    with ProjectFile.create(path) as project:
        run = project.add_run(Recipe.from_values(RECIPE))
    launch.start_worker(path, run)
    assert launch.wait_for_start(path, run).is_live
    chance, environment = random.Random(0), os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    try:
        with ProjectFile.open(path, readonly=True) as project:
            (attempt,) = project.attempts(run)
            for _ in range(TIMES):
                before = project.run_state(run).step or 0
                window = subprocess.Popen([sys.executable, "-m", "app", str(path)], env=environment)
                try:
                    window.wait(chance.uniform(0.2, 4.0))
                    pytest.fail("the window ended by itself")
                except subprocess.TimeoutExpired:
                    window.send_signal(signal.SIGKILL)
                    window.wait()
                state = project.run_state(run)
                assert state.is_live
                assert (state.step or 0) >= before
            assert project.attempts(run)[-1].id == attempt.id  # one life all the time
            assert project.commands(run) == []
            (found, state) = project.live_runs()[0]
            assert found.id == run
            steps = state.step or 0
            goes_on = threading.Event()
            for _ in range(600):  # it goes on where nobody looks
                if (project.run_state(run).step or 0) > steps:
                    goes_on.set()
                    break
                goes_on.wait(0.1)
            assert goes_on.is_set()
            assert project.check() == []
    finally:
        launch.end(path, run)
