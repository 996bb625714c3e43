"""The settings of a run that may be changed while it goes on. It asks for a change; the run says what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QDoubleSpinBox,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app import look
from app.models.fields import label_of
from app.translations import said
from app.widgets.setting_form import SettingForm
from backend.contract import recipe
from backend.contract.rows import Command, RunState


class LiveSettings(QWidget):
    """wanted: settings by name, to be changed to these values."""

    wanted = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._training: dict[str, object] = {}
        self._commands: Sequence[Command] = ()
        self._shown: dict[str, float] = {}
        self._is_live = False
        content = QWidget()
        form = SettingForm(content)
        self.fields = {name: form.add_setting(name) for name in recipe.LIVE_SETTINGS}
        for name, field in self.fields.items():
            field.setToolTip(said(label_of(name)))
            field.valueChanged.connect(self._show)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidget(content)
        row = QHBoxLayout()
        self.change = QPushButton(self.tr("Change"))
        self.change.clicked.connect(self._ask)
        row.addWidget(self.change)
        self.result = look.label("", "body", "muted", wraps=True)
        self.result.setAccessibleName(self.tr("What became of the change"))
        row.addWidget(self.result, 1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(look.GAP)
        whole.addWidget(area, 1)
        whole.addLayout(row)
        self._show()

    def follow(self) -> None:
        """Begin anew, for another run."""
        self._training, self._commands, self._shown = {}, (), {}
        self._show()

    def show_training(self, training: Mapping[str, object]) -> None:
        """The settings of training that are in force."""
        self._training = dict(training)
        self._take_values()

    def show_commands(self, commands: Sequence[Command]) -> None:
        """What was asked for, and what came of it."""
        self._commands = commands
        self._show()

    def show_state(self, state: RunState) -> None:
        """Only a run that goes on can be changed."""
        self._is_live = state.state in ("running", "paused", "starting")
        self._show()

    def values(self) -> dict[str, float]:
        """What is in force now."""
        found = {name: self._training.get(name) for name in self.fields}
        return {name: value for name, value in found.items() if isinstance(value, int | float)}

    def _take_values(self) -> None:
        for name, value in self.values().items():
            if self._shown.get(name) != value:  # what a person has typed stays until the run says otherwise
                self._shown[name] = value
                self.fields[name].blockSignals(True)
                field = self.fields[name]
                field.setValue(value) if isinstance(field, QDoubleSpinBox) else field.setValue(int(value))
                self.fields[name].blockSignals(False)
        self._show()

    def _changes(self) -> dict[str, float]:
        return {name: f.value() for name, f in self.fields.items() if f.value() != self._shown.get(name, f.value())}

    def _ask(self) -> None:
        self.wanted.emit(self._changes())

    def _show(self) -> None:
        for field in self.fields.values():
            field.setEnabled(self._is_live)
        self.change.setEnabled(self._is_live and bool(self._changes()))
        asked = [command for command in self._commands if command.verb == "set"]
        if asked:
            last = asked[-1]
            values = ", ".join(f"{name} {value}" for name, value in last.arguments.items())
            result = (
                said(last.result or "")
                if last.finished is not None
                else self.tr("asked; the run answers after its step.")
            )
            self.result.setText(self.tr("{0}: {1}").format(values, result or self.tr("Done.")))
        elif not self._is_live:
            self.result.setText(self.tr("Only a run that goes on can be changed. Duplicate it to try other settings."))
        else:
            self.result.setText(self.tr("A change counts from the next step on, and is noted in the log."))
