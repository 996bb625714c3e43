"""Settings as a JSON Schema declares them: what a field is called, what it takes, and what is wrong with a value.

The schema is all that is known here; there are no widgets. The sentences are those of `backend.contract.settings`, so
that a value is refused in the same words beside its field and on the command line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["int", "float", "bool", "choice", "text"]
_KINDS: dict[str, Kind] = {"integer": "int", "number": "float", "boolean": "bool", "string": "text"}
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}([ ,]\d{3})+")
"""Digits in groups of three, which in some countries is a thousand and in others a fraction."""


@dataclass(frozen=True)
class Field:
    """One setting. label: its name in words. optional: it may be empty. low, high: inclusive bounds."""

    name: str
    label: str
    kind: Kind
    words: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    default: Any = None
    choices: tuple[Any, ...] = ()
    advanced: bool = False
    optional: bool = False

    def parse(self, text: str) -> Any:
        """The value that a person wrote, or the text itself where it is none."""
        text = text.strip()
        if self.kind == "int":
            plain = re.sub("[ ,]", "", text) if _GROUPED.fullmatch(text) else text
            number = _number(plain)
            return int(number) if number is not None and number.is_integer() else text
        if self.kind == "float":
            number = None if _GROUPED.fullmatch(text) else _number(text)
            return text if number is None else number
        if self.kind == "text" and self.optional and not text:
            return None
        return text

    def show(self, value: Any) -> str:
        """A value as it is written in its editor; `parse` gives it back."""
        if value is None:
            return ""
        if isinstance(value, float):
            short = f"{value:g}"
            return short if float(short) == value else repr(value)
        return str(value)

    def problem(self, value: Any) -> str:
        """What is wrong with a value, as a sentence with what to do; empty when it is right."""
        what = self._wrong(value)
        return f"{self.label} is {_quoted(value)}, {what}; {self.advice()}." if what else ""

    def range_words(self) -> str:
        """What it takes, such as "1 to 8 steps"; empty where that says nothing."""
        unit = f" {self.unit}" if self.unit else ""
        if self.low is not None and self.high is not None:
            return f"{self.show(self.low)} to {self.show(self.high)}{unit}"
        if self.low is not None:
            return f"{self.show(self.low)} or more{unit}"
        if self.high is not None:
            return f"at most {self.show(self.high)}{unit}"
        return self.unit

    def advice(self) -> str:
        """What to do about a wrong value, without the full stop."""
        if self.choices:
            shown = [self.show(choice) for choice in self.choices]
            return f"choose {shown[0]}" if len(shown) == 1 else f"choose {', '.join(shown[:-1])} or {shown[-1]}"
        unit = f" {self.unit}" if self.unit else ""
        if self.low is not None and self.high is not None:
            return f"choose between {self.show(self.low)} and {self.show(self.high)}{unit}"
        if self.low is not None:
            return f"choose {self.show(self.low)} or more{unit}"
        if self.high is not None:
            return f"choose {self.show(self.high)} or {'fewer' + unit if unit else 'less'}"
        nouns = {"bool": "true or false", "int": "a whole number", "float": "a number"}
        return f"give {nouns.get(self.kind, 'a text')}"

    def _wrong(self, value: Any) -> str:
        if value is None and self.optional:
            return ""
        if self.choices:
            return "" if value in self.choices else "not one of its choices"
        if self.kind == "text":
            return "" if isinstance(value, str) else "not a text"
        if self.kind == "bool":
            return "" if isinstance(value, bool) else "neither true nor false"
        return self._wrong_number(value)

    def _wrong_number(self, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "not a whole number" if self.kind == "int" else "not a number"
        if self.kind == "int" and not float(value).is_integer():
            return "not a whole number"
        if self.low is not None and value < self.low:
            return f"below its lowest value {self.show(self.low)}"
        if self.high is not None and value > self.high:
            return f"above its highest value {self.show(self.high)}"
        return ""


def fields_of(schema: Mapping[str, Any], names: Sequence[str] | None = None) -> list[Field]:
    """The settings that a JSON Schema of an object declares, in its order; only these names where they are given."""
    return [
        field_of(name, node, schema.get("$defs", {}))
        for name, node in schema.get("properties", {}).items()
        if names is None or name in names
    ]


def field_of(name: str, node: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> Field:
    """One node of a schema as a field. What it does not know it takes as a text."""
    found, optional = _resolved(node, definitions or {})
    choices = tuple(found["enum"]) if "enum" in found else (found["const"],) if "const" in found else ()
    return Field(
        name=name,
        label=label_of(name),
        kind="choice" if choices else _KINDS.get(str(found.get("type")), "text"),
        words=str(node.get("description", found.get("description", ""))),
        unit=str(found.get("unit", "")),
        low=found.get("minimum"),
        high=found.get("maximum"),
        default=node.get("default"),
        choices=choices,
        advanced=bool(node.get("advanced", False)),
        optional=optional,
    )


def label_of(name: str) -> str:
    """A field's name in words: `gan_weight` is "GAN weight"."""
    words = [word.upper() if word in ("ema", "gan", "nfe") else word for word in name.split("_")]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def matches(field: Field, wanted: str) -> bool:
    """Whether a field is what someone looks for: each word is in its name or in what is said of it."""
    text = f"{field.name} {field.label} {field.words} {field.unit}".casefold()
    return all(word in text for word in wanted.casefold().split())


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The node with its reference and its one real alternative put in place; and whether it may be empty."""
    found, optional = dict(node), False
    if "anyOf" in found:
        options = found.pop("anyOf")
        optional = any(option.get("type") == "null" for option in options)
        found = next((dict(option) for option in options if option.get("type") != "null"), {}) | found
    if "$ref" in found:
        found = dict(definitions.get(str(found.pop("$ref")).rsplit("/", 1)[-1], {})) | found
    return found, optional


def _number(text: str) -> float | None:
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _quoted(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
