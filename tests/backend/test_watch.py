"""A run that collapses stops itself with the last good checkpoint kept, and goes back to it when asked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend import assembly, judge, studio, worker
from backend.contract import launch
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from backend.contract.rows import Attempt, LogEvent

BROKEN_AT = 170
"""Steps after which the student is driven apart: late enough that it had been sound, and saved."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "lab.distill"
    studio.new(path)
    return path


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "PREVIEW_POINTS", 20)
    monkeypatch.setattr(judge, "TEACHER_NFE", 4)
    monkeypatch.setattr(judge, "SCORED_SAMPLES", 60)


def add(path: Path, **training: Any) -> int:
    values = {"steps": 260, "batch_size": 16, "preview_every": 0, "checkpoint_every": 40, "threads": 1, **training}
    asked = {"teacher": "mixture-2d", "method": "dmd2", "training": values}
    with ProjectFile.open(path) as opened:
        return opened.add_run(Recipe.from_values(asked))


def work(path: Path, run: int) -> Attempt:
    worker.main([str(path), str(run)])
    with ProjectFile.open(path, readonly=True) as opened:
        return opened.attempts(run)[-1]


def events(path: Path, run: int) -> list[LogEvent]:
    with ProjectFile.open(path, readonly=True) as opened:
        return opened.events_after(run)


def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """From some step on the student's values grow without end."""
    begin = assembly.start_run

    def start_run(*given: Any, **named: Any) -> Any:
        run = begin(*given, **named)
        step = run.method.step

        def grows(nets: Any, batch: Any, s: Any) -> Any:
            for update in step(nets, batch, s):
                if update.nets[0] is nets.student and update.sample is not None and batch.step >= BROKEN_AT:
                    yield replace(update, losses={"matching": -3.0 * update.sample.square().mean()})
                else:
                    yield update

        run.method = replace(run.method, step=grows)
        return run

    monkeypatch.setattr(worker, "start_run", start_run)


def launched_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who starts a worker starts none: the test is one itself."""
    monkeypatch.setattr(launch, "start_worker", lambda *_, **__: 0)


def test_a_run_that_collapses_stops_itself_and_goes_back(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        broken(patch)
        attempt = work(project, run := add(project, keep_checkpoints=2))
    stopped = attempt.last_step
    assert attempt.outcome == "stopped"
    assert stopped is not None
    assert BROKEN_AT < stopped < 260
    assert attempt.reason.startswith(f"It stopped itself after step {stopped}: the student's samples saturate")
    assert attempt.reason.endswith("The checkpoint to go back to is at step 160; resuming goes on all the same.")
    with ProjectFile.open(project, readonly=True) as opened:
        assert {c.step for c in opened.checkpoints(run)} >= {160, stopped}
    (told,) = (event for event in events(project, run) if "go_back" in event.data)
    assert told.data == {"go_back": 160}

    launched_here(monkeypatch)
    launch.go_back(project, run, "160", {"learning_rate_factor": 0.5})
    attempt = work(project, run)
    assert (attempt.outcome, attempt.first_step, attempt.last_step) == ("finished", 161, 260)
    taken_back = [event for event in events(project, run) if event.kind == "health" and event.step == 160]
    assert [(event.data["sign"], event.data["level"]) for event in taken_back] == [("saturated", "good")]
    with ProjectFile.open(project, readonly=True) as opened:
        assert opened.check() == []


def test_a_run_that_kept_too_few_checkpoints_says_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    attempt = work(project, run := add(project, keep_checkpoints=1))
    assert "There is no checkpoint from before; start again, or resume to go on all the same." in attempt.reason
    assert not any("go_back" in event.data for event in events(project, run))


def test_a_run_that_stopped_itself_goes_on_all_the_same_when_it_is_resumed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch)
    run = add(project)
    stopped = work(project, run).last_step
    assert stopped is not None
    attempt = work(project, run)
    assert (attempt.outcome, attempt.first_step, attempt.last_step) == ("finished", stopped + 1, 260)


def test_a_run_that_is_to_continue_does(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    run = add(project, on_collapse="continue")
    assert work(project, run).outcome == "finished"
    assert any(e.kind == "health" and e.data["sign"] == "saturated" for e in events(project, run))


def at_steps(sets: int, dies: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run's learning rate be changed after one step, and its process die after another."""
    obey = worker.Worker._obey

    def stand_in(self: worker.Worker) -> None:
        if self.run.step == sets:
            with ProjectFile.open(self.path) as opened:
                opened.issue(self.run_id, "set", {"learning_rate_factor": 0.25})
            while not self.recorder.pending_commands():
                self.recorder.flush()
        if self.run.step == dies:
            raise KeyboardInterrupt
        obey(self)

    monkeypatch.setattr(worker.Worker, "_obey", stand_in)


def test_a_learning_rate_factor_counts_from_the_step_on_at_which_it_was_set(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a run whose process dies later and that goes on from its newest checkpoint."""
    like = {"steps": 24, "checkpoint_every": 10}
    whole, killed, other = (add(project, **like) for _ in range(3))
    with monkeypatch.context() as patch:
        at_steps(13, -1, patch)
        work(project, whole)
    with monkeypatch.context() as patch:
        at_steps(13, 17, patch)
        with pytest.raises(KeyboardInterrupt):
            work(project, killed)
    attempt = work(project, killed)
    assert (attempt.first_step, attempt.last_step) == (14, 24)
    work(project, other)
    curves = [studio.metrics(project, run)["matching"]["value"] for run in (whole, killed, other)]
    assert curves[0] == curves[1]
    assert curves[0][:13] == curves[2][:13]
    assert curves[0][14] != curves[2][14]
