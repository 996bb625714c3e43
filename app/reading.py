"""Reads a project again and again, as it changes: what every live screen shows comes through one of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from app.open_project import OpenProject
from backend.contract.project_file import ProjectFile

Question = Callable[[ProjectFile], Any]


class Reading(QObject):
    """One question at a time, and no more often than every `least` milliseconds however much is written.

    question: what to read now; None while nobody would see the answer, then `look_if_due` asks for what was missed.
    found: the answer. missed: the sentence of a question that could not be answered.
    """

    found = Signal(object)
    missed = Signal(str)

    def __init__(
        self, project: OpenProject, question: Callable[[], Question | None], least: int, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._project, self._question = project, question
        self._is_asking = self._is_due = False
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(least)
        self._pause.timeout.connect(self.look_if_due)
        project.changed.connect(self.look)

    def look(self) -> None:
        """Ask: now, or as soon as the last question is answered and its time is up."""
        question = None if self._is_asking or self._pause.isActive() else self._question()
        self._is_due = question is None
        if question is None:
            return
        self._is_asking = True
        self._pause.start()
        self._project.ask(question, self._answered, key=f"reading-{id(self)}", failed=self._not_answered)

    def look_if_due(self) -> None:
        """Ask where something changed since the last question."""
        if self._is_due:
            self.look()

    def look_at_another(self) -> None:
        """Ask at once, because the question is another one now; the last one's answer is not waited for."""
        self._is_asking = False
        self._pause.stop()
        self.look()

    def _answered(self, answer: Any) -> None:
        self._is_asking = False
        self.found.emit(answer)
        self.look_if_due()

    def _not_answered(self, words: str) -> None:
        self._is_asking = False
        self.missed.emit(words)
