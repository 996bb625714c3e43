"""How long and how the run trains, whatever its method."""

from __future__ import annotations

from app.forms import SettingsForm
from app.models.fields import label_of
from app.translations import said
from app.wizard.choices import ABOUT_TRAINING, PLAIN_TRAINING, TRAINING_SCHEMA, training_of
from app.wizard.page import Page, State
from backend.contract.catalogue import Catalogue


class TrainingPage(Page):
    key = "training"

    def __init__(self) -> None:
        super().__init__(self.tr("Training"), "")
        self.words.setText(self.tr("How long and how the run trains. The defaults are those that suit the method."))
        self._method = ""
        self.form = SettingsForm(TRAINING_SCHEMA, PLAIN_TRAINING, ABOUT_TRAINING, at_once=False)
        self.form.changed.connect(self._take)
        self.form.finished.connect(self.finished)
        self.content.addWidget(self.form)
        self.content.addStretch(1)

    def prepare(self, catalogue: Catalogue) -> bool:
        return self.form.make_some()

    def show_state(self, state: State) -> None:
        if state.values["method"] != self._method:
            self._method = state.values["method"]
            self.form.set_defaults(training_of(state.method))
        self.form.set_values(state.values["training"], state.remarks("training"))

    def show_setting(self, name: str) -> None:
        self.form.show_setting(name.removeprefix("training."))

    def _take(self, name: str, value: object) -> None:
        self.edit({f"training.{name}": value}, said(label_of(name)), f"training.{name}")
