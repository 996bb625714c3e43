"""Asks a project about curves, one question at a time: soon after rows were recorded, or when a moving hand rests.

It knows no widgets, and not what is asked: that is put together anew for each question.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer, Signal

from app.models.curve_data import Answer, Question, look_up
from app.open_project import OpenProject

REFRESH_MILLISECONDS = 200
"""Rows may come as fast as they like: the project is asked no more often than this."""
REST_MILLISECONDS = 100
"""While a person moves the view, what is in sight is asked for after this; sooner than at rest only where it lacks."""


class CurveReader(QObject):
    """question: what is to be asked, with the facts of every series or without; None for nothing.

    found: an `Answer`. missed: why there is none.
    """

    found = Signal(object)
    missed = Signal(str)

    def __init__(
        self, project: OpenProject, question: Callable[[bool], Question | None], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._project, self._question = project, question
        self._asking = self._again = self._facts_due = False
        self._refresh = self._timer(REFRESH_MILLISECONDS)
        self._rest = self._timer(REST_MILLISECONDS)

    @property
    def is_busy(self) -> bool:
        """Whether an answer is on its way, or a question soon."""
        return self._asking or self._again or self._rest.isActive() or self._refresh.isActive()

    def ask(self, *, facts: bool = False) -> None:
        """Ask now, or as soon as the answer to the question before has come."""
        self._facts_due = self._facts_due or facts
        if self._asking:
            self._again = True
            return
        question = self._question(self._facts_due)
        if question is not None:
            self._asking, self._again, self._facts_due = True, False, False
            self._project.ask(
                lambda project: look_up(project, question), self._take, key=f"curves-{id(self)}", failed=self._miss
            )

    def refresh(self) -> None:
        """Rows were recorded: ask soon, for facts too."""
        self._facts_due = True
        if not self._refresh.isActive():
            self._refresh.start()

    def ask_at_rest(self, *, sooner: bool) -> None:
        """Ask once the hand rests; or, where what is there will not do until then, a moment after it began to move."""
        # Answers cost a moving hand some time.
        if not self._rest.isActive() or not sooner:
            self._rest.start()

    def _timer(self, milliseconds: int) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.timeout.connect(self.ask)
        return timer

    def _take(self, answer: Answer) -> None:
        self._asking = False
        self.found.emit(answer)
        if self._again:
            self.ask()

    def _miss(self, words: str) -> None:
        self._asking = False
        self.missed.emit(words)
