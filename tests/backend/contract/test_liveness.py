import os
import subprocess
import sys
from dataclasses import replace

import pytest

from backend.contract.liveness import ended_with, has_process, is_alive, process, state_of, this_process
from backend.contract.rows import Attempt, Command, Process

NOW = 1_000_000.0
HERE = this_process()


@pytest.fixture(scope="module")
def gone() -> Process:
    """A process that has ended and been cleared away."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = process(child.pid)
    child.communicate(b"\n")
    assert known is not None
    return known


def attempt(**changes) -> Attempt:
    live = Attempt(
        *(7, 1, 1, HERE, NOW - 60, NOW - 50, NOW - 1, 1, 40, None, None, "", "", None),
    )
    return replace(live, **changes)


def command(verb, acknowledged=None) -> Command:
    return Command(1, 1, verb, {}, NOW - 2, acknowledged, None, None)


def state(found, *commands):
    return state_of(found, commands, 40, NOW).state


def test_a_live_process_with_a_fresh_heartbeat_runs():
    assert state(attempt()) == "running"
    assert state(attempt(first_step=None)) == "starting"
    assert state(None) == "queued"


def test_open_commands_show_while_the_process_lives():
    assert state(attempt(), command("pause")) == "running"
    assert state(attempt(), command("pause", NOW - 1)) == "paused"
    assert state(attempt(), command("pause", NOW - 1), command("stop")) == "stopping"
    assert state(attempt(heartbeat=NOW - 60), command("stop")) == "lost"


@pytest.mark.parametrize("outcome", ["finished", "stopped", "failed"])
def test_what_a_process_said_at_its_end_stands(outcome, gone):
    ended = attempt(process=gone, ended=NOW, outcome=outcome, reason="Because.")
    assert (state(ended), state_of(ended, [], 40, NOW).reason) == (outcome, "Because.")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"heartbeat": NOW - 6}, "has been silent for 6 s"),
        ({"process": replace(HERE, boot="another")}, "The computer was restarted"),
        ({"process": replace(HERE, start=HERE.start - 1000)}, "ended without a word"),
        ({"process": replace(HERE, host="elsewhere"), "heartbeat": NOW - 6}, "It ran on elsewhere"),
        ({"process": None, "started": None, "heartbeat": None}, "never came up"),
    ],
)
def test_a_process_that_is_gone_or_silent_is_lost_with_a_reason(changes, words):
    found = state_of(attempt(**changes), [], 40, NOW)
    assert found.state == "lost"
    assert words in found.reason


def test_a_process_that_ended_is_lost_at_once(gone):
    assert is_alive(gone) is False
    assert "ended without a word" in state_of(attempt(process=gone), [], 40, NOW).reason
    assert "before it could start" in state_of(attempt(process=gone, started=None), [], 40, NOW).reason
    assert not has_process(attempt(process=gone), NOW)


def test_how_a_process_ended_is_said_where_it_is_known(gone):
    killed = attempt(process=gone, reason=ended_with(gone.pid, -9))
    assert state_of(killed, [], 40, NOW).reason == (
        f"Its process {gone.pid} was ended by signal 9 (SIGKILL), by a person or because memory ran out; "
        "see its log, then resume it from its last checkpoint."
    )
    assert ended_with(7, -11) == "Its process 7 was ended by signal 11 (SIGSEGV)"
    assert ended_with(7, 3) == "Its process 7 ended with exit status 3 and without a word"


def test_a_silent_process_still_keeps_others_away():
    assert has_process(attempt(heartbeat=NOW - 600), NOW)
    assert has_process(attempt(process=None), NOW - 59)
    assert not has_process(attempt(process=None), NOW)


def test_a_process_elsewhere_is_judged_by_its_heartbeat_alone():
    elsewhere = replace(HERE, host="elsewhere", pid=1)
    assert is_alive(elsewhere) is None
    assert state(attempt(process=elsewhere)) == "running"
    assert not has_process(attempt(process=elsewhere, heartbeat=NOW - 6), NOW)


def test_a_child_that_nobody_cleared_away_is_not_alive():
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    known = process(child.pid)
    assert known is not None
    assert is_alive(known)
    assert child.stdin is not None
    child.stdin.close()
    if os.name == "posix":  # elsewhere nothing remains of a process
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_alive(known) is False
    child.wait()
    assert is_alive(known) is False
