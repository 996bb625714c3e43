"""What a person may ask of a run, as actions, and how far what was asked has come.

A request is a row of the project that the run's process answers, so nothing here waits: the answer comes as a change of
that row. Ending a process that does not answer waits, and is done in a thread of its own that knows no widget.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QAction

from app.models import run_words
from app.session import Session
from app.translations import said
from app.widgets.icon_button import action
from backend.contract import launch
from backend.contract.errors import UserError
from backend.contract.project_file import ProjectFile
from backend.contract.rows import Command, RunState, Verb

LOOK_MILLISECONDS = 500


class RunCommands(QObject):
    """changed: what `words`, `refusal` or `may_end` say is no longer what it was."""

    changed = Signal()

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._run: int | None = None
        self._state: RunState | None = None
        self._commands: list[Command] = []
        self._ended: list[str] = []
        self.words = self.refusal = ""
        self.may_end = self.is_ending = False
        self.pause = action(self.tr("Pause"), lambda: self._do(launch.pause), "Ctrl+P", self.tr("Pause this run"))
        self.resume = action(self.tr("Resume"), lambda: self._do(launch.resume), "Ctrl+R", self.tr("Resume this run"))
        self.stop = action(self.tr("Stop"), lambda: self._do(launch.stop), "Ctrl+.", self.tr("Stop this run"))
        self.sample = action(self.tr("Sample now"), lambda: self.ask("sample"), "Ctrl+G")
        self.save = action(self.tr("Save now"), lambda: self.ask("save"), "Ctrl+S")
        self.end = action(self.tr("End it now"), self._end)
        self._clock = QTimer(self)
        self._clock.setInterval(LOOK_MILLISECONDS)
        self._clock.timeout.connect(self._look)
        self._show()

    def actions(self) -> list[QAction]:
        """All of them, for the screen that has them."""
        return [self.pause, self.resume, self.stop, self.sample, self.save, self.end]

    def follow(self, run: int | None) -> None:
        """Ask this run from now on."""
        self._run, self._state, self._commands, self.refusal = run, None, [], ""
        self._show()

    def show_state(self, state: RunState) -> None:
        """What the run is doing decides what can be asked."""
        if self._state is None or state.state != self._state.state:
            self.refusal = ""  # it was about what the run did then
        self._state = state
        self._show()

    def show_commands(self, commands: list[Command]) -> None:
        """All that was asked so far."""
        self._commands = commands
        self._show()

    def ask(self, verb: Verb, arguments: Mapping[str, Any] | None = None) -> None:
        """Ask something of the run's process."""
        self._do(lambda path, run: launch.ask(path, run, verb, arguments))

    def go_back(self, step: int, changes: Mapping[str, Any]) -> None:
        """Let the run go on from an earlier checkpoint, with changed settings."""
        self._do(lambda path, run: launch.go_back(path, run, str(step), changes))

    def _do(self, deed: Callable[[Path, int], int]) -> None:
        run = self._run
        if run is None:
            return

        def write(project: ProjectFile) -> int:
            return deed(project.path, run)

        self.refusal = ""
        self._session.project.write(write, self._asked, failed=self._refused)
        self.changed.emit()

    def _asked(self, _: int) -> None:
        self._show()

    def _refused(self, words: str) -> None:
        self.refusal = words
        self.changed.emit()

    def _show(self) -> None:
        state = self._state
        name = state.state if state is not None else ""
        live = state is not None and state.is_live
        waits = any(command.verb == "pause" and command.finished is None for command in self._commands)
        may_resume = waits or name in ("stopped", "failed", "lost", "queued")
        resumes = (self.resume, may_resume, may_resume and name != "stopping")
        pauses = (self.pause, not may_resume, name == "running" and not waits)
        for ask, is_shown, is_possible in (resumes, pauses) if may_resume else (pauses, resumes):  # first what comes
            ask.setVisible(is_shown)
            ask.setEnabled(is_possible)
        self.resume.setText(self.tr("Start") if name == "queued" else self.tr("Resume"))
        self.stop.setEnabled(live and name != "stopping")
        for asks in (self.sample, self.save):
            asks.setEnabled(live and name in ("running", "paused"))
        unanswered = [command for command in self._commands if command.finished is None]
        self._look()
        if unanswered or self.is_ending:
            self._clock.start()
        else:
            self._clock.stop()

    def _look(self) -> None:
        """Requests grow old, and the thread that ends a process ends."""
        now = time.time()
        if self.is_ending and self._ended:
            self.is_ending, self.refusal = False, said(self._ended.pop())
        live = self._state is not None and self._state.is_live
        open_ones = [command for command in self._commands if command.finished is None]
        shown = (open_ones or self._commands[-1:])[-2:] if live else []  # of a run that is over, its state says all
        self.words = " ".join(run_words.command_in_words(command, now, self.tr) for command in shown)
        self.may_end = live and not self.is_ending and run_words.ignored_stop(self._commands, now) is not None
        self.end.setVisible(self.may_end)
        if self.is_ending:
            self.words = self.tr("Ending its process...")
        self.changed.emit()

    def _end(self) -> None:
        if self._run is None or self.is_ending:
            return
        self.is_ending = True
        self._ended = []
        path, run = self._session.project.path, self._run
        threading.Thread(target=_end, args=(path, run, self._ended), name="run-ending", daemon=True).start()
        self._clock.start()
        self._look()


def _end(path: Path, run: int, ended: list[str]) -> None:
    """End a run's process; what there is to say goes to `ended`, empty when it went well."""
    try:
        launch.end(path, run, stop_seconds=0.0)  # it was asked long ago
        ended.append("")
    except UserError as error:
        ended.append(str(error))
