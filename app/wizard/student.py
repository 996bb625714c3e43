"""From where the student starts: the teacher's weights, or the student of another run of this project."""

from __future__ import annotations

import re

from PySide6.QtCore import QSignalBlocker
from PySide6.QtWidgets import QButtonGroup, QComboBox

from app import look
from app.forms import SettingsForm
from app.models.fields import label_of
from app.translations import said
from app.widgets.choice_card import ChoiceCard
from app.widgets.elided_combo import ElidedCombo
from app.wizard.choices import ABOUT_STUDENT, PART_DEFAULTS, STUDENT_SCHEMA, Candidate
from app.wizard.page import Page, State


class StudentPage(Page):
    key = "student"

    def __init__(self) -> None:
        super().__init__(self.tr("Student"), "")
        self.words.setText(
            self.tr("What is trained: a copy of the teacher, or small adapters on it. It can start in two ways.")
        )
        self._candidates: tuple[Candidate, ...] = ()
        self.group = QButtonGroup(self)
        self.teacher = ChoiceCard(
            self.tr("From the teacher's weights"), self.tr("The usual way: the student begins as the teacher.")
        )
        self.run = ChoiceCard(self.tr("From the student of another run"))
        self.runs = look.tell_whole(ElidedCombo())
        self.runs.setAccessibleName(self.tr("Run to start from"))
        self.runs.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.run.content.addWidget(self.runs)
        self.wrong = look.label("", "body", "bad", wraps=True)
        self.wrong.hide()
        self.run.content.addWidget(self.wrong)
        for card in (self.teacher, self.run):
            self.group.addButton(card.radio)
            self.content.addWidget(card)
        weights = look.label(self.tr("Weights"), "heading")
        weights.setContentsMargins(0, look.GAP, 0, 0)
        self.content.addWidget(weights)
        words = {"full": self.tr("all of a copy"), "lora": self.tr("adapters (LoRA)")}
        self.form = SettingsForm(
            STUDENT_SCHEMA, PART_DEFAULTS["student"], ABOUT_STUDENT, {"kind": words, "fake_score": words}
        )
        self.form.changed.connect(self._take_value)
        self.form.finished.connect(self.finished)
        self.content.addWidget(self.form)
        self.content.addStretch(1)
        self.teacher.radio.clicked.connect(lambda _: self.edit({"student.start": None}, self.tr("student's start")))
        self.run.radio.clicked.connect(lambda _: self._take())
        self.runs.activated.connect(lambda _: self._take())

    def show_state(self, state: State) -> None:
        fitting = tuple(one for one in state.candidates if one.teacher == state.values["teacher"])
        start = state.values["student"].get("start")
        if fitting != self._candidates:
            self._candidates = fitting
            with QSignalBlocker(self.runs):
                self.runs.clear()
                for one in fitting:
                    words = self.tr("{0} ({1}), best at step {2:,}").format(one.name, one.method, one.best)
                    self.runs.addItem(words, f"run:{one.run}@best")
        if fitting:
            self.run.say(self.tr("It goes on from the best checkpoint of a run of the same teacher."))
        else:
            self.run.say(self.tr("No run of this teacher has a checkpoint yet. The first one starts from the teacher."))
        self.run.radio.setEnabled(bool(fitting) or start is not None)
        (self.teacher if start is None else self.run).radio.setChecked(True)
        self.runs.setVisible(bool(fitting) or start is not None)
        if start is not None:
            self._show_start(start)
        self.runs.setToolTip(look.tip(self.runs.currentText()))  # filled without a signal
        self.form.set_values(state.values["student"], state.remarks("student"))
        self.say_beside(self.wrong, state.about("student.start"))

    def show_setting(self, name: str) -> None:
        if name.removeprefix("student.") in self.form.rows:
            self.form.show_setting(name.removeprefix("student."))
        else:
            self.runs.setFocus()

    def _show_start(self, start: str) -> None:
        with QSignalBlocker(self.runs):
            index = self.runs.findData(start)
            if index < 0:  # another checkpoint than the best, or a run of another teacher: shown as it is asked for
                named = re.fullmatch(r"run:(\d+)@(\w+)", start)
                words = self.tr("Run {0}, checkpoint {1}").format(*named.groups()) if named else start
                self.runs.addItem(words, start)
                index = self.runs.count() - 1
            self.runs.setCurrentIndex(index)

    def _take_value(self, name: str, value: object) -> None:
        self.edit({f"student.{name}": value}, said(label_of(name)), f"student.{name}")

    def _take(self) -> None:
        if self.runs.currentData() is not None:
            self.edit({"student.start": self.runs.currentData()}, self.tr("student's start"))
