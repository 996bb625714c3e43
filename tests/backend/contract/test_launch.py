import os
import sys

import psutil
import pytest

from backend.contract import launch, liveness
from backend.contract.launch import LaunchError
from backend.contract.project_file import ProjectFile, ProjectFileError
from backend.contract.recipe import Recipe

BEGIN = """
import sys
from backend.contract.project_file import ProjectFile
from backend.contract.recorder import Recorder
path, run = sys.argv[1], int(sys.argv[2])
with ProjectFile.open(path) as project:
    attempt = project.begin_attempt(run)
recorder = Recorder(path, run, attempt)
step = 0
"""
OBEDIENT = (
    BEGIN
    + """
stopped = paused = None
while not stopped:
    if not paused:
        step += 1
        recorder.metrics(step, {"loss": 1.0}, wall=0.0)
    recorder.flush()
    for command in recorder.pending_commands():
        if command.verb == "pause":
            recorder.acknowledge(command)
            paused = command
        elif command.verb == "resume":
            recorder.finish(paused)
            recorder.finish(command)
            paused = None
        elif command.verb == "stop":
            recorder.finish(command)
            stopped = True
recorder.end("stopped", "You stopped it.")
recorder.close()
"""
)
DEAF = BEGIN + "import signal, threading\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nthreading.Event().wait()\n"
BROKEN = "print('Loading ...')\nraise RuntimeError('no such teacher')"


def worker(code):
    return [sys.executable, "-P", "-c", code]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.distill"


@pytest.fixture
def run(path):
    with ProjectFile.create(path) as project:
        run = project.add_run(Recipe(teacher="digits", method="dmd2"))
    yield run
    launch.end(path, run, stop_seconds=0.0, interrupt_seconds=0.0)


def until(path, run, state):
    with ProjectFile.open(path, readonly=True) as project:
        while (found := project.run_state(run)).state != state:
            assert found.is_live, found
        return project.attempts(run)[-1]


def test_a_run_is_started_paused_resumed_and_stopped(path, run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    attempt = launch.start_worker(path.name, run, command=worker(OBEDIENT))
    assert launch.wait_for_start(path, run).state in ("starting", "running")
    found = until(path, run, "running")
    assert found.id == attempt
    assert found.process is not None
    if os.name == "posix":  # it outlives whoever started it
        assert os.getsid(found.process.pid) == found.process.pid
    with pytest.raises(ProjectFileError, match="is already being worked on in process"):
        launch.start_worker(path, run, command=worker(OBEDIENT))
    with pytest.raises(LaunchError, match=r"Run 1 is running; there is nothing to resume\."):
        launch.resume(path, run)

    launch.pause(path, run)
    until(path, run, "paused")
    assert launch.resume(path, run) == attempt
    until(path, run, "running")
    launch.stop(path, run)
    assert until(path, run, "stopped").reason == "You stopped it."
    with pytest.raises(LaunchError, match=r"Run 1 is stopped, so there is nothing to pause\."):
        launch.pause(path, run)
    second = launch.resume(path, run, command=worker(OBEDIENT))
    assert second != attempt
    until(path, run, "running")


def test_to_ask_twice_for_a_stop_is_to_ask_once(path, run):
    with ProjectFile.open(path) as project:
        attempt = project.begin_attempt(run)
        assert launch.stop(path, run) == launch.stop(path, run)
        assert len(project.open_commands(run)) == 1
        project.end_attempt(attempt, "stopped")


def test_a_finished_run_is_not_resumed(path, run):
    with ProjectFile.open(path) as project:
        project.end_attempt(project.begin_attempt(run), "finished")
    with pytest.raises(LaunchError, match="Run 1 is finished; make a new run"):
        launch.resume(path, run)


def test_a_program_that_is_not_there_is_recorded(path, run):
    with pytest.raises(LaunchError, match="The worker could not be started: "):
        launch.start_worker(path, run, command=["/nowhere/python"])
    with ProjectFile.open(path) as project:
        assert project.run_state(run).state == "failed"
        assert "The worker could not be started" in project.run_state(run).reason


def test_a_worker_that_dies_at_once_is_recorded_with_its_last_words(path, run):
    launch.start_worker(path, run, command=worker(BROKEN))
    state = launch.wait_for_start(path, run)
    assert (state.state, state.reason) == (
        "failed",
        "The worker ended before it could start: RuntimeError: no such teacher",
    )
    log = path.with_name("a.files") / "logs" / "run-1-attempt-1.log"
    assert log.read_text().startswith("Loading ...\nTraceback")


def test_a_process_that_does_not_listen_is_killed_in_the_end(path, run):
    launch.start_worker(path, run, command=worker(DEAF))
    launch.wait_for_start(path, run)
    state = launch.end(path, run, stop_seconds=0.2, interrupt_seconds=0.2)
    assert state.state == "stopped"
    assert "was killed" in state.reason
    with ProjectFile.open(path) as project:
        process = project.attempts(run)[0].process
    assert process is not None
    assert liveness.is_alive(process) is False


def test_a_killed_worker_is_lost_and_can_be_resumed(path, run):
    launch.start_worker(path, run, command=worker(OBEDIENT))
    found = until(path, run, "running")
    assert found.process is not None
    psutil.Process(found.process.pid).kill()
    with ProjectFile.open(path) as project:
        while project.run_state(run).is_live:
            pass
        assert project.run_state(run).state == "lost"
        before = project.run_state(run).step
    launch.resume(path, run, command=worker(OBEDIENT))
    until(path, run, "running")
    with ProjectFile.open(path) as project:
        series = project.find_series(run, "loss")
        assert series is not None
        assert len(project.points(series, superseded=True).steps) == before


def test_the_worker_is_started_without_the_folder_that_it_is_started_in(path, run):
    """A project must not bring code along: a module lying beside it is not imported."""
    (path.parent / "pydantic.py").write_text("raise SystemExit('code of the project ran')")
    assert launch._worker_command()[1:] == ["-P", "-m", "backend.worker"]
    launch.start_worker(path, run, command=[*launch._worker_command()[:2], "-c", OBEDIENT])
    until(path, run, "running")


def test_the_last_line_of_a_log(tmp_path):
    log = tmp_path / "log"
    assert launch.last_line(log) == ""
    log.write_bytes(b"x" * 10_000 + b"\nValueError: a\xff\n\n")
    assert launch.last_line(log) == "ValueError: a\ufffd"
