"""The head of a run: its name, what it is doing and why, how far it is, and what can be asked of it.

It shows and asks; it reads nothing itself, but for the end of a log when details are opened.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from app import look
from app.models import run_words
from app.run_commands import RunCommands
from app.translations import said
from app.widgets.elided_combo import ElidedCombo
from app.widgets.flow import Flow
from app.widgets.icon_button import IconButton
from app.widgets.vitals import Vitals
from backend.contract.rows import Attempt, RunState

NAME_WIDTH = 60 * look.SPACE
DETAILS_HEIGHT = 45 * look.SPACE


class RunHeader(QWidget):
    """run_chosen: another run, by its id. renamed: a new name was typed. compare, export, duplicate: wanted.
    back_wanted: to the step that it carries. details_wanted: the report is to be shown (`show_report`). report_wanted:
    it is to be copied."""

    run_chosen = Signal(int)
    renamed = Signal(str)
    compare_wanted = Signal()
    export_wanted = Signal()
    duplicate_wanted = Signal()
    back_wanted = Signal(int)
    details_wanted = Signal()
    report_wanted = Signal()

    def __init__(self, commands: RunCommands, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._commands = commands
        self._state: RunState | None = None
        self._attempt: Attempt | None = None
        self._way_back: int | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(look.GAP)
        column.addLayout(self._title())
        column.addLayout(self._progress())
        self.vitals = Vitals()
        self._asked = look.label("", "caption", "muted", wraps=True)
        self._asked.setAccessibleName(self.tr("What was asked of the run"))
        self._asked.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop)
        row = QHBoxLayout()  # beside the figures, so that an answer moves nothing
        row.setSpacing(look.MARGIN)
        row.addWidget(self.vitals, 3)
        row.addWidget(self._asked, 2)
        column.addLayout(row)
        column.addWidget(self._reason())
        self._refused = look.label("", "body", "bad", wraps=True)
        column.addWidget(self._refused)
        self.show_way_back(None)
        commands.changed.connect(self._show_asked)
        self._show_asked()

    def _title(self) -> Flow:
        row = Flow()
        self.runs = ElidedCombo()
        self.runs.setFont(look.font("heading"))
        self.runs.setAccessibleName(self.tr("Run"))
        self.runs.setToolTip(self.tr("Choose another run of this project"))
        self.runs.activated.connect(lambda index: self.run_chosen.emit(self.runs.itemData(index)))
        self.name = _NameEdit()
        self.name.setFont(look.font("heading"))
        self.name.setAccessibleName(self.tr("New name of the run"))
        self.name.given.connect(self._end_renaming)
        place = QWidget()
        place.setMinimumWidth(NAME_WIDTH)
        self._place = QStackedLayout(place)
        self._place.addWidget(self.runs)
        self._place.addWidget(self.name)
        row.addWidget(place)
        self.rename = IconButton("pencil", self.tr("Rename"), alone=True, quiet=True)
        self.rename.clicked.connect(self.begin_renaming)
        row.addWidget(self.rename)
        shown = QWidget()
        state = QHBoxLayout(shown)
        state.setContentsMargins(look.GAP, 0, look.MARGIN, 0)
        state.setSpacing(look.SPACE)
        self._dot = look.label("●", "body", "muted")
        self.state = look.label("", "strong")
        self.state.setAccessibleName(self.tr("State"))
        state.addWidget(self._dot)
        state.addWidget(self.state)
        row.addWidget(shown)
        for icon, words, wanted in (
            ("columns-2", self.tr("Compare"), self.compare_wanted),
            ("share", self.tr("Export"), self.export_wanted),
            ("copy", self.tr("Duplicate as new recipe"), self.duplicate_wanted),
        ):
            button = IconButton(icon, words, quiet=True)
            button.clicked.connect(wanted)
            row.addWidget(button)
        return row

    def _progress(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(look.MARGIN)
        side = QVBoxLayout()
        side.setSpacing(look.SPACE)
        self.steps = look.label("")
        self.steps.setFont(look.figures("body"))
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName(self.tr("Steps done"))
        side.addWidget(self.steps)
        side.addWidget(self.bar)
        row.addLayout(side, 1)
        asks = self._commands
        self.asks: dict[str, IconButton] = {}
        for icon, ask in (
            ("pause", asks.pause),
            ("play", asks.resume),
            ("square", asks.stop),
            ("camera", asks.sample),
            ("save", asks.save),
        ):
            button = IconButton(icon, ask.text())
            button.follow(ask)
            button.gave_way.connect(self._keep_focus)
            row.addWidget(button)
            self.asks[icon] = button
        return row

    def _keep_focus(self) -> None:
        """A button that was pressed and went must not leave the focus to Stop beside it."""
        found = [self.asks[icon] for icon in ("pause", "play") if self.asks[icon].isEnabled()]
        shown = [button for button in found if not button.isHidden()]
        (shown[0] if shown else self.runs).setFocus()

    def _reason(self) -> QWidget:
        self._why = QWidget()
        column = QVBoxLayout(self._why)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(look.GAP)
        row = QHBoxLayout()
        self.reason = look.label("", "body", "text", wraps=True)
        self.reason.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.reason.setAccessibleName(self.tr("Reason"))
        row.addWidget(self.reason, 1)
        self.back = IconButton("history", "")
        self.back.clicked.connect(lambda: self.back_wanted.emit(self._way_back or 0))
        self.details = IconButton("chevron-right", self.tr("Details"), quiet=True)
        self.details.setCheckable(True)
        self.details.toggled.connect(self._show_details)
        self.copy = IconButton("copy", self.tr("Copy report"), quiet=True)
        self.copy.clicked.connect(self.report_wanted)
        self.end = IconButton("triangle-alert", self._commands.end.text())
        self.end.follow(self._commands.end)
        for button in (self.back, self.end, self.details, self.copy):
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        column.addLayout(row)
        self.story = QPlainTextEdit()
        self.story.setReadOnly(True)
        self.story.setFont(look.figures("caption"))
        self.story.setAccessibleName(self.tr("Report with traceback, log and recipe"))
        self.story.setTabChangesFocus(True)
        self.story.setMaximumHeight(DETAILS_HEIGHT)
        self.story.hide()
        column.addWidget(self.story)
        self._why.hide()
        return self._why

    # Its height

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._take_height()

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:
            self._take_height()
        return super().event(event)

    def _take_height(self) -> None:
        """All that this width needs: a layout may give less to what wraps, and buttons would be cut."""
        layout = self.layout()
        needed = layout.totalHeightForWidth(self.width()) if layout is not None else 0
        if needed != self.minimumHeight():
            self.setMinimumHeight(needed)

    # What is shown

    def show_runs(self, runs: Sequence[tuple[int, str]], current: int | None) -> None:
        """The runs to choose from, by id and name."""
        before = [(self.runs.itemData(i), self.runs.itemText(i)) for i in range(self.runs.count())]
        if before != list(runs):
            self.runs.clear()
            for run, name in runs:
                self.runs.addItem(name, run)
        self.runs.setCurrentIndex(self.runs.findData(current))
        self.runs.setToolTip(self.runs.currentText())

    def show_state(self, state: RunState, steps: int) -> None:
        """What the run is doing, and how far it is of its steps."""
        self._state = state
        tone = run_words.TONES[state.state]
        look.set_tone(self._dot, tone)
        self.state.setText(run_words.state_in_words(state.state, self.tr))
        done = min(state.step or 0, steps)
        self.bar.setRange(0, max(steps, 1))
        look.set_progress(self.bar, done)
        self.steps.setText(self.tr("Step {0} of {1}").format(*run_words.steps_done(state.step, steps)))
        wrong = state.state in ("failed", "lost")
        self.reason.setText(said(state.reason))
        look.set_tone(self.reason, "bad" if wrong else "muted")
        self.details.setVisible(wrong)
        self.copy.setVisible(wrong)
        if not wrong and self.details.isChecked():
            self.details.setChecked(False)
        self._show_asked()

    def show_attempt(self, attempt: Attempt | None) -> None:
        """The newest attempt; another one makes another report."""
        if attempt != self._attempt and self.details.isChecked():
            self.details_wanted.emit()
        self._attempt = attempt

    def show_way_back(self, step: int | None) -> None:
        """The step of the last good checkpoint of a run that broke down; None where none did."""
        self._way_back = step
        self.back.setVisible(step is not None)
        if step is not None:
            self.back.say(self.tr("Go back to step {0}...").format(f"{step:,}"))

    def show_report(self, text: str) -> None:
        """What somebody needs who is to find out why the run failed."""
        self.story.setPlainText(text)

    def begin_renaming(self) -> None:
        """Type a new name in the place of the old one."""
        self.name.setText(self.runs.currentText())
        self.name.selectAll()
        self._place.setCurrentWidget(self.name)
        self.name.setFocus()

    def _end_renaming(self, name: str) -> None:
        if self._place.currentWidget() is self.runs:
            return
        self._place.setCurrentWidget(self.runs)
        self.runs.setFocus()
        if name.strip() and name.strip() != self.runs.currentText():
            self.renamed.emit(name.strip())

    def _show_details(self, wanted: bool) -> None:
        self.details.show_icon("chevron-down" if wanted else "chevron-right")
        self.story.setVisible(wanted)
        if wanted:
            self.details_wanted.emit()

    def _show_asked(self) -> None:
        asks = self._commands
        self._asked.setText(asks.words)
        self._asked.setVisible(bool(asks.words))
        self._refused.setText(asks.refusal)
        self._refused.setVisible(bool(asks.refusal))
        self._why.setVisible(bool(self.reason.text()) or asks.may_end)


class _NameEdit(QLineEdit):
    """given: the name to take, when Enter is pressed or the field is left; empty when Escape was pressed."""

    given = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.editingFinished.connect(lambda: self.given.emit(self.text()))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.clear()  # the field is left by this, which would give what was typed
            self.given.emit("")
            return
        super().keyPressEvent(event)
