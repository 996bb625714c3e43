"""Whether a run's process lives, and what the run is therefore doing; derived, never stored.

A status column would go on saying "running" after a crash or a power cut. What is stored is what a
process said of itself (pid, start, boot, host, heartbeat); the verdict is made whenever someone asks.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import psutil

from backend.contract.rows import Attempt, Command, Process, RunState

LiveState = Literal["starting", "running", "paused", "stopping"]

SILENCE_SECONDS = 5.0
"""A running worker says something each second; after this it counts as lost."""
START_SILENCE_SECONDS = 120.0
"""The same while it starts: loading a large library can hold every thread of a process."""
LAUNCH_SECONDS = 30.0
"""How long a launched attempt may stay without a known process."""

_HAS_PROC = Path("/proc/self/stat").exists()


def process(pid: int) -> Process | None:
    """The process that has this pid now; None when there is none, or only its remains."""
    try:
        found = psutil.Process(pid)
        # A killed process shows as a zombie while a thread of it may still be inside its last write.
        if found.status() == psutil.STATUS_ZOMBIE and found.num_threads() <= 1:
            return None
        return Process(pid, _start(found), _boot(), socket.gethostname())
    except psutil.Error:
        return None


def this_process() -> Process:
    """The process that asks."""
    found = process(os.getpid())
    if found is None:
        raise RuntimeError("the operating system does not show this process to itself")
    return found


def is_alive(known: Process) -> bool | None:
    """Whether exactly this process still runs; None when it belongs to another machine."""
    if known.host != socket.gethostname():
        return None
    if _restarted_since(known):
        return False
    found = process(known.pid)
    # Ticks since boot are exact; elsewhere the start follows a wall clock that may be corrected.
    return found is not None and abs(found.start - known.start) < (0.5 if _HAS_PROC else 2.0)


def state_of(
    attempt: Attempt | None, commands: Sequence[Command], step: int | None, now: float | None = None
) -> RunState:
    """What a run is doing.

    attempt: its newest. commands: its open ones. step: the newest on its line. now: Unix time.
    """
    if attempt is None:
        return RunState("queued", "It waits to be started.", None, step)
    if attempt.outcome is not None:
        return RunState(attempt.outcome, attempt.reason, attempt.id, step)
    why_lost = _why_lost(attempt, time.time() if now is None else now)
    if why_lost:
        return RunState("lost", why_lost, attempt.id, step)
    state, reason = _live(attempt, commands)
    return RunState(state, reason, attempt.id, step)


def _live(attempt: Attempt, commands: Sequence[Command]) -> tuple[LiveState, str]:
    if any(command.verb == "stop" for command in commands):
        return "stopping", "It stops after the step it is in."
    if any(command.verb == "pause" and command.acknowledged for command in commands):
        return "paused", "It keeps its memory and waits to be resumed."
    if attempt.first_step is None:
        return "starting", "It loads its teacher and data."
    return "running", ""


def ended_with(pid: int, code: int) -> str:
    """How a process ended, by its exit status as Python has it: of one that a signal ended, the signal's, negative."""
    if code >= 0:
        return f"Its process {pid} ended with exit status {code} and without a word"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    words = f"Its process {pid} was ended by signal {-code} ({name})"
    return f"{words}, by a person or because memory ran out" if -code == getattr(signal, "SIGKILL", 9) else words


def has_process(attempt: Attempt, now: float | None = None) -> bool:
    """Whether a process of this attempt may still be writing, be it silent or not."""
    if attempt.outcome is not None:
        return False
    now = time.time() if now is None else now
    if attempt.process is None:
        return now - attempt.launched < LAUNCH_SECONDS
    alive = is_alive(attempt.process)
    return now - (attempt.heartbeat or attempt.launched) < SILENCE_SECONDS if alive is None else alive


def _why_lost(attempt: Attempt, now: float) -> str:
    """One sentence, empty when the attempt lives."""
    known = attempt.process
    if known is None:
        waited = now - attempt.launched
        return "" if waited < LAUNCH_SECONDS else "Its process never came up; see its log, then resume it."
    alive = is_alive(known)
    if alive is False:
        return _why_gone(attempt, known)
    silence = now - (attempt.heartbeat or attempt.launched)
    if silence < (START_SILENCE_SECONDS if attempt.first_step is None else SILENCE_SECONDS):
        return ""
    if alive is None:
        return f"It ran on {known.host} and has been silent for {silence:.0f} s; look there, or resume it here."
    return f"Its process {known.pid} has been silent for {silence:.0f} s; wait, or kill it and resume the run."


def _why_gone(attempt: Attempt, known: Process) -> str:
    if _restarted_since(known):
        return "The computer was restarted while it ran; resume it from its last checkpoint."
    if attempt.started is None:
        return f"Its process {known.pid} ended before it could start; see its log, then resume it."
    how = attempt.reason or f"Its process {known.pid} ended without a word, perhaps killed or out of memory"
    return f"{how}; see its log, then resume it from its last checkpoint."


def _start(found: psutil.Process) -> float:
    """When a process started: clock ticks since boot on Linux, Unix time elsewhere.

    psutil adds the time of boot, which moves whenever the wall clock is corrected.
    """
    if _HAS_PROC:
        try:
            # proc(5): field 22 of stat; the name in field 2 may itself contain spaces and parentheses
            return float(Path(f"/proc/{found.pid}/stat").read_text().rpartition(")")[2].split()[19])
        except (FileNotFoundError, ProcessLookupError):
            raise psutil.NoSuchProcess(found.pid) from None
    return float(found.create_time())


def _boot() -> str:
    """Which start of the machine this is."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{psutil.boot_time():.0f}"


def _restarted_since(known: Process) -> bool:
    if _HAS_PROC:
        return known.boot != _boot()
    # The time of boot is an estimate that moves a little, so it identifies nothing by itself.
    return bool(known.start < psutil.boot_time() - 2.0)
