"""The event loop's pulse, and what a process holds: shared by everything that is measured here."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
from PySide6.QtCore import QElapsedTimer, QObject, QTimer
from PySide6.QtWidgets import QApplication

HEARTBEAT_MILLISECONDS = 2
MEBI = 2**20


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
        time.sleep(0.0005)  # leaves the interpreter to the project's threads, as an idle event loop does
    return True


def memory() -> int:
    """Bytes that this process holds now."""
    return int(psutil.Process().memory_info().rss)
