"""Measures the window: its start, memory, longest stalls, how soon a large project is on screen, how curves follow; and
the way from an empty home to a running distillation, in clicks and seconds.

    python -m app.bench [--quick] [--json]

Leave the machine idle. What it measures is the program itself: processes are started as a person starts them, and the
window that opens a project is the real one, drawn by Qt's offscreen platform where there is no screen.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.bench import project, start

STARTS = 15
LARGE = {"runs": 200, "points": 10_000_000, "samples": 5_000}
QUICK = {"runs": 20, "points": 200_000, "samples": 200}


def bench(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Every figure; `quick` shows that it works and little more."""
    os.environ.setdefault("QT_QPA_PLATFORM", "xcb" if os.environ.get("DISPLAY") else "offscreen")
    found: dict[str, Any] = {"platform": os.environ["QT_QPA_PLATFORM"]}
    say("starting the window")
    found["start"] = start.start(3 if quick else STARTS)
    say("distilling the bundled digits from an empty home")
    with tempfile.TemporaryDirectory() as home:
        found["demo"] = _in_a_process_of_its_own("app.bench.demo", home=home)
    with tempfile.TemporaryDirectory() as folder:
        for name, size in (("empty", dict.fromkeys(LARGE, 0)), ("large", QUICK if quick else LARGE)):
            path = Path(folder) / f"{name}.distill"
            say(f"making the {name} project")
            run = project.build(path, **size, say=say)
            say(f"opening the {name} project")
            found[name] = _in_a_process_of_its_own("app.bench.window", str(path), str(run))
        if not quick:
            say("moving eight curves of a million points")
            found["curves"] = _in_a_process_of_its_own("app.bench.curves", str(Path(folder) / "curves.distill"))
    return found


def _in_a_process_of_its_own(module: str, *arguments: str, home: str | None = None) -> Any:
    """Its JSON; so that the memory is one window's alone, and nothing is warm from what was measured before.

    home: a folder in which everything that a person has is to lie, instead of where it does.
    """
    command, environment = [sys.executable, "-m", module, *arguments], dict(os.environ)
    if home is not None:
        environment = {name: value for name, value in environment.items() if not name.startswith("XDG_")}
        environment["HOME"] = home
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(answer.stdout)


def main() -> int:
    """The figures as a table, or as JSON."""
    parser = argparse.ArgumentParser(prog="python -m app.bench")
    parser.add_argument("--quick", action="store_true", help="a minute instead of many; shows that it works")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    asked = parser.parse_args()
    found = bench(asked.quick, lambda words: print(words, file=sys.stderr, flush=True))
    if asked.json:
        print(json.dumps(found, indent=2))
        return 0
    for part, figures in found.items():
        for name, value in figures.items() if isinstance(figures, dict) else ():
            print(f"{part:8} {name:32} {value:.4g}" if isinstance(value, float) else f"{part:8} {name:32} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
