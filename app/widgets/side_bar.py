"""Which sides are compared: any checkpoints of the project's runs, the noise, and how the teacher is used.

It knows no project: it is given the runs, and says what is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app import look
from app.models.comparison import Pick, RunChoice, Wanted, common_teacher
from app.widgets.elided_combo import ElidedCombo

MOST_SEED = 2**31 - 1
MOST_NFE = 250
SEED, TEACHER_NFE = 7, 50
PICK = Qt.ItemDataRole.UserRole


class SideBar(QWidget):
    """wanted: a person asked to draw this. cancelled: or no longer."""

    wanted = Signal(object)
    cancelled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._runs: list[RunChoice] = []
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(look.GAP)
        outer.addWidget(self._scrolled(), 1)
        outer.addLayout(self._drawing())  # always in sight

    def _scrolled(self) -> QScrollArea:
        """All that is chosen."""
        area, inside = QScrollArea(), QWidget()
        area.setWidgetResizable(True)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, look.GAP, 0)
        column.setSpacing(look.GAP)
        column.addWidget(look.label(self.tr("Students"), "strong"))
        words = self.tr("Beside the teacher, in full and in as many steps as each student.")
        column.addWidget(look.label(words, "caption", "muted", wraps=True))
        self.list = QListWidget()
        self.list.setAccessibleName(self.tr("Students to compare"))
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.list.setMinimumHeight(4 * self.fontMetrics().lineSpacing())
        self.list.setMaximumHeight(6 * self.fontMetrics().lineSpacing())
        self.list.currentRowChanged.connect(self._show_possible)
        column.addWidget(self.list)
        self.remove = QPushButton(look.icon("trash-2"), self.tr("Remove"))
        self.remove.setAccessibleName(self.tr("Remove the chosen student from the comparison"))
        self.remove.clicked.connect(self._remove)
        QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self.list, self._remove).setContext(
            Qt.ShortcutContext.WidgetShortcut
        )
        column.addWidget(self.remove, 0, Qt.AlignmentFlag.AlignLeft)
        column.addLayout(self._form())
        column.addStretch(1)
        return area

    def _form(self) -> QFormLayout:
        form = QFormLayout()
        form.setContentsMargins(0, look.GAP, 0, 0)
        form.setSpacing(look.GAP)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self.run = look.tell_whole(ElidedCombo())
        self.checkpoint = QComboBox()
        for combo in (self.run, self.checkpoint):
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            combo.setMinimumContentsLength(8)
        self.run.currentIndexChanged.connect(self._show_checkpoints)
        _add_row(form, self.tr("Run"), self.run)
        _add_row(form, self.tr("Checkpoint"), self.checkpoint)
        self.add = QPushButton(look.icon("plus"), self.tr("Add"))
        self.add.setAccessibleName(self.tr("Add this checkpoint to the comparison"))
        self.add.clicked.connect(self._add)
        form.addRow("", self.add)
        self.seed, self.teacher_nfe = look.padded(QSpinBox()), look.padded(QSpinBox())
        self.seed.setRange(0, MOST_SEED)
        self.seed.setValue(SEED)
        self.seed.setToolTip(self.tr("The noise that all sides begin with"))
        self.teacher_nfe.setRange(1, MOST_NFE)
        self.teacher_nfe.setValue(TEACHER_NFE)
        self.teacher_nfe.setToolTip(self.tr("Network evaluations per picture of the teacher in full"))
        _add_row(form, self.tr("Seed"), self.seed)
        _add_row(form, self.tr("Teacher NFE"), self.teacher_nfe)
        self.accelerate = ElidedCombo()
        self.accelerate.setToolTip(
            self.tr(
                "Shows what is drawn in several steps once more, computing in full at some of them alone; "
                "the last noise is repeated for what draws none anew"
            )
        )
        self.accelerate.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.accelerate.setMinimumContentsLength(8)
        self.accelerate.addItem(self.tr("none"), "")
        for kind, name in (("deepcache", "DeepCache"), ("encoder", "Faster Diffusion")):
            for interval in (2, 3, 5):
                self.accelerate.addItem(self.tr("{0}, every {1}").format(name, interval), f"{kind}:{interval}")
        self.accelerate.addItem(self.tr("Faster Diffusion, key steps"), "encoder:keys")
        self.accelerate.addItem(self.tr("Faster Diffusion with noise"), "encoder:keys:0.003")
        for interval in (2, 3):
            self.accelerate.addItem(self.tr("Last noise again, new every {0}").format(interval), f"repeat:{interval}")
        _add_wide(form, self.tr("Acceleration"), self.accelerate)
        self.only = QPlainTextEdit()
        self.only.setPlaceholderText(self.tr("all in turn"))
        self.only.setToolTip(self.tr("Prompts or classes of your own, one a line, each drawn from several noises"))
        self.only.setTabChangesFocus(True)
        self.only.setFixedHeight(3 * self.fontMetrics().lineSpacing() + look.MARGIN)
        _add_wide(form, self.tr("Prompts or classes"), self.only)
        return form

    def _drawing(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setContentsMargins(0, 0, look.GAP, 0)
        column.setSpacing(look.GAP)
        self.draw = QPushButton(look.icon("image", "on_accent"), self.tr("Draw"))
        self.draw.setProperty("primary", True)
        self.draw.clicked.connect(self.ask)
        row = QHBoxLayout()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName(self.tr("Progress of the drawing"))
        self.cancel = QPushButton(self.tr("Cancel"))
        self.cancel.setAccessibleName(self.tr("Cancel the drawing"))
        self.cancel.clicked.connect(self.cancelled)
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel)
        self.progress = look.label("", "caption", "muted", wraps=True)
        self.refusal = look.label("", "caption", "bad", wraps=True)
        self.refusal.setAccessibleName(self.tr("Why it was not drawn"))
        column.addWidget(self.draw)
        column.addLayout(row)
        column.addWidget(self.progress)
        column.addWidget(self.refusal)
        self.set_busy(False)
        self.refuse("")
        return column

    # What there is

    def set_runs(self, runs: Sequence[RunChoice]) -> None:
        """The runs that may be sides; what was chosen stays."""
        if list(runs) == self._runs:
            return
        self._runs = list(runs)
        chosen = self.run.currentData()
        with QSignalBlocker(self.run):
            self.run.clear()
            for run in self._runs:
                if run.checkpoints:
                    self.run.addItem(run.name, run.run)
            self.run.setCurrentIndex(max(self.run.findData(chosen), 0))
        self.run.setToolTip(look.tip(self.run.currentText()))  # filled without a signal
        self._show_checkpoints()
        names = {run.run for run in self._runs}
        for row in reversed(range(self.list.count())):
            pick = self.list.item(row).data(PICK)
            if pick.run not in names:
                self.list.takeItem(row)
            else:
                self.list.item(row).setText(self._words(pick))
        self._show_possible()

    def _show_checkpoints(self) -> None:
        found = next((run for run in self._runs if run.run == self.run.currentData()), None)
        chosen = self.checkpoint.currentData()
        self.checkpoint.clear()
        if found is None:
            return
        best = next((step for step, is_best in found.checkpoints if is_best), found.checkpoints[-1][0])
        self.checkpoint.addItem(self.tr("best (step {0})").format(best), "best")
        for step, _ in reversed(found.checkpoints):
            self.checkpoint.addItem(self.tr("step {0}").format(step), str(step))
        self.checkpoint.setCurrentIndex(max(self.checkpoint.findData(chosen), 0))
        self._show_possible()

    def _words(self, pick: Pick) -> str:
        name = next((run.name for run in self._runs if run.run == pick.run), str(pick.run))
        which = self.tr("best") if pick.which == "best" else self.tr("step {0}").format(pick.which)
        return self.tr("{0}, {1}").format(name, which)

    # What is wanted

    @property
    def picks(self) -> tuple[Pick, ...]:
        """The students that were chosen."""
        return tuple(self.list.item(row).data(PICK) for row in range(self.list.count()))

    def choose(self, picks: Sequence[Pick]) -> None:
        """Choose these students and no others."""
        self.list.clear()
        for pick in picks:
            item = QListWidgetItem(self._words(pick))
            item.setData(PICK, pick)
            item.setToolTip(item.text())
            self.list.addItem(item)
        self.list.setCurrentRow(0)
        if picks:
            self.run.setCurrentIndex(max(self.run.findData(picks[0].run), 0))
        self._show_possible()

    def ask(self) -> None:
        """Say what is wanted."""
        self.refuse("")
        self.wanted.emit(self.request)

    @property
    def request(self) -> Wanted:
        """What is chosen now."""
        only = tuple(filter(None, (line.strip() for line in self.only.toPlainText().splitlines())))
        return Wanted(self.picks, self.seed.value(), self.teacher_nfe.value(), self.accelerate.currentData(), only)

    def _add(self) -> None:
        pick = Pick(self.run.currentData(), self.checkpoint.currentData())
        if pick in self.picks:
            self.refuse(
                self.tr("{0} is among the students already; choose another run or step.").format(self._words(pick))
            )
            return
        self.choose([*self.picks, pick])
        self.list.setCurrentRow(self.list.count() - 1)

    def _remove(self) -> None:
        row = self.list.currentRow()
        if row >= 0:
            self.list.takeItem(row)
        self._show_possible()

    def _show_possible(self) -> None:
        self.refuse("")
        self.remove.setEnabled(self.list.currentRow() >= 0)
        self.add.setEnabled(self.run.count() > 0)
        self.draw.setEnabled(self.list.count() > 0)
        if not common_teacher(self.picks, self._runs):
            self.refuse(
                self.tr("These runs have different teachers; they can be drawn only where classes and sizes agree.")
            )

    # How it goes

    def set_busy(self, busy: bool) -> None:
        """Show progress and Cancel, or Draw."""
        shown, hidden = (self.cancel, self.draw) if busy else (self.draw, self.cancel)
        look.set_shown(shown, True)  # not before it is in a row, where it would be a window of its own
        if hidden.hasFocus():  # a button that hides gives the focus away
            shown.setFocus()
        hidden.hide()
        self.bar.setVisible(busy)
        self.progress.setVisible(busy)
        if busy:
            self.refuse("")
            self.bar.setRange(0, 0)
            self.progress.setText(self.tr("Loading teacher and students..."))

    def show_progress(self, done: int, total: int, words: str) -> None:
        """How far it has come."""
        self.bar.setRange(0, total)
        look.set_progress(self.bar, done)
        self.progress.setText(words)

    def refuse(self, words: str) -> None:
        """One sentence on why it was not drawn; empty where there is none."""
        if hasattr(self, "refusal"):
            self.refusal.setText(words)
            self.refusal.setVisible(bool(words))

    def refresh_icons(self) -> None:
        """Show icons in the colours of now."""
        self.remove.setIcon(look.icon("trash-2"))
        self.add.setIcon(look.icon("plus"))
        self.draw.setIcon(look.icon("image", "on_accent"))
        for button in (self.remove, self.add, self.draw):
            button.setIconSize(QSize(16, 16))


def _add_row(form: QFormLayout, words: str, field: QWidget) -> None:
    """A field with its label, which names it for a screen reader too."""
    label = look.label(words)
    label.setBuddy(field)
    label.setMinimumHeight(look.FIELD_HEIGHT)  # as the field, so that both have one middle
    field.setAccessibleName(words)
    form.addRow(label, field)


def _add_wide(form: QFormLayout, words: str, field: QWidget) -> None:
    """A field below its label, for what would be cut beside it."""
    label = look.label(words)
    label.setBuddy(field)
    field.setAccessibleName(words)
    form.addRow(label)
    form.addRow(field)
