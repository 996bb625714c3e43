"""What a recipe's values mean to the wizard: defaults, needs, changes that belong together, and what is wrong where.

Pure functions of values and catalogue; no widgets, no backend. The deeper check is `distill preflight`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from app.drafts import Values, value_at
from app.models.fields import Field, fields_of, label_of
from app.wizard.dropped import is_zip
from backend.contract.catalogue import Catalogue, MethodCard, PresetCard, TeacherCard
from backend.contract.errors import UserError
from backend.contract.prompts import read_prompts
from backend.contract.recipe import Pairs, Recipe, Student, Training

PageKey = Literal["teacher", "data", "method", "student", "training", "compute", "review"]
FIRST_TEACHER, FIRST_METHOD = "digits", "dmd2"
BUNDLED_PROMPTS = ("everyday",)
COMPUTE = ("device", "precision", "threads")
TRAINING_SCHEMA = Training.model_json_schema()
TRAINING_FIELDS = {field.name: field for field in fields_of(TRAINING_SCHEMA)}
PLAIN_TRAINING: dict[str, Any] = Training().model_dump(mode="json")
STUDENT_SCHEMA, PAIRS_SCHEMA = Student.model_json_schema(), Pairs.model_json_schema()
ABOUT_STUDENT = ("kind", "rank", "fake_score")
PARTS = {
    "student": {field.name: field for field in fields_of(STUDENT_SCHEMA, ABOUT_STUDENT)},
    "pairs": {field.name: field for field in fields_of(PAIRS_SCHEMA)},
}
"""Small parts of a recipe that every method has alike, and what can be set in them."""
PART_DEFAULTS = {"student": Student().model_dump(mode="json"), "pairs": Pairs().model_dump(mode="json")}
PART_PAGES: dict[str, PageKey] = {"student": "student", "pairs": "data"}
ABOUT_TRAINING = tuple(name for name in TRAINING_FIELDS if name not in COMPUTE)


@dataclass(frozen=True)
class Problem:
    """What must be mended before a start. name: the dotted name of the value; empty where it is not one value's.

    blocks: False for what should be read and keeps nothing from starting.
    """

    page: PageKey
    name: str
    words: str
    blocks: bool = True

    @property
    def tone(self) -> str:
        """In which it is shown."""
        return "bad" if self.blocks else "warning"


@dataclass(frozen=True)
class Candidate:
    """A run whose student another run can start from. best: the step of its best checkpoint, or of its last.

    kind: which weights it trained, as in the recipe.
    """

    run: int
    name: str
    method: str
    teacher: str
    best: int
    kind: str = "full"


@dataclass(frozen=True)
class Difference:
    """A value that is not its default."""

    page: PageKey
    label: str
    value: str
    default: str


def defaults_of(card: MethodCard) -> dict[str, Any]:
    """The defaults of a method's own settings."""
    return {name: value for name, value in card.defaults.items() if name != "training"}


def training_of(card: MethodCard | None) -> dict[str, Any]:
    """The training values that suit a method."""
    suited = card.defaults.get("training", {}) if card is not None else {}
    return {**PLAIN_TRAINING, **suited}


def fresh(catalogue: Catalogue) -> Values:
    """A whole recipe to begin with, which can be started as it is."""
    usable = [card.key for card in catalogue.teachers if not card.problem]
    teacher = FIRST_TEACHER if FIRST_TEACHER in usable else next(iter(usable), "")
    card = catalogue.method(FIRST_METHOD) or next(iter(catalogue.methods), None)
    return {
        "name": "",
        "teacher": teacher,
        "data": None,
        "prompts": None,
        "method": card.key if card else "",
        "settings": defaults_of(card) if card else {},
        **{part: dict(defaults) for part, defaults in PART_DEFAULTS.items()},
        "training": training_of(card),
    }


def whole(values: Mapping[str, Any], catalogue: Catalogue) -> Values:
    """A recipe of any form (a run's, a file's) with every value that it leaves out."""
    base = fresh(catalogue)
    card = catalogue.method(str(values.get("method", base["method"])))
    settings = {**(defaults_of(card) if card else {}), **(values.get("settings") or {})}
    given = {name: values[name] for name in ("name", "teacher", "data", "prompts", "method") if name in values}
    return {
        **base,
        **given,
        "settings": settings,
        **{part: {**base[part], **(values.get(part) or {})} for part in PARTS},
        "training": {**training_of(card), **(values.get("training") or {})},
    }


def recipe_of(values: Values, catalogue: Catalogue) -> Recipe:
    """The recipe itself, with every value that a draft of an earlier version leaves out. Raises `RecipeError`."""
    given = whole(values, catalogue)
    places = {name: in_full(given[name]) for name in ("teacher", "data", "prompts")}
    return Recipe.from_values({name: value for name, value in (given | places).items() if name != "name"})


def in_full(where: Any) -> Any:
    """The path of a folder or file from the root, because a run works in its project's folder; all else as it is."""
    if not isinstance(where, str) or not re.search(r"[/\\~]", where):
        return where
    path = Path(where.strip()).expanduser()
    return str(path.absolute()) if path.exists() else where


def guidance_for(card: MethodCard | None, teacher: TeacherCard | None) -> dict[str, Any]:
    """The guidance at which a teacher is meant to be sampled, where a method folds guidance into its student."""
    if card is None or teacher is None or "guidance_scale" not in card.defaults:
        return {}
    return {"guidance_scale": teacher.guidance_scale}


def choose_teacher(values: Values, catalogue: Catalogue, teacher: TeacherCard) -> dict[str, Any]:
    """The change to another teacher, and to its guidance where that of the last one was not changed."""
    card, last = catalogue.method(values["method"]), catalogue.teacher(values["teacher"])
    change: dict[str, Any] = {"teacher": teacher.key}
    for name, value in guidance_for(card, teacher).items():
        if values["settings"].get(name) == (last.guidance_scale if last is not None else 1.0):
            change[f"settings.{name}"] = value
    return change


def choose_method(values: Values, catalogue: Catalogue, key: str, teacher: TeacherCard | None = None) -> dict[str, Any]:
    """The change to another method: its defaults, and the training values that suit it where none was chosen."""
    before, after = training_of(catalogue.method(values["method"])), training_of(catalogue.method(key))
    card = catalogue.method(key)
    change: dict[str, Any] = {
        "method": key,
        "settings": defaults_of(card) | guidance_for(card, teacher) if card else {},
    }
    for name, value in after.items():
        if before[name] != value and values["training"].get(name) == before[name]:
            change[f"training.{name}"] = value
    return change


def choose_preset(card: MethodCard, preset: PresetCard, teacher: TeacherCard | None = None) -> dict[str, Any]:
    """The change to a preset: its settings and the defaults of all others, and what else any preset speaks of."""
    change: dict[str, Any] = {"settings": {**defaults_of(card), **guidance_for(card, teacher), **preset.settings}}
    parts = {
        "training": ({**training_of(card), **preset.training}, [other.training for other in card.presets]),
        "student": ({**PART_DEFAULTS["student"], **preset.student}, [other.student for other in card.presets]),
    }
    for part, (values, spoken) in parts.items():
        change |= {f"{part}.{name}": values[name] for name in sorted({name for one in spoken for name in one})}
    return change


def preset_in(card: MethodCard, values: Values, teacher: TeacherCard | None = None) -> str:
    """The preset whose values these are; empty where there is none."""
    for preset in card.presets:
        change = choose_preset(card, preset, teacher)
        if all(value_at(values, name) == value for name, value in change.items()):
            return preset.key
    return ""


def method_fields(card: MethodCard) -> list[Field]:
    """The settings of a method."""
    return fields_of(card.settings)


def problems(
    values: Values,
    catalogue: Catalogue,
    teacher: TeacherCard | None,
    refusal: str = "",
    candidates: Sequence[Candidate] = (),
) -> list[Problem]:
    """What is seen to be wrong with a recipe without asking the backend, in the order of the pages.

    teacher: what the recipe's teacher is, None while that is not known. refusal: why it cannot be used. candidates: the
    runs that it could start from.
    """
    found: list[Problem] = []
    card = catalogue.method(values["method"])
    if not str(values["teacher"] or "").strip():
        found.append(Problem("teacher", "teacher", "No teacher is chosen; choose one, or name a folder."))
    elif refusal:
        found.append(Problem("teacher", "teacher", refusal))
    if card is not None:
        found += _refused(values, card, teacher)
        found += _data_problems(values, catalogue, card, teacher)
        found += _prompt_problems(values, teacher)
        found += _setting_problems(values, card)
    else:
        broken = {fault.key: fault.error for fault in catalogue.broken_methods}
        words = f"The method {values['method']} is not there; choose another."
        if values["method"] in broken:
            words = broken_words(values["method"], broken[values["method"]])
        found.append(Problem("method", "method", words))
    for name, value in values["training"].items():
        field = TRAINING_FIELDS.get(name)
        words = field.problem(value) if field else f"{label_of(name)} is unknown here; leave it out."
        if words:
            found.append(Problem("compute" if name in COMPUTE else "training", f"training.{name}", words))
    found += _device_problems(values, catalogue)
    for part, fields in PARTS.items():
        wrong = {name: field.problem(values[part].get(name, field.default)) for name, field in fields.items()}
        found += [Problem(PART_PAGES[part], f"{part}.{name}", words) for name, words in wrong.items() if words]
    try:
        Student(start=values["student"].get("start"))
    except ValueError:
        words = "The start of the student names no checkpoint; choose one of the runs, or the teacher's weights."
        found.append(Problem("student", "student.start", words))
        return found
    return found + _start_problems(values, candidates)


def refusal_of(card: MethodCard, teacher: TeacherCard | None) -> str:
    """Why a method cannot be used with a teacher and its own defaults; empty where it can, or nothing is known yet."""
    lacking = card.refusal(teacher) if teacher is not None else None
    if teacher is None or lacking is None:
        return ""
    words = f"{teacher.title} has no {lacking}, which {card.title} needs with its defaults; "
    return words + "choose another method, another teacher, or other settings."


def broken_words(key: str, error: str) -> str:
    """What is said of a method whose file does not load."""
    return f"The method {key} does not load ({error}); choose another."


def _refused(values: Values, card: MethodCard, teacher: TeacherCard | None) -> list[Problem]:
    """That the chosen method refuses the teacher, while its settings are those of which that is known."""
    words = refusal_of(card, teacher)
    plain = defaults_of(card) | guidance_for(card, teacher)
    own = {name: values["settings"].get(name, value) for name, value in plain.items()}
    return [Problem("method", "method", words)] if words and own == plain else []


def _data_problems(
    values: Values, catalogue: Catalogue, card: MethodCard, teacher: TeacherCard | None
) -> list[Problem]:
    data = values["data"]
    if "real data" not in card.needs_with(values["settings"]):
        return []
    if data == "" or (data is None and teacher is not None and not teacher.data):
        words = f"{card.title} needs real data with these settings; choose a folder of pictures."
        return [Problem("data", "data", words)]
    known = [one.key for one in catalogue.data] + ([teacher.data] if teacher is not None else [])
    path = Path(data or "").expanduser()
    if data and data not in known and not (path.is_dir() or is_zip(path)):
        return [Problem("data", "data", f"{data} is no folder and no zip; choose one that holds pictures.")]
    return []


def _prompt_problems(values: Values, teacher: TeacherCard | None) -> list[Problem]:
    prompts = values.get("prompts")
    if not prompts:
        return []
    if teacher is not None and teacher.condition != "text":
        words = f"{teacher.title} takes no prompts, so {prompts} would not be used; leave the field empty."
    elif prompts in BUNDLED_PROMPTS:
        return []
    elif not (path := Path(prompts).expanduser()).is_file():
        words = f"{prompts} is no file; choose a text file with one prompt a line."
    else:
        now = path.stat()
        words = _prompts_wrong(path, now.st_size, now.st_mtime_ns)
    return [Problem("data", "prompts", words)] if words else []


@lru_cache(maxsize=8)
def _prompts_wrong(path: Path, *_state: int) -> str:
    """Why a file's prompts cannot be used, empty where they can; read again only where the file has changed."""
    try:
        read_prompts(path)
    except UserError as error:
        return str(error)
    return ""


def _setting_problems(values: Values, card: MethodCard) -> list[Problem]:
    known = {field.name: field for field in method_fields(card)}
    found = []
    for name, value in values["settings"].items():
        if name in known:
            words = known[name].problem(value)
        else:
            close = get_close_matches(name, known, n=1)
            words = f"{name} is unknown here; " + (f"did you mean {close[0]}?" if close else "leave it out.")
        if words:
            found.append(Problem("method", f"settings.{name}", words))
    return found


def _start_problems(values: Values, candidates: Sequence[Candidate]) -> list[Problem]:
    """Adapters mean something on the weights they were trained on alone."""
    start = Student(start=values["student"].get("start")).start_checkpoint()
    earlier = next((one for one in candidates if start is not None and one.run == start[0]), None)
    if earlier is None or not earlier.kind == values["student"].get("kind") == "lora":
        return []
    if in_full(earlier.teacher) == in_full(values["teacher"]):
        return []
    words = f"Run {earlier.run}'s student is adapters on another teacher, {earlier.teacher}; choose a run of this one."
    return [Problem("student", "student.start", words)]


def _device_problems(values: Values, catalogue: Catalogue) -> list[Problem]:
    device = values["training"].get("device")
    if device in ("cuda", "mps") and catalogue.devices and all(found.kind != device for found in catalogue.devices):
        words = f"This machine has no {device} device; choose cpu or auto."
        return [Problem("compute", "training.device", words)]
    return []


def page_of(field: str) -> PageKey:
    """The page that holds a value of the recipe, by its dotted name; the last where no page does."""
    part, _, name = field.partition(".")
    if part in ("teacher", "method"):
        return "teacher" if part == "teacher" else "method"
    if part == "training":
        return "compute" if name in COMPUTE else "training"
    pages: dict[str, PageKey] = {"data": "data", "prompts": "data", "settings": "method", **PART_PAGES}
    return pages.get(part, "review")


def found_by_check(answer: Mapping[str, Any]) -> list[Problem]:
    """What preflight found, each with the page that holds its field."""
    return [
        Problem(page_of(one["field"]), one["field"], one["words"], one["kind"] == "problem")
        for one in answer["findings"]
    ]


def differences(values: Values, catalogue: Catalogue) -> list[Difference]:
    """What is not its default, page by page."""
    found: list[Difference] = []
    card = catalogue.method(values["method"])
    if card is not None:
        defaults = defaults_of(card)
        for field in method_fields(card):
            value = values["settings"].get(field.name)
            if value != defaults.get(field.name):
                default = field.show(defaults.get(field.name))
                found.append(Difference("method", field.label, field.show(value), default))
    for part, fields in PARTS.items():
        for name, field in fields.items():
            value, plain = values[part].get(name), PART_DEFAULTS[part][name]
            if value != plain:
                found.append(Difference(PART_PAGES[part], field.label, field.show(value), field.show(plain)))
    suited = training_of(card)
    for name, field in TRAINING_FIELDS.items():
        value = values["training"].get(name)
        if value != suited[name]:
            page: PageKey = "compute" if name in COMPUTE else "training"
            found.append(Difference(page, field.label, field.show(value), field.show(suited[name])))
    return found
