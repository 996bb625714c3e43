"""ArcFlow: Unleashing 2-Step Text-to-Image Generation via High-Precision Non-Linear Flow Distillation (2602.09014).

Once per step the student says how the velocity goes on over all of it: a mixture of velocities that grow or fall
exponentially, integrated in closed form. It follows its own curve, at first mixed with the teacher's trajectory, and at
a few points on the way its velocity must be the teacher's. No data are needed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.optim import Optimizer

from backend import losses
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.flow import flow_time, in_flow, in_path
from backend.methods import Batch, Method, Preset, StartLevel, Update
from backend.networks import Denoiser, Guided
from backend.networks.momentum import MomentumDenoiser, Profile, with_momentum
from backend.noise import Path, per_sample
from backend.optimizers import adam
from backend.samplers import Sampler, end_of_step, initial, start_level, student_levels, times
from backend.teachers import Teacher

WINDOW = 3 / 128
"""Length in t over which the student's velocity is averaged where it is compared with the teacher's."""


class Settings(BaseSettings):
    student_steps: int = setting(2, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    components: int = setting(16, "Velocities in the mixture; more follow sharper bends", low=2, high=32)
    compared_points: int = setting(
        4, "Points of each step at which the velocity is compared with the teacher's", low=1, high=16, unit="points"
    )
    mixing_share: float = setting(
        0.15,
        "Share of the run in which the student's trajectory is mixed with the teacher's, less and less",
        low=0,
        high=1,
    )
    dropout: float = setting(
        0.0,
        "Share of the components left out where the student follows itself; harms a mixture of few",
        low=0,
        high=0.5,
        advanced=True,
    )
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    first_level: StartLevel = setting(
        0.0, "Time t at which the student starts; 0 is the highest that suits the teacher", low=0, high=1, advanced=True
    )


@dataclass
class Nets:
    teacher: Guided
    student: MomentumDenoiser


def new_student(teacher: Teacher, s: Settings) -> MomentumDenoiser:
    return with_momentum(teacher.trainable(), s.components)


def build(teacher: Teacher, s: Settings) -> Nets:
    return Nets(Guided(teacher.denoiser, s.guidance_scale), new_student(teacher, s))


def optimizers(nets: Nets, s: Settings) -> Mapping[str, Optimizer]:
    return {"student": adam(nets.student, s.learning_rate)}


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("momentum", student_levels(net.path, s.student_steps, start_level(net, s.first_level)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    levels, path = sampler(s, nets.student).levels, nets.student.path
    share = 0.0 if s.mixing_share == 0 else max(0.0, 1 - batch.step / (s.mixing_share * batch.total))
    noise = batch.noise()
    state = in_flow(initial(noise, path, levels[0]), path, times(levels[0], noise))
    errors = []
    for begin, end in pairwise((*levels, 0.0)):
        error, state = segment(nets, state, begin, end, share, batch, s)
        errors.append(error * (begin - end) / levels[0])
    yield Update(nets.student, {"velocity": torch.stack(errors).sum()}, {"teacher_share": noise.new_tensor(share)})


def segment(
    nets: Nets, state: Tensor, begin: float, end: float, share: float, batch: Batch, s: Settings
) -> tuple[Tensor, Tensor]:
    """The velocity's error on one step of the student, and the state where the step ends, without gradient.

    state: (B, ...) at time `begin`, in flow matching's coordinates, as what is returned. share: how much of the way the
    teacher leads.
    """
    path = nets.student.path
    t, length = times(begin, state), begin - end
    window = min(WINDOW, length)
    profile = nets.student.profile(in_path(state, path, t), t, batch.cond)
    own = led_by_itself(profile, batch, s)
    errors = []
    lengths = intervals(share, length - window, batch, s.compared_points)
    for by_itself, by_the_teacher in zip(*lengths, strict=True):
        here = t - by_itself
        there = (here - by_the_teacher).clamp(min=end)
        with torch.no_grad():
            state = state - own.displacement(clock(path, t), clock(path, here))
            velocity = losses.flow_velocity(nets.teacher(in_path(state, path, here), here, batch.cond))
        mean = profile.average(clock(path, here), clock(path, (here - window).clamp(min=end)))
        errors.append((mean - velocity).square().mean())
        state = state - per_sample(clock(path, here) - clock(path, there), state) * velocity
        t = there
    reached = state - own.displacement(clock(path, t), clock(path, times(end, state)))
    return torch.stack(errors).mean(), reached


def led_by_itself(profile: Profile, batch: Batch, s: Settings) -> Profile:
    """The student's curve as it is followed: without gradient, and where asked with some components left out."""
    if not s.dropout:
        return profile.detached()
    kinds = profile.velocities.shape[1]
    return profile.detached().without(torch.stack([batch.times() for _ in range(kinds)], 1) < s.dropout)


def intervals(share: float, length: float, batch: Batch, points: int) -> tuple[Tensor, Tensor]:
    """How far the student, and after it the teacher, leads to each point, (points, B) each, together within `length`.

    The teacher's add up to `share` of the length; the student's leave a rest to the step's end.
    """
    drawn = torch.stack([batch.times() for _ in range(points)]).sort(0).values * (1 - share) * length
    zero = torch.zeros_like(drawn[:1])
    if points == 1:
        return drawn, zero + share * length
    places = torch.stack([batch.times() for _ in range(points - 1)]).sort(0).values
    return drawn.diff(dim=0, prepend=zero), places.diff(dim=0, prepend=zero, append=zero + 1) * share * length


def clock(path: Path, t: Tensor) -> Tensor:
    """Flow matching's time at times t (B,); 0 where the last step ends."""
    return flow_time(end_of_step(path, t))


def cost(s: Settings) -> float:
    """Per step: each of the student's evaluations with its gradient, and the teacher at every point compared."""
    return s.student_steps * (3 + s.compared_points * (2 if s.guidance_scale != 1 else 1))


METHOD = Method(
    title="Momentum velocities (ArcFlow)",
    paper="arXiv:2602.09014",
    family="flow",
    summary="Says how the velocity goes on over a whole step; follows the teacher's curve in two, and needs no data.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    student=new_student,
    only_as_trained=lambda s: True,
    training={"steps": 800, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0},
    presets={
        "two-steps": Preset("Two steps", "Two network evaluations for a picture."),
        "four-steps": Preset("Four steps", "Four shorter curves, which are easier to follow.", {"student_steps": 4}),
        "adapters": Preset(
            "Adapters",
            "Small adapters on the teacher's own weights, and the mixture's layers, as published.",
            {"learning_rate": 1e-3},
            student={"kind": "lora", "rank": 64},
        ),
    },
    notes="An export is safetensors with the network under base and the mixture's layers under profile; diffusers has "
    "no sampler for it. On every path: states are scaled to flow matching's, and the path's own time takes the place "
    "of a shifted one. The mixture's layers are added to the teacher's output and start at 0, without the paper's "
    "noise in their biases, so that the student starts as the teacher; rates are kept within 6, smoothly. No component "
    "is left out by default, where the paper's share is 0.1. Adapters are on all layers, and without dropout.",
)
