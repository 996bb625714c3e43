"""Teacher and students side by side, from the same noise and conditions; as one picture, or as parts that a window
lays out itself."""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from backend import judge, pictures
from backend.acceleration import Acceleration, refuse
from backend.assembly import Student
from backend.contract.errors import UserError, unknown
from backend.evaluate import latency
from backend.networks.codec import to_uint8
from backend.progress import Progress, Report
from backend.samplers import Denoises, Sampler, teacher_sampler
from backend.teachers import Teacher
from backend.teachers.mixture_2d import Mixture

COLUMNS = 10
ROWS = 4
POINTS = 4000
DENSITY_CELLS = 256  # along each side of the grid on which a closed form's density is written
SLOW_SECONDS = 10.0  # a grid that takes longer is drawn once and not timed again
FORM = 3  # of the index of parts


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a comparison.

    run, step: of a student's checkpoint; None for the teacher. seconds: per image, at batches of one grid. samples:
    (N, ...) on the CPU, from the noise and conditions that every side has. plain: of an accelerated side the same
    without acceleration.
    """

    name: str
    run: int | None
    step: int | None
    nfe: int
    seconds: float
    samples: Tensor
    plain: "Side | None" = None

    @cached_property
    def image(self) -> Image.Image:
        """Its samples as one picture."""
        return pictures.sheet(self.samples, COLUMNS, pictures.GAP)


def sides(
    students: Sequence[tuple[str, Student]],
    teacher_nfe: int = judge.TEACHER_NFE,
    seed: int = judge.PREVIEW_SEED,
    report: Report = lambda words: None,
    accelerations: Sequence[Acceleration] = (),
    only: Sequence[str] = (),
) -> list[Side]:
    """The first student's teacher at each NFE that a student has, the named students, and that teacher in full: the
    same noise and conditions for each. accelerations: of what it suits (`Acceleration.suits`), the teacher's in full
    alone, each once more. only: see `places`. Raises `UserError`, before anything is drawn, where the
    students' samples are of different kinds or something cannot be accelerated so."""
    teacher = students[0][1].teacher
    refuse_other_kinds([(name, student.teacher) for name, student in students])
    shown = places(teacher, only)
    few = dict.fromkeys(student.sampler.nfe for _, student in students)
    own = [_Way(name, student, student.sampler.nfe) for name, student in students]
    whole = _Way("Teacher", None, teacher_nfe)
    used = [(way, way.student.sampler if way.student else teacher_sampler(way.nfe)) for way in (*own, whole)]
    quick = [
        _Way(way.name, way.student, way.nfe, how, way)
        for how in accelerations
        for way, sampler in used
        if how.suits(sampler)
    ]
    for way in quick:
        assert way.how is not None
        refuse(way.student.denoiser if way.student else teacher.guided, way.how)
    ways = [*(_Way("Teacher", None, nfe) for nfe in few), *own, *quick, whole]
    made: dict[int, Side] = {}
    progress = Progress(sum(way.nfe for way in ways), report)
    for number, way in enumerate(ways, 1):
        progress.say(f"{number} of {len(ways)}: {way.words}")
        made[id(way)] = way.drawn(teacher, seed, shown)
        progress.add(way.nfe)
    return [replace(made[id(way)], plain=made[id(way.plain)] if way.plain else None) for way in ways]


@dataclass(frozen=True)
class _Way:
    """How samples are drawn. student: None for the teacher. plain: of an accelerated way the same without."""

    name: str
    student: Student | None
    nfe: int
    how: Acceleration | None = None
    plain: "_Way | None" = None

    @property
    def words(self) -> str:
        return f"{self.name}, {self.nfe} NFE" + (f", {self.how}" if self.how else "")

    def drawn(self, teacher: Teacher, seed: int, shown: Sequence[int]) -> Side:
        one = self.student
        if one is None:
            found = _drawn(teacher.guided, teacher_sampler(self.nfe), teacher, seed, shown, self.how)
            return Side(self.words, None, None, self.nfe, *found)
        found = _drawn(one.denoiser, one.sampler, one.teacher, seed, shown, self.how)
        return Side(self.words, one.run, one.step, self.nfe, *found)


def refuse_other_kinds(teachers: Sequence[tuple[str, Teacher]]) -> None:
    """Raises `UserError` where the runs of these names have teachers of other samples or classes than the first."""
    for name, teacher in teachers[1:]:
        _refuse_another_kind(*teachers[0], name, teacher)


def _refuse_another_kind(first: str, teacher: Teacher, name: str, other: Teacher) -> None:
    if teacher.denoiser.shape != other.denoiser.shape:
        theirs, ours = ("x".join(map(str, t.denoiser.shape)) for t in (other, teacher))
        what = f"samples of shape {theirs} and {first} of {ours}"
    elif teacher.labels != other.labels:
        what = f"{len(other.labels)} classes and {first} {len(teacher.labels)}, or classes of other names"
    elif teacher.each_prompt(COLUMNS * ROWS) != other.each_prompt(COLUMNS * ROWS):
        what = f"other prompts than {first}"
    else:
        return
    raise UserError(
        f"{name} has {what}, so they cannot have the same noise and conditions; compare runs of one teacher."
    )


def _drawn(
    net: Denoises, sampler: Sampler, teacher: Teacher, seed: int, shown: Sequence[int], how: Acceleration | None
) -> tuple[float, Tensor]:
    """Seconds per image, and the samples."""
    cond = teacher.condition_of(torch.tensor(shown))
    made: list[Tensor] = []

    def make(size: int) -> None:
        made[:] = [judge.draw(net, sampler, teacher, cond[slice(size)], seed, how)]

    count = len(cond)
    seconds = latency(make, [count], repeats=1, warm_up=0)[count]
    if seconds * count < SLOW_SECONDS:  # else what a first call takes longer no longer counts, and a person waits
        seconds = latency(make, [count], repeats=3, warm_up=0)[count]
    return seconds, made[0].cpu()


def places(teacher: Teacher, only: Sequence[str] = ()) -> list[int]:
    """By its number the class or prompt of each sample of a side, row by row: all of them in turn.

    only: prompts or names of classes; then these alone, one after the other, so that the rows of a grid tell them apart
    and its columns the noise. Raises `UserError` where the teacher has no such prompt or class, or they are more than
    there are pictures.
    """
    names, count = teacher.prompts or teacher.labels, _count(teacher)
    if not only:
        return [place % max(len(names), 1) for place in range(count)]
    kind = "prompt" if teacher.prompts else "class"
    if not names or _makes_points(teacher):
        raise UserError(f"{teacher.title} takes neither classes nor prompts; leave {', '.join(only)} out.")
    for name in only:
        if name not in names:
            raise UserError(unknown(kind, name, names))
    if len(only) > count:
        raise UserError(f"{len(only)} are to be shown, and a comparison has {count} pictures; leave some out.")
    return [names.index(only[place * len(only) // count]) for place in range(count)]


def _count(teacher: Teacher) -> int:
    return POINTS if _makes_points(teacher) else COLUMNS * ROWS


def _makes_points(teacher: Teacher) -> bool:
    return len(teacher.denoiser.shape) == 1


def sheet(shown: Sequence[Side]) -> Image.Image:
    """The sides in one picture."""
    return pictures.comparison([(side.name, side.image) for side in shown])


def distances(samples: Tensor, reference: Tensor) -> list[float]:
    """How far each sample lies from its counterpart, (N, ...) both: pictures by the mean absolute difference of their
    values, from 0 (the same) to 1 (black against white); points by the length between them, in data units."""
    if samples.ndim == 2:
        return (samples.float() - reference.float()).norm(dim=1).tolist()  # type: ignore[no-any-return]
    difference = (to_uint8(samples).float() - to_uint8(reference).float()).abs()
    return (difference.flatten(1).mean(1) / 255).tolist()


def describe(shown: Sequence[Side]) -> list[dict[str, Any]]:
    """What is said of each side, as data; the last is the teacher in full, with which each is compared.

    speed_up: how many times faster than that. distance: of its samples from those of `distance_from`, see `distances`;
    null where the student has diverged. distance_from: "plain" where it is accelerated, its own without that, else
    "teacher", the teacher in full.
    """
    full = shown[-1]
    rows: list[dict[str, Any]] = []
    for side in shown:
        distance = distances(side.samples, (side.plain or full).samples)
        mean = math.fsum(distance) / len(distance)
        rows.append(
            {
                "name": side.name,
                "run": side.run,
                "step": side.step,
                "nfe": side.nfe,
                "seconds_per_image": side.seconds,
                "speed_up": full.seconds / side.seconds,
                "distance": mean if math.isfinite(mean) else None,
                "distance_from": "plain" if side.plain else "teacher",
            }
        )
    return rows


def conditions(teacher: Teacher, only: Sequence[str] = ()) -> dict[str, Any] | None:
    """What the pictures of every side answer, in the order of `Side.samples`, so row by row in a grid of `COLUMNS`.

    kind: "prompt" or "class". names: of each picture. None where the teacher takes neither, and for points. only: see
    `places`.
    """
    names = teacher.prompts or teacher.labels
    if _makes_points(teacher) or not names:
        return None
    kind = "prompt" if teacher.prompts else "class"
    return {"kind": kind, "names": [names[place] for place in places(teacher, only)]}


def write_parts(shown: Sequence[Side], teacher: Teacher, seed: int, folder: Path, only: Sequence[str] = ()) -> None:
    """Every side's samples as files of their own, and `index.json`, which is written last: where it is, all is.

    Pictures are one PNG for each sample; points one (N, 2) float32 array, and where the exact density is known, that
    on a grid whose first row is the lowest, with its extent (left, right, bottom, top) in data units.
    """
    index = folder / "index.json"
    index.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    points = _makes_points(teacher)
    rows = []
    for number, (side, about) in enumerate(zip(shown, describe(shown), strict=True)):
        place = folder / f"side-{number}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        files = _write_points(side.samples, place) if points else _write_pictures(side.samples, place)
        whole = distances(side.samples, (side.plain or shown[-1]).samples)
        each = [value if math.isfinite(value) else None for value in whole]
        own = [f"{place.name}/{name}" for name in files]
        rows.append(about | {"files": own, "distances": [] if points else each})
    found = {
        "form": FORM,
        "kind": "points" if points else "pictures",
        "seed": seed,
        "teacher": teacher.title,
        "columns": COLUMNS,
        "conditions": conditions(teacher, only),
        "sides": rows,
        "density": _write_density(teacher.draws, folder) if isinstance(teacher.draws, Mixture) else None,
    }
    unfinished = folder / ".index.unfinished"
    unfinished.write_text(json.dumps(found, indent=1, allow_nan=False), encoding="utf-8")
    unfinished.replace(index)


def _write_pictures(samples: Tensor, place: Path) -> list[str]:
    names = [f"{position:03d}.png" for position in range(len(samples))]
    for name, sample in zip(names, samples, strict=True):
        (place / name).write_bytes(pictures.png(pictures.picture(sample)))
    return names


def _write_points(samples: Tensor, place: Path) -> list[str]:
    np.save(place / "points.npy", samples.detach().float().numpy())
    return ["points.npy"]


def _write_density(exact: Mixture, folder: Path) -> dict[str, Any]:
    reach = pictures.SCATTER_REACH
    centres = ((torch.arange(DENSITY_CELLS, dtype=torch.float64) + 0.5) / DENSITY_CELLS * 2 - 1) * reach
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    at = torch.stack([x.flatten(), y.flatten()], 1)
    one, none = torch.ones(len(at), dtype=torch.float64), torch.zeros(len(at), dtype=torch.float64)
    density = exact.log_density(at, one, none).exp().reshape(DENSITY_CELLS, DENSITY_CELLS)
    np.save(folder / "density.npy", density.float().numpy())
    return {"file": "density.npy", "extent": [-reach, reach, -reach, reach]}
