"""Consistency distillation: Consistency Models, arXiv:2303.01469, algorithm 2.

Two neighbouring points of one teacher trajectory must lead to the same start. A real sample is noised, the teacher's
solver takes one small step towards the data, and the student at the first point learns what a moving average of
itself (the target) says at the second. At the least noise the answer is the point itself, and from there it spreads.
Without a solver the sample itself says where the trajectory leads: consistency training, with free steps Easy
Consistency Tuning (arXiv:2406.14548).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor

from backend import losses
from backend.boundary import FEWEST_POINTS, euler, first_level, growing, led_to_start, nearer, neighbours
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Denoiser, Guided
from backend.optimizers import adams
from backend.samplers import Sampler, heun, student_levels
from backend.teachers import Teacher

SMALLEST_GAP = 1e-3  # in sigma/alpha, where a step has hardly any length


class Settings(BaseSettings):
    student_steps: int = setting(1, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    discretisation: int = setting(
        40, "Points of the time grid; few are biased, many are slow to learn", low=3, high=1000, unit="points"
    )
    curriculum: Literal["fixed", "growing", "shrinking gap"] = setting(
        "fixed",
        "Whether the grid stays; grows from few points to these, which is quick and then exact; or gives way to steps "
        "of free length that halve eight times",
    )
    target_ema: float = setting(0.95, "Share of the target kept at each step; 0 is unstable", low=0, high=0.9999)
    solver: Literal["heun", "euler", "data"] = setting(
        "heun", "How the teacher steps: heun takes two evaluations, euler one; data needs none and is noisier"
    )
    distance: Literal["l2", "pseudo-huber"] = setting(
        "l2", "Between student and target; pseudo-huber gives single large errors less weight"
    )
    embedding_weight: float = setting(
        0.0, "Weight of the mean difference from real data in random features; 0 leaves it out", low=0, high=1
    )
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    first_level: FirstLevel = 0.0

    @model_validator(mode="after")
    def _guidance_is_the_teachers(self) -> Self:
        if self.solver == "data" and self.guidance_scale != 1:
            raise ValueError(
                f"guidance_scale is {self.guidance_scale:g}, but no guidance is learnt from data; set it to 1, or "
                "solver to heun."
            )
        return self


@dataclass
class Nets:
    teacher: Guided
    student: Denoiser
    target: Denoiser


def build(teacher: Teacher, s: Settings) -> Nets:
    student = teacher.trainable()
    return Nets(Guided(teacher.denoiser, s.guidance_scale), student, student.copy().requires_grad_(False))


optimizers = adams()


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("renoise", student_levels(net.path, s.student_steps, first_level(s.first_level, net)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    x0, cond = batch.real
    path = nets.student.path
    t, t_next = step_ends(batch, nets.student, s)
    noise = batch.noise()
    noised = path.noised(x0, noise, t)
    with torch.no_grad():
        if s.solver == "data":
            reached = path.noised(x0, noise, t_next)
        else:
            reached = {"heun": heun, "euler": euler}[s.solver](nets.teacher, noised, t, t_next, cond)
        answer = led_to_start(nets.target, reached, t_next, cond)
    made = led_to_start(nets.student, noised, t, cond)
    terms = {"consistency": distance(made, answer, path.ratio(t) - path.ratio(t_next), s)}
    if s.embedding_weight:
        terms["embedding"] = s.embedding_weight * losses.embedding(made, cond, x0, cond, batch.generator)
    now = {} if s.curriculum == "fixed" else {"step_length": (t - t_next).mean()}
    yield Update(nets.student, terms, now, sample=made)
    losses.ema_update(nets.target, nets.student, target_ema(batch.step, batch.total, s))


def step_ends(batch: Batch, net: Denoiser, s: Settings) -> tuple[Tensor, Tensor]:
    """Times of two neighbours on a trajectory, (B,) each, the noisier first."""
    first = first_level(s.first_level, net)
    if s.curriculum != "shrinking gap":
        return neighbours(batch, grid_points(batch.step, batch.total, s), first)
    t = batch.times(0.0, first)
    return t, torch.minimum(net.path.t_of_ratio(nearer(net.path.ratio(t), batch.step, batch.total)), t)


def grid_points(step: int, total: int, s: Settings) -> int:
    """Points of the grid at `step` (from 0) of `total`."""
    return s.discretisation if s.curriculum == "fixed" else growing(step, total, s.discretisation)


def target_ema(step: int, total: int, s: Settings) -> float:
    """Share of the target kept: with few points less, as errors then have fewer steps to pass (app. C)."""
    if s.curriculum != "growing":
        return s.target_ema
    share: float = s.target_ema ** (FEWEST_POINTS / grid_points(step, total, s))
    return share


def distance(x: Tensor, y: Tensor, gap: Tensor, s: Settings) -> Tensor:
    """Scalar; l2 is the mean square, c of pseudo-huber grows with the sample's size (arXiv:2310.14189, 3.3).

    gap: (B,), in sigma/alpha, by which steps of free length are divided, as what they differ by shrinks with it.
    """
    c = 0.00054 * x[0].numel() ** 0.5
    if s.curriculum != "shrinking gap":
        return (x - y).square().mean() if s.distance == "l2" else losses.pseudo_huber(x, y, c)
    errors = losses.sample_mean((x - y).square()) if s.distance == "l2" else losses.pseudo_hubers(x, y, c)
    return (errors / gap.clamp(min=SMALLEST_GAP).to(errors)).mean()


def cost(s: Settings) -> float:
    """Per step: the student's update, the target, and the teacher's evaluations, doubled by guidance."""
    return 3 + 1 + (2 if s.guidance_scale != 1 else 1) * {"heun": 2, "euler": 1, "data": 0}[s.solver]


METHOD = Method(
    title="Consistency distillation",
    paper="arXiv:2303.01469",
    family="consistency",
    summary="Every point of a teacher's trajectory learns to lead to its start; keeps the map from noise to image.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    accumulates=lambda s: not s.embedding_weight,  # means over the whole batch are compared
    followers=("target",),
    training={"steps": 2000, "batch_size": 48, "ema_decay": 0.995, "gradient_clip": 10.0},
    presets={
        "one-step": Preset("One step", "One network evaluation for a picture."),
        "two-steps": Preset(
            "Two steps", "Two network evaluations for a picture, with noise between them.", {"student_steps": 2}
        ),
        "growing": Preset(
            "Growing grid",
            "Few points at first, through which the start spreads quickly, and many at the end, which are exact.",
            {"curriculum": "growing", "discretisation": 150},
        ),
        "from-data": Preset(
            "From data (ECT)",
            "The sample itself in place of the teacher, where the student only starts: cheap steps, and noisier.",
            {"solver": "data", "curriculum": "shrinking gap", "distance": "pseudo-huber", "target_ema": 0.0},
        ),
        "short": Preset(
            "Cheaper steps", "One evaluation for a teacher's step, less exact than two.", {"solver": "euler"}
        ),
    },
    notes=(
        "The boundary is the student's own jump to the least noise instead of c_skip and c_out; the distance is never "
        "LPIPS; the grid is even in t on every path, as times of free steps are, and networks run without dropout."
    ),
)
