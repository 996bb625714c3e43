"""What the backend offers, as data: methods, teachers and devices. The window never sees their classes.

The last catalogue is cached, because making one imports torch; a cached one counts as long as neither
the program's version nor any of its files changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Self

import platformdirs
from pydantic import BaseModel, ConfigDict, ValidationError

FORM: Literal[1] = 1
"""Form of the JSON document; a cached one of another form is made again."""


FAMILIES = ("distribution matching", "adversarial", "consistency", "trajectory", "flow", "guidance and adapters")
"""Kinds of methods, in the order in which a person meets them."""


Lacking = Literal["classes or prompts", "unconditional mode"]
"""What a teacher may be without that some methods need."""


class _Card(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class PresetCard(_Card):
    """Settings of a method that go together. training, student: what of those parts of the recipe changes with them.

    needs, cost: as of a method, with these settings.
    """

    key: str
    title: str
    words: str
    settings: dict[str, Any] = {}
    training: dict[str, Any] = {}
    student: dict[str, Any] = {}
    needs: tuple[str, ...] = ()
    cost: float = 0.0


class MethodCard(_Card):
    """A method as a person chooses it.

    key: its name in recipes. paper: where it comes from, such as "arXiv:2405.14867". settings: JSON Schema of its
    settings. defaults: their values. needs: of "real data", "prompts", "pairs", "class labels", ...
    needs_when: setting -> what it needs besides where that setting is not 0. refuses: which teachers it cannot use with
    its defaults: those without "classes or prompts", or with these but without an "unconditional mode".
    family: of `FAMILIES`, empty for none of them. kinds: run kinds it can make.
    cost: of one step, in words and as a multiple of one forward pass of the teacher.
    """

    key: str
    title: str
    paper: str
    summary: str
    settings: dict[str, Any]
    defaults: dict[str, Any]
    needs: tuple[str, ...] = ()
    needs_when: dict[str, tuple[str, ...]] = {}
    refuses: tuple[Lacking, ...] = ()
    family: str = ""
    kinds: tuple[str, ...] = ("train",)
    cost_words: str
    cost: float
    presets: tuple[PresetCard, ...] = ()

    def needs_with(self, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """What the method needs with these settings."""
        found = list(self.needs)
        for name, more in self.needs_when.items():
            if settings.get(name) not in (0, None):
                found += [need for need in more if need not in found]
        return tuple(found)

    def refusal(self, teacher: TeacherCard) -> Lacking | None:
        """What the method needs with its defaults and a teacher lacks; None where it can use it."""
        return teacher.lacks if teacher.lacks in self.refuses else None


class BrokenMethod(_Card):
    """A method whose file does not load: its name and what its import said."""

    key: str
    error: str


class TeacherCard(_Card):
    """A teacher as a person chooses it.

    shape: of one sample, without the batch. path: its kind of noise. condition: "none", "class" or "text".
    classes: how many labels, 0 without. parameters: how many numbers it has. figures: its own quality,
    name -> figure. data: the real data it goes with, empty where a person must bring some. licence: of its weights.
    problem: why it cannot be used, empty when it can. guidance_scale: at which it is meant to be sampled, 1 for none.
    unconditional: whether it can also be asked without its condition, as guidance does.
    """

    key: str
    title: str
    summary: str
    source: str
    shape: tuple[int, ...] = ()
    path: str = ""
    prediction_type: str = ""
    condition: Literal["none", "class", "text"] = "none"
    classes: int = 0
    labels: tuple[str, ...] = ()
    parameters: int = 0
    figures: dict[str, float] = {}
    data: str = ""
    licence: str = ""
    problem: str = ""
    guidance_scale: float = 1.0
    unconditional: bool = False

    @property
    def lacks(self) -> Lacking | None:
        """Which of what methods may need it is without."""
        if self.condition == "none":
            return "classes or prompts"
        return None if self.unconditional else "unconditional mode"


class DataCard(_Card):
    """A kind of real data, or a bundled set."""

    key: str
    title: str
    summary: str


class Device(_Card):
    """Something to train on. memory: in bytes, 0 when unknown. precisions: number formats it is good at."""

    key: str
    kind: Literal["cpu", "cuda", "mps"]
    name: str
    memory: int
    precisions: tuple[str, ...] = ("float32",)


class Catalogue(_Card):
    """Everything the backend offers on this machine."""

    form: Literal[1] = FORM
    version: str
    methods: tuple[MethodCard, ...] = ()
    broken_methods: tuple[BrokenMethod, ...] = ()
    teachers: tuple[TeacherCard, ...] = ()
    data: tuple[DataCard, ...] = ()
    devices: tuple[Device, ...] = ()

    def method(self, key: str) -> MethodCard | None:
        """The method of that name, None when there is none."""
        return next((card for card in self.methods if card.key == key), None)

    def teacher(self, key: str) -> TeacherCard | None:
        """The bundled teacher of that name, None when there is none."""
        return next((card for card in self.teachers if card.key == key), None)

    def to_json(self) -> str:
        """This catalogue as JSON."""
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The catalogue in `text`. Raises `pydantic.ValidationError`, a `ValueError`, for another form."""
        return cls.model_validate_json(text)


def source_key(version: str, folders: Iterable[Path]) -> str:
    """Changes with the program's version and with any file of `folders` (name, size or time of change)."""
    lines = [version, str(FORM)]
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                facts = file.stat()
                lines.append(f"{file} {facts.st_size} {facts.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def default_key() -> str:
    """`source_key` of this installation: the package and the resources beside it."""
    package = Path(__file__).resolve().parents[1]
    return source_key(_version(), [package, package.parent / "resources"])


def load_cached(key: str, folder: Path | None = None) -> Catalogue | None:
    """The catalogue stored under `key`; None when there is none that can be used."""
    try:
        stored = json.loads(_cache_file(folder).read_text(encoding="utf-8"))
        return Catalogue.model_validate(stored["catalogue"]) if stored["key"] == key else None
    except (OSError, ValueError, LookupError, TypeError, ValidationError):
        return None


def store_cached(key: str, catalogue: Catalogue, folder: Path | None = None) -> None:
    """Keep a catalogue under `key`, in place of the one before. Where that cannot be, nothing happens."""
    target = _cache_file(folder)
    unfinished = target.with_suffix(f".{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        content = {"key": key, "catalogue": catalogue.model_dump(mode="json")}
        unfinished.write_text(json.dumps(content), encoding="utf-8")
        unfinished.replace(target)
    except OSError:  # only a cache: the next start makes the catalogue again
        with suppress(OSError):
            unfinished.unlink()


def _cache_file(folder: Path | None) -> Path:
    return (folder or Path(platformdirs.user_cache_dir("distill-studio", False))) / "catalogue.json"


@cache
def _version() -> str:
    try:
        return version("distill-studio")
    except PackageNotFoundError:
        return "source"
