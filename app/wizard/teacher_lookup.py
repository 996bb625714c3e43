"""What the teachers that a person names are: asked of the backend once each, in the background."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal

from app.backend_process import Job
from app.session import Session
from backend.contract.catalogue import Catalogue, TeacherCard


class TeacherLookup(QObject):
    """changed: a teacher is known now, or refused."""

    changed = Signal()

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._cards: dict[str, TeacherCard] = {}
        self._refusals: dict[str, str] = {}
        self._job: Job | None = None
        self._asked = ""

    def card(self, key: str, catalogue: Catalogue) -> TeacherCard | None:
        """The teacher of a recipe; None while it is not known."""
        return catalogue.teacher(key) or self._cards.get(key)

    def refusal(self, key: str, catalogue: Catalogue) -> str:
        """Why it cannot be used; empty while that is not known, and where it can."""
        card = catalogue.teacher(key)
        return card.problem if card is not None else self._refusals.get(key, "")

    def look_at(self, key: str) -> None:
        """Ask what it is, in place of what was asked before."""
        if not key.strip() or key in self._cards or (key == self._asked and self._job is not None):
            return
        self.cancel()
        self._refusals.pop(key, None)  # a folder may have been mended
        self._asked = key
        job = self._session.backend.ask(["teachers", key], self._hear, self._refuse)
        job.ended.connect(lambda: self._end(job))
        self._job = job if job.is_running else None

    def cancel(self) -> None:
        """Ask no longer."""
        job, self._job = self._job, None
        if job is not None:
            job.cancel()

    def _hear(self, answer: Any) -> None:
        known = {name: value for name, value in answer.items() if name in TeacherCard.model_fields}
        self._cards[self._asked] = TeacherCard.model_validate(known)
        self.changed.emit()

    def _refuse(self, words: str) -> None:
        self._refusals[self._asked] = words
        self.changed.emit()

    def _end(self, job: Job) -> None:
        if job is self._job:
            self._job = None
