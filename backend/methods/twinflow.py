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
from backend.flow import mean_velocity, mixed
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Condition, Denoiser, Prediction
from backend.noise import per_sample
from backend.optimizers import adams
from backend.samplers import Sampler, even_levels, initial, start_level, times
from backend.teachers import Teacher

INPUTS = ("end_time", "sign")
SUB_STEPS = 2
"""By which the target walks the rest of the way (N in the paper)."""


class Settings(BaseSettings):
    student_steps: int = setting(1, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    rectify_weight: float = setting(
        1.0, "Weight of the rectification; 0 leaves the one-step map to the average velocity", low=0, high=10
    )
    learning_rate: float = setting(2e-4, "Learning rate", low=1e-7, high=1e-2)
    target_ema: float = setting(0.99, "Share of the target kept at each step; 0 keeps none", low=0, high=0.9999)
    guidance_scale: float = setting(1.0, "Guidance, by the network's own two answers; 1 is none", low=1, high=20)
    clamp: float = setting(1.0, "Largest correction of a velocity, in data units", low=0.1, high=5, advanced=True)
    offset: float = setting(
        0.01, "First stretch of the average velocity, in flow time; less is noisier", low=2e-3, high=0.05, advanced=True
    )
    first_level: FirstLevel = 0.0


@dataclass
class Nets:
    student: Denoiser
    target: Denoiser


def build(teacher: Teacher, s: Settings) -> Nets:
    student = teacher.trainable().extended(*INPUTS)
    return Nets(student, student.copy().requires_grad_(False))


optimizers = adams((0.9, 0.99))


def sampler(s: Settings, net: Denoiser) -> Sampler:
    first = start_level(net, s.first_level)
    return Sampler("deterministic", tuple(first * level for level in even_levels(s.student_steps)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    quarter = max(1, len(batch.cond) // 4)  # for the student's own samples; data take the rest
    prediction = start(nets.student, batch.noise()[:quarter], batch.cond[:quarter], s)
    terms, metrics = own_samples(nets.student, prediction, batch, s)
    terms["any_step"] = any_step(nets, max(1, len(batch.cond) - quarter), batch, s)
    yield Update(nets.student, terms, metrics, sample=prediction.x0)
    losses.ema_update(nets.target, nets.student, s.target_ema)


def own_samples(
    net: Denoiser, prediction: Prediction, batch: Batch, s: Settings
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """L_adv and L_rect of one-step samples: the negative branch learns their velocity, their step is rectified."""
    x, cond = prediction.x0.detach(), batch.cond[: len(prediction.x0)]
    t, noise = flow_times(len(x), batch, s, net), batch.noise()[: len(x)]
    state = mixed(x, noise, t)
    fake = velocity(net, state, t, t, cond, sign=-1)
    with torch.no_grad():
        difference = velocity(net, state, t, t, cond) - fake
    made = prediction.noise - prediction.x0
    answer = (made + difference.clamp(-s.clamp, s.clamp)).detach()
    terms = {"fake_velocity": (fake - (noise - x)).square().mean()}
    if s.rectify_weight:
        terms["rectification"] = s.rectify_weight * (made - answer).square().mean()
    return terms, {"velocity_difference": difference.abs().mean()}


def any_step(nets: Nets, rows: int, batch: Batch, s: Settings) -> Tensor:
    """L_base: F(x_t, t, r) becomes the mean velocity from r to t; thirds: the whole way, next to t, any r < t."""
    real, real_cond = batch.real
    x, cond, noise = real[:rows], real_cond[:rows], batch.noise()[:rows]
    t, share = flow_times(rows, batch, s, nets.student), batch.times()[:rows]
    kind = torch.arange(rows, device=t.device) % 3
    whole = torch.full_like(t, float(nets.student.path.flow_time(times(sampler(s, nets.student).levels[0], x[:1]))))
    t = torch.where(kind == 0, whole, t)
    r = torch.where(kind == 0, 0, t * (1 - torch.where(kind == 1, 0.05 * share, share)))
    state = mixed(x, noise, t)
    made = velocity(nets.student, state, t, r, cond)
    with torch.no_grad():
        slope = noise - x + guided(nets.target, state, t, cond, s.guidance_scale)
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
        moved = per_sample(stretch, state) * velocity(target, state, at.clamp(min=0), (at - stretch).clamp(min=0), cond)
        state, way = state - moved, way + moved
    return per_sample(whole / first, made) * made - per_sample(1 / first, way) * way - slope


def guided(net: Denoiser, state: Tensor, t: Tensor, cond: Condition, scale: float) -> Tensor | float:
    """What guidance adds to the slope: (scale - 1) times what the condition makes of the network's own."""
    if scale == 1:
        return 0.0
    null = net.null(cond)
    if null is None:
        raise ValueError("This teacher has no unconditional mode, so its guidance scale must stay 1.")
    return (scale - 1) * (velocity(net, state, t, t, cond) - velocity(net, state, t, t, null))


def start(net: Denoiser, noise: Tensor, cond: Condition, s: Settings) -> Prediction:
    """The student's one step, from unit noise (B, ...) to the data."""
    level = sampler(s, net).levels[0]
    told = cond.with_part("end_time", times(0.0, noise)).with_part("sign", times(1.0, noise))
    return net(initial(noise, net.path, level), times(level, noise), told)  # type: ignore[no-any-return]


def velocity(net: Denoiser, state: Tensor, t: Tensor, r: Tensor, cond: Condition, sign: float = 1.0) -> Tensor:
    """F(x_t, t, r), the mean velocity from flow time r to t (B,) as `net` predicts it; state: (B, ...)."""
    return mean_velocity(net, state, t, r, cond.with_part("sign", times(sign, state)))


def flow_times(rows: int, batch: Batch, s: Settings, net: Denoiser) -> Tensor:
    """Flow times, (rows,), uniform from the least noise of the path to where the student starts."""
    drawn = batch.times()[:rows]
    low, high = (net.path.flow_time(torch.full_like(drawn[:1], t)) for t in (0.0, sampler(s, net).levels[0]))
    return low + (high - low) * drawn


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
    optimizers=optimizers,
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
