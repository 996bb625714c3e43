"""How far long work is, in words: whoever waits is told what is being done and how long the rest takes."""

import time
from collections.abc import Callable

import psutil

LEAST_SECONDS_SAID = 3.0

Report = Callable[[str], None]
"""Takes a line of progress, for a person."""


class Progress:
    """Work whose size is known beforehand, in any unit that takes about the same time each.

    began: when, on the clock of `time.monotonic`; now where it is left out.
    """

    def __init__(self, whole: float, report: Report, began: float | None = None) -> None:
        self.whole, self._report = whole, report
        self._began, self._done = time.monotonic() if began is None else began, 0.0

    def say(self, words: str) -> None:
        """Say what comes next, and when all is done, as far as that can be told."""
        taken = time.monotonic() - self._began
        left = taken / self._done * (self.whole - self._done) if self._done else 0.0
        self._report(words + time_words(left))

    def add(self, done: float) -> None:
        """So much more was done."""
        self._done += done


def process_began() -> float:
    """When this process was started, on the clock of `Progress`: where much is imported that is most of the work."""
    return time.monotonic() - (time.time() - float(psutil.Process().create_time()))


def time_words(seconds: float) -> str:
    """How long all the rest takes, where that is worth saying."""
    if seconds < LEAST_SECONDS_SAID:
        return ""
    return f", about {seconds:.0f} s left" if seconds < 120 else f", about {seconds / 60:.0f} min left"
