"""Teacher and student side by side, from the same noise and conditions."""

from dataclasses import dataclass

import torch
from PIL import Image

from backend import judge, pictures
from backend.assembly import Student
from backend.evaluate import latency
from backend.samplers import Denoises, Sampler, teacher_sampler

COLUMNS = 10
ROWS = 4
POINTS = 4000


@dataclass(frozen=True)
class Side:
    """One side of a comparison. seconds: per image, at batches of one grid."""

    name: str
    nfe: int
    seconds: float
    image: Image.Image


def sides(student: Student, teacher_nfe: int = judge.TEACHER_NFE, seed: int = judge.PREVIEW_SEED) -> list[Side]:
    """Teacher at the student's NFE, student, teacher in full: the same noise and conditions for each."""
    teacher = student.teacher
    few = student.sampler.nfe
    shown = [
        (f"Teacher, {few} NFE", teacher.denoiser, teacher_sampler(few)),
        (f"Student, {few} NFE", student.denoiser, student.sampler),
        (f"Teacher, {teacher_nfe} NFE", teacher.denoiser, teacher_sampler(teacher_nfe)),
    ]
    return [_side(name, net, sampler, student, seed) for name, net, sampler in shown]


def _side(name: str, net: Denoises, sampler: Sampler, student: Student, seed: int) -> Side:
    count = POINTS if len(student.denoiser.shape) == 1 else COLUMNS * ROWS
    cond = student.teacher.each_condition(count)

    def make(size: int) -> torch.Tensor:
        return judge.draw(net, sampler, student.teacher, cond[slice(size)], seed)

    seconds = latency(make, [count], repeats=3, warm_up=1)[count]
    return Side(name, sampler.nfe, seconds, pictures.sheet(make(count), COLUMNS))


def sheet(shown: list[Side]) -> Image.Image:
    """The sides in one picture."""
    return pictures.comparison([(side.name, side.image) for side in shown])
