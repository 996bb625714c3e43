"""The window's language: what a person reads of its own words and of what the backend says.

The backend speaks English, to the window as to a terminal. What the window shows of that goes through `said`, so that
a language can have it under the context "backend": names and descriptions as they are, and sentences that carry values
as patterns, "{0} is no model; choose another.". `python -m app.translations` collects all of them for a translator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QLibraryInfo, QLocale, QObject, QTranslator

FOLDER = Path(__file__).resolve().parents[2] / "resources" / "translations"
BACKEND = "backend"
PLACE = re.compile(r"\{(\d*)[^{}]*\}")
SENTENCES = re.compile(r"(?<=[.!?;:]) |(?<=,) ")
"""Where what was put together is taken apart again."""
DEPTH = 3
"""How often a value of a pattern is looked up as words of its own."""
Words = Mapping[str, Mapping[str, str]]
"""Context -> source -> translation."""


def said(words: str) -> str:
    """What the backend says or calls something, in the window's language."""
    return QCoreApplication.translate(BACKEND, words) if words else ""


def curve_words(name: str) -> str:
    """A curve's or a figure's name in words: `preview_class_accuracy` is "class accuracy"."""
    return said(name.removeprefix("preview_").removeprefix("evaluation_").replace("_", " "))


def install(app: QCoreApplication, folder: Path = FOLDER, languages: Iterable[str] | None = None) -> None:
    """Speak the first of the system's languages that there is a file for; English where that comes first."""
    for name in QLocale.system().uiLanguages() if languages is None else languages:
        code = re.split("[-_]", name)[0]
        if code in ("C", "en"):
            return
        file = next((f for n in (name.replace("-", "_"), code) if (f := folder / f"{n}.ts").is_file()), None)
        if file is not None:
            own_words_of_qt = QTranslator(app)
            if own_words_of_qt.load(f"qtbase_{code}", QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)):
                app.installTranslator(own_words_of_qt)
            app.installTranslator(Language(read(file), app))
            return


def read(file: Path) -> dict[str, dict[str, str]]:
    """The finished translations of a file of Qt Linguist."""
    from xml.etree import ElementTree  # noqa: PLC0415  (of no use to a window that speaks English)

    found: dict[str, dict[str, str]] = {}
    for context in ElementTree.parse(file).getroot().iter("context"):
        words = found.setdefault(context.findtext("name", ""), {})
        for message in context.iter("message"):
            target = message.find("translation")
            if target is not None and target.text and target.get("type") is None:
                words[message.findtext("source", "")] = target.text
    return found


class Language(QTranslator):
    """Looks words up in their context, else in any: a sentence that is made outside of a widget has its caller's."""

    def __init__(self, words: Words, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._words = words
        self._anywhere = {source: target for context in words.values() for source, target in context.items()}
        patterns = [_Pattern(*both) for both in words.get(BACKEND, {}).items() if PLACE.search(both[0])]
        self._patterns = sorted((one for one in patterns if one.key), key=lambda one: -one.weight)
        self._sentence = lru_cache(maxsize=4096)(self._found)

    def isEmpty(self) -> bool:
        return not self._anywhere

    def translate(self, context: str, words: str, disambiguation: str | None = None, number: int = -1) -> str:
        found = self._words.get(context, {}).get(words) or self._anywhere.get(words)
        if found is None and context == BACKEND:
            found = self._sentence(words)
        return found  # type: ignore[return-value]  # None lets Qt ask the next translator, an empty text would not

    def _found(self, words: str, depth: int = DEPTH) -> str | None:
        """As it is, as what fits a pattern, or as the parts that it was put together of."""
        plain = words.strip()
        if plain != words:
            return words.replace(plain, self._found(plain, depth) or plain) if plain else words
        exact = self._anywhere.get(words)
        if exact is None and words.endswith((".", ",", ";", ":")) and words[:-1] in self._anywhere:
            exact = self._anywhere[words[:-1]] + words[-1]
        found = exact if exact is not None else self._fitting(words, depth)
        parts = SENTENCES.split(words) if found is None and depth else []
        if len(parts) > 1:
            found = " ".join(self._found(part, depth) or part for part in parts)
        return found

    def _fitting(self, words: str, depth: int) -> str | None:
        if depth == 0 or "\n" in words:
            return None
        for pattern in self._patterns:
            values = pattern.values(words)
            if values is not None:
                return pattern.filled([self._found(value, depth - 1) or value for value in values])
        return None


class _Pattern:
    """A sentence with places for values. key: the longest of what stands between them."""

    def __init__(self, source: str, target: str) -> None:
        parts = PLACE.split(source)
        literals, self._numbers = parts[::2], [int(number or 0) for number in parts[1::2]]
        self.weight = sum(map(len, literals))
        longest = max(literals, key=len)
        self.key = longest if re.search("[A-Za-z]{2}", longest) else ""
        places = [r"(\S*)" if not after else "(.*?)" for after in literals[1:-1]] + ["(.*?)"] * (len(literals) > 1)
        self._regex = re.compile("".join(map(str.__add__, map(re.escape, literals), [*places, ""])))
        self._target = target

    def values(self, words: str) -> list[str] | None:
        """What stands in its places; None where the words are others."""
        if self.key not in words:
            return None
        fits = self._regex.fullmatch(words)
        if fits is None:
            return None
        by_number = dict(zip(self._numbers, fits.groups(), strict=True))
        return [by_number.get(number, "") for number in range(max(self._numbers) + 1)]

    def filled(self, values: list[str]) -> str:
        return PLACE.sub(lambda place: values[int(place[1] or 0)], self._target)
