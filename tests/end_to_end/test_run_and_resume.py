"""The promise "nothing is lost", on real worker processes."""

import os
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from backend import studio
from backend.contract import launch
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from backend.contract.rows import VIEWS

TRAINING = {"batch_size": 4, "preview_every": 0, "checkpoint_every": 10, "keep_checkpoints": 100, "ema_decay": 0.9}
KILLS = 50


def recipe(steps: int, method: str = "dmd2", **settings: Any) -> Recipe:
    training = {**TRAINING, "steps": steps}
    return Recipe.from_values({"teacher": "digits", "method": method, "settings": settings, "training": training})


def add_run(path: Path, asked: Recipe) -> int:
    with ProjectFile.open(path) as project:
        return project.add_run(asked)


def kill_at_step(path: Path, run: int, step: int) -> None:
    """SIGKILL the worker once it has reported `step`, or let it finish before."""
    for watched in studio.follow(path, run):
        if watched.state.state == "running" and (watched.state.step or 0) >= step:
            with ProjectFile.open(path, readonly=True) as project:
                process = project.attempts(run)[-1].process
            assert process is not None
            os.kill(process.pid, signal.SIGKILL)
            return


def wait_for_step(path: Path, run: int, step: int) -> None:
    for watched in studio.follow(path, run):
        if watched.state.state == "running" and (watched.state.step or 0) >= step:
            return


def kill_now(path: Path, run: int) -> str:
    """SIGKILL the worker whatever it is doing; what that was."""
    with ProjectFile.open(path, readonly=True) as project:
        state, process = project.run_state(run).state, project.attempts(run)[-1].process
    assert process is not None
    with suppress(ProcessLookupError):  # it has done what it was asked and is gone
        os.kill(process.pid, signal.SIGKILL)
    return state


def last_state(path: Path, run: int) -> str:
    *_, last = studio.follow(path, run)
    return last.state.state


def weights(path: Path, run: int) -> dict[str, Any]:
    with ProjectFile.open(path, readonly=True) as project:
        file = project.checkpoint_path(project.find_checkpoint(run))
    with safe_open(file, framework="np") as opened:
        return {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  (no mapping)


def pictures(path: Path, run: int, step: int) -> list[bytes]:
    with ProjectFile.open(path, readonly=True) as project:
        newest = {(s.kind, s.position): s for s in project.samples_after(run) if s.step == step}
        return [project.image(newest[key]) for key in sorted(newest)]


def check_same(path: Path, one: int, other: int) -> None:
    ours, theirs = studio.metrics(path, one), studio.metrics(path, other)
    assert ours.keys() == theirs.keys()
    for name, curve in ours.items():
        if name == "memory_mib":  # of the machine, not of the run
            continue
        assert curve == theirs[name], name
    with ProjectFile.open(path, readonly=True) as project:
        steps = project.recipe(one).training.steps
    assert ours["fake_score"]["step"] == list(range(1, steps + 1))
    ours_weights, theirs_weights = weights(path, one), weights(path, other)
    assert ours_weights.keys() == theirs_weights.keys()
    for name, value in ours_weights.items():
        assert np.array_equal(value, theirs_weights[name]), name
    assert pictures(path, one, steps) == pictures(path, other, steps)
    assert len(pictures(path, one, steps)) == 40 + 20  # the preview, and four views at five noise levels


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "lab.distill"
    studio.new(path)
    return path


def killed_and_whole(path: Path, steps: int, kills: list[int], **settings: Any) -> tuple[int, int]:
    """A run killed at these steps and resumed each time, beside one left alone; both finished."""
    whole, killed = add_run(path, recipe(steps, **settings)), add_run(path, recipe(steps, **settings))
    launch.start_worker(path, whole)
    assert last_state(path, whole) == "finished"
    launch.start_worker(path, killed)
    for step in kills:
        kill_at_step(path, killed, step)
        assert last_state(path, killed) == "lost"
        with ProjectFile.open(path) as opened:
            assert opened.check() == []
        launch.resume(path, killed)
    assert last_state(path, killed) == "finished"
    return whole, killed


def test_a_killed_run_resumes_bit_exactly(project: Path) -> None:
    whole, killed = killed_and_whole(project, 40, [17, 33])
    check_same(project, whole, killed)
    with ProjectFile.open(project, readonly=True) as opened:
        assert len(opened.attempts(killed)) == 3


DIES = """
import os, signal, sys
from backend import checkpoints, worker
instant, saves, share = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
armed = [instant == "saving"]

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def arming(method):
    def armed_method(*given):
        armed[0] = True
        return method(*given)
    return armed_method

def half(tensors, file, about, save=checkpoints.save_file):
    global saves
    save(tensors, file, about)
    saves -= armed[0]
    if armed[0] and saves <= 0:
        os.truncate(file, int(share * os.path.getsize(file)))
        die()

checkpoints.save_file = half
if instant == "starting":
    worker.start_run = die
elif instant != "saving":
    name = {"pausing": "_pause", "stopping": "_stop"}[instant]
    setattr(worker.Worker, name, arming(getattr(worker.Worker, name)))
sys.exit(worker.main(sys.argv[4:]))
"""
"""A worker that is killed at an instant: before it has its teacher, or half-way through the file of a checkpoint, the
n-th of those due, or that of a pause or a stop. share: of the file that is written then."""


def test_a_run_killed_as_it_starts_saves_pauses_and_stops_resumes_bit_exactly(project: Path) -> None:
    chosen = random.Random(11)
    instants = ["starting", "saving", "pausing", "stopping"]
    chosen.shuffle(instants)
    whole, killed = add_run(project, recipe(40)), add_run(project, recipe(40))
    launch.start_worker(project, whole)
    assert last_state(project, whole) == "finished"
    folder = project.with_suffix(".files") / "checkpoints" / f"run-{killed}"
    for instant in instants:
        arguments = (instant, str(chosen.randint(1, 2)), str(chosen.random()))
        command = [
            sys.executable,
            "-P",
            "-c",
            DIES,
            *(arguments if instant == "saving" else (instant, "1", arguments[2])),
        ]
        launch.resume(project, killed, command=command)
        asked = instant not in ("pausing", "stopping")
        for watched in studio.follow(project, killed):
            if not asked and watched.state.state == "running":
                launch.ask(project, killed, "pause" if instant == "pausing" else "stop")
                asked = True
        assert (instant, last_state(project, killed)) == (instant, "lost")
        assert len(list(folder.glob(".step-*.unfinished"))) == (instant != "starting")
        with ProjectFile.open(project) as opened:
            assert opened.check() == []
    launch.resume(project, killed)
    assert last_state(project, killed) == "finished"
    assert list(folder.glob(".step-*")) == []
    check_same(project, whole, killed)
    with ProjectFile.open(project, readonly=True) as opened:
        assert len(opened.attempts(killed)) == 5


@pytest.mark.long
def test_200_steps_with_the_adversarial_term_resume_bit_exactly(project: Path) -> None:
    chosen = random.Random(5)
    kills = sorted(chosen.sample(range(10, 190), 4))
    whole, killed = killed_and_whole(project, 200, kills, gan_weight=0.03, fake_score_updates=2, student_steps=2)
    check_same(project, whole, killed)


@pytest.mark.long
def test_50_kills_at_random_instants_leave_a_project_that_opens_and_a_run_that_resumes(project: Path) -> None:
    chosen, killed_in = random.Random(3), set[str]()
    run = add_run(project, recipe(2000))
    launch.start_worker(project, run)
    for number in range(KILLS):
        asked = ("", "starting", "pause", "stop")[number % 4]
        with ProjectFile.open(project, readonly=True) as opened:
            reached = opened.run_state(run).step or 0
        if asked == "starting":
            killed_in.add(kill_now(project, run))
        elif asked:
            wait_for_step(project, run, reached + chosen.randrange(1, 12))
            launch.ask(project, run, asked)  # type: ignore[arg-type]
            for _, _ in zip(range(chosen.randrange(3)), studio.follow(project, run), strict=False):
                pass
            killed_in.add(kill_now(project, run))
        else:
            kill_at_step(project, run, reached + chosen.randrange(1, 12))
        # Before a process has said that it lives, whoever waits for it finds it gone; a stop may be done sooner.
        also = {"starting": ("failed",), "stop": ("stopped",)}.get(asked, ())
        assert last_state(project, run) in ("lost", *also)
        with ProjectFile.open(project) as opened:
            assert opened.check() == []
        launch.resume(project, run)
    launch.wait_for_start(project, run)
    launch.stop(project, run)
    assert last_state(project, run) == "stopped"
    assert killed_in >= {"starting", "paused"}


def test_pause_sample_save_resume_and_stop_are_acknowledged(project: Path) -> None:
    run = add_run(project, recipe(100_000))
    launch.start_worker(project, run)
    asked: list[int] = []
    stages = ["pause", "resume", "sample", "save", "set", "stop"]
    for watched in studio.follow(project, run):
        with ProjectFile.open(project, readonly=True) as opened:
            commands = {command.id: command for command in opened.commands(run)}
        if asked and stages:
            newest = commands[asked[-1]]
            waits = newest.acknowledged is None if newest.verb == "pause" else newest.finished is None
            if waits:
                continue
        if watched.state.state in ("running", "paused") and stages:
            stage = stages.pop(0)
            if stage == "resume":
                assert watched.state.state == "paused"
                launch.resume(project, run)
            else:
                arguments = {"checkpoint_every": 7} if stage == "set" else None
                asked.append(launch.ask(project, run, stage, arguments))  # type: ignore[arg-type]
    with ProjectFile.open(project, readonly=True) as opened:
        assert opened.run_state(run).state == "stopped"
        results = {command.verb: command.result for command in opened.commands(run)}
        assert all(command.finished is not None for command in opened.commands(run))
        assert len(opened.checkpoints(run)) >= 2
        assert {s.kind for s in opened.samples_after(run)} == {"preview", "teacher", "teacher_at_student_nfe", *VIEWS}
    assert results["stop"] is not None
    assert results["stop"].startswith("Stopped after step")
