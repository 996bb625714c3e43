"""In the status bar: what runs now, or that a queue stands still, which a person may start from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget

from app import look
from app.models.run_words import state_in_words, steps_done
from backend.contract.rows import Run, RunState


class LiveLine(QWidget):
    """start_wanted: the queue is to be started."""

    start_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, look.MARGIN, 0)
        row.setSpacing(look.GAP)
        self.words = look.label("", "caption", "muted")
        self.words.setAccessibleName(self.tr("Runs in progress"))
        self.start = QPushButton(self.tr("Start the queue"))
        self.start.setProperty("link", True)
        self.start.clicked.connect(self.start_wanted)
        self.start.hide()
        row.addWidget(self.words)
        row.addWidget(self.start)

    def show_runs(self, live: Sequence[tuple[Run, RunState]], steps: Mapping[int, int], waiting: Sequence[Run]) -> None:
        """live: what runs. steps: how long each of them is to train. waiting: the runs of a queue that stands still."""
        self.start.setVisible(bool(waiting) and not live)
        self.words.setText(self._live(live, steps) if live else self._waiting(waiting))

    def _live(self, live: Sequence[tuple[Run, RunState]], steps: Mapping[int, int]) -> str:
        run, state = live[0]
        words = self.tr("{0}: {1}, step {2} of {3}").format(
            run.name, state_in_words(state.state, self.tr).lower(), *steps_done(state.step, steps.get(run.id, 0))
        )
        return words + (self.tr(" and {0} more").format(len(live) - 1) if len(live) > 1 else "")

    def _waiting(self, waiting: Sequence[Run]) -> str:
        """To start it is left to the person: opening a file should load no machine."""
        if len(waiting) == 1:
            return self.tr("Nothing runs, and {0} waits in the queue.").format(waiting[0].name)
        return self.tr("Nothing runs, and {0} runs wait in the queue.").format(len(waiting)) if waiting else ""
