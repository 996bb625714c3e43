"""What happened in a run, line by line: its events, and the end of what its process printed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtGui import QTextCursor
from PySide6.QtWidgets import QApplication, QComboBox, QHBoxLayout, QLineEdit, QPlainTextEdit, QVBoxLayout, QWidget

from app import look
from app.session import Session
from app.translations import said
from app.widgets.icon_button import IconButton
from backend.contract.project_file import ProjectFile
from backend.contract.rows import LogEvent

MOST_LINES = 5000
TAIL_BYTES = 64 * 1024
READ_MILLISECONDS = 1000
PRINTED = "printed"
"""As a filter: what the process printed, instead of the events."""


class LogView(QWidget):
    """Events arrive by `add_events`; the printed log is read while it is looked at."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._events: list[LogEvent] = []
        self._log: str | None = None
        self._place = 0
        self._kinds = {"warning": self.tr("warning"), "error": self.tr("error"), "health": self.tr("health")}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, look.GAP, 0, 0)
        column.setSpacing(look.GAP)
        row = QHBoxLayout()
        row.setSpacing(look.GAP)
        self.kind = QComboBox()
        self.kind.setAccessibleName(self.tr("What the log shows"))
        for words, kind in (
            (self.tr("All that happened"), ""),
            (self.tr("Warnings and errors"), "wrong"),
            (self.tr("Health"), "health"),
            (self.tr("Information"), "info"),
            (self.tr("Printed by its process"), PRINTED),
        ):
            self.kind.addItem(words, kind)
        self.kind.currentIndexChanged.connect(self._fill)
        self.search = QLineEdit()
        self.search.setPlaceholderText(self.tr("Only lines with..."))
        self.search.setAccessibleName(self.tr("Only lines with this text"))
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._fill)
        copy = IconButton("copy", self.tr("Copy"), quiet=True)
        copy.clicked.connect(self._copy)
        row.addWidget(self.kind)
        row.addWidget(self.search, 1)
        row.addWidget(copy)
        column.addLayout(row)
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setMaximumBlockCount(MOST_LINES)
        self.text.setFont(look.figures("caption"))
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
        self.text.setTabChangesFocus(True)
        self.text.setAccessibleName(self.tr("Log"))
        self.text.setMinimumHeight(12 * look.SPACE)
        column.addWidget(self.text, 1)
        self._clock = QTimer(self)
        self._clock.setInterval(READ_MILLISECONDS)
        self._clock.timeout.connect(self._read)
        self._fill()

    def follow(self) -> None:
        """Begin anew, for another run."""
        self._events, self._log, self._place = [], None, 0
        self._fill()

    def add_events(self, events: Sequence[LogEvent]) -> None:
        """Append what is new."""
        self._events += events
        if self.kind.currentData() != PRINTED:
            self._append([self._line(event) for event in events if self._is_wanted(event)])

    def show_log_of(self, log: str | None) -> None:
        """Where the newest attempt prints to, relative to the project's folder of files."""
        if log != self._log:
            self._log, self._place = log, 0
            if self.kind.currentData() == PRINTED:
                self._fill()

    def _copy(self) -> None:
        QApplication.clipboard().setText(self.text.toPlainText())

    def _is_wanted(self, event: LogEvent) -> bool:
        kind = self.kind.currentData()
        fits = not kind or event.kind == kind or (kind == "wrong" and event.kind in ("warning", "error"))
        wanted = self.search.text().lower()
        return fits and (not wanted or wanted in event.text.lower() or wanted in said(event.text).lower())

    def _line(self, event: LogEvent) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(event.time))
        step = "" if event.step is None else self.tr("step {0}").format(event.step)
        return "  ".join(part for part in (clock, step, self._kinds.get(event.kind, ""), said(event.text)) if part)

    def _fill(self) -> None:
        self.text.clear()
        if self.kind.currentData() == PRINTED:
            self._place = 0
            self.text.setPlaceholderText(self.tr("Its process has printed nothing."))
            self._clock.start()
            self._read()
            return
        self._clock.stop()
        self.text.setPlaceholderText(self.tr("No messages yet. Warnings, errors and changes appear here."))
        self._append([self._line(event) for event in self._events if self._is_wanted(event)][-MOST_LINES:])

    def _append(self, lines: Sequence[str]) -> None:
        """Many lines at once: singly they cost ten times as much."""
        if not lines:
            return
        bar = self.text.verticalScrollBar()
        was_at_end = bar.value() >= bar.maximum() - 1
        self.text.appendPlainText("\n".join(lines))
        if was_at_end:
            self.text.moveCursor(QTextCursor.MoveOperation.End)
            self.text.moveCursor(QTextCursor.MoveOperation.StartOfLine)
            bar.setValue(bar.maximum())

    def _read(self) -> None:
        log, place = self._log, self._place
        if log is None or not self.isVisible():
            return

        def read(project: ProjectFile) -> tuple[str, int]:
            return tail(project.files / log, place)

        self._session.project.ask(read, self._take, key=f"log-view-{id(self)}")

    def _take(self, found: tuple[str, int]) -> None:
        text, place = found
        if self.kind.currentData() != PRINTED or place <= self._place:
            return
        self._place = place
        wanted = self.search.text().lower()
        self._append([line for line in text.splitlines() if wanted in line.lower()])


def tail(path: Path, place: int = 0) -> tuple[str, int]:
    """Whole lines of a file after a place, at most the last 64 kB; and the place to go on from."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            start = max(place if place <= size else 0, size - TAIL_BYTES)
            file.seek(start)
            content = file.read(TAIL_BYTES)
    except OSError:
        return "", place
    if place == 0:
        return content.decode("utf-8", "replace"), start + len(content)
    end = content.rfind(b"\n") + 1
    return content[:end].decode("utf-8", "replace"), start + end
