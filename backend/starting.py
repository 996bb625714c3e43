"""What a run's process does between its beginning and its first step, and how long each of that takes."""

import time
from collections.abc import Callable

import psutil

from backend.contract.recorder import Recorder


class Starting:
    """Say `done` after each part; it has taken what went by since the one before, the first since the process began.

    seconds: of each part, in their order.
    """

    def __init__(self, clock: Callable[[], float] = time.time, began: float | None = None) -> None:
        self._clock = clock
        self._last = psutil.Process().create_time() if began is None else began
        self.seconds: dict[str, float] = {}

    def done(self, part: str) -> None:
        """This part of the start is over."""
        now = self._clock()
        self.seconds[part] = now - self._last
        self._last = now

    def step(self, recorder: Recorder) -> None:
        """A step is done; after the first the log says how long all took."""
        if "first step" not in self.seconds:
            self.done("first step")
            recorder.event("info", self.words(), data={"start": self.seconds})

    def words(self) -> str:
        """All of it in a sentence."""
        parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in self.seconds.items())
        return f"The first step was done {sum(self.seconds.values()):.1f} s after the process began: {parts}."
