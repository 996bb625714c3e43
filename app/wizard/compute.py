"""Where the run trains: device, number format, threads."""

from __future__ import annotations

from PySide6.QtWidgets import QVBoxLayout, QWidget

from app import look
from app.forms import SettingsForm
from app.models.fields import label_of
from app.translations import said
from app.wizard.amounts import size
from app.wizard.choices import COMPUTE, PLAIN_TRAINING, TRAINING_SCHEMA
from app.wizard.page import Page, State
from backend.contract.catalogue import Device


class ComputePage(Page):
    key = "compute"

    def __init__(self) -> None:
        super().__init__(self.tr("Compute"), "")
        self.words.setText(self.tr("Where the run trains. It has a process of its own, which outlives this window."))
        self._devices: tuple[Device, ...] | None = None
        self.form: SettingsForm | None = None
        self._own = QWidget()
        self.content.addWidget(self._own)
        self.content.addStretch(1)

    def show_state(self, state: State) -> None:
        if state.catalogue.devices != self._devices:
            self._fill(state.catalogue.devices)
        assert self.form is not None
        seen = {"device": (state.wrong("training.device"), "bad")}
        self.form.set_values(state.values["training"], {**seen, **state.remarks("training")})

    def show_setting(self, name: str) -> None:
        if self.form is not None:
            self.form.show_setting(name.removeprefix("training."))

    def _fill(self, devices: tuple[Device, ...]) -> None:
        self._devices = devices
        before, self._own = self._own, QWidget()
        self.content.replaceWidget(before, self._own)
        column = QVBoxLayout(self._own)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(look.GAP)
        frame, inside = look.card()
        inside.addWidget(look.label(self.tr("On this machine"), "strong"))
        for device in devices:
            kind = {"cpu": self.tr("Processor"), "cuda": self.tr("GPU"), "mps": self.tr("GPU")}[device.kind]
            memory = f", {size(device.memory)}" if device.memory else ""
            inside.addWidget(look.label(f"{kind}: {said(device.name)}{memory}", "body", wraps=True))
        if all(device.kind == "cpu" for device in devices):
            words = self.tr("No GPU that torch can use. The bundled teachers train on the processor in minutes.")
            inside.addWidget(look.label(words, "caption", "muted", wraps=True))
        column.addWidget(frame)
        words_of = {
            "device": {
                "auto": self.tr("Fastest there is"),
                "cpu": self.tr("Processor (cpu)"),
                "cuda": self.tr("NVIDIA GPU (cuda)"),
                "mps": self.tr("Apple GPU (mps)"),
            }
        }
        self.form = SettingsForm(TRAINING_SCHEMA, PLAIN_TRAINING, COMPUTE, words_of)
        self.form.changed.connect(self._take)
        self.form.finished.connect(self.finished)
        column.addWidget(self.form)
        before.deleteLater()

    def _take(self, name: str, value: object) -> None:
        self.edit({f"training.{name}": value}, said(label_of(name)), f"training.{name}")
