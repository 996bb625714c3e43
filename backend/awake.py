"""Keeps the machine from going to sleep while a run trains. Where that cannot be had the run goes on without."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

WHY = "A student is being trained"
END_SECONDS = 2.0
_CONTINUOUS, _SYSTEM_REQUIRED = 0x80000000, 0x00000001  # winbase.h: ES_CONTINUOUS, ES_SYSTEM_REQUIRED


@contextmanager
def awake() -> Iterator[None]:
    """The machine stays awake inside, and no longer than this process lives, however it ends."""
    if sys.platform == "win32":
        _ask_windows(_CONTINUOUS | _SYSTEM_REQUIRED)
        try:
            yield
        finally:
            _ask_windows(_CONTINUOUS)
        return
    program = _start(_command())
    try:
        yield
    finally:
        if program is not None:
            _end(program)


def _command() -> list[str] | None:
    """What holds the machine awake until its standard input ends or this process does; None where there is nothing."""
    name = "caffeinate" if sys.platform == "darwin" else "systemd-inhibit"
    found = shutil.which(name)
    if found is None:
        return None
    if name == "caffeinate":
        return [found, "-i", "-w", str(os.getpid())]
    # `cat` ends with its input, a pipe from this process, and the lock with `cat`: also when this process is killed.
    return [found, "--what=idle:sleep", "--mode=block", "--who=Distill Studio", f"--why={WHY}", "cat"]


def _start(command: list[str] | None) -> "subprocess.Popen[bytes] | None":
    if command is None:
        return None
    with suppress(OSError):
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True)
    return None


def _end(program: "subprocess.Popen[bytes]") -> None:
    """Let go, and wait until it has."""
    with suppress(OSError):
        if program.stdin is not None:
            program.stdin.close()
        if sys.platform == "darwin":
            program.terminate()
        try:
            program.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def _ask_windows(flags: int) -> None:
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415

        with suppress(OSError, AttributeError):
            ctypes.windll.kernel32.SetThreadExecutionState(flags)
