"""Work that a process of the backend does for a screen: how it goes, a way to cancel it, and why it failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import QSettings, QTimer, Signal
from PySide6.QtWidgets import QApplication, QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from app import look
from app.backend_process import Backend, Job
from app.models.end_time import EndTime, taken_apart
from app.models.run_words import duration
from app.translations import said

TIMES = "times"
"""Where in the settings it stands how long work took, in seconds."""
PARTS = 1000
"""Of the progress bar."""


class WorkLine(QWidget):
    """Nothing is shown until work begins. changed: it began, or came to its end. cancelled: it was ended before that,
    and its process is gone."""

    changed = Signal()
    cancelled = Signal()

    def __init__(self, backend: Backend, settings: QSettings, parent: QWidget | None = None) -> None:
        """settings: where it is kept how long work took."""
        super().__init__(parent)
        self._backend, self._settings = backend, settings
        self._job: Job | None = None
        self._doing = self._said = self._like = ""
        self._end_time = EndTime(0.0)
        self._then: Callable[[Any], object] = lambda _: None
        self.words = look.label("", "body", "muted", wraps=True)
        self.bar = QProgressBar()
        self.bar.setRange(0, 0)
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName(self.tr("Work in progress"))
        self.cancel = QPushButton(self.tr("Cancel"))
        self.cancel.clicked.connect(self.stop)
        self.copy = QPushButton(self.tr("Copy"))
        self.copy.setAccessibleName(self.tr("Copy what went wrong"))
        self.copy.clicked.connect(lambda: QApplication.clipboard().setText(self.words.text()))
        column = QVBoxLayout()
        column.setSpacing(look.SPACE)
        column.addWidget(self.words)
        column.addWidget(self.bar)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(look.GAP)
        row.addLayout(column, 1)
        row.addWidget(self.cancel)
        row.addWidget(self.copy)
        self._clock = QTimer(self)
        self._clock.setInterval(1000)
        self._clock.timeout.connect(self._show)
        self.clear()

    @property
    def is_busy(self) -> bool:
        """Whether work is on its way."""
        return self._job is not None

    def begin(self, doing: str, arguments: Sequence[str], then: Callable[[Any], object], like: str) -> None:
        """Run `distill ARGUMENTS` and give its answer to `then`. doing: a sentence for meanwhile.

        like: what work of the same kind is called, which takes about as long.
        """
        self._doing, self._said, self._then, self._like = doing, "", then, f"{TIMES}/{like}"
        usual = self._settings.value(self._like, 0.0)
        self._end_time = EndTime(time.monotonic(), float(usual) if isinstance(usual, int | float | str) else 0.0)
        self._job = self._backend.ask(arguments, self._answered, self._failed, self._heard)
        self._clock.start()
        self._show()
        self.changed.emit()

    def stop(self) -> None:
        """Cancel the work."""
        if self._job is not None:
            self._job.ended.connect(self.cancelled)
            self._job.cancel()
            self.clear()
            self.changed.emit()

    def refuse(self, words: str) -> None:
        """Say why something was not done."""
        self._end()
        look.set_tone(self.words, "bad")
        self.words.setText(words)
        self.copy.show()
        self.show()

    def clear(self) -> None:
        """Show nothing."""
        self._end()
        self.copy.hide()
        self.hide()

    def _end(self) -> None:
        self._job = None
        self._clock.stop()
        self.bar.hide()
        self.cancel.hide()

    def _answered(self, answer: Any) -> None:
        self._settings.setValue(self._like, round(time.monotonic() - self._end_time.began, 1))
        self.clear()
        self._then(answer)
        self.changed.emit()

    def _failed(self, words: str) -> None:
        self.refuse(words)
        self.changed.emit()

    def _heard(self, line: str) -> None:
        words, left = taken_apart(line)
        self._said = said(words)
        if left is not None:
            self._end_time.hear(left, time.monotonic())
        self._show()

    def _show(self) -> None:
        if self._job is None:
            return
        look.set_tone(self.words, "muted")
        now = time.monotonic()
        left, share = self._end_time.left(now), self._end_time.share(now)
        since = duration(now - self._end_time.began, self.tr)
        rest = self.tr("{0}, about {1} left").format(since, duration(left, self.tr)) if left is not None else since
        self.words.setText(" · ".join(part for part in (self._doing, self._said, rest) if part))
        self.bar.setRange(0, 0 if share is None else PARTS)
        if share is not None:
            look.set_progress(self.bar, round(share * PARTS))
        self.copy.hide()
        for widget in (self.bar, self.cancel, self):
            widget.show()
