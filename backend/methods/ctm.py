"""CTM: Consistency Trajectory Models, arXiv:2310.02279.

One map G(x, t, s) leads from any point of a teacher's trajectory to any earlier one: to the start it is a consistency
function, over no distance at all the denoiser. Two points of one trajectory must be led to the same place at s, where
they are compared once a moving average (the target) has led them on to the start.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.optim import Optimizer

from backend import losses
from backend.boundary import first_level
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.networks.adapters import follower
from backend.networks.heads import Heads, example_features
from backend.optimizers import adam
from backend.samplers import Sampler, heun, jump, student_levels, times
from backend.teachers import Teacher

SMALLEST_PULL = 1e-12
GAN_BALANCE = 0.01, 10.0  # between which the adversarial term is balanced, as published
DENOISING_BALANCE = 0.0, 1e4


class Settings(BaseSettings):
    student_steps: int = setting(1, "Network evaluations of the finished student", low=1, high=16, unit="steps")
    discretisation: int = setting(18, "Points of the time grid", low=3, high=1000, unit="points")
    longest_span: int = setting(
        2, "Most points that the teacher walks at once, drawn anew each step; more are exact and dear", low=1, high=39
    )
    denoising_weight: float = setting(
        0.1, "How hard denoising pulls beside the trajectories' 1; without it short distances go astray", low=0, high=10
    )
    denoising_share: float = setting(
        0.25, "Share of the batch that denoises too; more is steadier and dearer", low=0.05, high=1, advanced=True
    )
    start_share: float = setting(
        0.5, "Share of the batch whose steps lead to the start: more helps one step, less several", low=0, high=1
    )
    target_ema: float = setting(0.95, "Share of the target kept at each step; 0 is unstable", low=0, high=0.9999)
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    gan_weight: float = setting(0.0, "Weight of the adversarial loss; 0 leaves it out", low=0, high=10)
    gan_start: float = setting(
        0.5,
        "Share of the run after which the adversarial loss joins; early it collapses",
        low=0,
        high=0.9,
        advanced=True,
    )
    discriminator_learning_rate: float = setting(1e-3, "Discriminator's learning rate", low=1e-7, high=1e-2)
    highest_level: float = setting(
        0.4, "Most noise, as time t, at which the discriminator looks", low=0, high=1, advanced=True
    )
    first_level: FirstLevel = 0.0

    @model_validator(mode="after")
    def _spans_fit_the_grid(self) -> Self:
        if self.longest_span >= self.discretisation:
            raise ValueError(
                f"longest_span is {self.longest_span} on a grid of {self.discretisation} points; set it to at most "
                f"{self.discretisation - 1}, or discretisation to more."
            )
        return self


@dataclass
class Nets:
    teacher: Guided
    features: Denoiser  # the teacher, asked for its feature maps alone
    student: Denoiser
    target: Denoiser
    discriminator: nn.Module


def build(teacher: Teacher, s: Settings) -> Nets:
    student, features = teacher.trainable().extended("end_time"), teacher.feature_network()
    heads = Heads(example_features(features, teacher.each_condition(2)))
    return Nets(Guided(teacher.denoiser, s.guidance_scale), features, student, follower(student), heads)


def optimizers(nets: Nets, s: Settings) -> Mapping[str, Optimizer]:
    return {
        "student": adam(nets.student, s.learning_rate),
        "discriminator": adam(nets.discriminator, s.discriminator_learning_rate, (0.0, 0.99)),
    }


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("deterministic", student_levels(net.path, s.student_steps, first_level(s.first_level, net)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    x0, cond = batch.real
    path = nets.student.path
    t, u, end, span = points(batch, s, first_level(s.first_level, nets.student))
    noised = path.noised(x0, batch.noise(), t)
    with torch.no_grad():
        reached = teacher_steps(nets.teacher, noised, t, u, span, cond)
        answer = led_on(nets.target, led(nets.student, reached, u, end, cond), end, cond, s)
    made = told(nets.student, noised, t, end, cond)
    x = led_on(nets.target, jump(made, path, end), end, cond, s)  # the gradient passes through the target
    trajectory = (x - answer).square().mean()
    terms, metrics = {"trajectory": trajectory}, {}
    if s.denoising_weight:
        denoised, loss = denoising(nets, batch, s)
        balance = (pull(trajectory, made.output) / pull(loss, denoised.output)).clamp(*DENOISING_BALANCE)
        terms["denoising"], metrics["denoising_balance"] = s.denoising_weight * balance * loss, balance
    adversarial = s.gan_weight > 0 and batch.step >= s.gan_start * batch.total
    if adversarial:
        loss = losses.generator_logistic(logits(nets, x, cond, batch, s))
        balance = (pull(trajectory, x) / pull(loss, x)).clamp(*GAN_BALANCE)
        terms["gan"], metrics["gan_balance"] = s.gan_weight * balance * loss, balance
    yield Update(nets.student, terms, metrics, sample=x)
    if adversarial:
        on_real, on_fake = logits(nets, x0, cond, batch, s), logits(nets, x.detach(), cond, batch, s)
        found = {"discriminator": losses.discriminator_logistic(on_real, on_fake)}
        yield Update(nets.discriminator, found, losses.discriminator_metrics(on_real, on_fake))
    losses.ema_update(nets.target, nets.student, s.target_ema)


def points(batch: Batch, s: Settings, first: float) -> tuple[Tensor, Tensor, Tensor, int]:
    """Times t > u >= end of a grid from 0 to `first`, (B,) each, and how many points lie from t to u.

    Steps of the first share of the batch end at the start, those of the rest at any point from u on alike.
    The grid is even in t, which on the variance exploding path is the Karras grid.
    """
    span = 1 + batch.index(s.longest_span)
    u = batch.indices(s.discretisation - span)
    end = torch.minimum((batch.times() * (u + 1)).floor(), u)
    end[: at_start(len(end), s)] = 0
    spacing = times(first / (s.discretisation - 1), u)
    return (u + span) * spacing, u * spacing, end * spacing, span


def teacher_steps(teacher: Guided, noised: Tensor, t: Tensor, u: Tensor, span: int, cond: Condition) -> Tensor:
    """The teacher's trajectory through `noised` at times t, followed to u in `span` steps."""
    for k in range(span):
        here, there = (t + (u - t) * part / span for part in (k, k + 1))
        noised = heun(teacher, noised, here, there, cond)
    return noised


def told(net: Denoiser, noised: Tensor, t: Tensor, end: Tensor, cond: Condition) -> Prediction:
    """What `net` makes of `noised` at times t on its way to `end`: g(noised, t, end)."""
    return net(noised, t, cond.with_part("end_time", end))  # type: ignore[no-any-return]


def led(net: Denoiser, noised: Tensor, t: Tensor, end: Tensor, cond: Condition) -> Tensor:
    """G(noised, t, end), (B, ...): on every path the jump along g, and where `end` is t the point itself."""
    return jump(told(net, noised, t, end, cond), net.path, end)


def led_on(target: Denoiser, state: Tensor, t: Tensor, cond: Condition, s: Settings) -> Tensor:
    """Where the target leads states (B, ...) at times t: to the start, at which the first share of the batch is."""
    there = at_start(len(t), s)
    if there == len(t):
        return state
    rest = state[there:]
    return torch.cat([state[:there], led(target, rest, t[there:], times(0.0, rest), cond[there:])])


def at_start(size: int, s: Settings) -> int:
    """How many samples of a batch have a step that leads to the start."""
    return round(s.start_share * size)


def denoising(nets: Nets, batch: Batch, s: Settings) -> tuple[Prediction, Tensor]:
    """g(x, t, t) at noised real samples, and its loss; under guidance, the loss is against the guided teacher."""
    rows = slice(max(1, round(s.denoising_share * len(batch.cond))))
    x0, cond = batch.real
    x0, cond = x0[rows], cond[rows]
    t, noise = batch.times(0.0, first_level(s.first_level, nets.student))[rows], batch.noise()[rows]
    noised = nets.student.path.noised(x0, noise, t)
    made = told(nets.student, noised, t, t, cond)
    if s.guidance_scale != 1:
        with torch.no_grad():
            there = nets.teacher(noised, t, cond)
        x0, noise = there.x0, there.noise
    return made, losses.denoising(made, x0, noise)


def pull(term: Tensor, at: Tensor) -> Tensor:
    """How hard a term pulls: the norm of its gradient in `at`, without gradient."""
    (gradient,) = torch.autograd.grad(term, at, retain_graph=True)
    size: Tensor = gradient.norm()
    return size.clamp(min=SMALLEST_PULL)


def logits(nets: Nets, x: Tensor, cond: Condition, batch: Batch, s: Settings) -> Tensor:
    """The discriminator's view of samples (B, ...) at noise of some level, (B,)."""
    t = batch.times(0.0, s.highest_level)
    noised = nets.features.path.noised(x, batch.noise(), t)
    return nets.discriminator(nets.features.features(noised, t, cond))  # type: ignore[no-any-return]


def cost(s: Settings) -> float:
    """Student and answer, what the target leads on and passes back, the teacher's steps; denoising; discriminator."""
    guided, target = 2 if s.guidance_scale != 1 else 1, 1 - s.start_share
    denoising = target + s.denoising_share * (3 + (2 if guided == 2 else 0))  # the balance passes back once more
    adversarial = (1.5 + 1) * (1 - s.gan_start) if s.gan_weight else 0
    return 3 + 1 + 3 * target + guided * (s.longest_span + 1) + (denoising if s.denoising_weight else 0) + adversarial


METHOD = Method(
    title="Consistency trajectory (CTM)",
    paper="arXiv:2310.02279",
    family="consistency",
    summary="One map from any point of a teacher's trajectory to any earlier one; steps are deterministic.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    inputs=lambda s: ("end_time",),
    followers=("target",),
    training={"steps": 1500, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0},
    presets={
        "one-step": Preset("One step", "One network evaluation for a picture."),
        "two-steps": Preset("Two steps", "Two evaluations.", {"student_steps": 2, "denoising_weight": 0.3}),
        "four-steps": Preset(
            "Four steps",
            "Four evaluations; denoising pulls as hard as the trajectories, as published, so that steps join up.",
            {"student_steps": 4, "denoising_weight": 1.0},
        ),
        "sharper": Preset(
            "Sharper",
            "A discriminator on real data joins in the second half, as published, and leads beyond the teacher.",
            {"gan_weight": 1.0},
        ),
    },
    notes=(
        "Terms are balanced at the student's output, not at its last layer, which adapters leave alone. There noise "
        "does not average out over a batch, so denoising weighs less than the paper's 1 for few steps. The teacher "
        "walks up to 2 of 17 steps at once, the paper's up to 17. The distance is l2 and never LPIPS, the grid even "
        "in t on every path. Half of the steps end at the start, in the paper as many as chance has it. A quarter of "
        "a batch denoises too, all of it in the paper; the target keeps 0.95 of itself where the paper's long runs "
        "keep 0.999. Under guidance, denoising is learnt from the guided teacher. The discriminator is heads on the "
        "teacher's features. Steps are deterministic (gamma 0); those that noise anew are left out."
    ),
)
