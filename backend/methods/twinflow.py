"""TwinFlow: Realizing One-step Generation on Large Models with Self-adversarial Flows, arXiv:2512.05150.

One network is student, teacher and fake score at once. Told a positive sign, it keeps the data's velocities and learns
their average over any stretch of time; told a negative one, it learns the velocities of its own one-step samples. The
difference of the two rectifies the one-step map, as the difference of two scores does in distribution matching.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from backend import losses
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.flow import by_guidance, mean_velocity, mixed, reach
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Condition, Denoiser, Prediction
from backend.noise import per_sample
from backend.optimizers import adams
from backend.samplers import Sampler, even_levels, initial, start_level, times
from backend.teachers import Teacher

INPUTS = ("end_time", "sign")
SUB_STEPS = 2  # by which the target walks the rest of the way (N in the paper)


class Settings(BaseSettings):
    student_steps: int = setting(1, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    rectify_weight: float = setting(1.0, "Weight of the rectification; 0 leaves it out", low=0, high=10)
    learning_rate: float = setting(2e-4, "Learning rate", low=1e-7, high=1e-2)
    target_ema: float = setting(0.99, "Share of the target kept at each step; 0 keeps none", low=0, high=0.9999)
    guidance_scale: float = setting(1.0, "Guidance, by the network's own two answers; 1 is none", low=1, high=20)
    clamp: float = setting(1.0, "Largest correction of a velocity, in data units", low=0.1, high=5, advanced=True)
    offset: float = setting(0.01, "First stretch, in flow time; less is noisier", low=2e-3, high=0.05, advanced=True)
    first_level: FirstLevel = 0.0


@dataclass
class Nets:
    student: Denoiser
    target: Denoiser


def build(teacher: Teacher, s: Settings) -> Nets:
    student = teacher.trainable().extended(*INPUTS)
    return Nets(student, student.copy().requires_grad_(False))


def sampler(s: Settings, net: Denoiser) -> Sampler:
    first = start_level(net, s.first_level)
    return Sampler("deterministic", tuple(first * level for level in even_levels(s.student_steps)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    quarter = max(1, len(batch.cond) // 4)  # for the student's own samples; data take the rest
    prediction = start(nets.student, batch.noise()[:quarter], batch.cond[:quarter], s)
    terms, difference = own_samples(nets.student, prediction, batch, s)
    terms["any_step"] = any_step(nets, max(1, len(batch.cond) - quarter), batch, s)
    yield Update(nets.student, terms, {"velocity_difference": difference.abs().mean()}, sample=prediction.x0)
    losses.ema_update(nets.target, nets.student, s.target_ema)


def own_samples(net: Denoiser, made: Prediction, batch: Batch, s: Settings) -> tuple[dict[str, Tensor], Tensor]:
    """L_adv: the negative branch learns one-step samples' velocity. L_rect: the difference of both moves the step."""
    x, cond = made.x0.detach(), batch.cond[: len(made.x0)]
    positive, negative = (cond.with_part("sign", times(sign, x)) for sign in (1.0, -1.0))
    t, noise = batch.times(*reach(net.path, sampler(s, net)))[: len(x)], batch.noise()[: len(x)]
    state = mixed(x, noise, t)
    fake = mean_velocity(net, state, t, t, negative)
    with torch.no_grad():
        difference = mean_velocity(net, state, t, t, positive) - fake
    terms = {"fake_velocity": (fake - (noise - x)).square().mean()}
    if s.rectify_weight:
        whole = made.noise - made.x0
        answer = (whole + difference.clamp(-s.clamp, s.clamp)).detach()
        terms["rectification"] = s.rectify_weight * (whole - answer).square().mean()
    return terms, difference


def any_step(nets: Nets, rows: int, batch: Batch, s: Settings) -> Tensor:
    """L_base: F(x_t, t, r) becomes the mean velocity from r to t; thirds: the whole way, next to t, any r < t."""
    real, real_cond = batch.real
    x, noise, cond = real[:rows], batch.noise()[:rows], real_cond[:rows].with_part("sign", times(1.0, real[:rows]))
    low, high = reach(nets.student.path, sampler(s, nets.student))
    t, share = batch.times(low, high)[:rows], batch.times()[:rows]
    kind = torch.arange(rows, device=t.device) % 3
    t = torch.where(kind == 0, high, t)
    r = torch.where(kind == 0, 0, t * (1 - torch.where(kind == 1, 0.05 * share, share)))
    state = mixed(x, noise, t)
    made = mean_velocity(nets.student, state, t, r, cond)
    with torch.no_grad():
        slope = noise - x + by_guidance(nets.target, state, t, cond, s.guidance_scale)
        answer = made - residual(nets.target, made, slope, state, t, r, cond, s).clamp(-s.clamp, s.clamp)
    weight = ((1 - (t - r)) * math.pi / 2.5).tan() + 1
    return (per_sample(weight, x) * (made - answer).square()).mean()


def residual(
    target: Denoiser, made: Tensor, slope: Tensor, state: Tensor, t: Tensor, r: Tensor, cond: Condition, s: Settings
) -> Tensor:
    """How far `made` is from the mean velocity: the offset along the slope, then the target's way to r, (B, ...)."""
    whole = (t - r).clamp(min=1e-6)  # where r is t the mean velocity is the slope itself
    first = whole.clamp(max=s.offset)
    state, way = state - per_sample(first, state) * slope, torch.zeros_like(state)
    stretch = (whole - first) / SUB_STEPS
    for k in range(SUB_STEPS):
        at = t - first - k * stretch
        moved = mean_velocity(target, state - way, at.clamp(min=0), (at - stretch).clamp(min=0), cond)
        way = way + per_sample(stretch, state) * moved
    return per_sample(whole / first, made) * made - per_sample(1 / first, way) * way - slope


def start(net: Denoiser, noise: Tensor, cond: Condition, s: Settings) -> Prediction:
    """The student's one step, from unit noise (B, ...) to the data."""
    level = sampler(s, net).levels[0]
    told = cond.with_part("end_time", times(0.0, noise)).with_part("sign", times(1.0, noise))
    return net(initial(noise, net.path, level), times(level, noise), told)  # type: ignore[no-any-return]


def cost(s: Settings) -> float:
    """Three quarters: the update, the target's steps, guidance; one: the own sample, its velocity and the data's."""
    return 0.75 * (3 + SUB_STEPS + (2 if s.guidance_scale != 1 else 0)) + 0.25 * (3 + 3 + 1)


METHOD = Method(
    title="TwinFlow",
    paper="arXiv:2512.05150",
    family="flow",
    summary="One network as student, teacher and fake score, told apart by the sign of time; half of DMD2's memory.",
    settings=Settings,
    build=build,
    optimizers=adams((0.9, 0.99)),
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    inputs=lambda s: INPUTS,
    followers=("target",),
    training={"steps": 1500, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0},
    presets={
        "one-step": Preset("One step", "One network evaluation for a picture."),
        "four-steps": Preset("Four steps", "Four evaluations, each told where its step ends.", {"student_steps": 4}),
        "stronger": Preset("Stronger rectification", "Sharper one-step samples, less steady.", {"rectify_weight": 2.0}),
    },
    notes="Other paths than the flow's are rescaled to it. Several steps are deterministic, each told its end; the "
    "paper's steps with new noise are left out. The loss is the squared one, and time is uniform.",
)
