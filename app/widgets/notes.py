"""Notes and tags of a run, in the project with every letter: a window may be killed, and what was typed is there.

One write is under way at a time, and the next takes all that was typed meanwhile, so that a slow disk is not given a
write for every letter.
"""

from __future__ import annotations

from collections import deque

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QCloseEvent, QHideEvent
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPlainTextEdit, QVBoxLayout, QWidget

from app import look
from app.session import Session
from app.widgets.flow import Flow
from app.widgets.icon_button import IconButton
from backend.contract.rows import Run

AGAIN_MILLISECONDS = 2000
"""What could not be written (a full disk, a locked project) is tried again so often."""


class Notes(QWidget):
    """saved: all that was typed is in the project."""

    saved = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._run: int | None = None
        self._known = ""
        self._asked: deque[tuple[int, str]] = deque()
        # Of the writes that are under way: the run, and what its notes were before.
        self._tags: tuple[str, ...] = ()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, look.GAP, 0, 0)
        column.setSpacing(look.GAP)
        row = QHBoxLayout()
        row.setSpacing(look.GAP)
        self._chips = QWidget()
        self._flow = Flow(look.SPACE)
        self._chips.setLayout(self._flow)
        self.tag = QLineEdit()
        self.tag.setPlaceholderText(self.tr("Add a tag"))
        self.tag.setAccessibleName(self.tr("New tag"))
        self.tag.setMaximumWidth(45 * look.SPACE)
        self.tag.returnPressed.connect(self._add_tag)
        row.addWidget(self.tag)
        row.addWidget(self._chips, 1)
        column.addLayout(row)
        self.text = QPlainTextEdit()
        self.text.setPlaceholderText(self.tr("What you try with this run, and what you saw. Saved while you type."))
        self.text.setAccessibleName(self.tr("Notes"))
        self.text.setTabChangesFocus(True)
        self.text.setMinimumHeight(12 * look.SPACE)
        column.addWidget(self.text, 1)
        self.wrong = look.label("", "caption", "bad", wraps=True)
        self.wrong.setAccessibleName(self.tr("Whether the notes are saved"))
        self.wrong.hide()
        column.addWidget(self.wrong)
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.setInterval(AGAIN_MILLISECONDS)
        self._again.timeout.connect(self.save)
        self.text.textChanged.connect(self._typed)

    def show_run(self, run: Run) -> None:
        """The notes and tags of a run as the project has them; what is being typed stays."""
        if run.id != self._run:
            self.save()
            self._run, self._known = run.id, run.notes
            self._say("")
            self._fill(run.notes)
        elif run.notes != self._known and not self._asked and self.text.toPlainText() == self._known:
            self._known = run.notes
            self._fill(run.notes)
        if run.tags != self._tags or self._flow.count() != len(run.tags):
            self._tags = run.tags
            self._show_tags()

    def _typed(self) -> None:
        if not self._asked and not self._again.isActive():
            self.save()

    def save(self) -> None:
        """Write what was typed since the last write began, if anything was."""
        self._again.stop()
        run, before, notes = self._run, self._known, self.text.toPlainText()
        if run is None or notes == before:
            return
        self._known = notes
        self._asked.append((run, before))
        self._session.project.write(
            lambda project: project.set_notes(run, notes), self._written, failed=self._not_written
        )

    def _written(self, _: None) -> None:
        self._asked.popleft()
        self._say("")
        self._typed()
        if not self._asked:
            self.saved.emit()

    def _not_written(self, words: str) -> None:
        run, before = self._asked.popleft()
        if run == self._run:
            self._known = before
            self._again.start()
            self._say(words)
        else:  # it is no longer here to be tried again
            self._session.project.troubled.emit(words)

    def _say(self, words: str) -> None:
        self.wrong.setText(self.tr("Not saved yet: {0}").format(words) if words else "")
        self.wrong.setVisible(bool(words))

    def _fill(self, notes: str) -> None:
        self.text.blockSignals(True)
        self.text.setPlainText(notes)
        self.text.blockSignals(False)

    def _add_tag(self) -> None:
        tag = self.tag.text().strip()
        self.tag.clear()
        if tag and tag not in self._tags:
            self._set_tags((*self._tags, tag))

    def _remove_tag(self, tag: str) -> None:
        self._set_tags(tuple(other for other in self._tags if other != tag))
        self.tag.setFocus()

    def _set_tags(self, tags: tuple[str, ...]) -> None:
        run = self._run
        if run is None:
            return
        self._tags = tags
        self._show_tags()
        self._session.project.write(lambda project: project.set_tags(run, tags))

    def _show_tags(self) -> None:
        while (item := self._flow.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for tag in self._tags:
            chip = IconButton("x", tag)
            chip.setToolTip(self.tr("Take the tag {0} away").format(tag))
            chip.setAccessibleName(self.tr("Take the tag {0} away").format(tag))
            chip.clicked.connect(lambda _=False, tag=tag: self._remove_tag(tag))
            self._flow.addWidget(chip)
        self._flow.invalidate()
        self._chips.updateGeometry()

    def hideEvent(self, event: QHideEvent) -> None:
        self.save()
        super().hideEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        self.save()
        super().closeEvent(event)
