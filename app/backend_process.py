"""Starts the command line in the background, for answers: what the window may not compute itself.

One question is one process, which prints one JSON object. It dies with the window, unlike a run's worker, which
`backend.contract.launch` starts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, Signal

from app.translations import said
from backend.contract import catalogue
from backend.contract.catalogue import Catalogue
from backend.contract.launch import worker_environment

GONE_MILLISECONDS = 1000
AHEAD_MILLISECONDS = 10_000
"""What nobody looks at yet leaves the processor to a run that may just be starting."""


class Job(QObject):
    """One command of the command line that is on its way.

    answered: its JSON object. failed: the sentence that says why there is none. said: a line of its progress.
    ended: after either, or when it was cancelled.
    """

    answered = Signal(object)
    failed = Signal(str)
    said = Signal(str)
    ended = Signal()

    def __init__(self, arguments: Sequence[str], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.arguments = list(arguments)
        self._cancelled = False
        self._words: list[str] = []
        self._process = QProcess(self)
        environment = QProcessEnvironment()
        for name, value in worker_environment().items():
            environment.insert(name, value)
        self._process.setProcessEnvironment(environment)
        self._process.readyReadStandardError.connect(self._hear)
        self._process.finished.connect(self._finish)
        self._process.errorOccurred.connect(self._fault)

    def start(self) -> None:
        """Begin."""
        self._process.start(sys.executable, ["-P", "-m", "backend", *self.arguments, "--json"])

    @property
    def is_running(self) -> bool:
        """Whether it may still answer."""
        return self._process.state() != QProcess.ProcessState.NotRunning

    def cancel(self) -> None:
        """End it; only `ended` follows."""
        self._cancelled = True
        self._process.kill()  # it only reads, or writes to a name of its own and renames: there is nothing to finish

    def wait(self) -> None:
        """Wait for a cancelled one to be gone; some milliseconds."""
        self._process.waitForFinished(GONE_MILLISECONDS)

    def _hear(self) -> None:
        text = bytes(self._process.readAllStandardError().data()).decode("utf-8", "replace")
        for line in filter(None, map(str.strip, text.splitlines())):
            self._words.append(line)
            self.said.emit(line)

    def _fault(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and not self._cancelled:
            self.failed.emit(
                self.tr("The backend could not be started: {0}; check that the program is whole.").format(
                    self._process.errorString()
                )
            )
            self.ended.emit()

    def _finish(self, status: int) -> None:
        if not self._cancelled:
            self._hear()
            self._answer(status, bytes(self._process.readAllStandardOutput().data()))
        self.ended.emit()

    def _answer(self, status: int, printed: bytes) -> None:
        try:
            found = json.loads(printed)
        except ValueError:
            last = self._words[-1] if self._words else self.tr("it said nothing")
            self.failed.emit(
                self.tr("`distill {0}` ended with status {1}: {2}").format(self.arguments[0], status, said(last))
            )
            return
        if isinstance(found, dict) and set(found) == {"error"}:
            self.failed.emit(said(str(found["error"])))
        else:
            self.answered.emit(found)


class Backend(QObject):
    """The backend as the window knows it: questions to it, and the catalogue of what it offers.

    catalogue_arrived: the catalogue, once it is known or has changed. catalogue_failed: why it cannot be known.
    """

    catalogue_arrived = Signal(object)
    catalogue_failed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.catalogue: Catalogue | None = None
        self._describing: Job | None = None
        self._ahead = QTimer(self)
        self._ahead.setSingleShot(True)
        self._ahead.setInterval(AHEAD_MILLISECONDS)
        self._ahead.timeout.connect(self.refresh_catalogue)
        self._jobs: set[Job] = set()

    def ask(
        self,
        arguments: Sequence[str],
        answered: Callable[[Any], object],
        failed: Callable[[str], object],
        said: Callable[[str], object] | None = None,
    ) -> Job:
        """`distill ARGUMENTS --json` in the background. Keep the job to cancel it."""
        job = Job(arguments)  # no child of this: one of the two may go first
        job.answered.connect(answered)
        job.failed.connect(failed)
        if said is not None:
            job.said.connect(said)
        self._jobs.add(job)
        # Not at once: it must outlive the signal of its process that is being answered.
        job.ended.connect(lambda: QTimer.singleShot(0, lambda: self._jobs.discard(job)))
        job.start()
        return job

    @property
    def is_idle(self) -> bool:
        """Whether everything that was asked has been answered."""
        return not self._jobs

    def want_catalogue(self, ahead: bool = False) -> None:
        """Have `catalogue_arrived` follow: from the cache at once, else from the backend in some seconds.

        ahead: nobody waits for it yet; the backend is asked later, unless somebody does before.
        """
        if self.catalogue is not None:
            self.catalogue_arrived.emit(self.catalogue)
            return
        cached = catalogue.load_cached(catalogue.default_key())
        if cached is not None:
            self._know(cached)
        elif ahead:
            self._ahead.start()
        else:
            self.refresh_catalogue()

    def refresh_catalogue(self) -> None:
        """Ask the backend anew: a method or device may have come or gone."""
        self._ahead.stop()
        if self._describing is None:
            self._describing = self.ask(["describe"], self._described, self._not_described)
            self._describing.ended.connect(self._described_at_last)

    def close(self) -> None:
        """Cancel what is on its way."""
        self._ahead.stop()
        for job in list(self._jobs):
            job.cancel()
            job.wait()

    def _described(self, values: Any) -> None:
        self._know(Catalogue.model_validate(values))

    def _not_described(self, words: str) -> None:
        self.catalogue_failed.emit(words)

    def _described_at_last(self) -> None:
        self._describing = None

    def _know(self, found: Catalogue) -> None:
        self.catalogue = found
        self.catalogue_arrived.emit(found)
