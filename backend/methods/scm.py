"""sCM: Simplifying, Stabilizing and Scaling Continuous-Time Consistency Models, arXiv:2410.11081.

Consistency with steps of no length: along a trajectory the student's answer must not change at all. Its change, the
tangent, is one derivative of the network in the TrigFlow coordinates, where x = cos t x0 + sin t z; it is normalised,
its unstable half is let in slowly, and the student follows it. The trajectory is the teacher's (sCD) or the data's.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from backend import derivatives, losses, trigflow
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, Method, Preset, StartLevel, Update
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.networks.log_variance import LogVariance
from backend.noise import per_sample
from backend.optimizers import adam
from backend.samplers import Sampler, start_level, student_levels
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
    yield consistency(nets, batch, s, tangent)


def consistency(nets: Nets, batch: Batch, s: Settings, tangent: Callable[..., Tensor]) -> Update:
    """The student's update along a `tangent`, which is let in during the warm-up (algorithm 1)."""
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
    own = trigflow.turn_of(prediction, trigflow.spread(student))
    warmup = 1.0 if s.warmup_share == 0 else min(1.0, batch.step / (s.warmup_share * batch.total))
    g, spoilt = losses.normalised(tangent(student, prediction, t, cond, x0, noise, warmup, s), s.tangent_offset)
    # The gradient of F's square distance from itself, moved by the tangent, is the tangent.
    errors = losses.sample_mean((own - own.detach() - g).square())
    metrics = {"tangent": g.square().mean().sqrt(), "spoilt_tangents": spoilt}
    if s.learned_weight:
        weighed = losses.uncertainty(errors, nets.weight(trigflow.angle(student, t)))
        return Update((student, nets.weight), {"tangent_loss": weighed}, metrics)
    return Update(student, {"tangent_loss": errors.mean()}, metrics)


def drawn_times(batch: Batch, net: Denoiser, s: Settings) -> Tensor:
    """Times (B,), none above the start.

    Uniform is meant in the angle: on the clock of another path most of them may lie where all is noise already.
    """
    first = first_level(s, net)
    if s.times == "log-normal":
        return batch.log_normal_times(net.path, s.time_mean, s.time_spread, first)
    low, high = trigflow.angle(net, torch.tensor([0.0, first], dtype=torch.float64)).tolist()
    return trigflow.t_of_angle(net, batch.times(low, high)).clamp(max=first)


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
    path, spread, angle = student.path, trigflow.spread(student), trigflow.angle(student, t)
    change = derivatives.along_trajectory(
        student,
        lambda made: trigflow.turn_of(made, spread),
        prediction.noised,
        t,
        cond,
        path.velocity(x0, noise, t),
        path.alpha(t) * path.sigma(t),  # by the path's clock, that is cos(angle) sin(angle) by the angle
        s.derivative,
    )
    x = trigflow.state(student, prediction.noised, t)
    away = spread * (trigflow.turn_of(prediction, spread) - trigflow.turn(x0, noise, angle, spread))
    unstable = per_sample(angle.cos() * angle.sin(), x) * x + spread * change
    return -per_sample(angle.cos() ** 2, x) * away - warmup * unstable


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
