"""How the student learns: a method, its presets, and its settings."""

from __future__ import annotations

from PySide6.QtWidgets import QButtonGroup, QGridLayout, QPushButton, QWidget

from app import look
from app.forms import SettingsForm
from app.widgets.choice_card import ChoiceCard
from app.widgets.flow import Flow
from app.wizard.choices import choose_method, choose_preset, defaults_of, preset_in
from app.wizard.page import Page, State
from backend.contract.catalogue import Catalogue, MethodCard


class MethodPage(Page):
    key = "method"

    def __init__(self) -> None:
        super().__init__(self.tr("Method"), "")
        self.words.setText(self.tr("The algorithm that makes a few steps do the work of many."))
        self._state: State | None = None
        self._shown = ""
        self.group = QButtonGroup(self)
        self.cards: dict[str, ChoiceCard] = {}
        self.presets: dict[str, QPushButton] = {}
        self.form: SettingsForm | None = None
        self._grid = QGridLayout()
        self._grid.setSpacing(look.GAP + look.SPACE)
        self._grid.setColumnStretch(0, 1)
        self._grid.setColumnStretch(1, 1)
        self.content.addLayout(self._grid)
        self.wrong = look.label("", "body", "bad", wraps=True)
        self.wrong.hide()
        self.content.addWidget(self.wrong)
        self._own = QWidget()
        self.content.addWidget(self._own)
        self.content.addStretch(1)

    def prepare(self, catalogue: Catalogue) -> bool:
        if list(self.cards) != [method.key for method in catalogue.methods[: len(self.cards)]]:
            self._remove_cards()
        number = len(self.cards)
        if number < len(catalogue.methods):
            self._grid.addWidget(self._card(catalogue.methods[number]), number // 2, number % 2)
        return number < len(catalogue.methods)

    def show_state(self, state: State) -> None:
        self._state = state
        card = state.method
        if card is not None:
            self.cards[card.key].radio.setChecked(True)
        if (card.key if card else "") != self._shown:
            self._show_own(card)
        mine = [problem for problem in state.problems if problem.page == "method"]
        rows = self.form.rows if self.form is not None else {}
        elsewhere = [p.words for p in mine if p.name.removeprefix("settings.") not in rows]
        self.wrong.setText(" ".join(elsewhere))
        self.wrong.setVisible(bool(elsewhere))
        if card is not None and self.form is not None:
            self.form.set_values(state.values["settings"])
            chosen = preset_in(card, state.values)
            for key, button in self.presets.items():
                button.setChecked(key == chosen)

    def show_setting(self, name: str) -> None:
        if self.form is not None:
            self.form.show_setting(name.removeprefix("settings."))

    def _remove_cards(self) -> None:
        for card in self.cards.values():
            self.group.removeButton(card.radio)
            card.deleteLater()
        self.cards = {}

    def _card(self, method: MethodCard) -> ChoiceCard:
        card = ChoiceCard(method.title, method.summary.split(". ")[0].rstrip(".") + ".")
        card.setToolTip(method.summary)
        need = self.tr("needs {0}").format(", ".join(method.needs)) if method.needs else self.tr("needs no data")
        cost = self.tr("{0:g} evaluations per step and sample").format(method.cost)
        card.content.addWidget(look.label(f"{method.paper} · {need} · {cost}", "caption", "muted", wraps=True))
        card.content.addStretch(1)
        card.radio.clicked.connect(lambda _=False, key=method.key: self._choose(key))
        self.group.addButton(card.radio)
        self.cards[method.key] = card
        return card

    def _choose(self, key: str) -> None:
        if self._state is not None and self._state.values["method"] != key:
            change = choose_method(self._state.values, self._state.catalogue, key)
            self.edit(change, self.tr("method"))

    def _show_own(self, card: MethodCard | None) -> None:
        """The presets and settings of the chosen method, made anew."""
        self._shown = card.key if card else ""
        self.form, self.presets = None, {}
        before, self._own = self._own, QWidget()
        self.content.replaceWidget(before, self._own)
        before.deleteLater()
        if card is None:
            return
        column = QGridLayout(self._own)
        column.setContentsMargins(0, look.GAP, 0, 0)
        column.setVerticalSpacing(look.GAP)
        if card.presets:
            column.addWidget(look.label(self.tr("Presets"), "heading"), 0, 0)
            flow = Flow()
            for preset in card.presets:
                button = QPushButton(preset.title)
                button.setCheckable(True)
                button.setToolTip(self.tr("{0} {1:g} network evaluations for each sample of a step.").format(
                    preset.words, preset.cost
                ))  # fmt: skip
                button.setAccessibleName(self.tr("Preset: {0}").format(preset.title))
                button.setAccessibleDescription(preset.words)
                button.clicked.connect(lambda _=False, key=preset.key: self._take_preset(key))
                flow.addWidget(button)
                self.presets[preset.key] = button
            column.addLayout(flow, 1, 0)
        settings = look.label(self.tr("Settings"), "heading")
        settings.setContentsMargins(0, look.GAP if card.presets else 0, 0, 0)
        column.addWidget(settings, 2, 0)
        self.form = SettingsForm(card.settings, defaults_of(card))
        self.form.changed.connect(self._take)
        self.form.finished.connect(self.finished)
        column.addWidget(self.form, 3, 0)

    def _take(self, name: str, value: object) -> None:
        self.edit({f"settings.{name}": value}, self.tr("setting {0}").format(name), f"settings.{name}")

    def _take_preset(self, key: str) -> None:
        state = self._state
        if state is None or state.method is None:
            return
        preset = next(preset for preset in state.method.presets if preset.key == key)
        self.edit(choose_preset(state.method, preset), self.tr("preset {0}").format(preset.title))
        self.presets[key].setChecked(True)
