"""Project files: made, copied, checked."""

from typing import Annotated

import typer

from backend import studio
from backend.commands import Json, Project, answer, say


def new(project: Project, as_json: Json = False) -> None:
    """Make an empty project."""
    path = studio.project_path(project)
    studio.new(path)
    answer({"project": str(path)}, as_json, lambda: print(path))


def copy(
    project: Project, to: Annotated[str, typer.Argument(help="The copy, NAME.distill.")], as_json: Json = False
) -> None:
    """Copy a project and its files, also while runs write into it: to take home from another machine."""
    target = studio.project_path(to)
    studio.copy(studio.project_path(project), target, say)
    answer({"project": str(target)}, as_json, lambda: print(target))


def check(project: Project, as_json: Json = False) -> None:
    """Check a project's database and files."""
    problems = studio.check(studio.project_path(project))
    answer({"problems": problems}, as_json, lambda: print("\n".join(problems) or "nothing is wrong"))
    if problems:
        raise typer.Exit(1)
