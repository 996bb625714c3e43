"""Settings declared once: default, words, range, unit and choices in one line of a pydantic model.

The JSON Schema of a `Settings` class is all that forms, command line and documentation know of it.
Validation is pydantic's; this module only turns its errors into sentences.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from backend.contract.errors import UserError


class SettingsError(UserError, ValueError):
    """Settings that a person has to correct; the text is one sentence for each problem."""


def setting(
    default: Any,
    words: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str | None = None,
    choices: Sequence[str | int | float] | None = None,
    advanced: bool = False,
) -> Any:
    """A field of a `Settings` class, with what forms and messages say about it.

    default: its value when none is given; `...` makes it required.
    words: what it does, in one sentence for a person.
    low, high: inclusive bounds. unit: of the value, such as "steps" or "pixels".
    choices: the allowed values, where the annotation is not already a `Literal`.
    advanced: shown only on request.
    """
    extra: dict[str, Any] = {"advanced": advanced}
    if unit is not None:
        extra["unit"] = unit
    if choices is not None:
        extra["enum"] = list(choices)
    return Field(default, description=words, ge=low, le=high, json_schema_extra=extra)


class Settings(BaseModel):
    """Base of every group of settings: unchangeable, and closed to names it does not declare."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        coerce_numbers_to_str=True,
        protected_namespaces=(),
    )

    @field_validator("*")
    @classmethod
    def _is_a_choice(cls, value: Any, info: ValidationInfo) -> Any:
        choices = _choices(cls.model_fields[info.field_name or ""])
        if choices and value not in choices:
            raise PydanticCustomError("choice", "not one of the choices")
        return value


def problems(model_class: type[BaseModel], values: Mapping[str, object]) -> list[str]:
    """What is wrong with `values` as settings of `model_class`, one sentence each; empty when valid."""
    return [words for _, words in named_problems(model_class, values)]


def named_problems(model_class: type[BaseModel], values: Mapping[str, object]) -> list[tuple[str, str]]:
    """The same, each after the dotted name of the value; empty where it is about how several go together."""
    try:
        model_class.model_validate(dict(values))
    except ValidationError as error:
        return [(_dotted(detail["loc"]), _sentence(model_class, detail)) for detail in error.errors(include_url=False)]
    return []


def sentences(model_class: type[BaseModel], error: ValidationError) -> list[str]:
    """pydantic's errors on `model_class` as sentences: the field, what is wrong, what to do."""
    return [_sentence(model_class, detail) for detail in error.errors(include_url=False)]


def parse_assignments(assignments: Iterable[str]) -> dict[str, object]:
    """`["gan_weight=0.01", "weighting=snr"]` as a dict; values are JSON where they are, else text.

    Raises `SettingsError` for a text without "=", without a name, or for a name given twice.
    """
    values: dict[str, object] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name, text = name.strip(), text.strip()
        if not equals or not name:
            raise SettingsError(f"{assignment!r} sets nothing; write it as name=value.")
        if name in values:
            raise SettingsError(f"{name} is set twice; give it one value.")
        try:
            values[name] = json.loads(text)
        except json.JSONDecodeError:
            values[name] = text
    return values


def _sentence(model_class: type[BaseModel], detail: ErrorDetails) -> str:
    location, kind, given = detail["loc"], detail["type"], detail["input"]
    name = _dotted(location)
    owner, field = _find(model_class, location)
    if kind == "extra_forbidden":
        return _unknown(name, str(location[-1]), owner)
    if kind == "missing":
        return f"{name} is missing; {_advice(field)}."
    if kind in ("value_error", "assertion_error"):  # rules written in our own models: already sentences
        words = str(detail.get("ctx", {}).get("error", detail["msg"]))
        return words if words.endswith(".") else f"{name or 'The value'}: {words}."
    what = _WRONG.get(kind) or _wrong_of_kind(kind, field) or detail["msg"].lower()
    return f"{name or 'The value'} is {_show(given)}, {what}; {_advice(field)}."


_WRONG = {
    "choice": "not one of its choices",
    "literal_error": "not one of its choices",
    "finite_number": "not a finite number",
    "none_required": "which is not empty",
    "string_type": "not a text",
    "string_too_short": "too short",
    "dict_type": "not a group of names and values",
    "model_type": "not a group of names and values",
    "list_type": "not a list",
    "tuple_type": "not a list",
    "int_from_float": "not a whole number",
}


def _wrong_of_kind(kind: str, field: FieldInfo | None) -> str | None:
    if kind == "greater_than_equal" and field:
        return f"below its lowest value {_show(_bounds(field)[0])}"
    if kind == "less_than_equal" and field:
        return f"above its highest value {_show(_bounds(field)[1])}"
    if kind.startswith("int_"):
        return "not a whole number"
    if kind.startswith("float_"):
        return "not a number"
    if kind.startswith("bool_"):
        return "neither true nor false"
    return None


def _advice(field: FieldInfo | None) -> str:
    """What to do about a wrong value of `field`, without the full stop."""
    if field is None:
        return "correct it"
    choices = _choices(field) or _literals(field.annotation)
    if choices:
        return f"choose {_either([_show_plain(choice) for choice in choices])}"
    low, high = _bounds(field)
    unit = _extra(field).get("unit")
    in_unit = f" {unit}" if unit else ""
    if low is not None and high is not None:
        return f"choose between {_show(low)} and {_show(high)}{in_unit}"
    if low is not None:
        return f"choose {_show(low)} or more{in_unit}"
    if high is not None:
        return f"choose {_show(high)} or fewer{in_unit}" if unit else f"choose {_show(high)} or less"
    nouns = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return f"give {nouns.get(_plain_type(field.annotation), 'a value of the right kind')}"


def _unknown(name: str, last: str, owner: type[BaseModel] | None) -> str:
    known = list(owner.model_fields) if owner else []
    close = get_close_matches(last, known, n=1, cutoff=0.6)
    if close:
        prefix = name[: len(name) - len(last)]
        return f"{name} is unknown here; did you mean {prefix}{close[0]}?"
    if not known:
        return f"{name} is unknown here, where nothing can be set; leave it out."
    return f"{name} is unknown here; the known names are {', '.join(known)}."


def _find(
    model_class: type[BaseModel], location: tuple[int | str, ...]
) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """The model and the field that `location` ends in; the field is None for an unknown name."""
    owner: type[BaseModel] | None = model_class
    field: FieldInfo | None = None
    for index, part in enumerate(location):
        if owner is None or not isinstance(part, str):
            return owner, field
        field = owner.model_fields.get(part)
        if index < len(location) - 1:
            kind = _plain_type(field.annotation) if field else None
            owner = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    return owner, field


def _plain_type(annotation: Any) -> Any:
    """`int` of `int | None`; anything else as it is."""
    arguments = [part for part in getattr(annotation, "__args__", ()) if part is not type(None)]
    return arguments[0] if len(arguments) == 1 and not _literals(annotation) else annotation


def _literals(annotation: Any) -> list[Any]:
    found = []
    for part in getattr(annotation, "__args__", ()):
        if isinstance(part, str | int | float):
            found.append(part)
        else:
            found += _literals(part)
    return found


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    return dict(extra) if isinstance(extra, dict) else {}


def _choices(field: FieldInfo) -> list[Any]:
    return list(_extra(field).get("enum", ()))


def _bounds(field: FieldInfo) -> tuple[Any, Any]:
    low = next((mark.ge for mark in field.metadata if hasattr(mark, "ge")), None)
    high = next((mark.le for mark in field.metadata if hasattr(mark, "le")), None)
    return low, high


def _dotted(location: tuple[int | str, ...]) -> str:
    name = ""
    for part in location:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    return name


def _show(value: object) -> str:
    """A value as a person writes it in JSON, cut where it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except TypeError:
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _show_plain(value: object) -> str:
    return value if isinstance(value, str) else _show(value)


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
