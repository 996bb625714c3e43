"""Which prompts a teacher is asked for: those a recipe names, else the teacher's own, else a few everyday ones."""

from pathlib import Path as FilePath

from backend.contract.errors import UserError
from backend.contract.prompts import PromptFile, read_prompts
from backend.resources import RESOURCES
from backend.teachers import TeacherError
from backend.teachers.layouts import Layout, words

LISTS = ("everyday",)
"""Bundled lists, by the names they have in recipes."""


def named(where: str) -> tuple[str, ...]:
    """The prompts of a bundled list or of a file. Raises `DataError` where it cannot be read or holds none."""
    return file_named(where).prompts


def file_named(where: str) -> PromptFile:
    """The same with how many lines were left out, and why."""
    return read_prompts(RESOURCES / "prompts" / f"{where}.txt" if where in LISTS else FilePath(where).expanduser())


def prompts_of(model: Layout) -> tuple[str, ...]:
    """The prompts in the file that `teacher.json` names beside it; `everyday` where it names none."""
    name = words(model.about, "prompts")
    if name is None:
        return named("everyday")
    if FilePath(name).name != name:
        raise TeacherError("teacher.json must name a file beside it in prompts; correct it.")
    try:
        return read_prompts(model.folder / name).prompts
    except UserError as error:
        raise TeacherError(f"teacher.json names prompts that cannot be used: {error}") from error
