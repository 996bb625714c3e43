"""Work that a process of the backend does for a screen: how it goes, a way to cancel it, and why it failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QApplication, QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from app import look
from app.backend_process import Backend, Job
from app.models.run_words import duration
from app.translations import said


class WorkLine(QWidget):
    """Nothing is shown until work begins. changed: it began, or came to its end."""

    changed = Signal()

    def __init__(self, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._backend = backend
        self._job: Job | None = None
        self._doing = self._said = ""
        self._began = 0.0
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

    def begin(self, doing: str, arguments: Sequence[str], then: Callable[[Any], object]) -> None:
        """Run `distill ARGUMENTS` and give its answer to `then`. doing: a sentence for meanwhile."""
        self._doing, self._said, self._began, self._then = doing, "", time.monotonic(), then
        self._job = self._backend.ask(arguments, self._answered, self._failed, self._heard)
        self._clock.start()
        self._show()
        self.changed.emit()

    def stop(self) -> None:
        """Cancel the work."""
        if self._job is not None:
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
        self.clear()
        self._then(answer)
        self.changed.emit()

    def _failed(self, words: str) -> None:
        self.refuse(words)
        self.changed.emit()

    def _heard(self, line: str) -> None:
        self._said = said(line)
        self._show()

    def _show(self) -> None:
        if self._job is None:
            return
        look.set_tone(self.words, "muted")
        since = duration(time.monotonic() - self._began, self.tr)
        parts = (self._doing, self._said, since)
        self.words.setText(" · ".join(part for part in parts if part))
        self.copy.hide()
        for widget in (self.bar, self.cancel, self):
            widget.show()
