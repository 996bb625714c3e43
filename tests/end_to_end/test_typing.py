"""No edit is lost: a window is killed while somebody types, and the project holds what the window showed."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from app.drafts import with_change
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

from .typing_window import LETTERS

TIMES = 20
ROOT = Path(__file__).parents[2]
BEHIND = 2
"""Letters at most that were typed but not yet written: a write takes some milliseconds."""
Shown = dict[str, Any]


def told_until_killed(path: Path, seconds: float) -> tuple[Shown, Shown]:
    """What a window said last that it showed, and that was kept; killed so long after its first word."""
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.end_to_end.typing_window", str(path)]
    window = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment)
    assert window.stdout is not None
    watchdog = threading.Timer(60, window.kill)
    watchdog.start()
    lines = [window.stdout.readline()]
    watchdog.cancel()
    assert lines[0], "the window ended by itself"
    death = threading.Timer(seconds, window.kill)
    death.start()
    lines += window.stdout.readlines()
    death.join()
    window.stdout.close()
    assert window.wait() == -signal.SIGKILL
    told: dict[str, Shown] = {}
    for line in lines:
        if line.endswith(b"\n"):  # the last may be cut
            told |= json.loads(line)
    return told["typed"], told.get("kept", {"notes": "", "name": "", "size": None})


def letters(count: int) -> str:
    return (LETTERS * (count // len(LETTERS) + 1))[:count]


@pytest.mark.long
def test_what_was_typed_survives_the_window(tmp_path: Path) -> None:
    path = tmp_path / "lab.distill"
    with ProjectFile.create(path) as project:
        project.add_run(Recipe.from_values({"teacher": "digits", "method": "dmd2"}))
    chance = random.Random(0)
    for _ in range(TIMES):
        typed, kept = told_until_killed(path, chance.uniform(0.05, 1.5))
        with ProjectFile.open(path, readonly=True) as project:
            notes, draft = project.run(1).notes, project.draft()
        assert draft is not None
        edits, position = draft
        states: list[Shown] = [{}]
        for edit in edits[: position + 1]:
            states.append(with_change(states[-1], edit["change"]))
        for found, of in ((notes, "notes"), (states[-1]["name"], "name")):
            assert found == letters(len(found))
            assert len(found) >= len(kept[of])
            assert len(found) >= len(typed[of]) - BEHIND
        last_sizes = [state["training"]["batch_size"] for state in states[-2 * BEHIND :] if state]
        assert kept["size"] is None or kept["size"] in last_sizes
        assert project_is_whole(path)
    assert len(notes) > TIMES  # somebody did type


def project_is_whole(path: Path) -> bool:
    with ProjectFile.open(path) as project:
        return project.check() == []
