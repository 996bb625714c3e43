"""The checkpoints a run has kept, and how it goes back to one of them: from there, with another learning rate."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QDoubleSpinBox, QHBoxLayout, QVBoxLayout, QWidget

from app import look
from app.models import run_words
from app.widgets.icon_button import IconButton
from app.widgets.setting_form import SettingForm
from backend.contract.rows import Checkpoint, RunState

FACTOR = "learning_rate_factor"
GENTLER = 0.5
"""Times the learning rate, which is proposed to a run that broke down: with the same it would do so again."""


class GoBack(QWidget):
    """wanted: the step to go back to, and the live settings to change by name."""

    wanted = Signal(int, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._factor_in_force = 1.0
        self._may = False
        self._checkpoints: list[Checkpoint] = []
        form = SettingForm()
        self.steps = QComboBox()
        self.steps.setAccessibleName(self.tr("Checkpoint to go back to"))
        self.steps.setMinimumWidth(60 * look.SPACE)
        self.steps.currentIndexChanged.connect(lambda _: self._show())
        form.addRow(self.tr("Checkpoint"), self.steps)
        factor = form.add_setting(FACTOR)
        assert isinstance(factor, QDoubleSpinBox)
        self.factor = factor
        self.factor.setValue(1.0)
        row = QHBoxLayout()
        self.button = IconButton("history", self.tr("Go back"))
        self.button.clicked.connect(self._ask)
        row.addWidget(self.button, 0, Qt.AlignmentFlag.AlignTop)
        self.words = look.label("", "body", "muted", wraps=True)
        self.words.setAccessibleName(self.tr("What going back does"))
        row.addWidget(self.words, 1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(look.GAP)
        whole.addLayout(form)
        whole.addLayout(row)
        whole.addStretch(1)
        self._show()

    def follow(self) -> None:
        """Begin anew, for another run."""
        self._may, self._factor_in_force = False, 1.0
        self.factor.setValue(1.0)
        self.show_checkpoints([])

    def show_checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        """The checkpoints that are on disk; the newest comes first. The choice stays where it is still there."""
        if list(checkpoints) == self._checkpoints:
            self._show()
            return
        self._checkpoints = list(checkpoints)
        chosen = self.steps.currentData()
        self.steps.blockSignals(True)
        self.steps.clear()
        for one in reversed(checkpoints):
            self.steps.addItem(self._in_words(one), one.step)
        self.steps.setCurrentIndex(max(0, self.steps.findData(chosen)) if checkpoints else -1)
        self.steps.blockSignals(False)
        self._show()

    def show_factor(self, factor: object) -> None:
        """The learning rate factor that is in force."""
        if isinstance(factor, int | float) and factor != self._factor_in_force:
            self._factor_in_force = float(factor)
            self.factor.setValue(float(factor))

    def show_state(self, state: RunState) -> None:
        """Only a run without a process goes back."""
        self._may = not state.is_live and state.state != "queued"
        self._show()

    def propose(self, step: int) -> None:
        """Choose this step, with a lower learning rate than the one that is in force."""
        self.steps.setCurrentIndex(max(0, self.steps.findData(step)))
        self.factor.setValue(GENTLER * self._factor_in_force)
        self.button.setFocus()

    def _in_words(self, one: Checkpoint) -> str:
        parts = [self.tr("Step {0}").format(f"{one.step:,}")]
        score = one.meta.get("score")
        if isinstance(score, int | float):
            parts.append(self.tr("score {0}").format(run_words.figure(float(score))))
        if one.is_best:
            parts.append(self.tr("best"))
        return " · ".join(parts)

    def _ask(self) -> None:
        changes = {FACTOR: self.factor.value()} if self.factor.value() != self._factor_in_force else {}
        self.wanted.emit(self.steps.currentData(), changes)

    def _show(self) -> None:
        ready = self._may and bool(self._checkpoints)
        for widget in (self.steps, self.factor, self.button):
            widget.setEnabled(ready)
        if not self._checkpoints:
            self.words.setText(self.tr("The run has kept no checkpoint yet."))
        elif not self._may:
            self.words.setText(self.tr("A run goes back once it has stopped. Stop it first; its state is kept."))
        else:
            self.words.setText(
                self.tr("The run goes on from there. The curves of the steps after it stay, in a paler colour.")
            )
