"""How the student learns: a method, its presets, and its settings."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from app import look
from app.forms import SettingsForm
from app.models.fields import label_of
from app.translations import said
from app.widgets.flow import Flow
from app.widgets.grouped_list import Entry, GroupedList
from app.wizard.choices import broken_words, choose_method, choose_preset, defaults_of, preset_in, refusal_of
from app.wizard.page import Page, State
from backend.contract.catalogue import FAMILIES, BrokenMethod, Catalogue, MethodCard, TeacherCard


def _place(card: MethodCard) -> tuple[int, str]:
    """Families in the backend's order, what belongs to none of them last."""
    return (FAMILIES.index(card.family) if card.family in FAMILIES else len(FAMILIES)), card.title


def _group(card: MethodCard) -> str:
    words = said(card.family) or QCoreApplication.translate("MethodPage", "others")
    return words[0].upper() + words[1:]


class MethodPage(Page):
    key = "method"

    def __init__(self) -> None:
        super().__init__(self.tr("Method"), "")
        self.words.setText(self.tr("The algorithm that makes a few steps do the work of many."))
        self._state: State | None = None
        self._shown = ""
        self._offered: tuple[object, ...] = ()
        self.presets: dict[str, QPushButton] = {}
        self.form: SettingsForm | None = None
        self.methods = GroupedList(self.tr("Methods"), self.tr("Find a method, a paper, a word"))
        self.methods.chosen.connect(self._choose)
        halves = QHBoxLayout()
        halves.setSpacing(look.WIDE)
        halves.addWidget(self.methods, 0, Qt.AlignmentFlag.AlignTop)
        self._right = QVBoxLayout()
        self._right.setSpacing(look.GAP + look.SPACE)
        self.wrong = look.label("", "body", "bad", wraps=True)
        self.wrong.hide()
        self._right.addWidget(self.wrong)
        self._own = QWidget()
        self._right.addWidget(self._own)
        self._right.addStretch(1)
        halves.addLayout(self._right, 1)
        self.content.addLayout(halves, 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.methods.fit_into(event.size().width())
        super().resizeEvent(event)

    def prepare(self, catalogue: Catalogue) -> bool:
        self._offer(catalogue, self._state.teacher if self._state is not None else None)
        return False

    def _offer(self, catalogue: Catalogue, teacher: TeacherCard | None) -> None:
        """List the methods: those that refuse the teacher say why, and last come those whose file does not load."""
        offered = (catalogue.methods, catalogue.broken_methods, teacher)
        if self._offered == offered:
            return
        if self._offered[:1] != offered[:1]:
            self._shown = ""
        self._offered = offered
        entries = [self._entry(card, teacher) for card in sorted(catalogue.methods, key=_place)]
        self.methods.set_entries([*entries, *map(self._broken_entry, catalogue.broken_methods)])

    def show_state(self, state: State) -> None:
        self._state = state
        self._offer(state.catalogue, state.teacher)
        card = state.method
        self.methods.show_chosen(str(state.values["method"]))
        if (card.key if card else "") != self._shown:
            self._show_own(card)
        mine = [problem for problem in state.all_found if problem.page == "method"]
        rows = self.form.rows if self.form is not None else {}
        elsewhere = [p for p in mine if p.name.removeprefix("settings.") not in rows]
        look.set_tone(self.wrong, elsewhere[0].tone if elsewhere else "bad")
        self.wrong.setText(" ".join(said(p.words) for p in elsewhere))
        self.wrong.setVisible(bool(elsewhere))
        if card is not None and self.form is not None:
            self.form.set_values(state.values["settings"], state.remarks("settings"))
            chosen = preset_in(card, state.values, state.teacher)
            for key, button in self.presets.items():
                button.setChecked(key == chosen)

    def show_setting(self, name: str) -> None:
        if self.form is not None:
            self.form.show_setting(name.removeprefix("settings."))

    def _entry(self, card: MethodCard, teacher: TeacherCard | None) -> Entry:
        need = ", ".join(map(said, card.needs)) or self.tr("the teacher alone")
        words = f"{card.key} {card.paper} {card.summary} {said(card.summary)} {need}"
        lacking = card.refusal(teacher) if teacher is not None else None
        if teacher is None or lacking is None:
            return Entry(card.key, said(card.title), self.tr("needs {0}").format(need), _group(card), words)
        caption = self.tr("the teacher has no {0}").format(said(lacking))
        return Entry(card.key, said(card.title), caption, _group(card), words, said(refusal_of(card, teacher)))

    def _broken_entry(self, fault: BrokenMethod) -> Entry:
        why = said(broken_words(fault.key, fault.error))
        return Entry(fault.key, fault.key, self.tr("does not load"), self.tr("Broken"), fault.error, why)

    def _choose(self, key: str) -> None:
        if self._state is not None and self._state.values["method"] != key:
            change = choose_method(self._state.values, self._state.catalogue, key, self._state.teacher)
            self.edit(change, self.tr("method"))

    def _show_own(self, card: MethodCard | None) -> None:
        """The presets and settings of the chosen method, made anew."""
        self._shown = card.key if card else ""
        self.form, self.presets = None, {}
        before, self._own = self._own, QWidget()
        self._right.replaceWidget(before, self._own)
        before.deleteLater()
        if card is None:
            return
        column = QGridLayout(self._own)
        column.setContentsMargins(0, 0, 0, 0)
        column.setVerticalSpacing(look.GAP)
        column.addWidget(self._about(card), 0, 0)
        if card.presets:
            column.addWidget(look.label(self.tr("Presets"), "heading"), 1, 0)
            flow = Flow()
            for preset in card.presets:
                button = QPushButton(said(preset.title))
                button.setCheckable(True)
                button.setToolTip(self.tr("{0} {1:g} network evaluations for each sample of a step.").format(
                    said(preset.words), preset.cost
                ))  # fmt: skip
                button.setAccessibleName(self.tr("Preset: {0}").format(said(preset.title)))
                button.setAccessibleDescription(said(preset.words))
                button.clicked.connect(lambda _=False, key=preset.key: self._take_preset(key))
                flow.addWidget(button)
                self.presets[preset.key] = button
            column.addLayout(flow, 2, 0)
        settings = look.label(self.tr("Settings"), "heading")
        settings.setContentsMargins(0, look.GAP, 0, 0)
        column.addWidget(settings, 3, 0)
        self.form = SettingsForm(card.settings, defaults_of(card))
        self.form.changed.connect(self._take)
        self.form.finished.connect(self.finished)
        column.addWidget(self.form, 4, 0)

    def _about(self, card: MethodCard) -> QWidget:
        """What the method is, where it comes from and what a step of it costs."""
        about = QWidget()
        column = QVBoxLayout(about)
        column.setContentsMargins(0, 0, 0, look.GAP)
        column.setSpacing(look.SPACE)
        column.addWidget(look.label(said(card.title), "heading", parent=about))
        column.addWidget(look.label(said(card.summary), "body", wraps=True, parent=about))
        cost = self.tr("{0:g} evaluations per step and sample").format(card.cost)
        need = self.tr("needs {0}").format(", ".join(map(said, card.needs))) if card.needs else self.tr("needs no data")
        column.addWidget(look.label(f"{card.paper} · {need} · {cost}", "caption", "muted", wraps=True, parent=about))
        return about

    def _take(self, name: str, value: object) -> None:
        self.edit({f"settings.{name}": value}, self.tr("setting {0}").format(said(label_of(name))), f"settings.{name}")

    def _take_preset(self, key: str) -> None:
        state = self._state
        if state is None or state.method is None:
            return
        preset = next(preset for preset in state.method.presets if preset.key == key)
        self.edit(choose_preset(state.method, preset, state.teacher), self.tr("preset {0}").format(said(preset.title)))
        self.presets[key].setChecked(True)
