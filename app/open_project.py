"""The project that a window shows: questions and writes are done in two threads of its own, never in the window's.

A question is a function of the open `ProjectFile`; its answer comes back in the window's thread. Questions with the
same key replace each other, so that a screen may ask as often as it likes and the newest alone counts.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import shiboken6
from PySide6.QtCore import QObject, Qt, Signal, Slot

from app.translations import said
from backend.contract.errors import UserError
from backend.contract.project_file import OlderProject, ProjectFile

T = TypeVar("T")
Answered = Callable[[Any], object]
Failed = Callable[[str], object]

POLL_SECONDS = 0.1
"""How often it is asked whether anything was written; microseconds each time."""


@dataclass(frozen=True)
class _Order:
    """Something to do with the open project, and whom to tell."""

    deed: Callable[[ProjectFile], Any]
    answered: Answered | None
    failed: Failed | None
    key: str | None


@dataclass(frozen=True)
class _Outcome:
    """What became of an order: an answer, the sentence of a `UserError`, or a fault of ours."""

    answer: Any = None
    words: str | None = None
    fault: Exception | None = None


class OpenProject(QObject):
    """A project file that this window reads and writes. Belongs to the window's thread.

    opened: it can be read. refused: it cannot be opened, with the sentence why. changed: anyone wrote to it.
    troubled: a question or write failed in a way that a person can mend, where nobody else heard of it.
    """

    opened = Signal()
    refused = Signal(str)
    changed = Signal()
    troubled = Signal(str)
    _told = Signal()

    def __init__(self, path: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.path = path
        # What the threads have to say waits here: no Python object travels through Qt from one thread to another.
        self._calls: deque[Callable[[], object]] = deque()
        self._told.connect(self._tell, Qt.ConnectionType.QueuedConnection)
        # Orders are kept here until they are answered, so that what they refer to is let go of in this thread: a
        # widget that died in another one would leave its timers behind.
        self._orders: dict[int, _Order] = {}
        self._newest: dict[str, int] = {}
        self._numbers = itertools.count()
        self._reader = _Desk(self, "project-reader", path, readonly=True)
        self._writer = _Desk(self, "project-writer", path, readonly=False)

    def open(self) -> None:
        """Begin to read it; `opened` or `refused` follows."""
        self._reader.start()
        self._writer.start()

    def ask(
        self,
        question: Callable[[ProjectFile], T],
        answered: Callable[[T], object],
        *,
        key: str | None = None,
        failed: Failed | None = None,
    ) -> None:
        """Ask something that is read. `answered` is called later in this thread, unless its object is gone by then.

        key: only the newest question of a key is answered. failed: hears the sentence of a `UserError`.
        """
        number = next(self._numbers)
        if key is not None:
            before = self._newest.get(key)
            if before is not None and self._reader.forget(before):
                del self._orders[before]
            self._newest[key] = number
        self._orders[number] = _Order(question, answered, failed, key)
        self._reader.take(number)

    def write(
        self,
        deed: Callable[[ProjectFile], T],
        done: Callable[[T], object] | None = None,
        *,
        failed: Failed | None = None,
    ) -> None:
        """Write something; writes are done one after the other, and all of them before the project closes."""
        number = next(self._numbers)
        self._orders[number] = _Order(deed, done, failed, None)
        self._writer.take(number)

    @property
    def is_idle(self) -> bool:
        """Whether everything that was asked or ordered has been answered."""
        return not self._orders and not self._calls

    def close(self) -> None:
        """Finish what is to be written and let go of the file."""
        for desk in (self._reader, self._writer):
            desk.close()
        self._calls.clear()
        self._orders.clear()

    def call_later(self, call: Callable[[], object]) -> None:
        """Call this in the thread of the window; may be asked from any thread."""
        self._calls.append(call)
        if shiboken6.isValid(self):
            self._told.emit()

    def order(self, number: int) -> _Order:
        """What was ordered; may be asked from any thread."""
        return self._orders[number]

    @Slot()
    def _tell(self) -> None:
        if self._calls:
            self._calls.popleft()()

    def finish(self, number: int, outcome: _Outcome) -> None:
        """Tell whoever ordered this what became of it."""
        order = self._orders.pop(number, None)
        if order is None or (order.key is not None and self._newest[order.key] != number):
            return
        if outcome.fault is not None:  # it belongs to the window's own report of faults
            raise outcome.fault
        if outcome.words is not None:
            words = said(outcome.words)
            if order.failed is None:
                self.troubled.emit(words)
            elif _is_there(order.failed):
                order.failed(words)
        elif order.answered is not None and _is_there(order.answered):
            order.answered(outcome.answer)


class _Desk(threading.Thread):
    """One thread with one connection: does orders, and when it reads, watches for what others wrote."""

    def __init__(self, owner: OpenProject, name: str, path: Path, readonly: bool) -> None:
        super().__init__(name=name, daemon=True)
        self._owner, self._path, self._readonly = owner, path, readonly
        self._waiting: deque[int] = deque()
        self._wake = threading.Condition()
        self._closing = False

    def take(self, number: int) -> None:
        """Put an order in the line."""
        with self._wake:
            self._waiting.append(number)
            self._wake.notify()

    def forget(self, number: int) -> bool:
        """Take an order out of the line; False when it was begun."""
        with self._wake:
            if number not in self._waiting:
                return False
            self._waiting.remove(number)
            return True

    def close(self) -> None:
        """End the thread: a reader at once, a writer when all is written."""
        with self._wake:
            self._closing = True
            if self._readonly:
                self._waiting.clear()
            self._wake.notify()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        # A writer opens the project when there is something to write: a window that only looks takes no lock.
        project = self._open() if self._readonly else None
        if self._readonly and project is None:
            return
        version, looked = self._version(project), 0.0
        if project is not None:
            self._emit(self._owner.opened)
        while (number := self._next()) is not None or not self._closing:
            if number is not None:
                project = project or self._open()
                outcome = _Outcome(words=self._refusal) if project is None else self._done(number, project)
                self._owner.call_later(partial(self._owner.finish, number, outcome))
                del outcome
            if self._readonly and project is not None and time.monotonic() - looked >= POLL_SECONDS:
                looked, newest = time.monotonic(), self._version(project)
                if newest != version:
                    version = newest
                    self._emit(self._owner.changed)
        if project is not None:
            try:
                project.close()
            except UserError as error:
                self._emit(self._owner.troubled, str(error))

    def _done(self, number: int, project: ProjectFile) -> _Outcome:
        try:
            return _Outcome(self._owner.order(number).deed(project))
        except UserError as error:
            return _Outcome(words=str(error))
        except Exception as error:  # this thread's outermost edge: raised again in the window's, which reports it
            return _Outcome(fault=error)

    def _open(self) -> ProjectFile | None:
        try:
            try:
                return ProjectFile.open(self._path, readonly=self._readonly)
            except OlderProject:
                ProjectFile.open(self._path).close()  # brings it up to date
                return ProjectFile.open(self._path, readonly=True)
        except UserError as error:
            self._refusal = str(error)
            if self._readonly:
                self._emit(self._owner.refused, self._refusal)
            return None

    def _version(self, project: ProjectFile | None) -> int:
        """Changes when another connection has written."""
        if project is None:
            return 0
        try:
            return project.data_version()
        except UserError as error:
            self._emit(self._owner.troubled, str(error))
            return -1

    def _next(self) -> int | None:
        with self._wake:
            if not self._waiting and not self._closing:
                self._wake.wait(POLL_SECONDS if self._readonly else None)
            return self._waiting.popleft() if self._waiting else None

    def _emit(self, signal: Any, *words: str) -> None:
        self._owner.call_later(lambda: signal.emit(*map(said, words)))


def _is_there(listener: Callable[[Any], object]) -> bool:
    """Whether the Qt object that a bound method belongs to still exists."""
    owner = getattr(listener, "__self__", None)
    return not isinstance(owner, QObject) or shiboken6.isValid(owner)
