"""What a translator has to translate, found in the sources and in the catalogue, and the file that carries it.

The window's own words are what is given to `tr`; the backend's are every sentence and phrase that its sources hold, for
any of them may be shown, and all that the catalogue calls or describes. Nothing is imported: sources are read as text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from app.models.fields import label_of
from app.translations import BACKEND

ROOT = Path(__file__).resolve().parents[2]
SILENT = ("bench", "bundled", "contract/migrations", "proofs", "__main__")
"""Parts of the backend that the window shows nothing of."""
NAMES_IN_WORDS = ("title", "summary", "words", "family", "cost_words", "problem", "description", "unit", "error")
PHRASE = re.compile(
    r"(?!SELECT |INSERT |UPDATE |DELETE |CREATE |PRAGMA |BEGIN |WITH |ORDER |WHERE )[A-Za-z{][^\n]* [^\n]*"
)
"""Two words at least, on one line, and no SQL."""
Messages = dict[str, dict[str, None]]
"""Context -> sources in the order in which they were found."""


def collect(catalogue: Mapping[str, Any], root: Path = ROOT) -> Messages:
    """Every text by its context. catalogue: as `distill describe` prints it."""
    found: Messages = {}
    for file in sorted((root / "app").rglob("*.py")):
        for context, words in _of_window(ast.parse(file.read_text(encoding="utf-8")), file.stem):
            found.setdefault(context, {})[words] = None
    backend = found.setdefault(BACKEND, {})
    backend |= dict.fromkeys(_of_catalogue(catalogue))
    sources = [root / "app/models/fields.py", root / "app/wizard/choices.py", *sorted((root / "backend").rglob("*.py"))]
    for file in sources:
        if not any(part in file.relative_to(root).as_posix() for part in SILENT):
            backend |= dict.fromkeys(_of_backend(ast.parse(file.read_text(encoding="utf-8"))))
    return found


def _of_window(node: ast.AST, context: str) -> Iterator[tuple[str, str]]:
    """What is given to `tr` and to `translate`, with the class in which that is."""
    for child in ast.iter_child_nodes(node):
        yield from _of_window(child, child.name if isinstance(child, ast.ClassDef) else context)
        name = getattr(child.func, "attr", getattr(child.func, "id", "")) if isinstance(child, ast.Call) else ""
        if isinstance(child, ast.Call) and name in ("tr", "translate", "said") and child.args:
            first, words = child.args[0], child.args[-1]
            own = first.value if name == "translate" and isinstance(first, ast.Constant) else context
            if isinstance(words, ast.Constant) and isinstance(words.value, str):
                yield BACKEND if name == "said" else str(own), words.value


def _of_backend(tree: ast.Module) -> Iterator[str]:
    """Every text that reads like a phrase, values as places; no documentation, and no part of a longer text."""
    silent = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            silent.add(node.value)
        if isinstance(node, ast.JoinedStr):
            silent.update(node.values)
    for node in ast.walk(tree):
        yield from _names_of_figures(node)
        if node in silent:
            continue
        words = ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value
        elif isinstance(node, ast.JoinedStr):
            words = _pattern(node)
        words = words.lstrip(" ,;:.")  # what is put behind other words
        if PHRASE.fullmatch(words) and re.search("[a-z]{2}", re.sub(r"\{\d+\}", "", words)):
            yield words.rstrip()


def _names_of_figures(node: ast.AST) -> Iterator[str]:
    """The keys of dicts, in words: whatever a method or a measurement calls a figure is one, and names a curve."""
    keys = node.keys if isinstance(node, ast.Dict) else [node.slice] if isinstance(node, ast.Subscript) else []
    for key in [*keys, node]:
        name = _pattern(key) if isinstance(key, ast.JoinedStr) else ""
        if isinstance(key, ast.Constant) and key is not node:
            name = str(key.value).removeprefix("preview_").removeprefix("evaluation_")
        if re.fullmatch(r"[a-z][a-z_]+|\{0\}(_[a-z]+)+|([a-z]+_)+\{0\}", name):
            yield from (name.replace("_", " "), name.replace("_", " ").capitalize())


def _pattern(node: ast.JoinedStr) -> str:
    parts, number = [], 0
    for value in node.values:
        if isinstance(value, ast.Constant):
            parts.append(str(value.value))
        else:
            parts.append(f"{{{number}}}")
            number += 1
    return "".join(parts)


def _of_catalogue(value: Any, key: str = "") -> Iterator[str]:
    """Titles, descriptions, units, and the names of settings, choices, needs and labels in words."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            if key in ("properties", "needs_when"):
                yield label_of(name)
            if name != "title" or "summary" in value or "words" in value:  # pydantic's own titles are not shown
                yield from _of_catalogue(part, name)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _of_catalogue(part, key)
    elif isinstance(value, str) and key in (*NAMES_IN_WORDS, "enum", "const", "needs", "refuses") and value:
        yield value


def write(messages: Messages, file: Path, kept: Mapping[str, Mapping[str, str]]) -> tuple[int, int]:
    """Write a file for Qt Linguist with the translations that there were; how many texts, and how many still to do."""
    root = ElementTree.Element("TS", version="2.1", language=file.stem, sourcelanguage="en")
    todo = 0
    for context, words in sorted(messages.items()):
        part = ElementTree.SubElement(root, "context")
        ElementTree.SubElement(part, "name").text = context
        for source in words:
            message = ElementTree.SubElement(part, "message")
            ElementTree.SubElement(message, "source").text = source
            target = ElementTree.SubElement(message, "translation")
            target.text = kept.get(context, {}).get(source)
            if not target.text:
                todo += 1
                target.set("type", "unfinished")
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    file.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE TS>\n{text}\n', encoding="utf-8")
    return sum(map(len, messages.values())), todo


def parts_of_recipes() -> Iterable[dict[str, Any]]:
    """The schemas of what every recipe has beside its method's settings."""
    from backend.contract.recipe import Pairs, Student, Training  # noqa: PLC0415  (the catalogue does not carry them)

    return [part.model_json_schema() for part in (Training, Student, Pairs)]
