"""SCott: Accelerating Diffusion Models with Stochastic Consistency Distillation, arXiv:2403.01505.

Consistency distillation whose teacher follows a stochastic trajectory: fresh noise mends what a deterministic solver
gets wrong. Alone that leads to the mean of where the noise may go, so a discriminator on the teacher's features keeps
the student's samples sharp.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from backend import losses
from backend.boundary import first_level, led_to_start, neighbours
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Condition, Denoiser, Guided
from backend.networks.heads import Heads, example_features
from backend.optimizers import adam
from backend.samplers import Sampler, stochastic_jump, student_levels, times
from backend.teachers import Teacher


class Settings(BaseSettings):
    student_steps: int = setting(1, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    discretisation: int = setting(40, "Points of the time grid", low=3, high=1000, unit="points")
    eta: float = setting(0.2, "Share of fresh noise in the teacher's steps; 0 is deterministic", low=0, high=1)
    teacher_steps: int = setting(3, "Steps that the teacher takes between two points", low=1, high=10, unit="steps")
    gan_weight: float = setting(
        0.05,
        "Weight of the adversarial loss; more is sharper in one step, coarse in several; 0 leaves it out",
        low=0,
        high=10,
    )
    target_ema: float = setting(0.95, "Share of the target kept at each step", low=0, high=0.9999)
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    discriminator_learning_rate: float = setting(1e-3, "Discriminator's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    highest_level: float = setting(
        0.4, "Most noise, as time t, at which the discriminator looks", low=0, high=1, advanced=True
    )
    first_level: FirstLevel = 0.0


@dataclass
class Nets:
    teacher: Guided
    features: Denoiser  # the teacher, asked for its feature maps alone
    student: Denoiser
    target: Denoiser
    discriminator: nn.Module


def build(teacher: Teacher, s: Settings) -> Nets:
    student, features = teacher.trainable(), teacher.feature_network()
    heads = Heads(example_features(features, teacher.each_condition(2)))
    target = student.copy().requires_grad_(False)
    return Nets(Guided(teacher.denoiser, s.guidance_scale), features, student, target, heads)


def optimizers(nets: Nets, s: Settings) -> Mapping[str, Optimizer]:
    return {
        "student": adam(nets.student, s.learning_rate),
        "discriminator": adam(nets.discriminator, s.discriminator_learning_rate, (0.0, 0.99)),
    }


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("renoise", student_levels(net.path, s.student_steps, first_level(s.first_level, net)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    x0, cond = batch.real
    first = first_level(s.first_level, nets.student)
    t, t_next = neighbours(batch, s.discretisation, first)
    noised = nets.student.path.noised(x0, batch.noise(), t)
    with torch.no_grad():
        reached = teacher_steps(nets.teacher, noised, t, times(first / (s.discretisation - 1), t), cond, batch, s)
        answer = led_to_start(nets.target, reached, t_next, cond)
    x = led_to_start(nets.student, noised, t, cond)
    terms = {"consistency": (x - answer).square().mean()}
    if s.gan_weight:
        terms["gan"] = s.gan_weight * losses.generator_logistic(logits(nets, x, cond, batch, s))
    yield Update(nets.student, terms, sample=x)
    if s.gan_weight:
        on_real, on_fake = logits(nets, x0, cond, batch, s), logits(nets, x.detach(), cond, batch, s)
        loss = {"discriminator": losses.discriminator_logistic(on_real, on_fake)}
        yield Update(nets.discriminator, loss, losses.discriminator_metrics(on_real, on_fake))
    losses.ema_update(nets.target, nets.student, s.target_ema)


def teacher_steps(
    teacher: Guided, noised: Tensor, t: Tensor, spacing: Tensor, cond: Condition, batch: Batch, s: Settings
) -> Tensor:
    """The teacher's stochastic trajectory through `noised` at times t, followed to t - spacing (eq. 8)."""
    for k in range(s.teacher_steps):
        here, there = (t - spacing * part / s.teacher_steps for part in (k, k + 1))
        prediction = teacher(noised, here, cond)
        noised = stochastic_jump(prediction, teacher.path, here, there.clamp(min=0), s.eta, batch.noise())
    return noised


def logits(nets: Nets, x: Tensor, cond: Condition, batch: Batch, s: Settings) -> Tensor:
    """The discriminator's view of samples (B, ...) at noise of some level, (B,)."""
    t = batch.times(0.0, s.highest_level)
    noised = nets.features.path.noised(x, batch.noise(), t)
    return nets.discriminator(nets.features.features(noised, t, cond))  # type: ignore[no-any-return]


def cost(s: Settings) -> float:
    """Student, target, the teacher's steps; half the features forward and back for its turn, half on real and fake."""
    guided = 2 if s.guidance_scale != 1 else 1
    return 3 + 1 + guided * s.teacher_steps + (2 if s.gan_weight else 0)


METHOD = Method(
    title="Stochastic consistency (SCott)",
    paper="arXiv:2403.01505",
    family="consistency",
    summary="Consistency distillation along noisy teacher trajectories, kept sharp by a discriminator on real data.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    followers=("target",),
    training={"steps": 1500, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0},
    presets={
        "one-step": Preset("One step", "One network evaluation for a picture."),
        "two-steps": Preset("Two steps", "Two evaluations, with noise between them.", {"student_steps": 2}),
        "quiet": Preset("Hardly any noise", "Nearly deterministic trajectories, less to keep sharp.", {"eta": 0.05}),
    },
    notes="The discriminator's loss is logistic and its trunk the frozen teacher; the paper's is a hinge on a teacher "
    "with adapters. The solver is ancestral, of first order.",
)
