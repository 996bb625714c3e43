"""What is wrong with a recipe that files alone show: said before torch is imported, which takes seconds.

Less is looked at than in `preflight`, which comes after it: the teacher's folder, the prompts.
"""

from pathlib import Path

from backend.contract.errors import UserError
from backend.contract.recipe import Recipe
from backend.teachers import BUNDLED, quick
from backend.teachers.prompt_lists import named


def problems(teacher: str | None, prompts: str | None) -> list[str]:
    """A sentence for each part that cannot be used; none for what only a closer look can judge."""
    found = []
    for where, look in ((_on_disk(teacher), quick.card), (prompts, named)):
        if where:
            try:
                look(where)
            except UserError as error:
                found.append(str(error))
    return found


def problems_of(recipe: Path, teacher: str | None = None, prompts: str | None = None) -> list[str]:
    """The same of a recipe's file, where it can be read; what is given beside it comes first."""
    try:
        asked = Recipe.from_json(recipe.read_bytes())
    except (OSError, UserError):
        return []  # said in full where the recipe is read
    return problems(teacher or asked.teacher, prompts or asked.prompts)


def _on_disk(teacher: str | None) -> str:
    """The teacher where files show what it is: not one of mathematics, nor one that the hub may have."""
    if teacher is None or teacher.partition(":")[0] == "mixture-2d":
        return ""
    return teacher if teacher in BUNDLED or Path(teacher).expanduser().exists() else ""
