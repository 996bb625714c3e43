"""Which model is to be made faster: one of the bundled teachers, or one in a folder."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QButtonGroup, QGridLayout

from app import look
from app.models.run_words import Words
from app.translations import said
from app.widgets.choice_card import ChoiceCard
from app.widgets.path_field import Files, PathField
from app.widgets.tiles import ROWS, Ring, Tiles
from app.wizard.amounts import count
from app.wizard.choices import choose_teacher
from app.wizard.page import Page, State
from backend.contract.catalogue import Catalogue, TeacherCard

PICTURE_CHANNELS = (1, 3)
"""Of grey and of coloured pictures; what has others is an autoencoder's."""
COARSE, FINE = 32, 64
"""Pixels of one sample on the sheets of small pictures, and of the others."""


class TeacherPage(Page):
    key = "teacher"

    def __init__(self) -> None:
        super().__init__(self.tr("Teacher"), "")
        self.words.setText(self.tr("The diffusion model to learn from. The student starts as a copy of it."))
        self.group = QButtonGroup(self)
        self.cards: dict[str, ChoiceCard] = {}
        self._state: State | None = None
        self.wrong = look.label("", "body", "bad", wraps=True)  # of a bundled one, which has no field
        self.wrong.hide()
        self.content.addWidget(self.wrong)
        self._grid = QGridLayout()
        self._grid.setSpacing(look.GAP + look.SPACE)
        self._grid.setColumnStretch(0, 1)
        self._grid.setColumnStretch(1, 1)
        self.content.addLayout(self._grid)
        self.folder_card = ChoiceCard(
            self.tr("A model of mine"),
            self.tr(
                "A diffusers folder, one safetensors file with its settings beside it, or the id of a model of the "
                "hub that is on this machine. Drop one here, or choose it."
            ),
        )
        weights = Files(self.tr("File..."), self.tr("Safetensors (*.safetensors)"))
        self.folder = PathField(self.tr("Teacher's folder"), self.tr("Folder, file or hub id of the model"), weights)
        self.found = look.label("", "body", "muted", wraps=True)
        self.found.setAccessibleName(self.tr("What is in the teacher's folder"))
        self.found.hide()
        self.folder_card.content.addWidget(self.folder)
        self.folder_card.content.addWidget(self.found)
        self.group.addButton(self.folder_card.radio)
        self.content.addWidget(self.folder_card)
        self.content.addStretch(1)
        self.folder_card.radio.clicked.connect(lambda _: self._take_folder())
        self.folder.edited.connect(lambda text: self.edit({"teacher": text}, self.tr("teacher's folder"), "teacher"))
        self.folder.finished.connect(self.finished)
        self.folder.says.connect(self.says)

    def prepare(self, catalogue: Catalogue) -> bool:
        wanted = sorted(catalogue.teachers, key=lambda one: one.source != "bundled")
        if list(self.cards) != [teacher.key for teacher in wanted[: len(self.cards)]]:
            self._remove_cards()
        number = len(self.cards)
        if number < len(wanted):
            self._grid.addWidget(self._card(wanted[number]), number // 2, number % 2)
        return number < len(wanted)

    def show_state(self, state: State) -> None:
        self._state = state
        chosen = state.values["teacher"]
        bundled = self.cards.get(chosen)
        (bundled or self.folder_card).radio.setChecked(True)
        if bundled is None:
            self.folder.set_text(chosen)
        self.say_beside(self.wrong, state.about("teacher") if bundled is not None else None)
        wrong = state.wrong("teacher") if bundled is None else ""
        self.folder.set_wrong(bool(wrong) and bool(chosen))
        self.found.setVisible(bundled is None)
        if bundled is None:
            self._show_found(wrong, state.teacher)

    def show_setting(self, name: str) -> None:
        self.folder.setFocus()

    def _show_found(self, wrong: str, found: TeacherCard | None) -> None:
        look.set_tone(self.found, "bad" if wrong else "text" if found else "muted")
        self.found.setText(wrong or (described(found, self.tr) if found else self.tr("Looking at it...")))

    def _take_folder(self) -> None:
        self.edit({"teacher": self.folder.line.text()}, self.tr("a teacher of my own"))
        self.folder.setFocus()

    def _take(self, teacher: TeacherCard) -> None:
        if self._state is not None:
            change = choose_teacher(self._state.values, self._state.catalogue, teacher)
            self.edit(change, self.tr("teacher"))

    def _remove_cards(self) -> None:
        for card in self.cards.values():
            self.group.removeButton(card.radio)
            card.deleteLater()
        self.cards = {}

    def _card(self, teacher: TeacherCard) -> ChoiceCard:
        card = ChoiceCard(said(teacher.title))
        card.radio.setAccessibleDescription(said(teacher.problem or teacher.summary))
        card.words.hide()
        picture = QPixmap(str(look.RESOURCES / "teachers" / teacher.key / "samples.png"))
        samples = self.tr("Samples of {0}").format(said(teacher.title))
        if not picture.isNull():
            edge = FINE if picture.height() >= FINE * ROWS else COARSE
            card.content.addWidget(Tiles(picture, edge, samples))
        elif teacher.source == "mathematics":
            card.content.addWidget(Ring(self.tr("Where its points lie: {0}").format(said(teacher.title))))
        side = card.content
        tone = "bad" if teacher.problem else "muted"
        side.addWidget(look.label(said(teacher.problem or teacher.summary), "body", tone, wraps=True))
        side.addWidget(look.label(facts(teacher, self.tr), "caption", "muted", wraps=True))
        if teacher.figures:
            side.addLayout(self._figures(teacher.figures))
        side.addStretch(1)
        card.radio.setEnabled(not teacher.problem)
        card.radio.clicked.connect(lambda _=False: self._take(teacher))
        self.group.addButton(card.radio)
        self.cards[teacher.key] = card
        return card

    def _figures(self, figures: dict[str, float]) -> QGridLayout:
        """Its Frechet distance by the number of network evaluations."""
        grid = QGridLayout()
        grid.setHorizontalSpacing(look.GAP)
        grid.setVerticalSpacing(0)
        grid.addWidget(look.label(self.tr("NFE"), "caption", "muted"), 0, 0)
        distance = look.label(self.tr("Fréchet"), "caption", "muted")
        distance.setToolTip(self.tr("Distance of its samples to real ones in the bundled features; smaller is better"))
        grid.addWidget(distance, 1, 0)
        shown = [(name.split("_")[1], value) for name, value in figures.items() if name.startswith("frechet_")]
        for column, (nfe, value) in enumerate(shown, 1):
            for line, words in enumerate((nfe, f"{value:.3g}")):
                label = look.label(words, "caption", "muted" if line == 0 else "text")
                label.setFont(look.figures("caption"))
                grid.addWidget(label, line, column, Qt.AlignmentFlag.AlignRight)
        grid.setColumnStretch(len(shown) + 1, 1)
        return grid


def facts(teacher: TeacherCard, tr: Words) -> str:
    """Its shape and size in a line."""
    sides = teacher.shape[1:] if len(teacher.shape) == 3 else teacher.shape
    size = "×".join(map(str, sides))
    parts = [tr("points in {0} dimensions").format(sides[0]) if len(sides) == 1 else size]
    if len(sides) == 2 and teacher.shape[0] not in PICTURE_CHANNELS:
        parts = [tr("{0} latents").format(size)]  # beside the size in pixels, which its summary says
    if teacher.parameters:
        parts.append(tr("{0} parameters").format(count(teacher.parameters)))
    if teacher.classes:
        parts.append(tr("{0} classes").format(teacher.classes))
    return ", ".join(part for part in parts if part)


def described(teacher: TeacherCard, tr: Words) -> str:
    """What a folder turned out to be."""
    licence = " " + tr("Licence: {0}.").format(teacher.licence) if teacher.licence else ""
    return f"{said(teacher.title)}: {facts(teacher, tr)}. {said(teacher.summary)}{licence}"
