"""What differs between recipes, as rows of plain values. It knows neither widgets nor where recipes come from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from backend.contract.recipe import Pairs, Student, Training

ABSENT = object()
"""The value of a name that a recipe does not have."""


class HasRecipe(Protocol):
    """A run as far as its recipe goes. declaration: JSON Schema of its method's settings when it was made."""

    @property
    def recipe(self) -> Mapping[str, Any]: ...
    @property
    def declaration(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class DiffRow:
    """One value of several recipes. values: one for each, `ABSENT` where it has none. defaults: which are the default.

    words: what the value does, where its declaration says so.
    """

    name: str
    values: tuple[Any, ...]
    defaults: tuple[bool, ...]
    words: str = ""

    @property
    def differs(self) -> bool:
        """Whether not all are the same; 1 and 1.0 are."""
        return any(not same(self.values[0], value) for value in self.values[1:])


def differences(runs: Sequence[HasRecipe]) -> list[DiffRow]:
    """A row for every value that any of the recipes has, in the order in which they are written."""
    flat = [dict(flattened(run.recipe)) for run in runs]
    declared = [_declared(run.declaration) for run in runs]
    names = list(dict.fromkeys(name for values in flat for name in values))
    names.sort(key=_place)
    rows = []
    for name in names:
        about = [of.get(name, {}) for of in declared]
        values = tuple(values.get(name, ABSENT) for values in flat)
        rows.append(
            DiffRow(
                name,
                values,
                tuple("default" in of and same(of["default"], value) for of, value in zip(about, values, strict=True)),
                next((str(of["description"]) for of in about if of.get("description")), ""),
            )
        )
    return rows


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values: {"a": {"b": 1}} is a.b = 1. A list is one value, an empty part none."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def same(a: Any, b: Any) -> bool:
    """Whether two values mean the same; True is not 1, 1.0 is."""
    if a is ABSENT or b is ABSENT:
        return a is b
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def words_of(value: Any) -> str:
    """A value as a person reads it."""
    if value is ABSENT:
        return ""
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _declared(declaration: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Dotted name -> its part of a JSON Schema, of the method's settings and of what every recipe has."""
    found = {f"settings.{name}": about for name, about in declaration.get("properties", {}).items()}
    for prefix, part in (("training", Training), ("student", Student), ("pairs", Pairs)):
        found |= {f"{prefix}.{name}": about for name, about in part.model_json_schema()["properties"].items()}
    return found


_ORDER = ("teacher", "data", "prompts", "method", "settings", "pairs", "student", "training")


def _place(name: str) -> int:
    """Where the part of a recipe that a name belongs to stands; within a part names keep their order."""
    part = name.partition(".")[0]
    return _ORDER.index(part) if part in _ORDER else len(_ORDER)
