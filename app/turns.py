"""What nobody waits for is done in pieces, one in each turn of the event loop, so that no two of them add up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import shiboken6
from PySide6.QtCore import QCoreApplication, QObject, QTimer

GENTLE_MILLISECONDS = 40
Piece = Callable[[], bool]
"""Does a little, and says whether there is more to do. A method of a Qt object; it ends with its object."""


class Turns(QObject):
    """The line of what is to be done. There is one event loop, and so there is one of these: `turns()`."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._soon: deque[Piece] = deque()
        self._some_time: deque[Piece] = deque()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._take_one)

    def add(self, piece: Piece, gently: bool = False) -> None:
        """Call this in turns of its own until it says that there is no more.

        gently: it may be long until somebody wants it; it leaves the processor to others between its pieces.
        """
        self.drop(piece)
        (self._some_time if gently else self._soon).append(piece)
        self._set_pace()

    def drop(self, piece: Piece) -> None:
        """Do no more of this."""
        for line in (self._soon, self._some_time):
            if piece in line:
                line.remove(piece)

    def _take_one(self) -> None:
        line = self._soon or self._some_time
        if line:
            piece = line.popleft()
            owner = getattr(piece, "__self__", None)
            is_there = not isinstance(owner, QObject) or shiboken6.isValid(owner)
            if is_there and piece() and piece not in self._soon and piece not in self._some_time:
                line.append(piece)
        self._set_pace()

    def _set_pace(self) -> None:
        if not self._soon and not self._some_time:
            self._timer.stop()
            return
        pace = 0 if self._soon else GENTLE_MILLISECONDS
        if not self._timer.isActive() or self._timer.interval() != pace:
            self._timer.start(pace)


_turns: Turns | None = None


def turns() -> Turns:
    """The line of this process."""
    global _turns  # noqa: PLW0603  (as there is one event loop)
    if _turns is None or not shiboken6.isValid(_turns):
        _turns = Turns(QCoreApplication.instance())
    return _turns
