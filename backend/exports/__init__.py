"""What a student becomes outside this program. One file format per file.

A format takes the trained denoiser with its sampler and writes files that plain diffusers or safetensors can open.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Literal, get_args

from backend.contract.errors import UserError
from backend.contract.recipe import Recipe

if TYPE_CHECKING:  # torch takes seconds, and refusing a format needs none of it
    from torch import Tensor

    from backend.networks import Condition, Denoiser
    from backend.samplers import Sampler
    from backend.teachers import Teacher

Format = Literal["diffusers", "safetensors", "lora"]
FORMATS: tuple[Format, ...] = get_args(Format)


class ExportError(UserError, ValueError):
    """The export cannot be written or checked; the message says in one sentence what is wrong and what to do."""


@dataclass(frozen=True)
class Measured:
    """One row of the card's table: whose samples, at how many network evaluations, and their figures by name."""

    who: str
    nfe: int
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Facts:
    """Where a student comes from: what the model card and the weights' metadata say of it.

    method, paper: as on the method's card. step: the checkpoint. teacher_digest: SHA-256 of the teacher's weights.
    labels: names of the classes, empty where there are none. measured_by: the feature network and the number of
    samples behind the figures, without which they mean nothing. picture: height and width of what it makes in pixels,
    where that is not the size of a sample. adapters: of a student with adapters how large these are, in words.
    data: the real data that the method learnt from, empty where it takes none.
    """

    title: str
    recipe: Recipe
    method: str
    paper: str
    step: int
    teacher: str
    teacher_digest: str
    licence: str
    labels: tuple[str, ...] = ()
    measured: tuple[Measured, ...] = ()
    measured_by: str = ""
    picture: tuple[int, int] | None = None
    adapters: str = ""
    data: str = ""


@dataclass(frozen=True)
class Promise:
    """What a single file must make in a fresh process: run `text`, which defines `sample(file, argument, seed)`.

    pictures: (B, C, H, W) in [-1, 1], the preview's.
    """

    text: str
    argument: int | list[int] | list[str]
    seed: int
    pictures: "Tensor"


@dataclass(frozen=True)
class Export:
    """A finished export: the folder or file, and the SHA-256 of each file in it by its relative path.

    digest: that of the weights. promise: of a single file. unchecked: why a single file makes no pictures that could be
    checked, a sentence; empty where it does.
    """

    path: FilePath
    format: Format
    hashes: Mapping[str, str]
    digest: str
    promise: Promise | None = None
    unchecked: str = ""


def sheet_pictures(shape: tuple[int, ...]) -> int:
    """How many pictures of this shape, (C, H, W), an export promises: fewer the longer one takes."""
    side = max(shape[1:], default=1)
    return next((count for least, count in ((512, 4), (128, 12)) if side >= least), 40)


def export(  # one call for every format, so that the command line needs no knowledge of them
    form: Format,
    student: "Denoiser",
    sampler: "Sampler",
    cond: "Condition",
    facts: Facts,
    out: FilePath,
    seed: int = 0,
    teacher: "Teacher | None" = None,
) -> Export:
    """Writes the student to `out`; `cond` and `seed` are of the sample sheet. Raises `ExportError`.

    teacher: whose text encoders and autoencoder go along; needed for students that are more than one network.
    """
    from backend.networks.routed import RoutedDenoiser  # noqa: PLC0415

    if isinstance(student, RoutedDenoiser):
        from backend.exports import students_folder  # noqa: PLC0415

        return students_folder.write(form, student, sampler, cond, facts, out, seed, teacher)
    if form in ("diffusers", "lora"):
        from backend.exports import diffusers_folder  # noqa: PLC0415

        return diffusers_folder.write(student, sampler, cond, facts, out, seed, teacher, alone=form == "lora")
    from backend.exports import safetensors_file  # noqa: PLC0415

    return safetensors_file.write(student, sampler, cond, facts, out, seed, teacher)
