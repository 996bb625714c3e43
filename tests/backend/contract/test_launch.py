import math
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import psutil
import pytest

from backend import studio
from backend.contract import launch, liveness
from backend.contract.files import last_line
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


def looks(count=6000):
    """Turns at which to look at a process, which calls nobody; a test that needs more of them has failed."""
    between = threading.Event()
    for _ in range(count):
        yield
        between.wait(0.01)
    pytest.fail(f"nothing happened in {count} looks")


def until(path, run, state):
    with ProjectFile.open(path, readonly=True) as project:
        for _ in looks():
            found = project.run_state(run)
            if found.state == state:
                return project.attempts(run)[-1]
            assert found.is_live, found


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


def saved(project, run, steps):
    """Checkpoints at these steps, with the file of each in its place; the attempt has ended."""
    folder = project.files / "checkpoints" / f"run-{run}"
    folder.mkdir(parents=True)
    attempt = project.begin_attempt(run)
    for step in steps:
        place = folder / f"step-{step:08d}-{attempt}.safetensors"
        place.write_bytes(f"weights at {step}".encode())
        project.add_checkpoint(attempt, step, place, is_best=step == steps[0], meta={"score": step / 10})
    project.end_attempt(attempt, "stopped", "It stopped itself.")


def test_a_run_goes_back_to_a_checkpoint_with_other_settings(path, run):
    with ProjectFile.open(path) as project:
        saved(project, run, [10, 20, 30])
        attempt = launch.go_back(path, run, "10", {"learning_rate_factor": 0.5}, command=worker(OBEDIENT))
        assert launch.wait_for_start(path, run).attempt == attempt
        newest = project.find_checkpoint(run)
        assert (newest.step, newest.is_best, newest.meta) == (10, True, {"score": 1.0})
        assert project.checkpoint_path(newest).read_bytes() == b"weights at 10"
        assert [one.step for one in project.checkpoints(run)] == [20, 30, 10]
        assert len(list(project.checkpoint_path(newest).parent.iterdir())) == 3
        assert project.training(run).learning_rate_factor == 0.5
        texts = [event.text for event in project.events_after(run)]
        assert texts[:2] == [
            "Goes back to the checkpoint at step 10 with learning_rate_factor to 0.5.",
            "Set learning_rate_factor to 0.5.",
        ]
        assert project.check() == []
    launch.end(path, run)


def test_going_back_to_the_newest_checkpoint_moves_nothing(path, run):
    with ProjectFile.open(path) as project:
        saved(project, run, [10, 20])
        before = project.checkpoints(run)
        assert project.go_back(run, 20) == before[-1]
        assert project.checkpoints(run) == before


def test_going_back_copies_a_file_that_cannot_have_two_names(path, run, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    with ProjectFile.open(path) as project:
        saved(project, run, [10, 20])
        found = project.go_back(run, 10)
        assert project.checkpoint_path(found).read_bytes() == b"weights at 10"
        assert [
            file.name for file in project.checkpoint_path(found).parent.iterdir() if "unfinished" in file.name
        ] == []
        assert project.check() == []


@pytest.mark.parametrize(
    ("which", "changes", "sentence"),
    [
        ("15", {}, "Run 1 has no checkpoint 15; it has 10, 20."),
        ("10", {"batch_size": 3}, "batch_size cannot be set while the run goes on; .* can."),
        ("10", {"learning_rate_factor": 20}, "learning_rate_factor is 20, above its highest value 10; .*"),
        ("20", {"steps": 20}, "Run 1 ends at step 20; go back to an earlier one, or set steps to more."),
    ],
)
def test_a_run_that_cannot_go_back_stays_as_it_is(path, run, which, changes, sentence):
    with ProjectFile.open(path) as project:
        saved(project, run, [10, 20])
        before = project.checkpoints(run), project.events_after(run), project.attempts(run)
        with pytest.raises((LaunchError, ProjectFileError), match=sentence):
            launch.go_back(path, run, which, changes, command=worker(OBEDIENT))
        assert (project.checkpoints(run), project.events_after(run), project.attempts(run)) == before


def test_a_run_that_goes_on_is_not_sent_back(path, run):
    launch.start_worker(path, run, command=worker(OBEDIENT))
    launch.wait_for_start(path, run)
    with pytest.raises(LaunchError, match=r"Run 1 is (starting|running); stop it first, then go back\."):
        launch.go_back(path, run, "10")
    launch.end(path, run)


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
    killed = psutil.Process(found.process.pid)
    killed.kill()
    killed.wait(60)
    with ProjectFile.open(path) as project:  # at the first look, as soon as its process is gone
        assert project.run_state(run).state == "lost"
        assert "ended without a word" in project.run_state(run).reason
        before = project.run_state(run).step
    launch.resume(path, run, command=worker(OBEDIENT))
    until(path, run, "running")
    with ProjectFile.open(path) as project:
        series = project.find_series(run, "loss")
        assert series is not None
        assert len(project.points(series, superseded=True).steps) == before


@pytest.mark.skipif(os.name != "posix", reason="no other system can hold a process")
def test_a_worker_that_is_held_is_lost_when_it_has_said_nothing_for_five_seconds_and_no_sooner(path, run):
    launch.start_worker(path, run, command=worker(OBEDIENT))
    found = until(path, run, "running")
    held = psutil.Process(found.process.pid)
    held.suspend()
    try:
        with ProjectFile.open(path, readonly=True) as project:
            for _ in looks():
                before, state, after = time.time(), project.run_state(run), time.time()
                heard = project.attempts(run)[-1].heartbeat or math.nan
                if state.state == "lost":
                    break
                assert before - heard < liveness.SILENCE_SECONDS
        assert liveness.SILENCE_SECONDS == 5
        assert after - heard >= 5
        assert "has been silent for" in state.reason
    finally:
        held.resume()
    assert until_heard(path, run) == "running"


def until_heard(path, run):
    """The state of a run that was lost, once it is no longer."""
    with ProjectFile.open(path, readonly=True) as project:
        for _ in looks():
            state = project.run_state(run).state
            if state != "lost":
                return state


def test_the_worker_is_started_without_the_folder_that_it_is_started_in(path, run):
    """A project must not bring code along: a module lying beside it is not imported."""
    (path.parent / "pydantic.py").write_text("raise SystemExit('code of the project ran')")
    assert launch._worker_command()[1:] == ["-P", "-m", "backend.worker_process"]
    launch.start_worker(path, run, command=[*launch._worker_command()[:2], "-c", OBEDIENT])
    until(path, run, "running")


def test_the_last_line_of_a_log(tmp_path):
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_bytes(b"x" * 10_000 + b"\nValueError: a\xff\n\n")
    assert last_line(log) == "ValueError: a\ufffd"


# The queue

QUICK = (
    BEGIN
    + """
from backend.contract import launch
recorder.metrics(1, {"loss": 1.0})
recorder.end("failed" if run == 2 else "finished")
recorder.close()
launch.go_on_with_queue(path, command=[sys.executable, "-P", __file__])
"""
)


@pytest.fixture
def four(path, run):
    """Four runs that nobody has started."""
    with ProjectFile.open(path) as project:
        return [run, *(project.add_run(Recipe(teacher="digits", method="dmd2")) for _ in range(3))]


def waiting(path):
    with ProjectFile.open(path, readonly=True) as project:
        return [run.id for run in project.queue()]


def when_all_have_ended(path, runs):
    """The last attempt of each."""
    with ProjectFile.open(path, readonly=True) as project:
        for _ in looks(30_000):  # four processes, one after the other
            if all((found := project.attempts(run)) and found[-1].outcome for run in runs):
                break
        return [project.attempts(run)[-1] for run in runs]


def test_runs_of_the_queue_follow_each_other_whatever_becomes_of_them(path, four, tmp_path):
    """With nobody to watch them: each starts the next as it ends."""
    script = tmp_path / "quick.py"
    script.write_text(QUICK)
    with ProjectFile.open(path) as project:
        for position, run in enumerate(four[1:]):
            project.set_queue_position(run, 5 - position)
    assert launch.enqueue(path, four[0], command=[sys.executable, "-P", str(script)]) == four[3]
    ended = when_all_have_ended(path, four)
    assert [attempt.outcome for attempt in ended] == ["finished", "failed", "finished", "finished"]
    order = sorted(ended, key=lambda attempt: attempt.launched)
    assert [attempt.run for attempt in order] == [four[3], four[2], four[1], four[0]]
    assert all(one.ended <= other.launched for one, other in pairwise(order))
    assert waiting(path) == []


def test_while_a_run_goes_on_the_next_one_waits(path, four):
    launch.start_worker(path, four[0], command=worker(OBEDIENT))
    assert launch.enqueue(path, four[2], command=worker(OBEDIENT)) is None
    assert launch.enqueue(path, four[1], command=worker(OBEDIENT)) is None
    assert waiting(path) == [four[2], four[1]]
    assert launch.start_next(path, command=worker(OBEDIENT)) is None
    with ProjectFile.open(path, readonly=True) as project:
        assert project.run_state(four[2]).state == "queued"


def test_of_many_that_ask_at_once_one_starts_a_run(path, four):
    with ProjectFile.open(path) as project:
        for run in four:
            project.enqueue(run)
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda _: launch.start_next(path, command=worker(OBEDIENT)), range(8)))
    assert sorted(started, key=bool) == [*[None] * 7, four[0]]
    assert waiting(path) == four[1:]


def test_a_run_that_cannot_be_started_leaves_the_queue_with_its_reason(path, four, monkeypatch):
    start = launch._launch

    def stand_in(command, folder, log):
        if command[-1] == str(four[1]):
            raise OSError("no more processes")
        return start(command, folder, log)

    monkeypatch.setattr(launch, "_launch", stand_in)
    with ProjectFile.open(path) as project:
        for run in (four[1], four[0]):
            project.enqueue(run)
    assert launch.start_next(path, command=worker(OBEDIENT)) == four[0]
    with ProjectFile.open(path, readonly=True) as project:
        state = project.run_state(four[1])
    assert (state.state, "no more processes" in state.reason) == ("failed", True)
    assert waiting(path) == []


def test_a_run_whose_process_dies_at_once_does_not_hold_up_the_queue(path, four):
    code = f"import sys\nif sys.argv[2] == '{four[1]}':\n    raise SystemExit('no such library')\n" + OBEDIENT
    with ProjectFile.open(path) as project:
        for run in (four[1], four[0]):
            project.enqueue(run)
    launch.go_on_with_queue(path, command=worker(code))
    until(path, four[0], "running")
    with ProjectFile.open(path, readonly=True) as project:
        assert project.run_state(four[1]).reason == "The worker ended before it could start: no such library"


def test_who_started_a_process_knows_how_it_was_killed(path, four):
    code = BEGIN + "print('half of it', flush=True)\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    launch.start_worker(path, four[0], command=worker(code))
    (child,) = [launch._children[pid] for pid, (known, _) in launch._attempts.items() if known == path.absolute()]
    child.wait()
    with ProjectFile.open(path) as project:
        assert "without a word" in project.run_state(four[0]).reason
        assert launch.start_next(path) is None  # whoever does anything here notes it
        state = project.run_state(four[0])
    assert state.state == "lost"
    assert "was ended by signal 9 (SIGKILL)" in state.reason
    assert state.reason.endswith("Its log ends: half of it")


def test_a_queue_whose_predecessor_was_killed_stands_still(path, four):
    assert launch.enqueue(path, four[0], command=worker(OBEDIENT)) == four[0]
    launch.enqueue(path, four[1], command=worker(OBEDIENT))
    with ProjectFile.open(path) as project:
        assert project.stalled_queue() == []
        process = project.attempts(four[0])[-1].process
        assert process is not None
        psutil.Process(process.pid).kill()
        launch._children[process.pid].wait()
        assert [run.id for run in project.stalled_queue()] == [four[1]]
        assert studio.stalled(path) == (
            f"No run is under way and 1 waits in the queue; `distill resume {path} {four[1]}` starts the first."
        )
        launch.resume(path, four[1], command=worker(OBEDIENT))
        assert project.stalled_queue() == []
        assert studio.stalled(path) == ""
    launch.end(path, four[1], stop_seconds=0.0)


def test_a_queue_does_not_stand_still_while_the_process_before_ends(path, four):
    with ProjectFile.open(path) as project:
        attempt = project.begin_attempt(four[0])  # this process
        project.enqueue(four[1])
        project.end_attempt(attempt, "finished")
        assert project.stalled_queue() == []


def test_what_runs_or_is_finished_does_not_queue(path, four):
    with ProjectFile.open(path) as project:
        project.end_attempt(project.begin_attempt(four[0]), "finished")
    with pytest.raises(LaunchError, match="Run 1 is finished; only a run that is not under way"):
        launch.enqueue(path, four[0])
    with ProjectFile.open(path) as project:
        attempt = project.begin_attempt(four[1])
        with pytest.raises(LaunchError, match="Run 2 is starting"):
            launch.enqueue(path, four[1])
        project.end_attempt(attempt, "stopped")
    assert waiting(path) == []
