"""Flow Straight and Fast (reflow), arXiv:2209.03003, and InstaFlow, arXiv:2309.06380.

A flow whose trajectories are straight needs one step. The teacher's trajectories are bent, but each joins one noise to
one sample: between the two the student learns the straight line, at all times, and where such lines cross it learns
their mean, which bends them away from each other. New pairs of the straightened student are straighter still. Last,
the first level alone is learnt (one-step distillation), for which a straight flow is the better start.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor

from backend import losses
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Denoiser
from backend.noise import Path, per_sample
from backend.optimizers import adams
from backend.samplers import Sampler, even_levels, initial, start_level, times
from backend.stores import pairs_level
from backend.teachers import Teacher

BEND = 4.0  # of the U-shaped density: its ends have cosh(2) = 3.8 times the weight of its middle


class Settings(BaseSettings):
    student_steps: int = setting(1, "Network evaluations of the finished student", low=1, high=64, unit="steps")
    distilled_share: float = setting(
        0.5, "Share of the training, its end, that learns the first level alone; 0 straightens only", low=0, high=1
    )
    times: Literal["uniform", "u-shaped"] = setting(
        "uniform", "Where on the line the student learns: evenly, or more at both its ends"
    )
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(
        1.0, "Guidance of the teacher that makes the pairs, folded into the student; 1 is none", low=1, high=20
    )
    first_level: FirstLevel = 0.0

    @model_validator(mode="after")
    def _distils_one_step_alone(self) -> Self:
        if self.distilled_share and self.student_steps > 1:
            raise ValueError(
                f"distilled_share is {self.distilled_share:g}, which makes a student of one step, and student_steps is "
                f"{self.student_steps}; set distilled_share to 0, or student_steps to 1."
            )
        return self


@dataclass
class Nets:
    student: Denoiser


def build(teacher: Teacher, s: Settings) -> Nets:
    return Nets(teacher.trainable())


optimizers = adams()


def sampler(s: Settings, net: Denoiser) -> Sampler:
    first = first_level(s, net)
    return Sampler("deterministic", tuple(first * level for level in even_levels(s.student_steps)))


def first_level(s: Settings, net: Denoiser) -> float:
    return net.path.on_grid(start_level(net, s.first_level))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    path, first = nets.student.path, first_level(s, nets.student)
    start, x0, cond = batch.pairs
    noise = line_end(path, first, start, x0)
    is_distilling = batch.step >= batch.total - round(s.distilled_share * batch.total)
    t = times(first, x0) if is_distilling else drawn_times(path, first, batch, s)
    prediction = nets.student(path.noised(x0, noise, t), t, cond)
    error = losses.flow_velocity_error(prediction, x0, noise)
    yield Update(nets.student, {"distillation" if is_distilling else "straightness": error.square().mean()})


def line_end(path: Path, first: float, start: Tensor, x0: Tensor) -> Tensor:
    """The noise that with x0, both (B, ...), makes at the first level exactly the state at which sampling starts.

    start: (B, ...) unit normal. It is `start` itself where alpha is 0 there, as at time 1 of a flow, and near it
    elsewhere: so that training meets the very states that sampling starts from.
    """
    t = times(first, x0)
    signal = per_sample(path.alpha(t), x0) * x0
    return (initial(start, path, first) - signal) / per_sample(path.sigma(t), x0)


def drawn_times(path: Path, first: float, batch: Batch, s: Settings) -> Tensor:
    """Times (B,) from 0 to the first level; rectified flow's own time, sigma/(alpha + sigma), is what is drawn."""
    u = batch.times()
    if s.times == "u-shaped":  # density proportional to cosh(BEND (u - 1/2)), by its inverse distribution
        u = 0.5 + torch.asinh((2 * u - 1) * math.sinh(BEND / 2)) / BEND
    most = path.sigma(times(first, u)) / (path.alpha(times(first, u)) + path.sigma(times(first, u)))
    return path.t_of_ratio(u * most / (1 - u * most)).clamp(max=first)


def cost(s: Settings) -> float:
    """Per step: the student's update alone. The pairs come once."""
    return 3


METHOD = Method(
    title="Straightening (reflow, InstaFlow)",
    paper="arXiv:2209.03003",
    family="flow",
    summary="Straightens the teacher's trajectories on pairs of their ends, then learns to go them in one step.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("pairs",),
    only_as_trained=lambda s: s.distilled_share > 0,
    meant_start=lambda s: "a straightened student, with pairs.source start" if s.distilled_share == 1 else "",
    pairs_from=lambda s, net: pairs_level(net),
    training={
        "steps": 3000,
        "batch_size": 48,
        "ema_decay": 0.99,
        "gradient_clip": 10.0,
        "learning_rate_schedule": "cosine",
    },
    presets={
        "one-step": Preset("One step", "Half of the training straightens, half distils into one step."),
        "straight": Preset(
            "Straight",
            "A student of four steps, which can be straightened again.",
            {"student_steps": 4, "distilled_share": 0.0},
        ),
        "two-steps": Preset(
            "Straight, two steps", "Straightened alone, for two steps.", {"student_steps": 2, "distilled_share": 0.0}
        ),
        "distil": Preset(
            "Distillation alone",
            "For a run that starts from a straightened student, on its pairs.",
            {"distilled_share": 1.0},
        ),
    },
    notes="Further rounds are runs that start from the run before, with pairs of their start. One run may straighten "
    "and then distil on the same pairs, where InstaFlow makes new ones; the distance is never LPIPS. The line ends at "
    "the state at which sampling starts, which on paths that keep some signal there differs from the noise.",
)
