"""A backend that answers what a test has it answer, with no process behind it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from app.backend_process import Backend, Job
from backend.contract.catalogue import Catalogue

CATALOGUE = Catalogue.from_json((Path(__file__).parent / "catalogue.json").read_bytes())
FITS = {
    "ok": True,
    "problems": [],
    "warnings": [],
    "findings": [],
    "suggestions": [],
    "teacher": "Digits",
    "method": "Distribution matching (DMD2)",
    "device": "cpu",
    "parameters": 620401,
    "evaluations_per_step": 8.0,
    "evaluations": 345600.0,
    "disk": 60 * 2**20,
    "memory": 700 * 2**20,
    "seconds": 400.0,
}


class ScriptedJob(QObject):
    """A question that is answered when a test says so."""

    answered = Signal(object)
    failed = Signal(str)
    said = Signal(str)
    ended = Signal()

    def __init__(self, arguments: Sequence[str], parent: QObject) -> None:
        super().__init__(parent)
        self.arguments, self.is_running, self.is_cancelled = list(arguments), True, False

    def cancel(self) -> None:
        self.is_running, self.is_cancelled = False, True
        self.ended.emit()

    def end(self, answer: dict[str, Any] | str) -> None:
        """Answer, or refuse with a sentence."""
        if self.is_running:
            self.is_running = False
            if isinstance(answer, str):
                self.failed.emit(answer)
            else:
                self.answered.emit(answer)
            self.ended.emit()


class ScriptedBackend(Backend):
    """answers: by command, what it answers at once; a command that is not there waits for the test."""

    def __init__(self) -> None:
        super().__init__()
        self.catalogue = CATALOGUE
        self.jobs: list[ScriptedJob] = []
        self.recipes: list[str] = []
        self.answers: dict[str, Callable[[list[str]], dict[str, Any] | str]] = {}

    def ask(
        self,
        arguments: Sequence[str],
        answered: Callable[[Any], object],
        failed: Callable[[str], object],
        said: Callable[[str], object] | None = None,
    ) -> Job:
        job = ScriptedJob(arguments, self)
        job.answered.connect(answered)
        job.failed.connect(failed)
        if said is not None:
            job.said.connect(said)
        self.jobs.append(job)
        if arguments[0] == "preflight":
            self.recipes.append(Path(arguments[-1]).read_text(encoding="utf-8"))
        reply = self.answers.get(arguments[0])
        if reply is not None:
            QTimer.singleShot(0, job, lambda: job.end(reply(list(arguments))))
        return job  # type: ignore[return-value]  # what a page needs of a job

    def close(self) -> None:
        for job in self.jobs:
            if job.is_running:
                job.cancel()
