"""A language in which everything is about two fifths longer and has accents: it shows what has no room, and what was
never given to a translator.
"""

import json
import re
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTranslator
from PySide6.QtWidgets import QAbstractButton, QLabel, QTabWidget, QWidget

from app.models.fields import label_of
from app.widgets.pane import Caption
from backend.contract.recipe import Pairs, Student, Training

CATALOGUE = json.loads((Path(__file__).parent / "catalogue.json").read_text(encoding="utf-8"))
LONGER = {"a": "áā", "e": "éē", "i": "íī", "o": "óō", "u": "úū", "A": "Áā", "E": "Éē", "I": "Íī", "O": "Óō", "U": "Úū"}
MARKS = set("".join(LONGER.values()))
PLACES = re.compile(r"(\{[^}]*\}|<[^>]*>|\n|\([*.a-z]+\))")
"""What a translator leaves alone: where values go, markup, and the patterns of file names."""


class Longer(QTranslator):
    """Every vowel is two."""

    def isEmpty(self) -> bool:
        return False

    def translate(self, context: str, words: str, disambiguation: Any = None, number: int = -1) -> str:
        parts = PLACES.split(words)
        return "".join(p if PLACES.fullmatch(p) else "".join(LONGER.get(c, c) for c in p) for p in parts)


def untranslated(root: QWidget) -> list[str]:
    """What is shown with letters and no accents, and is no data: words that did not pass through `tr`."""
    found = []
    for widget in root.findChildren(QWidget):
        if not widget.isVisibleTo(root):
            continue
        texts: list[str] = []
        if isinstance(widget, QLabel | QAbstractButton):
            texts = [widget.text()] if not isinstance(widget.parentWidget(), Caption) else []  # the sides' names
        elif isinstance(widget, QTabWidget):
            texts = [widget.tabText(index) for index in range(widget.count())]
        found += [f"{type(widget.parentWidget()).__name__}: {t!r}" for t in texts if _is_plain(t)]
    return found


def _is_plain(text: str) -> bool:
    return re.search("[A-Za-z]{3}", text) is not None and not MARKS & set(text) and not _is_data(text)


def _is_data(text: str) -> bool:
    return text.strip(" .") in DATA or any(part in text for part in PARTS_OF_DATA)


def _strings(value: Any) -> set[str]:
    """Every text of a JSON value, its first sentence, and its names as labels."""
    if isinstance(value, dict):
        return set(value).union(*(_strings(one) for one in value.values()))
    if isinstance(value, list):
        return set().union(*(_strings(one) for one in value))
    return {value.strip(" ."), value.split(". ")[0].rstrip(".")} if isinstance(value, str) else set()


DATA = _strings(CATALOGUE)
LABELS = {label_of(name) for card in CATALOGUE["methods"] for name in card["settings"]["properties"]}
PARTS = (Training, Student, Pairs)
DATA |= (
    LABELS | {label_of(name) for part in PARTS for name in part.model_fields} | {"samples", "batches", "auto, float32"}
)
PARTS_OF_DATA = (
    "/",
    "baseline",
    "Thursday",
    "The worker ended",
    "Its process",
    "waits in the queue",
    "its lowest value",
)
"""Names, tags and paths of the project, and the sentences of the backend, which speaks one language."""
