"""Starts, asks and ends the process that works on a run; what the window and the command line share.

The process belongs to nobody: it has its own session, no terminal and no pipe, so that it outlives
whoever started it. Everything it is asked goes through the project file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from backend.contract import liveness
from backend.contract.errors import UserError
from backend.contract.files import last_line
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import in_words, why_not_live
from backend.contract.rows import Attempt, RunState, Verb

WORKER = "backend.worker_process"
POLL_SECONDS = 0.05
"""Another process answers through the project file or by its end, and neither calls anybody: so it is asked again."""

START_SECONDS = 120.0
STOP_SECONDS = 60.0
INTERRUPT_SECONDS = 10.0
SHARE_CORES = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
"""Threads that wait for each other look for some microseconds whether the others are done, and then sleep. On two idle
cores a step of the demo takes 0.6 of the time that it takes when they sleep at once, and 0.8 of that after a look of a
tenth of this; where another program holds one of the cores all the while, threads that look wait for one that cannot
get on, and it takes twice as long, 4.6 times when they look three times longer.
"""

_children: dict[int, subprocess.Popen[bytes]] = {}
"""What this process has started, so that the remains of those that ended are cleared away."""
_attempts: dict[int, tuple[Path, int]] = {}
"""By process: the project and the attempt that it was started for. Only who started it learns how it ended."""


class LaunchError(UserError):
    """A run that cannot be started, asked or ended now; the text says why and what to do."""


def start_worker(project_path: str | Path, run: int, *, command: Sequence[str] | None = None) -> int:
    """Start a process that works on a run; the id of the attempt. Returns before the process is ready.

    command: what to start instead of `python -m backend.worker_process`; it gets the project's path and the
    run's id as its last two arguments. Relative names in the recipe are relative to the project's folder.
    Raises `LaunchError` when nothing could be started, `ProjectFileError` when the run has a process.
    """
    path = Path(project_path).absolute()
    with ProjectFile.open(path) as project:
        attempt = project.prepare_attempt(run)
        _start(project, attempt, path, command)
    return attempt.id


def enqueue(project_path: str | Path, run: int, *, command: Sequence[str] | None = None) -> int | None:
    """Put a run at the end of the queue, and start the first of the queue if nothing runs.

    The run that was started, None where none was. command: as in `start_worker`.
    """
    with ProjectFile.open(project_path) as project:
        state = project.run_state(run).state
        if project.run_state(run).is_live or state == "finished":
            raise LaunchError(f"Run {run} is {state}; only a run that is not under way and not finished can wait.")
        project.enqueue(run)
    return start_next(project_path, command=command)


def start_next(project_path: str | Path, *, command: Sequence[str] | None = None) -> int | None:
    """Start the first run of the queue if no run of the project has a process; the run, None where none was started.

    A run that cannot be started leaves the queue with the reason, and the following one is tried. Nobody watches the
    queue: each worker calls this at its end, and whoever adds to the queue. command: as in `start_worker`.
    """
    path = Path(project_path).absolute()
    _clear_children()
    with ProjectFile.open(path) as project:
        while (attempt := project.prepare_next()) is not None:
            with suppress(LaunchError):  # its attempt says why
                _start(project, attempt, path, command)
                return attempt.run
    return None


def go_on_with_queue(project_path: str | Path, *, command: Sequence[str] | None = None) -> None:
    """`start_next`, again and again while the process that was started dies before it can take over its run."""
    while (run := start_next(project_path, command=command)) is not None:
        if wait_for_start(project_path, run).state not in ("failed", "lost"):
            return


def wait_for_start(project_path: str | Path, run: int, *, seconds: float = START_SECONDS) -> RunState:
    """Wait until the newest attempt's process has taken over the run, or until it is clear that it won't.

    A process that ended before is recorded as failed, with the last line of its log as the reason.
    """
    deadline = time.monotonic() + seconds
    with ProjectFile.open(project_path) as project:
        while True:
            _clear_children()
            attempts = project.attempts(run)
            newest = attempts[-1] if attempts else None
            if newest is None or newest.started is not None or newest.outcome is not None:
                return project.run_state(run)
            if newest.process is not None and liveness.is_alive(newest.process) is False:
                said = last_line(_log(project, newest))
                reason = f"The worker ended before it could start: {said or 'it said nothing'}"
                project.end_attempt(newest.id, "failed", reason)
                return project.run_state(run)
            if time.monotonic() > deadline:
                return project.run_state(run)
            time.sleep(POLL_SECONDS)  # the worker tells through rows, and SQLite notifies no other process


def stop(project_path: str | Path, run: int) -> int:
    """Ask a run to stop after its step and keep its state; the command's id."""
    return ask(project_path, run, "stop")


def pause(project_path: str | Path, run: int) -> int:
    """Ask a run to wait and keep its memory; the command's id."""
    return ask(project_path, run, "pause")


def resume(project_path: str | Path, run: int, *, command: Sequence[str] | None = None) -> int:
    """Let a run go on: a paused one continues, one without a process gets a new attempt.

    The id of the attempt that goes on. command: as in `start_worker`.
    """
    _clear_children()
    with ProjectFile.open(project_path) as project:
        state = project.run_state(run)
        if state.state == "finished":
            raise LaunchError(f"Run {run} is finished; make a new run from its recipe to train longer.")
        waits = any(command.verb == "pause" for command in project.open_commands(run))
        if state.is_live and state.attempt is not None:
            if not waits:
                raise LaunchError(f"Run {run} is {state.state}; there is nothing to resume.")
            project.issue(run, "resume")
            return state.attempt
    return start_worker(project_path, run, command=command)


def go_back(
    project_path: str | Path,
    run: int,
    which: str,
    changes: Mapping[str, Any] | None = None,
    *,
    command: Sequence[str] | None = None,
) -> int:
    """Let a run go on from an earlier checkpoint, with changed live settings; the id of the attempt that does.

    which: a step, "best" or "last". What came after it stays as it was recorded, as steps that were done again. The
    same settings would lead to the same place: so a lower `learning_rate_factor` is the usual change. command: as in
    `start_worker`. Raises `LaunchError` while the run has a process and where a change is refused, `ProjectFileError`
    where there is no such checkpoint; nothing is changed then.
    """
    _clear_children()
    with ProjectFile.open(project_path) as project:
        state = project.run_state(run)
        if state.is_live:
            raise LaunchError(f"Run {run} is {state.state}; stop it first, then go back.")
        wrong = why_not_live(project.training(run), changes) if changes else ""
        if wrong:
            raise LaunchError(wrong)
        step = project.find_checkpoint(run, which).step
        if step >= {**project.training(run).model_dump(), **(changes or {})}["steps"]:
            raise LaunchError(f"Run {run} ends at step {step}; go back to an earlier one, or set steps to more.")
        project.go_back(run, step)
        with_words = f" with {in_words(changes)}" if changes else ""
        project.add_event(run, "info", f"Goes back to the checkpoint at step {step}{with_words}.", step=step)
        if changes:
            project.add_event(run, "set", f"Set {in_words(changes)}.", step=step, data=changes)
    return start_worker(project_path, run, command=command)


def ask(project_path: str | Path, run: int, verb: Verb, arguments: Mapping[str, Any] | None = None) -> int:
    """Ask something of a run's live process; the command's id, by which to see its result."""
    _clear_children()
    with ProjectFile.open(project_path) as project:
        state = project.run_state(run)
        if not state.is_live:
            raise LaunchError(f"Run {run} is {state.state}, so there is nothing to {verb}.")
        if verb == "stop" and state.state == "stopping":
            return next(command.id for command in project.open_commands(run) if command.verb == "stop")
        return project.issue(run, verb, arguments)


def end(
    project_path: str | Path,
    run: int,
    *,
    stop_seconds: float = STOP_SECONDS,
    interrupt_seconds: float = INTERRUPT_SECONDS,
) -> RunState:
    """End a run's process, by ever stronger means: a request, an interrupt, a kill. Waits for each.

    The process may be silent; it must be on this machine. A killed run is "stopped" and can be
    resumed from its last checkpoint.
    """
    with ProjectFile.open(project_path) as project:
        attempts = project.attempts(run)
        if not attempts or not liveness.has_process(attempts[-1]) or attempts[-1].process is None:
            return project.run_state(run)
        attempt, process = attempts[-1], attempts[-1].process
        if liveness.is_alive(process) is None:
            raise LaunchError(f"Run {run} works on {process.host}; end it there.")
        if not any(command.verb == "stop" for command in project.open_commands(run)):
            project.issue(run, "stop")
        if not _gone_within(attempt, stop_seconds):
            _interrupt(process.pid)
            if not _gone_within(attempt, interrupt_seconds):
                _kill(process.pid)
                _gone_within(attempt, interrupt_seconds)
        if project.attempt(attempt.id).outcome is None:
            reason = "It did not stop when asked and was killed; resume it from its last checkpoint."
            project.end_attempt(attempt.id, "stopped", reason)
        return project.run_state(run)


def _start(project: ProjectFile, attempt: Attempt, path: Path, command: Sequence[str] | None) -> None:
    """Start the process of an attempt that was announced. Raises `LaunchError` where it does not start."""
    try:
        words = [*(command or _worker_command()), str(path), str(attempt.run)]
        child = _launch(words, path.parent, _log(project, attempt))
    except OSError as error:
        sentence = f"The worker could not be started: {error}; check that the program is whole."
        project.end_attempt(attempt.id, "failed", sentence)
        raise LaunchError(sentence) from error
    _children[child.pid], _attempts[child.pid] = child, (path, attempt.id)
    process = liveness.process(child.pid)
    if process is not None:
        project.set_process(attempt.id, process)


def _worker_command() -> list[str]:
    """Python without the current folder on its path: a project must never bring code along."""
    python = Path(sys.executable)
    windowed = python.with_name("pythonw.exe")
    return [str(windowed if windowed.exists() else python), "-P", "-m", WORKER]


def _launch(command: Sequence[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=worker_environment(),
            start_new_session=True,
            creationflags=_windows_flags(),
        )


def worker_environment() -> dict[str, str]:
    """The environment of a worker's process: this one's, where this same program is found from any folder."""
    root = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    return SHARE_CORES | os.environ | {"PYTHONPATH": search, "PYTHONUNBUFFERED": "1"}


def _windows_flags() -> int:
    """Without a console that flashes, and out of reach of the Ctrl-C of whoever started it."""
    names = ("CREATE_NEW_PROCESS_GROUP", "CREATE_NO_WINDOW")
    return sum(int(getattr(subprocess, name, 0)) for name in names)


def _log(project: ProjectFile, attempt: Attempt) -> Path:
    return project.files / (attempt.log or "")


def _clear_children() -> None:
    for pid, child in list(_children.items()):
        code = child.poll()
        if code is not None:
            _children.pop(pid, None)
            known = _attempts.pop(pid, None)
            if known is not None:
                _note_end(*known, pid, code)


def _note_end(path: Path, attempt: int, pid: int, code: int) -> None:
    """Keep how a process ended that did not say so itself."""
    with suppress(UserError), ProjectFile.open(path) as project:  # a project that is gone needs no note
        if project.attempt(attempt).outcome is None:
            project.note_end(attempt, liveness.ended_with(pid, code))


def _gone_within(attempt: Attempt, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while attempt.process is not None and liveness.is_alive(attempt.process):
        _clear_children()
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)  # a process that is not our child cannot be waited for
    return True


def _interrupt(pid: int) -> None:
    """Ctrl-C, where the system can send one to a process without a terminal."""
    if os.name == "posix":
        try:
            os.kill(pid, signal.SIGINT)
        except ProcessLookupError:
            return


def _kill(pid: int) -> None:
    """End a process and all that it has started."""
    try:
        parent = psutil.Process(pid)
        for process in [*parent.children(recursive=True), parent]:
            process.kill()
    except psutil.NoSuchProcess:
        return
