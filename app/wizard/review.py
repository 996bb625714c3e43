"""The recipe in words, what it will cost, what stands against it, and what would make it fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from app import look
from app.translations import said
from app.wizard.amounts import count, duration, size
from app.wizard.check import Check
from app.wizard.choices import differences, recipe_of
from app.wizard.page import Page, State
from backend.contract.errors import UserError


class ReviewPage(Page):
    """check_wanted, cancel_wanted: of the check before the start."""

    key = "review"
    check_wanted = Signal()
    cancel_wanted = Signal()

    def __init__(self, check: Check) -> None:
        super().__init__(self.tr("Review"), "")
        self.words.setText(self.tr("What will run, and what it will take. The check takes a few steps to find out."))
        self.check = check
        self._state: State | None = None
        row = QHBoxLayout()
        row.setSpacing(look.GAP)
        head = look.label(self.tr("Name of the run"), "strong")
        self.name = look.tell_whole(QLineEdit())
        self.name.setAccessibleName(self.tr("Name of the run"))
        head.setBuddy(self.name)
        self.name.textEdited.connect(lambda text: self.edit({"name": text}, self.tr("name of the run"), "name"))
        self.name.editingFinished.connect(self.finished)
        row.addWidget(head)
        row.addWidget(self.name, 1)
        self.content.addLayout(row)

        self.problems = _Section()
        self.content.addWidget(self.problems)
        self._make_cost()
        self.suggestions = _Section()
        self.content.addWidget(self.suggestions)
        self.recipe = _Section()
        self.content.addWidget(self.recipe)
        self._make_json()
        self.content.addStretch(1)
        check.changed.connect(self._show_check)

    def show_state(self, state: State) -> None:
        self._state = state
        name = str(state.values.get("name") or "")
        if self.name.text() != name:
            self.name.setText(name)
        self.name.setPlaceholderText(self.tr("{0} and a number").format(state.values["method"]))
        self._show_recipe(state)
        self._show_check()
        if self.json.isVisible():
            self._show_json()

    def show_setting(self, name: str) -> None:
        self.name.setFocus()

    # What it will take

    def _make_cost(self) -> None:
        frame, inside = look.card()
        head = QHBoxLayout()
        head.addWidget(look.label(self.tr("What it takes"), "heading"))
        head.addStretch(1)
        self.again = QPushButton(self.tr("Check now"))
        self.again.clicked.connect(self.check_wanted)
        self.cancel = QPushButton(self.tr("Cancel"))
        self.cancel.setAccessibleName(self.tr("Cancel the check"))
        self.cancel.clicked.connect(self.cancel_wanted)
        head.addWidget(self.again)
        head.addWidget(self.cancel)
        inside.addLayout(head)
        self.busy = QProgressBar()
        self.busy.setRange(0, 0)
        self.busy.setTextVisible(False)
        self.busy.setAccessibleName(self.tr("Checking the recipe"))
        inside.addWidget(self.busy)
        self.said = look.label("", "body", "muted", wraps=True)
        inside.addWidget(self.said)
        self.costs = _Section()
        inside.addWidget(self.costs)
        self.content.addWidget(frame)

    def _show_check(self) -> None:
        state = self._state
        if state is None:
            return
        check = self.check
        is_valid = not state.problems
        answer = check.answer if is_valid and check.is_about(recipe_of(state.values, state.catalogue)) else None
        self.busy.setVisible(check.is_running)
        self.cancel.setVisible(check.is_running)
        self.again.setVisible(not check.is_running)
        self.again.setEnabled(is_valid and answer is None)
        self.costs.clear()
        if check.is_running:
            words = said(check.said) or self.tr("Loading the teacher and taking three steps of the run.")
            if check.usual_seconds:
                words += " " + self.tr("The last check took {0}.").format(duration(check.usual_seconds))
        elif answer is not None:
            words = "" if answer["ok"] else self.tr("It cannot start as it is.")
        elif check.failed:
            words = check.failed
        elif is_valid:
            words = self.tr("Not checked yet. A start checks first.")
        else:
            words = self.tr("It is checked when what is wrong is mended.")
        look.set_tone(self.said, "bad" if check.failed and not check.is_running else "muted")
        self.said.setText(words)
        self.said.setVisible(bool(words))
        if answer is not None and answer["ok"]:
            self._show_cost(answer, state)
        self._show_problems(state)
        self._show_suggestions(answer)

    def _show_cost(self, answer: Mapping[str, Any], state: State) -> None:
        per_step = self.tr("{0:g} teacher forwards for each sample of a step").format(answer["evaluations_per_step"])
        in_all = self.tr("{0} in all, of {1} parameters each").format(
            count(answer["evaluations"]), count(answer["parameters"])
        )
        device = self.tr("on {0}").format(answer["device"])
        rows = [
            (self.tr("Network evaluations"), f"{per_step}; {in_all}"),
            (self.tr("Memory"), f"{size(answer['memory'])} {device}" if answer["memory"] else self.tr("not measured")),
            (
                self.tr("Time"),
                self.tr("about {0}, without previews").format(duration(answer["seconds"]))
                if answer["seconds"] is not None
                else self.tr("not measured"),
            ),
            (self.tr("Disk"), self.tr("{0} of checkpoints").format(size(answer["disk"]))),
        ]
        for head, words in rows:
            self.costs.add_row(head, words)

    # What stands against it

    def _show_problems(self, state: State) -> None:
        self.problems.clear()
        pages = {
            "teacher": self.tr("Teacher"),
            "data": self.tr("Data"),
            "method": self.tr("Method"),
            "student": self.tr("Student"),
            "training": self.tr("Training"),
            "compute": self.tr("Compute"),
        }
        for one in state.all_found:
            if one.page == self.key:
                self.problems.add_sentence(said(one.words), one.tone, None)
                continue
            button = QPushButton(self.tr("Go to {0}").format(pages[one.page]))
            button.setProperty("link", True)
            button.setAccessibleDescription(said(one.words))
            button.clicked.connect(lambda _=False, to=(one.page, one.name): self.page_wanted.emit(*to))
            self.problems.add_sentence(said(one.words), one.tone, button)

    def _show_suggestions(self, answer: Mapping[str, Any] | None) -> None:
        self.suggestions.clear()
        found = (answer or {}).get("suggestions", [])
        if found:
            self.suggestions.add_heading(self.tr("What would change to make it fit"))
        for suggestion in found:
            button = QPushButton(self.tr("Apply"))
            change, words = suggestion["change"], said(suggestion["words"])
            button.setAccessibleName(self.tr("Apply: {0}").format(words))
            button.clicked.connect(lambda _=False, change=change, words=words: self._apply(change, words))
            memory = suggestion.get("memory")
            left = self.tr("{0}: about {1} of memory.").format(words, size(memory)) if memory else f"{words}."
            self.suggestions.add_sentence(left, "text", button)

    def _apply(self, change: Mapping[str, Any], words: str) -> None:
        self.edit(change, words)
        self.check_wanted.emit()  # whether it fits now is what was wanted

    # The recipe

    def _show_recipe(self, state: State) -> None:
        self.recipe.clear()
        self.recipe.add_heading(self.tr("The recipe"))
        values, training = state.values, state.values["training"]
        teacher = said(state.teacher.title) if state.teacher is not None else values["teacher"]
        method = said(state.method.title) if state.method is not None else values["method"]
        rows = [
            ("teacher", self.tr("Teacher"), str(teacher)),
            ("data", self.tr("Data"), self._data_words(state)),
            *([("prompts", self.tr("Prompts"), values["prompts"])] if values.get("prompts") else []),
            ("method", self.tr("Method"), str(method)),
            ("student", self.tr("Student"), self._student_words(values["student"])),
            (
                "training",
                self.tr("Training"),
                self.tr("{0} steps of {1} samples").format(training["steps"], training["batch_size"]),
            ),
            ("compute", self.tr("Compute"), f"{said(training['device'])}, {said(training['precision'])}"),
        ]
        for _, head, words in rows:
            self.recipe.add_row(head, words)
        changed = differences(values, state.catalogue)
        if changed:
            self.recipe.add_heading(self.tr("Changed from the defaults"))
        for one in changed:
            self.recipe.add_row(
                said(one.label),
                self.tr("{0}, by default {1}").format(said(one.value), said(one.default) or self.tr("empty")),
            )

    def _student_words(self, student: Mapping[str, Any]) -> str:
        what = self.tr("all weights")
        if student.get("kind") == "lora":
            what = self.tr("adapters of rank {0}").format(student["rank"])
        return self.tr("{0}, from {1}").format(what, student.get("start") or self.tr("the teacher's"))

    def _data_words(self, state: State) -> str:
        method, data = state.method, state.values["data"]
        if method is not None and "real data" not in method.needs_with(state.values["settings"]):
            return self.tr("none needed")
        return data or self.tr("the teacher's own")

    # The recipe as JSON

    def _make_json(self) -> None:
        row = QHBoxLayout()
        row.setSpacing(look.GAP)
        self.show_json = QPushButton(self.tr("Recipe as JSON"))
        self.show_json.setCheckable(True)
        self.copy_json = QPushButton(self.tr("Copy"))
        self.copy_json.setAccessibleName(self.tr("Copy the recipe as JSON"))
        self.save_json = QPushButton(self.tr("Save..."))
        self.save_json.setAccessibleName(self.tr("Save the recipe as JSON"))
        for button in (self.show_json, self.copy_json, self.save_json):
            row.addWidget(button)
        row.addStretch(1)
        self.content.addLayout(row)
        self.json_said = look.label("", "caption", "muted", wraps=True)
        self.json_said.hide()
        self.content.addWidget(self.json_said)
        self.json = QPlainTextEdit()
        self.json.setReadOnly(True)
        self.json.setTabChangesFocus(True)
        self.json.setAccessibleName(self.tr("Recipe as JSON"))
        self.json.setMinimumHeight(60 * look.SPACE)
        self.json.hide()
        self.content.addWidget(self.json)
        self.show_json.toggled.connect(self._toggle_json)
        self.copy_json.clicked.connect(self._copy_json)
        self.save_json.clicked.connect(self._save_json)

    def json_text(self) -> str:
        """The recipe as JSON, or why there is none."""
        assert self._state is not None
        try:
            return recipe_of(self._state.values, self._state.catalogue).to_json()
        except UserError as error:
            return said(str(error))

    def _toggle_json(self, on: bool) -> None:
        self.json.setVisible(on)
        if on:
            self._show_json()

    def _show_json(self) -> None:
        text = self.json_text()
        if self.json.toPlainText() != text:
            self.json.setPlainText(text)

    def _copy_json(self) -> None:
        QGuiApplication.clipboard().setText(self.json_text())
        self._say_of_json(self.tr("Copied."))

    def _save_json(self) -> None:
        dialog = QFileDialog(self, self.tr("Save the recipe"), str(Path.home() / "recipe.json"))
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilter(self.tr("Recipes (*.json)"))
        dialog.setDefaultSuffix("json")
        dialog.fileSelected.connect(self.save_to)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def save_to(self, path: str) -> None:
        """Write the recipe there."""
        try:
            Path(path).write_text(self.json_text() + "\n", encoding="utf-8")
        except OSError as error:
            self._say_of_json(self.tr("It could not be saved: {0}; choose another folder.").format(error.strerror))
        else:
            self._say_of_json(self.tr("Saved as {0}.").format(Path(path).name))

    def _say_of_json(self, words: str) -> None:
        self.json_said.setText(words)
        self.json_said.show()


class _Section(QWidget):
    """Lines that are made anew each time: headings, pairs, and sentences with a button."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self._outer = QVBoxLayout(self)
        self._outer.setContentsMargins(0, 0, 0, 0)
        self._inside: QWidget | None = None
        self._grid = QGridLayout()
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        if self._inside is not None:
            self._outer.removeWidget(self._inside)
            self._inside.hide()
            self._inside.deleteLater()
        self._inside = QWidget()
        self._grid = QGridLayout(self._inside)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(look.MARGIN)
        self._grid.setVerticalSpacing(look.SPACE)
        self._grid.setColumnStretch(1, 1)
        self._outer.addWidget(self._inside)
        self.hide()

    def words(self) -> list[str]:
        """Every sentence and cell, for those who read without seeing."""
        items = [self._grid.itemAt(index) for index in range(self._grid.count())]
        widgets = [item.widget() for item in items if item is not None]
        return [text() for widget in widgets if (text := getattr(widget, "text", None)) is not None]

    def add_heading(self, words: str) -> None:
        heading = look.label(words, "heading")
        heading.setContentsMargins(0, look.GAP, 0, 0)
        self._grid.addWidget(heading, self._grid.rowCount(), 0, 1, 3)
        self.show()

    def add_row(self, head: str, words: str) -> None:
        line = self._grid.rowCount()
        self._grid.addWidget(look.label(head, "body", "muted"), line, 0, Qt.AlignmentFlag.AlignTop)
        value = look.label(words, "body", wraps=True)
        value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._grid.addWidget(value, line, 1, 1, 2)
        self.show()

    def add_sentence(self, words: str, tone: str, button: QPushButton | None) -> None:
        line = self._grid.rowCount()
        sentence = look.label(words, "body", tone, wraps=True)
        sentence.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._grid.addWidget(sentence, line, 0, 1, 2)
        if button is not None:
            self._grid.addWidget(button, line, 2, Qt.AlignmentFlag.AlignTop)
        self.show()
