import json
import multiprocessing
import random
import threading
from typing import Any

import numpy as np
import pysqlite3
import pytest

from backend.contract import recorder as recorder_module
from backend.contract.project_file import ProjectFile, files_folder
from backend.contract.recipe import Recipe
from backend.contract.recorder import Recorder, replay_spills

KILLS = 50


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    for name, seconds in (("BATCH_SECONDS", 0.01), ("BUSY_SECONDS", 0.02), ("RETRY_SECONDS", 0.0)):
        monkeypatch.setattr(recorder_module, name, seconds)


@pytest.fixture
def no_patience(monkeypatch):
    """For a project that stays away: who closes does not wait for it to come back."""
    monkeypatch.setattr(recorder_module, "CLOSING_SECONDS", 0.0)


@pytest.fixture
def project(tmp_path):
    with ProjectFile.create(tmp_path / "a.distill") as project:
        yield project


@pytest.fixture
def run(project):
    return project.add_run(Recipe(teacher="digits", method="dmd2"))


@pytest.fixture
def attempt(project, run):
    return project.begin_attempt(run)


def steps_of(project, run):
    return project.points(project.find_series(run, "loss")).steps.tolist()


def test_everything_recorded_arrives_in_order(project, run, attempt):
    folder = project.files / "checkpoints" / "10"
    folder.mkdir(parents=True)
    (folder / "student.safetensors").write_bytes(b"weights")
    with Recorder(project.path, run, attempt) as recorder:
        recorder.first_step(1)
        for step in range(1, 11):
            recorder.metrics(step, {"loss": 1 / step, "fake_score": 2.0}, wall=step / 10, images=step, nfe=3 * step)
        recorder.event("health", "The loss falls.", step=10, data={"odd": {1, 2}})
        recorder.sample(10, "preview", 0, b"picture", thumbnail=b"small", label="3", seed=7, scores={"clip": 0.5})
        assert recorder.checkpoint(10, folder, is_best=True, meta={"frechet": 1.5})
        assert project.find_checkpoint(run, "best").meta == {"frechet": 1.5}  # synchronous
        assert recorder.end("finished", "All steps are taken.")
    assert steps_of(project, run) == list(range(1, 11))
    assert project.axis(run, "nfe", [10]).tolist() == [30.0]
    assert project.events_after(run)[0].text == "The loss falls."
    sample = project.samples_after(run)[0]
    assert (project.image(sample), project.thumbnail(sample), sample.attempt) == (b"picture", b"small", attempt)
    assert project.run_state(run).state == "finished"
    assert project.check() == []


def test_a_flood_of_rows_is_not_thinned_while_a_window_watches(project, run, attempt):
    """Ten seconds' worth at 2,000 rows a second, as fast as they go in."""
    stop = threading.Event()
    seen: list[int] = []

    def watch():
        with ProjectFile.open(project.path, readonly=True) as window:
            cursor, last = 0, False
            while not last:
                last = stop.is_set()
                new = window.metrics_after(run, cursor)
                cursor = new.cursor
                seen.extend(new.curves["loss"].steps.tolist() if "loss" in new.curves else [])

    window = threading.Thread(target=watch)
    window.start()
    with Recorder(project.path, run, attempt) as recorder:
        for step in range(1, 20_001):
            recorder.metrics(step, {"loss": step}, wall=step)
    stop.set()
    window.join()
    assert seen == list(range(1, 20_001))
    assert steps_of(project, run) == seen


def test_commands_reach_the_loop_and_are_acknowledged(project, run, attempt):
    with Recorder(project.path, run, attempt) as recorder:
        first = project.issue(run, "pause", {"why": "lunch"})
        second = project.issue(run, "sample")
        while len(recorder.pending_commands()) < 2:
            recorder.flush()
        pause, sample = recorder.pending_commands()
        assert (pause.id, pause.verb, pause.arguments, sample.id) == (first, "pause", {"why": "lunch"}, second)
        assert project.command(first).acknowledged is None

        recorder.acknowledge(pause)
        assert recorder.pending_commands() == (sample,)
        recorder.finish(sample, "8 samples.")
        assert recorder.pending_commands() == ()
        recorder.flush()
        assert project.command(first).acknowledged is not None
        assert project.command(first).finished is None
        assert project.command(second).result == "8 samples."
        project.issue(run, "stop")
        while not recorder.pending_commands():
            recorder.flush()
        assert [command.verb for command in recorder.pending_commands()] == ["stop"]


def test_it_says_that_the_process_lives(project, run, attempt, monkeypatch):
    monkeypatch.setattr(recorder_module, "HEARTBEAT_SECONDS", 0.0)
    begun = project.attempt(attempt).heartbeat
    with Recorder(project.path, run, attempt) as recorder:
        recorder.flush()
        recorder.flush()
        assert project.attempt(attempt).heartbeat > begun


def test_what_a_locked_database_refuses_is_spilled_and_replayed(project, run, attempt):
    spill = project.files / f"spill-{attempt}.jsonl"
    with Recorder(project.path, run, attempt) as recorder:
        recorder.metrics(1, {"loss": 1.0}, wall=0.0)
        assert recorder.flush()
        with project.transaction():
            recorder.metrics(2, {"loss": float("nan")}, wall=0.1)
            recorder.event("info", "Locked out.")
            recorder.sample(2, "preview", 0, b"\x00picture")
            assert not recorder.flush()
            recorder.metrics(3, {"loss": 3.0}, wall=0.2)
            assert not recorder.flush()
            kinds = [json.loads(line).get("kind") for line in spill.read_text().splitlines()]
            assert kinds == [None, "metrics", "event", "sample", "metrics"]
        recorder.metrics(4, {"loss": 4.0}, wall=0.3)
        while not recorder.flush():
            pass
        assert not spill.exists()
    assert steps_of(project, run) == [1, 2, 3, 4]
    assert [event.text for event in project.events_after(run)] == ["Locked out."]
    assert project.image(project.samples_after(run)[0]) == b"\x00picture"
    assert project._db.rows("SELECT DISTINCT dirty FROM pyramid_states") == [(0,)]


@pytest.mark.usefixtures("no_patience")
def test_the_next_worker_replays_what_the_last_one_left(project, run, attempt):
    with project.transaction(), Recorder(project.path, run, attempt) as recorder:
        recorder.metrics(1, {"loss": 1.0}, wall=0.0)
        recorder.metrics(2, {"loss": 2.0}, wall=0.1)
        assert not recorder.end("failed", "The disk was full.")
    spill = project.files / f"spill-{attempt}.jsonl"
    with spill.open("a") as file:
        file.write('{"run": 1, "attempt": 1, "kind": "metr')  # cut off by a crash
    assert project.series(run) == []
    content = spill.read_text()
    assert replay_spills(project, attempt) == 1
    assert steps_of(project, run) == [1, 2]
    assert project.run_state(run).reason == "The disk was full."
    spill.write_text(content)  # a crash between the commit and the removal
    assert replay_spills(project, attempt) == 1
    assert project._db.rows("SELECT count(*) FROM batches") == [(1,)]
    assert not spill.exists()

    second = project.begin_attempt(run)
    spill.write_text("\n".join(['{"spill": "another"}', *content.splitlines()[1:]]))
    with Recorder(project.path, run, second) as recorder:
        assert recorder.flush()
    assert list(project.files.glob("spill-*")) == []
    assert steps_of(project, run) == [1, 2]


def test_what_another_run_still_spills_is_left_to_it(project, run, attempt):
    project.files.mkdir(exist_ok=True)
    spill = project.files / f"spill-{attempt}.jsonl"
    spill.write_text('{"spill": "mine"}\n')
    assert replay_spills(project, attempt + 1) == 0  # the attempt's process, this one, lives
    assert spill.exists()
    project.end_attempt(attempt, "failed")
    assert replay_spills(project, attempt + 1) == 1


class Dies(Recorder):
    """Its thread ends at the first batch that holds a metric, which no fault of the recorder's own has ever done."""

    def _write(self, records):
        if any(record.kind == "metrics" for record in records):
            self._queue.extendleft(reversed(records))
            raise SystemExit
        super()._write(records)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_recorder_keeps_what_it_is_given_and_makes_nobody_wait_for_ever(project, run, attempt):
    recorder = Dies(project.path, run, attempt)
    for step in (1, 2):
        recorder.metrics(step, {"loss": 1.0})
    assert not recorder.flush()
    recorder.metrics(3, {"loss": 1.0})
    recorder.close()
    assert project.series(run) == []
    assert replay_spills(project, attempt) == 1
    assert steps_of(project, run) == [1, 2, 3]


def test_a_full_log_does_not_end_the_recorder(project, run, attempt, monkeypatch):
    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

        flush = write

    monkeypatch.setattr("sys.stderr", Full())
    with Recorder(project.path, run, attempt) as recorder:
        with project.transaction():
            recorder.metrics(1, {"loss": 1.0})
            assert not recorder.flush()
        recorder.metrics(2, {"loss": np.float32(0.5)})  # type: ignore[dict-item]
        while not recorder.flush():
            pass
    assert steps_of(project, run) == [1, 2]


def test_a_spill_that_can_never_be_replayed_keeps_nothing_else_out(project, run, attempt):
    spill = project.files / "spill-9.jsonl"
    project.files.mkdir()
    spill.write_text('{"spill": "a"}\n{"run": 9, "attempt": 9, "kind": "metrics", "values": {"step": 1}}\n')
    with Recorder(project.path, run, attempt) as recorder:
        recorder.metrics(1, {"loss": 1.0}, wall=0.0)
        assert recorder.flush()
    assert steps_of(project, run) == [1]
    assert [path.name for path in project.files.iterdir()] == ["spill-9.rejected"]


@pytest.mark.usefixtures("no_patience")
def test_training_goes_on_without_a_project_and_without_a_folder(project, run, attempt, tmp_path):
    project.close()
    project.path.rename(tmp_path / "moved.distill")
    files_folder(project.path).write_text("in the way of the folder")
    recorder = Recorder(project.path, run, attempt)
    recorder.metrics(1, {"loss": 1.0}, wall=0.0)
    assert not recorder.checkpoint(1, files_folder(project.path) / "weights")
    files_folder(project.path).unlink()  # the folder can be made again, and holds what waited in memory
    recorder.metrics(2, {"loss": 1.0}, wall=0.1)
    recorder.close()
    recorder.metrics(3, {"loss": 1.0}, wall=0.2)
    assert not recorder.flush()
    recorder.close()
    lines = (files_folder(project.path) / f"spill-{attempt}.jsonl").read_text().splitlines()
    assert [json.loads(line).get("kind") for line in lines] == [None, "metrics", "checkpoint", "metrics", "metrics"]


def _write_until_killed(path, run, ready):
    recorder_module.BATCH_SECONDS = 0.001
    recorder_module.HEARTBEAT_SECONDS = 0.002
    with ProjectFile.open(path) as project:
        attempt = project.begin_attempt(run)
        newest = project.latest_metrics(run).get("loss", (0, 0.0))[0]
    recorder = Recorder(path, run, attempt)
    weights = files_folder(path) / "weights"
    ready.set()
    step = newest
    while True:
        step += 1
        recorder.metrics(step, {"loss": step, "fake_score": -step}, wall=step)
        if step % 50 == 0:
            recorder.event("info", f"Step {step}")
            recorder.checkpoint(step, weights)


def pyramid(project):
    """(series, attempt, level) -> all blocks."""
    found: dict[tuple[int, ...], bytes] = {}
    for *key, blocks in project._db.rows(
        "SELECT series, attempt, level, blocks FROM pyramid ORDER BY series, attempt, level, first_step"
    ):
        found[tuple(key)] = found.get(tuple(key), b"") + blocks
    return found


def test_a_killed_writer_leaves_a_whole_project_that_knows_it_is_lost(project, run):
    """Killed at random instants; each next attempt goes on from what the one before had recorded."""
    project.files.mkdir()
    (project.files / "weights").write_bytes(b"weights")
    path = project.path
    project.close()
    how = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    processes: Any = multiprocessing.get_context(how)
    chance = random.Random(20)
    total = 0
    for _ in range(KILLS):
        ready = processes.Event()
        writer = processes.Process(target=_write_until_killed, args=(path, run, ready))
        writer.start()
        ready.wait()
        writer.join(chance.uniform(0.0, 0.1))
        writer.kill()
        writer.join()
        with ProjectFile.open(path) as opened:
            assert opened.run_state(run).state == "lost"
            assert "ended without a word" in opened.run_state(run).reason
            assert opened.check() == []
            if opened.series(run):
                steps = steps_of(opened, run)
                assert steps == list(range(1, len(steps) + 1))  # no batch is torn, none was forgotten
                assert len(steps) >= total
                total = len(steps)
    assert total > KILLS
    with ProjectFile.open(path) as opened:
        assert len(opened.attempts(run)) == KILLS
        loss = opened.find_series(run, "loss")
        assert loss is not None
        assert opened.overview(loss, pixels=50).high.max() == total
        # what the killed ones could not tidy is what a fresh build from the points begins with
        before = pyramid(opened)
        opened.rebuild_pyramid(run)
        after = pyramid(opened)
        assert before
        assert all(after[key].startswith(blocks) for key, blocks in before.items())


def test_a_reader_that_never_ends_does_not_stop_the_writer(project, run, attempt):
    reader = pysqlite3.connect(project.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM runs").fetchall()
    with Recorder(project.path, run, attempt) as recorder:
        for step in range(1, 2001):
            recorder.metrics(step, {"loss": step}, wall=step)
        assert recorder.flush()
    reader.close()
    assert len(steps_of(project, run)) == 2000
