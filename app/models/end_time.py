"""When work that a process of the backend does will be done: by what it says, or by how long the like took before."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LEFT = re.compile(r"(.*), about (\d+) (s|min) left")


def taken_apart(line: str) -> tuple[str, float | None]:
    """A line of progress without its time, and the seconds that are left."""
    found = _LEFT.fullmatch(line)
    return (found[1], float(found[2]) * (60 if found[3] == "min" else 1)) if found else (line, None)


@dataclass
class EndTime:
    """usual: seconds that the like took before, 0 where that is not known. Times are of one clock."""

    began: float
    usual: float = 0.0
    _end: float | None = None

    def hear(self, left: float, now: float) -> None:
        """The work itself said how long the rest takes."""
        self._end = now + left

    def left(self, now: float) -> float | None:
        """Seconds until it is done; None where that is not known, or is past."""
        end = self._end if self._end is not None else self.began + self.usual if self.usual else None
        return end - now if end is not None and end > now else None

    def share(self, now: float) -> float | None:
        """How much is done; None where nobody knows."""
        left, since = self.left(now), now - self.began
        return since / (since + left) if left is not None and since > 0 else None
