"""How a recipe becomes a run: checked first, unless this very recipe was found to be fit, then started or queued."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.session import Session
from app.wizard.check import Check
from backend.contract import launch
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe


@dataclass(frozen=True)
class Order:
    """A run that is wanted. declaration: of its method's settings, which is kept beside their values."""

    recipe: Recipe
    name: str | None
    declaration: Mapping[str, Any]


class Starting(QObject):
    """order: what is wanted now; None while it cannot be started.

    is_waiting: it is to start as soon as the check is done. queues: the last request was for a place in the queue.
    changed: `is_waiting` is another. begins: the project is being written to; then either started, with the run's id,
    or failed, with a sentence. refused: the check that was waited for has not said yes.
    """

    changed = Signal()
    begins = Signal()
    started = Signal(int)
    failed = Signal(str)
    refused = Signal()

    def __init__(self, session: Session, check: Check, order: Callable[[], Order | None], parent: QObject) -> None:
        super().__init__(parent)
        self._session, self._check, self._order = session, check, order
        self.is_waiting = self.queues = False
        check.answered.connect(self._checked)

    def begin(self, *, queues: bool) -> None:
        """Check the recipe if that was not done, and start it; or put it into the queue."""
        order = self._order()
        if order is None or self.is_waiting:
            return
        self.queues = queues
        if self._check.is_ok_for(order.recipe):
            self._start(order)
            return
        self.is_waiting = True
        self._check.begin(order.recipe)
        if not self._check.is_running:  # it was answered before, and not with yes
            self._checked()
        self.changed.emit()

    def check_now(self) -> None:
        """Check the recipe, and start nothing."""
        order = self._order()
        if order is not None:
            self._check.begin(order.recipe)

    def cancel(self) -> None:
        """Neither check nor start."""
        self.is_waiting = False
        self._check.cancel()
        self.changed.emit()

    def heed_edit(self) -> None:
        """The recipe may be another one than that which was to start; then it does not."""
        order = self._order() if self.is_waiting else None
        if self.is_waiting and not (order is not None and self._check.is_about(order.recipe)):
            self.cancel()

    def _checked(self) -> None:
        wanted, self.is_waiting = self.is_waiting, False
        if not wanted:
            return
        order = self._order()
        if order is not None and self._check.is_ok_for(order.recipe):
            self._start(order)
        else:
            self.refused.emit()

    def _start(self, order: Order) -> None:
        queues = self.queues

        def begin(project: ProjectFile) -> int:
            run = project.add_run(order.recipe, name=order.name, declaration=order.declaration)
            if queues:
                launch.enqueue(project.path, run)
            else:
                launch.start_worker(project.path, run)
            return run

        self.begins.emit()
        self._session.project.write(begin, self.started.emit, failed=self.failed.emit)
