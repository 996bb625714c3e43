"""What the run learns from beside the teacher: prompts, real data, noise/sample pairs.

Which of them, the teacher and the method's settings decide, and the page says why.
"""

from __future__ import annotations

from PySide6.QtWidgets import QButtonGroup, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from app import look
from app.forms import SettingsForm
from app.models.fields import label_of
from app.translations import said
from app.widgets.choice_card import ChoiceCard
from app.widgets.path_field import Files, PathField
from app.wizard.choices import PAIRS_SCHEMA, PART_DEFAULTS
from app.wizard.page import Page, State


class DataPage(Page):
    key = "data"

    def __init__(self) -> None:
        super().__init__(self.tr("Data"), "")
        self._is_needed = True
        self.group = QButtonGroup(self)
        self.own = ChoiceCard(self.tr("The teacher's own"))
        self.folder_card = ChoiceCard(
            self.tr("A folder or zip of pictures"),
            self.tr("One folder for each class, named as the teacher names it. Pictures are scaled to its size."),
        )
        zips = Files(self.tr("Zip..."), self.tr("Zip (*.zip)"))
        self.folder = PathField(self.tr("Pictures"), self.tr("Folder or zip of pictures"), zips)
        self.wrong = look.label("", "body", "bad", wraps=True)
        self.wrong.hide()
        self.folder_card.content.addWidget(self.folder)
        self.folder_card.content.addWidget(self.wrong)
        for card in (self.own, self.folder_card):
            self.group.addButton(card.radio)
            self.content.addWidget(card)
        self.why = QPushButton(self.tr("Go to Method"))
        self.why.setProperty("link", True)
        self.why.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.why.clicked.connect(lambda: self.page_wanted.emit("method", ""))
        self.content.addWidget(self.why)
        self._make_prompts()
        self._make_pairs()
        self.content.addStretch(1)
        self.own.radio.clicked.connect(lambda _: self.edit({"data": None}, self.tr("data")))
        self.folder_card.radio.clicked.connect(lambda _: self._take_folder())
        self.folder.edited.connect(lambda text: self.edit({"data": text}, self.tr("folder of pictures"), "data"))
        self.folder.finished.connect(self.finished)
        self.folder.says.connect(self.says)

    def _make_prompts(self) -> None:
        """What a teacher that takes prompts is asked for."""
        self.prompts, column = self._section(
            self.tr("Prompts"),
            self.tr(
                "What the student learns to answer: a text file with one prompt a line. Without one the teacher's own, "
                "or the captions of the pictures where the method learns from them."
            ),
        )
        texts = Files(self.tr("Browse..."), self.tr("Text (*.txt)"))
        self.prompt_file = PathField(self.tr("Prompts"), self.tr("The teacher's own"), texts, folders=False)
        self.prompt_file.edited.connect(
            lambda text: self.edit({"prompts": text.strip() or None}, self.tr("prompts"), "prompts")
        )
        self.prompt_file.finished.connect(self.finished)
        self.prompt_file.says.connect(self.says)
        self.wrong_prompts = look.label("", "body", "bad", wraps=True, parent=self.prompts)
        column.addWidget(self.prompt_file)
        column.addWidget(self.wrong_prompts)

    def _section(self, title: str, words: str) -> tuple[QWidget, QVBoxLayout]:
        """A part of the page with a heading, shown where it is needed."""
        part = QWidget()
        column = QVBoxLayout(part)
        column.setContentsMargins(0, look.GAP, 0, 0)
        column.setSpacing(look.SPACE)
        column.addWidget(look.label(title, "heading", parent=part))
        column.addWidget(look.label(words, "body", "muted", wraps=True, parent=part))
        self.content.addWidget(part)
        return part, column

    def _make_pairs(self) -> None:
        """The noise/sample pairs of a method that learns from them."""
        self.pairs, column = self._section(
            self.tr("Noise/sample pairs"),
            self.tr(
                "The run makes them before its first step, and keeps them beside the project: the next run that asks "
                "for the same finds them."
            ),
        )
        sources = {"teacher": self.tr("the teacher's"), "start": self.tr("the student's that the run starts from")}
        self.pairs_form = SettingsForm(PAIRS_SCHEMA, PART_DEFAULTS["pairs"], choice_words={"source": sources})
        self.pairs_form.changed.connect(
            lambda name, value: self.edit({f"pairs.{name}": value}, said(label_of(name)), f"pairs.{name}")
        )
        self.pairs_form.finished.connect(self.finished)
        column.addWidget(self.pairs_form)

    def show_state(self, state: State) -> None:
        method, data, teacher = state.method, state.values["data"], state.teacher
        needed = method.needs_with(state.values["settings"]) if method is not None else ()
        self._is_needed = "real data" in needed
        self.pairs.setVisible("pairs" in needed)
        self.pairs_form.set_values(state.values["pairs"], state.remarks("pairs"))
        self._say_why(state)
        self._show_prompts(state)
        own = teacher.data if teacher is not None else ""
        bundled = {card.key: card for card in state.catalogue.data}
        if own in bundled:
            self.own.say(f"{said(bundled[own].title)}: {said(bundled[own].summary)}.")
        elif own:
            self.own.say(self.tr("{0}, which this teacher draws from.").format(own))
        elif self._is_needed:
            self.own.say(self.tr("This teacher brings none along."))
        self.own.radio.setEnabled(bool(own))
        if teacher is not None:
            self.folder_card.say(self._form_of(teacher.condition))
        is_own = data is None or data == own
        self.own.setVisible(self._is_needed)
        self.folder_card.setVisible(self._is_needed or not is_own)
        if is_own and not own:  # neither is chosen yet
            self.group.setExclusive(False)
            self.own.radio.setChecked(False)
            self.folder_card.radio.setChecked(False)
            self.group.setExclusive(True)
        else:
            (self.own if is_own else self.folder_card).radio.setChecked(True)
        if not is_own:
            self.folder.set_text(str(data))
        self.say_beside(self.wrong, state.about("data"))
        self.folder.set_wrong(bool(state.wrong("data")) and not is_own)
        if not self._is_needed and not is_own:
            look.set_tone(self.wrong, "warning")
            self.wrong.setText(self.tr("It is not used: the method needs none with these settings."))
            self.wrong.show()

    def _show_prompts(self, state: State) -> None:
        prompts = state.values.get("prompts")
        self.prompts.setVisible((state.teacher is not None and state.teacher.condition == "text") or bool(prompts))
        self.prompt_file.set_text(str(prompts or ""))
        self.prompt_file.set_wrong(bool(state.wrong("prompts")))
        self.say_beside(self.wrong_prompts, state.about("prompts"))

    def _form_of(self, condition: str) -> str:
        """How pictures must lie for a teacher of this condition."""
        scaled = self.tr("Pictures are scaled to its size.")
        if condition == "text":
            words = self.tr("A caption beside each picture: a text file of the same name, or a line in metadata.jsonl.")
        elif condition == "class":
            words = self.tr("One folder for each class, named as the teacher names it.")
        else:
            return scaled
        return f"{words} {scaled}"

    def show_setting(self, name: str) -> None:
        if name.startswith("pairs."):
            self.pairs_form.show_setting(name.removeprefix("pairs."))
        else:
            (self.prompt_file if name == "prompts" else self.folder).setFocus()

    def _say_why(self, state: State) -> None:
        method = state.method
        if method is None:
            return
        if not self._is_needed:
            words = self.tr("No pictures are needed. {0} learns from the teacher alone with these settings.")
            brings = [said(label_of(name)) for name, more in method.needs_when.items() if "real data" in more]
            if brings:
                words += " " + self.tr("It looks at real pictures too where {1} is more than 0.")
            self.words.setText(words.format(said(method.title), self.tr(" or ").join(brings)))
        elif "real data" in method.needs:
            self.words.setText(self.tr("{0} learns from real pictures beside the teacher.").format(said(method.title)))
        else:
            named = ", ".join(said(label_of(name)) for name in method.needs_when if state.values["settings"].get(name))
            words = self.tr("{0} looks at real pictures because {1} is more than 0.")
            self.words.setText(words.format(said(method.title), named))

    def _take_folder(self) -> None:
        self.edit({"data": self.folder.line.text()}, self.tr("a folder of pictures"))
        self.folder.setFocus()
