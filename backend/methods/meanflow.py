"""MeanFlow: Mean Flows for One-step Generative Modeling, arXiv:2505.13447.

The student is told where its step ends and learns the average velocity over the whole step. Average u and instantaneous
velocity v belong together by u = v - (t - r) du/dt along the trajectory (eq. 6), which needs no simulation: one
derivative of the network itself makes the target. Here v is the teacher's, or, as in the paper, that of noise and data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor

from backend import derivatives, losses
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Condition, Denoiser, Guided
from backend.noise import Path, per_sample
from backend.optimizers import adams
from backend.samplers import Sampler, start_level, student_levels
from backend.teachers import Teacher

LEAST_ALPHA = 0.16  # of the start with an epsilon teacher, as of every student that learns from noised data
DROPPED = 0.1  # share of conditions left out where the student guides itself (the paper's appendix)


class Settings(BaseSettings):
    student_steps: int = setting(1, "Network evaluations of the finished student", low=1, high=16, unit="steps")
    velocity: Literal["teacher", "data"] = setting(
        "teacher", "Whose velocity is averaged: the teacher's, or that between noise and data, which is noisier"
    )
    guidance_scale: float = setting(1.0, "Guidance of the velocity, folded into the student; 1 is none", low=1, high=20)
    guidance_mix: float = setting(
        0.0,
        "With velocity from data, how much of it is the student's own conditional one; more is smoother",
        low=0,
        high=0.95,
        advanced=True,
    )
    instantaneous_share: float = setting(
        0.5, "Share of the batch whose step has no length: the anchor on which the rest builds", low=0, high=1
    )
    times: Literal["uniform", "logit-normal"] = setting(
        "uniform", "How times are drawn: uniform on the path, or logit-normal on the flow's clock as in the paper"
    )
    time_mean: float = setting(-0.4, "Mean of the logit-normal times", low=-4, high=4, advanced=True)
    time_spread: float = setting(1.0, "Spread of the logit-normal times", low=0.1, high=4, advanced=True)
    # With the teacher's velocity a step of no length has no error at first. Evened out, the little it then gets would
    # outweigh all others, and the student stay the teacher: in one step of `digits`, Frechet distance 13.5 and not 1.9.
    weight_power: float = setting(
        0.0,
        "How far the loss evens out the samples' errors; 0 leaves large ones in charge, 1 suits the velocity from data",
        low=0,
        high=1,
    )
    weight_offset: float = setting(1e-2, "Squared error below which it no longer does", low=1e-6, high=1, advanced=True)
    derivative: derivatives.Way = setting(
        "forward mode", "How the network is differentiated: exactly, or by differences, which any network can take"
    )
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    first_level: FirstLevel = 0.0

    @model_validator(mode="after")
    def _mix_is_of_data(self) -> Self:
        if self.guidance_mix and self.velocity == "teacher":
            raise ValueError("guidance_mix is for the velocity from data; set velocity to data, or guidance_mix to 0.")
        return self


@dataclass
class Nets:
    teacher: Guided
    student: Denoiser


def build(teacher: Teacher, s: Settings) -> Nets:
    student = teacher.trainable().extended("end_time")
    zero = torch.zeros(1, dtype=torch.float64)
    derivatives.require(student, teacher.each_condition(1).with_part("end_time", zero), s.derivative)
    return Nets(Guided(teacher.denoiser, s.guidance_scale), student)


optimizers = adams()


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("deterministic", student_levels(net.path, s.student_steps, first_level(s, net)))


def first_level(s: Settings, net: Denoiser) -> float:
    return start_level(net, s.first_level, LEAST_ALPHA)


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    data, cond = batch.real
    path = nets.student.path
    t, r = step_ends(batch, path, s, first_level(s, nets.student))
    noise = batch.noise()
    noised = path.noised(data, noise, t)
    if s.velocity == "teacher":
        with torch.no_grad():
            there = nets.teacher(noised, t, cond)
        x0, noise = there.x0, there.noise
    else:
        x0, noise, cond = velocity_of_data(nets.student, noised, t, data, noise, cond, batch, s)
    told = cond.with_part("end_time", r)
    curve = correction(nets.student, noised, t, r, told, x0, noise, s)
    # The velocity u = noise - x0 at noised = (1 - tau) x0 + tau noise, less the correction, as x0 and noise.
    tau = per_sample(path.flow_time(t), noised)
    error = nets.student(noised, t, told).error(x0 + tau * curve, noise - (1 - tau) * curve)
    squares = error.square().flatten(1).sum(1)
    terms = {"average_velocity": losses.adaptive(squares, s.weight_power, s.weight_offset)}
    yield Update(nets.student, terms, {"squared_error": squares.detach().mean() / error[0].numel()})


def step_ends(batch: Batch, path: Path, s: Settings, first: float) -> tuple[Tensor, Tensor]:
    """Times t >= r, each (B,), at which steps begin and end; for the first share of the batch they are the same."""
    if s.times == "uniform":
        a, b = batch.times(0.0, first), batch.times(0.0, first)
    else:  # tau / (1 - tau) is sigma / alpha, and of a logistic tau the exponential
        a, b = (batch.log_normal_times(path, s.time_mean, s.time_spread, first) for _ in range(2))
    t, r = torch.maximum(a, b), torch.minimum(a, b)
    still = instantaneous(len(t), s)
    return t, torch.cat([t[:still], r[still:]])


def instantaneous(size: int, s: Settings) -> int:
    """How many samples of a batch have a step of no length."""
    return round(s.instantaneous_share * size)


def correction(
    student: Denoiser, noised: Tensor, t: Tensor, r: Tensor, told: Condition, x0: Tensor, noise: Tensor, s: Settings
) -> Tensor:
    """(tau_t - tau_r) du/dtau along the trajectory, (B, ...): tau the flow's time, u the student's noise - x0.

    x0, noise: (B, ...), by which the trajectory moves on. Exactly 0 where the step has no length.
    """
    still = instantaneous(len(t), s)
    curve = torch.zeros_like(noised)
    if still == len(t):
        return curve
    path, rest = student.path, slice(still, None)
    by_clock = (path.alpha(t) + path.sigma(t)) ** 2  # ds/dtau
    weight = (path.flow_time(t) - path.flow_time(r)) * by_clock
    velocity = path.velocity(x0, noise, t)
    curve[rest] = derivatives.along_trajectory(
        student, losses.flow_velocity, noised[rest], t[rest], told[rest], velocity[rest], weight[rest], s.derivative
    )
    return curve


@torch.no_grad()
def velocity_of_data(
    student: Denoiser, noised: Tensor, t: Tensor, x0: Tensor, noise: Tensor, cond: Condition, batch: Batch, s: Settings
) -> tuple[Tensor, Tensor, Condition]:
    """x0 and noise whose difference is the guided velocity from data (eq. 19 and app. B), and the conditions it is of.

    w (1 - k) of it is the sample's own, k the student's conditional one and the rest its unconditional one, which makes
    the scale w. A tenth of a guided batch is without condition, and there it is the sample's own alone.
    """
    own = s.guidance_scale * (1 - s.guidance_mix)
    parts = [(own, x0, noise, cond)]
    null = student.null(cond) if s.guidance_scale != 1 else cond
    if null is None:
        raise ValueError("This teacher has no unconditional mode, so its guidance scale must stay 1.")
    for weight, asked in ((s.guidance_mix, cond), (1 - own - s.guidance_mix, null)):
        if weight:
            there = student(noised, t, asked.with_part("end_time", t))
            parts.append((weight, there.x0, there.noise, asked))
    guided_x0 = torch.stack([w * x for w, x, _, _ in parts]).sum(0)
    guided_noise = torch.stack([w * n for w, _, n, _ in parts]).sum(0)
    if s.guidance_scale == 1:
        return guided_x0, guided_noise, cond
    dropped = batch.times() < DROPPED
    mask = per_sample(dropped.double(), x0).bool()
    return torch.where(mask, x0, guided_x0), torch.where(mask, noise, guided_noise), cond.replaced(dropped, null)


def cost(s: Settings) -> float:
    """Per step: the student's update, the velocity, and two evaluations for each sample that needs a derivative."""
    guided = s.guidance_scale != 1
    own = s.guidance_scale * (1 - s.guidance_mix)
    velocity = 1 + guided if s.velocity == "teacher" else bool(s.guidance_mix) + (guided and own + s.guidance_mix != 1)
    return 3 + velocity + 2 * (1 - s.instantaneous_share)


METHOD = Method(
    title="Average velocity (MeanFlow)",
    paper="arXiv:2505.13447",
    family="flow",
    summary="The student is told where its step ends and learns the average velocity over it; one step or several.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    inputs=lambda s: ("end_time",),
    training={"steps": 2000, "batch_size": 48, "ema_decay": 0.995, "gradient_clip": 10.0},
    presets={
        "one-step": Preset("One step", "One network evaluation for a picture."),
        "four-steps": Preset(
            "Four steps",
            "Four network evaluations; the same training, since every step length is learnt.",
            {"student_steps": 4},
        ),
        "paper": Preset(
            "From data, as published",
            "The velocity of noise and data, times and shares of the paper; the teacher is only where it starts.",
            {"velocity": "data", "times": "logit-normal", "instantaneous_share": 0.75, "weight_power": 1.0},
            {"steps": 4000},
        ),
    },
    notes=(
        "On every path the velocity is that of the flow path at the same noise level, and the error is measured in "
        "what the network predicts, which on the flow path is the paper's. The network is told the end of a step, not "
        "its length. The share of steps without length is 0.5 by default, the paper's from data 0.75."
    ),
)
