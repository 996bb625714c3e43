"""What the wizard's pages have in common: a heading, what they show, and how they say that something was edited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from app import look
from app.drafts import Values
from app.translations import said
from app.wizard.choices import Candidate, PageKey, Problem
from backend.contract.catalogue import Catalogue, MethodCard, TeacherCard


@dataclass(frozen=True)
class State:
    """What the pages show. teacher: None while it is looked at, or refused.

    problems: seen without asking. found: by the check, of this very recipe; warnings among it.
    """

    values: Values
    catalogue: Catalogue
    teacher: TeacherCard | None = None
    refusal: str = ""
    problems: list[Problem] = field(default_factory=list)
    candidates: tuple[Candidate, ...] = ()
    found: list[Problem] = field(default_factory=list)

    @property
    def method(self) -> MethodCard | None:
        """The chosen method."""
        return self.catalogue.method(self.values["method"])

    @property
    def all_found(self) -> list[Problem]:
        """What was seen and what the check found, what blocks first."""
        return sorted((*self.problems, *self.found), key=lambda problem: not problem.blocks)

    def about(self, name: str) -> Problem | None:
        """What there is to say of the value of a dotted name."""
        return next((problem for problem in self.all_found if problem.name == name), None)

    def wrong(self, name: str) -> str:
        """What is wrong with the value of a dotted name."""
        problem = self.about(name)
        return said(problem.words) if problem is not None and problem.blocks else ""

    def remarks(self, part: str) -> dict[str, tuple[str, str]]:
        """What the check found of a part of the recipe, words and tone, by the name inside the part."""
        ours = [one for one in self.found if one.name.startswith(f"{part}.")]
        ours.sort(key=lambda one: one.blocks)  # of two about one value the one that blocks stays
        return {one.name.removeprefix(f"{part}."): (said(one.words), one.tone) for one in ours}


class Page(QWidget):
    """One page. edited: a change of dotted names, what to call it, and of what it is the typing ("" when it is none).

    finished: what was typed is a step of its own. page_wanted: another page by its key, and a dotted name there.
    says: a sentence for the status bar.
    """

    edited = Signal(object, str, str)
    finished = Signal()
    page_wanted = Signal(str, str)
    says = Signal(str)
    key: PageKey

    def __init__(self, title: str, words: str) -> None:
        super().__init__()
        self.title = title
        self.content = QVBoxLayout(self)
        self.content.setContentsMargins(look.WIDE, look.WIDE, look.WIDE, look.WIDE)
        self.content.setSpacing(look.GAP + look.SPACE)
        self.content.addWidget(look.label(title, "title"))
        self.words = look.label(words, "body", "muted", wraps=True)
        self.content.addWidget(self.words)

    def prepare(self, catalogue: Catalogue) -> bool:
        """Make a part of what depends on the catalogue alone; False when nothing was left to make."""
        return False

    def show_state(self, state: State) -> None:
        """Show the recipe as it is now, on a page that was prepared. Each page does so in its own way."""
        raise NotImplementedError  # not abc: classes of Qt have a metaclass of their own

    def show_setting(self, name: str) -> None:
        """Bring the value of a dotted name into sight."""

    def say_beside(self, label: QLabel, about: Problem | None) -> None:
        """Show in a label beside a field what there is to say of it, or hide the label."""
        if about is not None:
            look.set_tone(label, about.tone)
            label.setText(said(about.words))
        look.set_shown(label, about is not None)

    def edit(self, change: Mapping[str, Any], words: str, typing: str = "") -> None:
        """Say that something was edited."""
        self.edited.emit(dict(change), words, typing)
