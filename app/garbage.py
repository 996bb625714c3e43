"""Collects cyclic garbage in the window's thread alone.

Python collects in whichever thread happens to allocate. A widget that is collected in a project's thread would be
destroyed there, and Qt's timers and windows belong to the thread that made them.
"""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

LOOK_MILLISECONDS = 2000


class GarbageCollection(QObject):
    """In place of Python's own, as long as it exists: by the same thresholds, on a timer of this thread."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        gc.disable()
        gc.freeze()  # what the program is made of never becomes garbage, and need not be looked at again
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MILLISECONDS)
        self._timer.timeout.connect(self._look)
        self._timer.start()

    def _look(self) -> None:
        counts, thresholds = gc.get_count(), gc.get_threshold()
        due = [generation for generation in range(3) if counts[generation] > thresholds[generation]]
        if due:
            gc.collect(max(due))
