"""The lock is held inside, let go after, and gone with the process; nothing of it can fail a run."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.awake import awake

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fake stands in for systemd-inhibit")
FAKE = """#!/bin/sh
echo "$@" > "$HELD"
for last; do :; done
"$last"
rm "$HELD"
"""


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there while the fake program holds its lock."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "systemd-inhibit").write_text(FAKE)
    (folder / "systemd-inhibit").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HELD", str(tmp_path / "held"))
    return tmp_path / "held"


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline


def test_the_lock_is_held_inside_and_let_go_after(held: Path) -> None:
    with awake():
        until(lambda: held.exists() and "sleep" in held.read_text())
        assert "--what=idle:sleep --mode=block" in held.read_text()
    assert not held.exists()


def test_an_error_inside_lets_go_as_well(held: Path) -> None:
    def fail() -> None:
        with awake():
            until(held.exists)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not held.exists()


def test_a_killed_process_holds_nothing(held: Path) -> None:
    code = textwrap.dedent("""
        import time
        from backend.awake import awake
        with awake():
            time.sleep(600)  # until the test kills it
    """)
    worker = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    until(held.exists)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    until(lambda: not held.exists())


def test_without_the_program_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with awake():
        pass


@pytest.mark.parametrize("content", ["#!/bin/sh\nexit 1\n", "no program"])
def test_a_program_that_does_not_work_fails_nothing(held: Path, content: str) -> None:
    program = held.parent / "bin" / "systemd-inhibit"
    program.write_text(content)
    entered = []
    with awake():
        entered.append(True)
    assert entered
