"""Measures the window: its start, memory, longest stalls, and how soon a large project is on screen.

    python -m app.bench [--quick] [--json]

Leave the machine idle. What it measures is the program itself: processes are started as a person starts them, and the
window that opens a project is the real one, drawn by Qt's offscreen platform where there is no screen.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from PySide6.QtCore import QElapsedTimer, QEvent, QObject, QSettings, QTimer
from PySide6.QtWidgets import QApplication, QWidget

HEAVY = ("torch", "diffusers", "transformers", "accelerate")
HEARTBEAT_MILLISECONDS = 2
MEBI = 2**20


# The start


class _FirstPaint(QObject):
    """Prints how long the process took until its window was painted and its event loop free, and ends it."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            watched.removeEventFilter(self)
            QTimer.singleShot(0, self._report)
        return super().eventFilter(watched, event)

    def _report(self) -> None:
        heavy = sorted({name.partition(".")[0] for name in sys.modules} & set(HEAVY))
        print(json.dumps({"memory": memory(), "heavy": heavy}), flush=True)
        QApplication.quit()


def report_first_paint(window: QWidget) -> None:
    """What `--measure-start` does."""
    window.installEventFilter(_FirstPaint(window))


def start(times: int) -> dict[str, Any]:
    """Seconds from starting the process to a painted window whose events are served, and what it loaded."""
    seconds, rows = [], []
    for _ in range(times + 1):
        begun = time.perf_counter()
        command = [sys.executable, "-m", "app", "--measure-start"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            rows.append(json.loads(process.stdout.readline()))
            seconds.append(time.perf_counter() - begun)
    del seconds[0]  # the first one reads the files from disk
    return {
        "median_seconds": statistics.median(seconds),
        "worst_seconds": max(seconds),
        "memory_mib": rows[-1]["memory"] / MEBI,
        "heavy_modules": rows[-1]["heavy"],
        "times": times,
    }


# A large project


def large_project(path: Path, runs: int, points: int, samples: int, say: Callable[[str], None]) -> int:
    """A project with `runs` runs, `points` metric points in all (four fifths in the last run), `samples` pictures;
    the last run's id."""
    from app.bench_project import build  # noqa: PLC0415

    return build(path, runs, points, samples, say)


class Heartbeat(QObject):
    """The longest time for which the event loop did not turn."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0.0
        self._clock = QElapsedTimer()
        self._timer = QTimer(self)
        self._timer.setInterval(HEARTBEAT_MILLISECONDS)
        self._timer.timeout.connect(self._beat)

    def start(self) -> None:
        """Count from now."""
        self.longest = 0.0
        self._clock.start()
        self._timer.start()

    def stop(self) -> float:
        """The longest stall in seconds since `start`."""
        self._beat()
        self._timer.stop()
        return self.longest

    def _beat(self) -> None:
        self.longest = max(self.longest, self._clock.restart() / 1000)


def spin(until: Callable[[], bool], seconds: float) -> bool:
    """Let events come until something is so, or time is up; whether it became so."""
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline:
            return False
        QApplication.processEvents()  # a benchmark stands outside the window, which must never do this
        time.sleep(0.0005)
    return True


def memory() -> int:
    """Bytes that this process holds now."""
    return int(psutil.Process().memory_info().rss)


def measure_window(project: Path, last_run: int) -> dict[str, Any]:
    """Open a project in a window of this process and use it; the figures."""
    from app.__main__ import make_application  # noqa: PLC0415
    from app.bench_window import use  # noqa: PLC0415

    app = make_application(["bench"])
    with tempfile.TemporaryDirectory() as folder:
        settings = QSettings(str(Path(folder) / "settings.ini"), QSettings.Format.IniFormat)
        settings.setValue("window/closes_quietly", True)
        found = use(app, settings, project, last_run)
    return found


def bench(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Every figure; `quick` shows that it works and little more."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen" if not os.environ.get("DISPLAY") else "xcb")
    found: dict[str, Any] = {"platform": os.environ["QT_QPA_PLATFORM"]}
    say("starting the window")
    found["start"] = start(3 if quick else 15)
    with tempfile.TemporaryDirectory() as folder:
        empty, large = Path(folder) / "empty.distill", Path(folder) / "large.distill"
        say("making an empty and a large project")
        last = (
            large_project(empty, 0, 0, 0, say),
            large_project(large, *((20, 200_000, 200) if quick else (200, 10_000_000, 5_000)), say),
        )
        for name, path, run in (("empty", empty, last[0]), ("large", large, last[1])):
            say(f"opening the {name} project")
            # In a process of its own, so that memory is this window's alone.
            done = subprocess.run(
                [sys.executable, "-m", "app.bench", "--open", str(path), str(run)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            found[name] = json.loads(done.stdout)
    return found


def main() -> int:
    """The figures as a table, or as JSON."""
    parser = argparse.ArgumentParser(prog="python -m app.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--open", nargs=2, metavar=("PROJECT", "RUN"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.open:
        print(json.dumps(measure_window(Path(asked.open[0]), int(asked.open[1]))))
        return 0
    found = bench(asked.quick, lambda words: print(words, file=sys.stderr, flush=True))
    if asked.json:
        print(json.dumps(found, indent=2))
        return 0
    for part, figures in found.items():
        if isinstance(figures, dict):
            for name, value in figures.items():
                print(f"{part:8} {name:32} {value:.4g}" if isinstance(value, float) else f"{part:8} {name:32} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
