"""From starting the process to a painted window."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import Any

from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QApplication, QWidget

from app.bench.heartbeat import MEBI, memory

HEAVY = ("torch", "diffusers", "transformers", "accelerate")


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
