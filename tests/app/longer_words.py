"""A language in which everything is about two fifths longer and has accents: it shows what has no room, what was never
given to a translator, and what a translator never gets to see.

It is made of what `app.translations.collect` finds, and has no word beside it.
"""

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from PySide6.QtCore import QAbstractItemModel, QAbstractListModel, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QComboBox,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QSpinBox,
    QTabWidget,
    QWidget,
)

from app.translations import BACKEND, Language
from app.translations.collect import collect, parts_of_recipes

from .views import REASON, SIGNS

CATALOGUE = json.loads((Path(__file__).parent / "catalogue.json").read_text(encoding="utf-8"))
LONGER = {"a": "áā", "e": "éē", "i": "íī", "o": "óō", "u": "úū", "A": "Áā", "E": "Éē", "I": "Íī", "O": "Óō", "U": "Úū"}
PLACES = re.compile(r"(\{[^}]*\}|<[^>]*>|\n|\(\*[.a-z]*\))")
"""What a translator leaves alone: where values go, markup, and the patterns of file names."""
MOST_ITEMS = 200


def lengthened(words: str) -> str:
    """Every vowel is two."""
    parts = PLACES.split(words)
    return "".join(p if PLACES.fullmatch(p) else "".join(LONGER.get(c, c) for c in p) for p in parts)


@cache
def longer_words() -> dict[str, dict[str, str]]:
    """The whole language."""
    found = collect({"catalogue": CATALOGUE, "recipe": parts_of_recipes()})
    return {context: {source: lengthened(source) for source in words} for context, words in found.items()}


class Longer(Language):
    """The language, as the window loads one from a file."""

    def __init__(self) -> None:
        words = longer_words()
        super().__init__({**words, BACKEND: words[BACKEND] | {said: lengthened(said) for said in SAID_BY_TESTS}})


def untranslated(root: QWidget) -> list[str]:
    """What is shown or said with letters and no accents, and is no data: words that did not pass through `tr`."""
    found = []
    for widget in [root, *root.findChildren(QWidget)]:
        if widget is not root and not widget.isVisibleTo(root):
            continue
        said = [widget.toolTip(), widget.accessibleName(), widget.accessibleDescription(), *_texts(widget)]
        where = type(widget.parentWidget()).__name__ if widget is not root else type(root).__name__
        found += [f"{where} > {type(widget).__name__}: {text!r}" for text in said if _is_plain(text)]
    for action in root.findChildren(QAction):
        found += [f"action: {text!r}" for text in (action.text(), action.toolTip()) if _is_plain(text)]
    return found


def _texts(widget: QWidget) -> list[str]:
    """What stands in a widget, but for what a person wrote there."""
    return next((of(widget) for kinds, of in TEXTS if isinstance(widget, kinds)), [])


def _items(model: QAbstractItemModel | None) -> list[str]:
    if model is None:
        return []
    roles = (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole)
    columns = 1 if isinstance(model, QAbstractListModel) else model.columnCount()  # which is private of a list
    found = [model.headerData(column, Qt.Orientation.Horizontal, role) for column in range(columns) for role in roles]
    for row in range(min(model.rowCount(), MOST_ITEMS)):
        for column in range(columns):
            found += [model.index(row, column).data(role) for role in roles]
    return [text for text in found if isinstance(text, str)]


TEXTS: tuple[tuple[tuple[type[QWidget], ...], Callable[[Any], list[str]]], ...] = (
    ((QLabel, QAbstractButton), lambda w: [w.text()]),
    ((QTabWidget,), lambda w: [text(at) for at in range(w.count()) for text in (w.tabText, w.tabToolTip)]),
    ((QLineEdit, QPlainTextEdit), lambda w: [w.placeholderText()]),
    ((QSpinBox,), lambda w: [w.suffix(), w.specialValueText()]),
    ((QComboBox,), lambda w: [w.itemText(at) for at in range(w.count())]),
    ((QProgressBar,), lambda w: [w.text()] if w.isTextVisible() else []),
    ((QAbstractItemView,), lambda w: _items(w.model())),
)


def _is_plain(text: str) -> bool:
    """Whether anything of it kept its vowels, beside numbers and data."""
    return re.search(r"(?<![\w{])(?=[A-Za-z]*[aeiouAEIOU])[A-Za-z]{3,}", DATA.sub("", text)) is not None


DATA = re.compile(
    "|".join(
        (
            r"((queued|pausing|failed|lost) )?a[- ]run[- ]that[- ]tries[\w -]*",  # runs, as tests name them
            r"\d+ of many|\bfirst\b|\bsecond\b|\blab\b",
            r"baseline|to show to everybody on Thursday|what is wrong",  # a tag, a tag and an edit
            r"\S*/(?:a run that tries[\w -]*|\S)*|a-teacher-with-a-name[\w-]*|\bdigits\b",  # paths, teachers
            r"Distill Studio|DeepCache|Faster Diffusion|diffusers|safetensors|arXiv|torch|sliced wasserstein",
            r"\b(NFE|MiB|GiB|KiB|JSON|LoRA|EMA|GAN|GPU|cpu|cuda|mps)\b|Ctrl|Shift",
            r"kind renoise, levels",  # a sampler, as it is recorded
        )
    )
)
"""What a person named, where things are, and proper names: none of it is a translator's."""
SAID_BY_TESTS = (
    *(words for _, _, *said in SIGNS for words in said),
    REASON,
    "{0} is no model; choose a folder that holds unet/ and scheduler/.",
)
