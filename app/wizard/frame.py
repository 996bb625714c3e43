"""What surrounds the wizard's pages: their list, the buttons below, and the words while nothing is known yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app import look
from app.widgets.step_list import StepList

Awaited = Literal["", "start", "queue"]


class Frame(QStackedWidget):
    """steps: the list; pages: where they go; footer: the buttons, in the order in which Tab goes through them.

    turned: one page on (1) or back (-1). again_wanted: to ask once more what there is.
    """

    turned = Signal(int)
    again_wanted = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.steps = StepList()
        self.steps.setAccessibleName(self.tr("Pages of the new run"))
        self.pages = QStackedWidget()
        self.addWidget(self._make_waiting())
        self.addWidget(self._make_working())

    def wait(self) -> None:
        """Nothing is known yet; it is being asked."""
        self.setCurrentIndex(0)
        look.set_tone(self.waiting, "muted")
        self.waiting.setText(self._waiting_words)
        self._bar.show()
        self.again.hide()

    def refuse(self, words: str) -> None:
        """Why nothing can be known."""
        look.set_tone(self.waiting, "bad")
        self.waiting.setText(words)
        self._bar.hide()
        self.again.show()

    def work(self) -> None:
        """Show the pages."""
        self.setCurrentIndex(1)

    def show_start(self, problems: Sequence[str], awaited: Awaited, refused: str) -> None:
        """Whether the run can start, and why not. problems: what must be mended. awaited: what follows the check that
        goes on. refused: why the last check was against it."""
        count = len(problems)
        for button in (self.start, self.queue):
            button.setEnabled(not count and not awaited)
        self.start.setText(self.tr("Checking...") if awaited == "start" else self.tr("Start"))
        self.queue.setText(self.tr("Checking...") if awaited == "queue" else self.tr("Add to queue"))
        self.cancel.setVisible(bool(awaited))
        look.set_tone(self.status, "bad" if count or refused else "muted")
        if refused:
            self.status.setText(refused)
        elif count == 1:
            self.status.setText(problems[0])
        elif count:
            self.status.setText(self.tr("{0} things to mend first: {1}").format(count, problems[0]))
        elif awaited == "queue":
            self.status.setText(self.tr("It joins the queue as soon as the check is done."))
        elif awaited == "start":
            self.status.setText(self.tr("It starts as soon as the check is done."))
        else:
            self.status.setText(self.tr("Ready to start."))
        self.status.setToolTip(self.status.text())

    def say_wrong(self, words: str) -> None:
        """Why the run has not started."""
        look.set_tone(self.status, "bad")
        self.status.setText(words)

    def _make_working(self) -> QWidget:
        left = QVBoxLayout()
        left.setContentsMargins(look.MARGIN, look.WIDE, 0, look.MARGIN)
        left.addWidget(self.steps)
        body = QHBoxLayout()
        body.setSpacing(0)
        body.addLayout(left)
        body.addWidget(self.pages, 1)
        rule = QFrame()
        rule.setProperty("rule", True)
        working = QWidget()
        column = QVBoxLayout(working)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(body, 1)
        column.addWidget(rule)
        column.addLayout(self._make_footer())
        return working

    def _make_footer(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setContentsMargins(look.MARGIN, look.GAP + look.SPACE, look.WIDE, look.GAP + look.SPACE)
        row.setSpacing(look.GAP)
        self.back, self.next = QPushButton(self.tr("Back")), QPushButton(self.tr("Next"))
        self.back.clicked.connect(lambda: self.turned.emit(-1))
        self.next.clicked.connect(lambda: self.turned.emit(1))
        self.status = look.label("", "body", "muted", wraps=True)
        self.status.setAccessibleName(self.tr("Whether the run can start"))
        self.cancel = QPushButton(self.tr("Cancel"))
        self.cancel.setAccessibleName(self.tr("Do not start"))
        self.cancel.hide()
        self.queue = QPushButton(self.tr("Add to queue"))
        self.queue.setToolTip(self.tr("It starts by itself when the runs before it have ended"))
        self.queue.hide()
        self.start = QPushButton(self.tr("Start"))
        self.start.setProperty("primary", True)
        self.start.setAccessibleName(self.tr("Start the run"))
        self.start.setEnabled(False)
        row.addWidget(self.back)
        row.addWidget(self.next)
        row.addSpacing(look.GAP)
        row.addWidget(self.status, 1)
        for button in (self.cancel, self.queue, self.start):
            row.addWidget(button)
        self.footer = (self.back, self.next, self.cancel, self.queue, self.start)
        return row

    def _make_waiting(self) -> QWidget:
        made = QWidget()
        column = QVBoxLayout(made)
        column.setContentsMargins(look.WIDE, look.WIDE, look.WIDE, look.WIDE)
        column.addStretch(1)
        self._waiting_words = self.tr("Asking what there is: methods, teachers, devices. Once, for some seconds.")
        self.waiting = look.label(self._waiting_words, "body", "muted", wraps=True)
        column.addWidget(self.waiting)
        self._bar = QProgressBar()
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName(self.tr("Asking what this machine offers"))
        column.addWidget(self._bar)
        self.again = QPushButton(self.tr("Try again"))
        self.again.clicked.connect(self.again_wanted)
        self.again.hide()
        column.addWidget(self.again)
        column.addStretch(1)
        return made
