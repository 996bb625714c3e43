"""sCM: Simplifying, Stabilizing and Scaling Continuous-Time Consistency Models, arXiv:2410.11081.

Consistency with steps of no length: along a trajectory the student's answer must not change at all. Its change, the
tangent, is one derivative of the network in the TrigFlow coordinates, where x = cos t x0 + sin t z; it is normalised,
its unstable half is let in slowly, and the student follows it. The trajectory is the teacher's (sCD) or the data's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from backend import derivatives
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.losses import sample_mean
from backend.methods import Batch, Method, Preset, StartLevel, Update
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.noise import per_sample
from backend.optimizers import adam
from backend.samplers import Sampler, normal, start_level, student_levels
from backend.teachers import Teacher

LEAST_ALPHA = 0.16  # of the start with an epsilon teacher, as of every student that learns from noised data


class Settings(BaseSettings):
    student_steps: int = setting(1, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    trajectory: Literal["teacher", "data"] = setting(
        "teacher", "What the student's answer is followed along: the teacher's trajectory (sCD), or the data's (sCT)"
    )
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    warmup_share: float = setting(
        0.15, "Share of the run in which the tangent's unstable half is let in; 0 diverges early", low=0, high=1
    )
    tangent_offset: float = setting(
        0.1, "Size of a tangent below which it is no longer normalised", low=1e-3, high=1, advanced=True
    )
    times: Literal["uniform", "log-normal"] = setting(
        "uniform", "How times are drawn: uniform in TrigFlow's angle, or log-normal in sigma/alpha as in the paper"
    )
    time_mean: float = setting(-1.0, "Mean of ln(sigma/alpha), where times are log-normal", low=-4, high=4)
    time_spread: float = setting(1.4, "Spread of ln(sigma/alpha), where times are log-normal", low=0.1, high=4)
    learned_weight: bool = setting(
        False,
        "Whether a small network learns how much each time counts, so that all errors count alike; "
        "unstable where tangents vanish",
        advanced=True,
    )
    derivative: derivatives.Way = setting(
        "forward mode", "How the network is differentiated: exactly, or by differences, which any network can take"
    )
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    first_level: StartLevel = setting(
        0.0, "Time t at which the student starts; 0 is the highest that suits the teacher", low=0, high=1, advanced=True
    )


class LogVariance(nn.Module):
    """w(angle), (B,) -> (B,), 0 until trained: the log of the squared error to be expected at that time (sec. 4.1)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, width), nn.Linear(width, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, angle: Tensor) -> Tensor:
        angle = angle.to(self.first.weight.dtype)
        hidden = nn.functional.silu(self.first(torch.stack([angle, angle.sin(), angle.cos()], 1)))
        return self.last(hidden)[:, 0]  # type: ignore[no-any-return]


@dataclass
class Nets:
    teacher: Guided
    student: Denoiser
    weight: LogVariance


def build(teacher: Teacher, s: Settings) -> Nets:
    student = teacher.trainable()
    derivatives.require(student, teacher.each_condition(1), s.derivative)
    return Nets(Guided(teacher.denoiser, s.guidance_scale), student, LogVariance())


def optimizers(nets: Nets, s: Settings) -> Mapping[str, Optimizer]:
    betas = (0.9, 0.99)
    return {"student": adam(nets.student, s.learning_rate, betas), "weight": adam(nets.weight, 1e-3, betas)}


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("renoise", student_levels(net.path, s.student_steps, first_level(s, net)))


def first_level(s: Settings, net: Denoiser) -> float:
    return start_level(net, s.first_level, LEAST_ALPHA)


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    data, cond = batch.real
    student, t = nets.student, drawn_times(batch, nets.student, s)
    noise = batch.noise()
    noised = student.path.noised(data, noise, t)
    x0 = data
    if s.trajectory == "teacher":
        with torch.no_grad():
            there = nets.teacher(noised, t, cond)
        x0, noise = there.x0, there.noise
    prediction = student(noised, t, cond)
    velocity = trig_velocity(prediction, sigma_data(student))
    warmup = 1.0 if s.warmup_share == 0 else min(1.0, batch.step / (s.warmup_share * batch.total))
    g, spoilt = normalised(tangent(student, prediction, t, cond, x0, noise, warmup, s), s.tangent_offset)
    # The gradient of F's square distance from itself, moved by the tangent, is the tangent (algorithm 1).
    error = sample_mean((velocity - velocity.detach() - g).square())
    metrics = {"tangent": g.square().mean().sqrt(), "spoilt_tangents": spoilt}
    if not s.learned_weight:
        yield Update(student, {"tangent_loss": error.mean()}, metrics)
        return
    w = nets.weight(trig_angle(student, t))
    yield Update((student, nets.weight), {"tangent_loss": ((-w).exp() * error + w).mean()}, metrics)


def drawn_times(batch: Batch, net: Denoiser, s: Settings) -> Tensor:
    """Times (B,), none above the start.

    Uniform is meant in the angle: on the clock of another path most of them may lie where all is noise already.
    """
    first = first_level(s, net)
    if s.times == "uniform":
        low, high = trig_angle(net, torch.tensor([0.0, first], dtype=torch.float64)).tolist()
        return t_of_angle(net, batch.times(low, high)).clamp(max=first)
    z = normal((len(batch.cond),), batch.generator, batch.device).to(batch.times())
    return net.path.t_of_ratio((s.time_mean + s.time_spread * z).exp()).clamp(max=first)


def sigma_data(net: Denoiser) -> float:
    """Spread of the data in TrigFlow's coordinates: an EDM network's own, with which F is what it returns; else 1."""
    return net.sigma_data if net.prediction_type == "edm" else 1.0


def trig_angle(net: Denoiser, t: Tensor) -> Tensor:
    """TrigFlow's time at the same noise level, atan(sigma / (alpha sigma_data)), (B,) from 0 to pi/2 (app. B)."""
    return torch.atan2(net.path.sigma(t), sigma_data(net) * net.path.alpha(t))


def t_of_angle(net: Denoiser, angle: Tensor) -> Tensor:
    """Inverse of `trig_angle`, (B,)."""
    return net.path.t_of_ratio(sigma_data(net) * angle.sin() / angle.cos().clamp(min=1e-12))  # 0 at pi/2


def trig_velocity(prediction: Prediction, spread: float) -> Tensor:
    """F = cos(angle) noise - sin(angle) x0 / sigma_data, (B, ...): what a TrigFlow network would return (eq. 4)."""
    angle = torch.atan2(prediction.sigma, spread * prediction.alpha)
    x0, noise = prediction.x0, prediction.noise
    return per_sample(angle.cos(), noise) * noise - per_sample(angle.sin() / spread, x0) * x0


@torch.no_grad()
def tangent(
    student: Denoiser,
    prediction: Prediction,
    t: Tensor,
    cond: Condition,
    x0: Tensor,
    noise: Tensor,
    warmup: float,
    s: Settings,
) -> Tensor:
    """cos(angle) times the change of the student's answer along the trajectory, by the angle, (B, ...) (eq. 6 and 7).

    x0, noise: by which the trajectory moves on. warmup: in [0, 1], the share of the second term, whose derivative makes
    training unstable while the student is still the teacher.
    """
    path, spread = student.path, sigma_data(student)
    angle = trig_angle(student, t)
    cos, sin = angle.cos(), angle.sin()
    alpha, sigma = path.alpha(t), path.sigma(t)
    a, b = path.velocity_weights(t)
    clock = spread * (b * alpha - a * sigma) / ((spread * alpha) ** 2 + sigma**2)  # d angle/ds
    change = derivatives.along_trajectory(
        student,
        lambda made: trig_velocity(made, spread),
        prediction.noised,
        t,
        cond,
        per_sample(a, x0) * x0 + per_sample(b, x0) * noise,
        cos * sin / clock,
        s.derivative,
    )
    # x is the state in TrigFlow's coordinates, moved by `velocity`; the network's own F is `own`.
    scale = per_sample(spread / ((spread * alpha) ** 2 + sigma**2).sqrt(), prediction.noised)
    x, own = scale * prediction.noised, spread * trig_velocity(prediction, spread)
    velocity = spread * per_sample(cos, noise) * noise - per_sample(sin, x0) * x0
    unstable = per_sample(cos * sin, x) * x + spread * change
    return -per_sample(cos**2, x) * (own - velocity) - warmup * unstable


def normalised(tangents: Tensor, offset: float) -> tuple[Tensor, Tensor]:
    """g / (|g| + offset), |g| the root mean square of each sample, and the share of samples that are no number.

    Those become 0. The mean in place of the sum makes `offset` mean the same for samples of any size (sec. 4.2).
    """
    finite = tangents.flatten(1).isfinite().all(1)
    g = torch.where(per_sample(finite.double(), tangents).bool(), tangents, 0)
    size = sample_mean(g.square()).sqrt() + offset
    return g / per_sample(size, g), 1 - finite.double().mean()


def cost(s: Settings) -> float:
    """Per step: the student's update, its derivative, and the teacher where its trajectory is followed."""
    guided = 2 if s.guidance_scale != 1 else 1
    return 3 + 2 + (guided if s.trajectory == "teacher" else 0)


METHOD = Method(
    title="Continuous-time consistency (sCM)",
    paper="arXiv:2410.11081",
    family="consistency",
    summary="Consistency without a time grid: the student follows the derivative of its own answer along trajectories.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    training={"steps": 2000, "batch_size": 48, "ema_decay": 0.995, "gradient_clip": 10.0},
    presets={
        "one-step": Preset("One step", "One network evaluation for a picture."),
        "two-steps": Preset(
            "Two steps", "Two network evaluations for a picture, with noise between them.", {"student_steps": 2}
        ),
        "from-data": Preset(
            "From data (sCT)",
            "The data's own direction instead of the teacher's: one network less to run, and noisier.",
            {"trajectory": "data"},
        ),
    },
    notes=(
        "Paths other than TrigFlow's are used at the same noise level; the network stays the teacher's, with the "
        "teacher's clock, and the optimizer is Adam. By default times are uniform in TrigFlow's angle, which is about "
        "the paper's log-normal with more of the start. The prior weight 1/tan is in the tangent. The paper's learned "
        "weight is left out by default: it divides by the mean square of the tangents, so that times at which they "
        "vanish crowd out those of little noise, on which all others rest."
    ),
)
