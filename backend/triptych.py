"""What training sees, as pictures: the student's samples, noised, and what teacher and fake score make of them.

For a fixed small set of noise levels, one row of pictures for each view. It has generators of its own and leaves
training's random state alone. It costs (student's NFE + 2 per level) evaluations of `PICTURES` samples, a guided
teacher counting twice: for a one-step student 110 of them, about a fifth of what a scored preview of 540 takes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from backend import pictures
from backend.networks import Condition
from backend.networks.denoiser import Denoiser, Guided
from backend.noise import Path, per_sample
from backend.samplers import Sampler, normal, sample, times
from backend.train import Run

PICTURES = 10
POINTS = 2000
SHARES = (0.2, 0.4, 0.6, 0.8, 0.95)
"""Of noise in what the networks see, sigma / (alpha + sigma); from where only details are open to where all is."""
SAMPLES_SEED = 7
NOISE_SEED = 13
TILE_PIXELS = 128
"""Larger pictures are made smaller: twenty rows of ten at full size would fill a disk."""


@dataclass(frozen=True)
class Row:
    """One view at one noise level. kind: one of `rows.VIEWS`. position: of the level, from 0. t: the level."""

    kind: str
    position: int
    t: float
    image: Image.Image


def levels(path: Path) -> tuple[float, ...]:
    """The times t at which noise has the `SHARES`, on any path; those that the path does not reach are left out."""
    ratios = torch.tensor([share / (1 - share) for share in SHARES], dtype=torch.float64)
    ends = path.ratio(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
    return tuple(path.t_of_ratio(ratios[(ratios > ends[0]) & (ratios < ends[1])]).tolist())


@torch.no_grad()
def triptych(run: Run) -> Iterator[Row]:
    """Every view at every level, level by level; nothing of samples that cannot be drawn (volumes, vectors not in 2-D).

    The teacher is the method's own, with its guidance, because that is whom the student follows; where each sample has
    its own, with the one that the student is told, or else at which the teacher is meant to be sampled.
    """
    teacher = getattr(run.nets, "teacher", run.teacher.denoiser)
    if isinstance(teacher, Guided) and teacher.scale is None:
        told = run.sampler.guidance
        teacher = Guided(teacher.denoiser, run.teacher.guidance_scale if told is None else told)
    fake_score = getattr(run.nets, "fake_score", None)
    show = _how_to_show(run.student.shape)
    if show is None or not isinstance(teacher, Denoiser | Guided):
        return
    generator = torch.Generator().manual_seed(SAMPLES_SEED)
    count = POINTS if len(run.student.shape) == 1 else PICTURES
    cond = run.teacher.each_condition(count).to(run.device)
    noise = normal((count, *run.student.shape), generator, run.device)
    x = sample(run.exported, run.sampler, noise, cond, generator)
    noise = normal(tuple(x.shape), torch.Generator().manual_seed(NOISE_SEED), run.device)
    for position, level in enumerate(levels(teacher.path)):
        t = times(level, x)
        noised = teacher.path.noised(x, noise, t)
        size = (teacher.path.alpha(t).square() + teacher.path.sigma(t).square()).sqrt()
        views = {
            "student_view": x,
            # In units in which it can be shown: on the variance exploding path noise is up to 80 times the data.
            "noised_view": noised / per_sample(size, noised),
            "teacher_view": teacher(noised, t, cond).x0,
        }
        if isinstance(fake_score, Denoiser):
            views["fake_score_view"] = fake_score(noised, t, _within_step(fake_score, run.sampler, level, cond, x)).x0
        for kind, seen in views.items():
            yield Row(kind, position, level, show(run.teacher.codec.decode(seen)))


def _within_step(net: Denoiser, sampler: Sampler, level: float, cond: Condition, like: Tensor) -> Condition:
    """The condition as a fake score takes it that is told how long the student's steps are: the one around a level."""
    if "step_length" not in net.inputs:
        return cond
    ends = (*sampler.levels, 0.0)
    begin = max((k for k in range(sampler.nfe) if ends[k] >= level), default=0)
    return cond.with_part("step_length", times(ends[begin] - ends[begin + 1], like))


def _how_to_show(shape: tuple[int, ...]) -> Callable[[Tensor], Image.Image] | None:
    if shape == (2,):
        return pictures.scatter
    return _row if len(shape) == 3 else None


def _row(samples: Tensor) -> Image.Image:
    tiles = [pictures.picture(one) for one in samples]
    for tile in tiles:
        tile.thumbnail((TILE_PIXELS, TILE_PIXELS))
    return pictures.tile(tiles, columns=len(tiles))
