"""SLAM: Accelerating Image Generation with Sub-path Linear Approximation Model, arXiv:2404.13903.

Latent consistency, but the student learns at points between the two ends of the teacher's step, mixed linearly in the
clean sample's scale, and is told where between them it is. Many points of each sub-path refine what is learnt of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from backend import losses
from backend.boundary import distance, first_level, start_of, step_ends
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, Method, Preset, StartLevel, Update
from backend.networks import Condition, Denoiser, Guided
from backend.networks.adapters import follower
from backend.noise import Path, per_sample
from backend.optimizers import adam
from backend.samplers import Sampler, jump, student_levels
from backend.teachers import Teacher


class Settings(BaseSettings):
    student_steps: int = setting(2, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    discretisation: int = setting(50, "Points of the time grid on which the student learns", low=2, high=1000)
    skip: int = setting(20, "How far one step of the teacher leads, of 1000 times: the sub-path", low=1, high=250)
    between: bool = setting(True, "Whether the student learns between a sub-path's ends; without, this is LCM")
    at_the_start: float = setting(
        0.8,
        "Share of the samples at a sub-path's start, where the finished student is asked; the others lie between",
        low=0,
        high=1,
    )
    mixing: Literal["quadrature", "linear"] = setting(
        "quadrature",
        "How much noise is taken to be between the ends: as of independent noises, or of one and the same",
        advanced=True,
    )
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    target_ema: float = setting(0.95, "Share of the target kept at each step", low=0, high=0.9999)
    distance: Literal["l2", "pseudo-huber"] = setting(
        "l2",
        "Between student and target; pseudo-huber, the paper's, gives small differences as much pull as large ones",
    )
    huber_offset: float = setting(1e-3, "Difference below which pseudo-huber is quadratic", low=1e-5, high=1)
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    first_level: StartLevel = setting(
        0.0, "Time t at which the student starts; 0 is the highest that suits the teacher", low=0, high=1, advanced=True
    )


@dataclass
class Nets:
    teacher: Guided
    student: Denoiser
    target: Denoiser


def build(teacher: Teacher, s: Settings) -> Nets:
    student = teacher.trainable().extended("sub_path")
    return Nets(Guided(teacher.denoiser, s.guidance_scale), student, follower(student))


def optimizers(nets: Nets, s: Settings) -> Mapping[str, Optimizer]:
    return {"student": adam(nets.student, s.learning_rate)}


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("renoise", student_levels(net.path, s.student_steps, first_level(s.first_level, net)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    x0, cond = batch.real
    path = nets.student.path
    t, t_next = step_ends(batch, s.discretisation, s.skip, first_level(s.first_level, nets.student))
    noised = path.noised(x0, batch.noise(), t)
    at_an_end = cond.with_part("sub_path", torch.zeros_like(t))
    with torch.no_grad():
        reached = jump(nets.teacher(noised, t, cond), path, t_next)
        answer = start_of(nets.target(reached, t_next, at_an_end).x0, reached, t_next)
    gamma = places(batch, t, s)
    point, sigma = on_the_sub_path(path, noised, t, reached, t_next, gamma, s.mixing)
    mine = start_of(x0_of(nets.student, point, t, sigma, cond.with_part("sub_path", 1 - gamma)), point, t)
    yield Update(nets.student, {"consistency": distance(mine, answer, s.distance, s.huber_offset)})
    losses.ema_update(nets.target, nets.student, s.target_ema)


def places(batch: Batch, t: Tensor, s: Settings) -> Tensor:
    """How far back from its step's end each point lies, (B,) like `t`, uniform in [0, 1] or 1, where the step starts.

    Target and sampler ask at 1 alone. Of uniform draws none is there, and what is wrong with the student at this edge
    becomes the next sub-path's answer, and grows with every one of them. On digits, 900 steps with a share of 0.5, 0.8
    and 1 at the start gave a Frechet distance of 0.43, 0.27 and 0.32; the paper's choices, with pseudo-huber, 3.5.
    """
    start = torch.ones_like(t)
    if not s.between:
        return start
    return torch.where(batch.times() < s.at_the_start, start, batch.times())


def on_the_sub_path(
    path: Path, noised: Tensor, t: Tensor, reached: Tensor, t_next: Tensor, gamma: Tensor, mixing: str
) -> tuple[Tensor, Tensor]:
    """The point (B, ...) at share gamma (B,) of the way back from `reached` to `noised`, and its noise sigma (B,).

    Both ends are in the scale of `noised`: the point is alpha(t) x0 + sigma noise. In quadrature (the published code)
    the ends' noises count as independent; mixed linearly they are the same, as they are in a deterministic step.
    """
    scale = path.alpha(t) / path.alpha(t_next)
    here, there = path.sigma(t), scale * path.sigma(t_next)
    point = per_sample(gamma, noised) * noised + per_sample((1 - gamma) * scale, reached) * reached
    if mixing == "linear":
        return point, gamma * here + (1 - gamma) * there
    return point, torch.where(gamma == 1, here, (there**2 + gamma**2 * (here**2 - there**2)).sqrt())


def x0_of(net: Denoiser, point: Tensor, t: Tensor, sigma: Tensor, cond: Condition) -> Tensor:
    """The clean sample that `net`, asked at times t, means where the point's noise is sigma (B,) and not the path's."""
    x0: Tensor = net(point, t, cond).with_sigma(sigma).x0
    return x0


def cost(s: Settings) -> float:
    """Per step: the student's update, the target, and the teacher's one evaluation, doubled by guidance."""
    return 3 + 1 + (2 if s.guidance_scale != 1 else 1)


METHOD = Method(
    title="Sub-path linear approximation (SLAM)",
    paper="arXiv:2404.13903",
    family="consistency",
    summary="Latent consistency that also learns between the two ends of each of the teacher's steps; best at 2 to 4.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    inputs=lambda s: ("sub_path",),
    followers=("target",),
    training={"steps": 2000, "batch_size": 48, "ema_decay": 0.995, "gradient_clip": 10.0},
    presets={
        "two-steps": Preset("Two steps", "Two network evaluations for a picture."),
        "four-steps": Preset("Four steps", "Four network evaluations for a picture.", {"student_steps": 4}),
        "long": Preset(
            "Longer sub-paths", "The teacher's step leads further, which is where points between help.", {"skip": 50}
        ),
    },
    notes=(
        "Most of the samples are at their sub-path's start, where the paper draws all of them between, and the "
        "distance is l2, not pseudo-huber: in the plane the paper's choice of either made errors that grew from one "
        "sub-path to the next. On every path, not for epsilon alone: ends are mixed in the clean sample's scale, and "
        "an output is read as of the point's own noise. The grid is even in t up to the start."
    ),
)
