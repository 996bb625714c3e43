"""Which words go with each picture of a folder or zip: its caption, or the class folder in which it lies.

Captions are, in this order: "text" in the lines of a `metadata.jsonl` at the top, each with a "file_name"; a text file
beside each picture, `a/1.txt` for `a/1.png`; the names of the class folders.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from backend.contract.errors import DataError
from backend.contract.prompts import LONGEST_PROMPT, decode
from backend.picture_files.files import Files, LeftOut

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
METADATA = "metadata.jsonl"


@dataclass(frozen=True)
class Entry:
    """A picture's file. label: the place of its words in `Labelling.names`, 0 where there are none."""

    name: str
    label: int


@dataclass(frozen=True)
class Labelling:
    """What there is to train on. names: classes or captions. skipped: files left out, by the reason why."""

    names: tuple[str, ...]
    entries: tuple[Entry, ...]
    skipped: dict[str, tuple[str, ...]]


def labelling(files: Files, captioned: bool) -> Labelling:
    """The pictures of `files` with their captions, or with their classes alone.

    Classes are the folders at the top that hold files, sorted by name, by number where every name is one. Raises
    `DataError` where `metadata.jsonl` cannot be understood.
    """
    pictures = [name for name in files.names if PurePosixPath(name).suffix.lower() in SUFFIXES]
    beside = _captions_beside(files, pictures)
    skipped: dict[str, list[str]] = {reason: list(names) for reason, names in files.strange.items()}
    words: dict[str, str | LeftOut]
    order: Iterable[str] | None = None
    if captioned and METADATA in files.names:
        words = _of_metadata(files, skipped)
    elif captioned and beside:
        words = {name: _caption(files, file) for name, file in beside.items()}
    else:
        words, order = _classes(files.names, {METADATA, *beside.values()})
    known = {METADATA, *beside.values(), *pictures}
    others = [name for name in files.names if name not in known]
    # The names of classes are all there, in their order; those of captions as they come.
    numbers = {name: label for label, name in enumerate(order or ())}
    entries = []
    for name in pictures:
        found = words.get(name, LeftOut("without a caption")) if words else ""
        if isinstance(found, LeftOut):
            skipped.setdefault(str(found), []).append(name)
        else:
            entries.append(Entry(name, numbers.setdefault(found, len(numbers)) if words else 0))
    if others:
        skipped["not pictures"] = others
    if order is not None:
        entries.sort(key=lambda entry: entry.label)
    return Labelling(tuple(numbers), tuple(entries), {reason: tuple(names) for reason, names in skipped.items()})


def _classes(names: Iterable[str], beside: set[str]) -> tuple[dict[str, str | LeftOut], list[str]]:
    """The class of each file, and the classes in their order; nothing where there are no class folders."""
    inside = [name for name in names if "/" in name and name not in beside]
    classes = list({name.partition("/")[0] for name in inside})
    numbered = all(name.isascii() and name.isdecimal() for name in classes)
    classes.sort(key=lambda name: (int(name) if numbered else 0, name))
    if not classes:
        return {}, []
    words: dict[str, str | LeftOut] = {name: LeftOut("outside the class folders") for name in names if "/" not in name}
    return words | {name: name.partition("/")[0] for name in inside}, classes


def _captions_beside(files: Files, pictures: list[str]) -> dict[str, str]:
    """The text file beside each picture that has one."""
    texts = {name.removesuffix(".txt"): name for name in files.names if name.endswith(".txt")}
    stems = {name: name[: -len(PurePosixPath(name).suffix)] for name in pictures}
    return {name: texts[stem] for name, stem in stems.items() if stem in texts}


def _caption(files: Files, file: str) -> str | LeftOut:
    """The words of a caption file in one line, or why they cannot be used."""
    try:
        words = decode(files.read(file), file)
    except LeftOut:
        return LeftOut("with a caption that cannot be read")
    except DataError:
        return LeftOut("with a caption that is not UTF-8 text")
    return _in_one_line(words)


def _in_one_line(words: str) -> str | LeftOut:
    line = " ".join(words.split())
    if len(line) > LONGEST_PROMPT:
        return LeftOut("with a caption too long to be one")
    return line or LeftOut("with an empty caption")


def _of_metadata(files: Files, skipped: dict[str, list[str]]) -> dict[str, str | LeftOut]:
    """The caption of each file that `metadata.jsonl` names; of several lines for one file the first counts."""
    where = f"{METADATA} of {files.where}"
    try:
        text = decode(files.read(METADATA), where)
    except LeftOut as reason:
        raise DataError(f"{where} cannot be used, because it is {reason}; mend or remove it.") from None
    there = set(files.names)
    found: dict[str, str | LeftOut] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        row = _row(line, f"Line {number} of {where}")
        name = "/".join(part for part in row["file_name"].replace("\\", "/").split("/") if part not in ("", "."))
        if name not in there:
            skipped.setdefault(f"named in {METADATA} and not there", []).append(name)
        elif name in found:
            skipped.setdefault(f"named twice in {METADATA}", []).append(name)
        else:
            found[name] = _in_one_line(row["text"])
    if not found:
        raise DataError(f"{where} names none of the files there; write a line such as {_EXAMPLE} for each picture.")
    return found


_EXAMPLE = '{"file_name": "1.png", "text": "a honeybee"}'


def _row(line: str, where: str) -> dict[str, str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise DataError(f"{where} is not readable JSON; write it as {_EXAMPLE}.") from None
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("file_name", "text")):
        raise DataError(f"{where} has no file_name and text; write it as {_EXAMPLE}.")
    return row
