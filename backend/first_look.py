"""What is wrong with a recipe that files alone show: said before torch is imported, which takes seconds.

Less is looked at than in `preflight`, which comes after it: the teacher's folder, the prompts, the pictures.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from backend.contract import catalogue
from backend.contract.checked import Finding
from backend.contract.errors import UserError
from backend.contract.recipe import Recipe
from backend.picture_files.usable import refuse_useless
from backend.resources import BUNDLED_DATA
from backend.teachers import BUNDLED, quick
from backend.teachers.prompt_lists import named

T = TypeVar("T")


def problems(
    teacher: str | None,
    prompts: str | None,
    data: str | None = None,
    method: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """A sentence for each part that cannot be used; none for what only a closer look can judge."""
    found = []

    def look(field: str, where: str | None, at: Callable[[str], T]) -> T | None:
        if where:
            try:
                return at(where)
            except UserError as error:
                found.append(Finding(field, str(error)))
        return None

    card = look("teacher", _on_disk(teacher), quick.card)
    look("prompts", prompts, named)
    pictures = data if _uses_data(method, settings or {}) and data not in BUNDLED_DATA else None
    captioned, classes = (card.condition == "text", card.labels) if card is not None else (False, ())
    look("data", pictures, lambda where: refuse_useless(Path(where), captioned, classes))
    return found


def problems_of(
    recipe: Path, teacher: str | None = None, prompts: str | None = None, data: str | None = None
) -> list[Finding]:
    """The same of a recipe's file, where it can be read; what is given beside it comes first."""
    try:
        asked = Recipe.from_json(recipe.read_bytes())
    except (OSError, UserError):
        return []  # said in full where the recipe is read
    chosen = (teacher or asked.teacher, prompts or asked.prompts, data or asked.data)
    return problems(*chosen, asked.method, asked.settings)


def _uses_data(method: str | None, settings: Mapping[str, Any]) -> bool:
    """Whether the method looks at real data with these settings; False where no kept catalogue says so."""
    made = catalogue.load_cached(catalogue.default_key())
    card = made.method(method) if made is not None and method is not None else None
    return card is not None and "real data" in card.needs_with({**card.defaults, **settings})


def _on_disk(teacher: str | None) -> str:
    """The teacher where files show what it is: not one of mathematics, nor one that the hub may have."""
    if teacher is None or teacher.partition(":")[0] == "mixture-2d":
        return ""
    return teacher if teacher in BUNDLED or Path(teacher).expanduser().exists() else ""
