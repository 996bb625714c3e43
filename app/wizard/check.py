"""The check before a start: `distill preflight` in the background, for one recipe at a time, and what it said."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.backend_process import Job
from app.session import Session
from app.widgets.work_line import TIMES
from backend.contract.recipe import Recipe

TIME = f"{TIMES}/preflight"


class Check(QObject):
    """changed: it has begun, ended, or has something to say. answered: there is an answer for the recipe asked about.

    answer: what preflight printed, None before. failed: why there is no answer.
    """

    changed = Signal()
    answered = Signal()

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._job: Job | None = None
        self._asked = ""
        self._began = 0.0
        self.answer: dict[str, Any] | None = None
        self.failed = ""
        self.said = ""

    @property
    def is_running(self) -> bool:
        """Whether an answer is on its way."""
        return self._job is not None

    @property
    def usual_seconds(self) -> float:
        """How long the last one took, here and of whatever recipe; 0 where there was none."""
        kept = self._session.settings.value(TIME, 0.0)
        return float(kept) if isinstance(kept, int | float | str) else 0.0

    def is_about(self, recipe: Recipe) -> bool:
        """Whether what is known or on its way is about this recipe."""
        return self._asked == recipe.hash()

    def is_ok_for(self, recipe: Recipe) -> bool:
        """Whether this very recipe was found to be fit for a start."""
        return self.is_about(recipe) and self.answer is not None and bool(self.answer.get("ok"))

    def begin(self, recipe: Recipe) -> None:
        """Ask about a recipe, unless that is known or on its way."""
        if self.is_about(recipe) and (self.is_running or self.answer is not None):
            return
        self.cancel()
        folder = tempfile.TemporaryDirectory(prefix="distill-check-")
        file = Path(folder.name) / "recipe.json"
        file.write_text(recipe.to_json(), encoding="utf-8")
        self._asked, self.answer, self.failed, self.said = recipe.hash(), None, "", ""
        self._began = time.monotonic()
        arguments = ["preflight", str(self._session.project.path), "--recipe", str(file)]
        job = self._session.backend.ask(arguments, self._hear, self._fail, self._say)
        job.ended.connect(lambda: self._end(job))
        job.ended.connect(lambda: folder.cleanup())  # noqa: PLW0108  (the bound method would not keep it alive)
        self._job = job if job.is_running else None  # a process that could not be started has ended already
        self.changed.emit()

    def cancel(self) -> None:
        """Ask no longer."""
        job, self._job = self._job, None
        if job is not None:
            self._asked = ""
            job.cancel()
            self.changed.emit()

    def _hear(self, answer: Any) -> None:
        self.answer = dict(answer)
        self._session.settings.setValue(TIME, round(time.monotonic() - self._began, 1))

    def _fail(self, words: str) -> None:
        self.failed = words

    def _say(self, words: str) -> None:
        self.said = words
        self.changed.emit()

    def _end(self, job: Job) -> None:
        if job is not self._job:
            return
        self._job = None
        if self.answer is None:  # asked again when wanted again
            self._asked = ""
        self.changed.emit()
        if self.answer is not None or self.failed:
            self.answered.emit()
