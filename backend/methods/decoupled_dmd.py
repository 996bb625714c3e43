"""Decoupled DMD: CFG Augmentation as the Spear, Distribution Matching as the Shield, arXiv:2511.22677.

A guided matching gradient is a sum of two: what the teacher's guidance adds, which makes a student of few steps and
runs away by itself, and distribution matching, which holds it. Each has its own noise level: guidance is asked only
about less noise than the student's step begins with. Other shields than matching are a sample's mean and variance,
and a discriminator.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor, nn

from backend import losses
from backend.contract.recipe import RecipeError
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Condition, Denoiser
from backend.networks.heads import Heads, example_features
from backend.optimizers import adams
from backend.samplers import Sampler, rollout, start_level, student_levels
from backend.teachers import Teacher

Schedule = Literal["shared", "full", "constrained", "hybrid"]
Shield = Literal["matching", "mean and variance", "adversarial"]


class Settings(BaseSettings):
    student_steps: int = setting(4, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    first_level: FirstLevel = 0.0
    guidance_scale: float = setting(
        1.0, "Guidance of the teacher, which is the spear; 1 leaves the shield alone", low=1, high=20
    )
    schedule: Schedule = setting(
        "hybrid",
        "Noise of guidance and matching: hybrid keeps guidance below the student's step, constrained both, full "
        "neither; shared gives both the same, as in DMD2",
    )
    shield: Shield = setting(
        "matching", "What holds the student: matching needs a fake score network, the others real data instead"
    )
    shield_weight: float = setting(1.0, "Weight of a shield other than matching", low=0, high=100)
    fake_score_updates: int = setting(2, "Fake score updates per student update; more steps want more", low=1, high=20)
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    fake_score_learning_rate: float = setting(
        4e-4, "Learning rate of the fake score network, or of the discriminator in its place", low=1e-7, high=1e-2
    )
    lowest_time: float = setting(0.02, "Least noise at which the teacher is asked", low=0, high=0.5, advanced=True)
    highest_time: float = setting(0.98, "Most noise at which the teacher is asked", low=0.5, high=1, advanced=True)

    @model_validator(mode="after")
    def _shared_with_matching(self) -> Self:
        if self.schedule == "shared" and self.shield != "matching":
            raise ValueError(
                f"schedule is shared and shield {self.shield}, which has no noise level to share; "
                "set schedule to hybrid, or shield to matching."
            )
        return self


@dataclass
class Nets:
    teacher: Denoiser
    student: Denoiser
    fake_score: Denoiser
    features: Denoiser  # the teacher, asked for its feature maps alone
    discriminator: nn.Module


def build(teacher: Teacher, s: Settings) -> Nets:
    if s.guidance_scale != 1 and teacher.denoiser.null(teacher.each_condition(1)) is None:
        raise RecipeError("This teacher has no unconditional mode, so guidance_scale must stay 1.")
    features = teacher.feature_network()
    heads = Heads(example_features(features, teacher.each_condition(2)))
    return Nets(teacher.denoiser, teacher.trainable(), teacher.fake_score(), features, heads)


# No momentum: each of them follows the others.
optimizers = adams((0.0, 0.999), discriminator="fake_score_learning_rate")


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("renoise", student_levels(net.path, s.student_steps, start_level(net, s.first_level)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    student_turn = s.shield == "mean and variance" or batch.step % s.fake_score_updates == 0
    plan = sampler(s, nets.student)
    last = batch.index(plan.nfe)  # the same for the whole batch
    with torch.set_grad_enabled(student_turn):
        x = rollout(nets.student, plan, last, batch.noise(), batch.cond, batch.generator)
    made = x.detach()
    if s.shield == "matching":
        t, noise = batch.times(), batch.noise()
        prediction = nets.fake_score(nets.fake_score.path.noised(made, noise, t), t, batch.cond)
        yield Update(nets.fake_score, {"fake_score": losses.denoising(prediction, made, noise)})
    elif s.shield == "adversarial":
        on_fake, on_real = logits(nets, made, batch.cond, batch), logits(nets, *batch.real, batch)
        terms = {"discriminator": losses.discriminator_logistic(on_real, on_fake)}
        yield Update(nets.discriminator, terms, losses.discriminator_metrics(on_real, on_fake))

    if student_turn:
        spear, real, fake = aims(nets, x.detach(), plan.levels[last], batch, s)
        terms = {"matching": losses.distribution_matching(x, real, fake)}
        if s.shield != "matching":
            terms["shield"] = s.shield_weight * other_shield(nets, x, batch, s)
        metrics = {"spear": spear.abs().mean(), **losses.matching_metrics(x, real, fake + spear)}
        yield Update(nets.student, terms, metrics, sample=x)


@torch.no_grad()
def aims(nets: Nets, x: Tensor, level: float, batch: Batch, s: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """(spear, real, fake), each (B, ...): what guidance adds, and whose difference moves the student's samples x.

    real is the teacher's clean sample plus the spear, as a guided teacher's, so that its distance from x remains what
    the difference is divided by. level: the time t at which the student's step began.
    """
    spear, seen = torch.zeros_like(x), None
    if s.guidance_scale != 1:
        noised, t = noised_up_to(level if s.schedule in ("hybrid", "constrained") else 1.0, x, batch, nets, s)
        null = nets.teacher.null(batch.cond)
        assert null is not None  # or `build` had refused
        both = nets.teacher(torch.cat([noised] * 2), torch.cat([t] * 2), Condition.join([batch.cond, null]))
        with_cond, without = both.x0.chunk(2)
        spear, seen = (s.guidance_scale - 1) * (with_cond - without), (noised, t, with_cond)
    if s.shield != "matching":
        real = x if seen is None else seen[2]
        return spear, real + spear, real
    if seen is None or s.schedule != "shared":
        noised, t = noised_up_to(level if s.schedule == "constrained" else 1.0, x, batch, nets, s)
        seen = noised, t, nets.teacher(noised, t, batch.cond).x0
    noised, t, real = seen
    return spear, real + spear, nets.fake_score(noised, t, batch.cond).x0


def noised_up_to(level: float, x: Tensor, batch: Batch, nets: Nets, s: Settings) -> tuple[Tensor, Tensor]:
    """Samples (B, ...) with new noise of any amount below a level, and their times (B,)."""
    high = min(level, s.highest_time)
    t = batch.times(min(s.lowest_time, high), high)
    return nets.teacher.path.noised(x, batch.noise(), t), t


def other_shield(nets: Nets, x: Tensor, batch: Batch, s: Settings) -> Tensor:
    """What holds samples (B, ...) in place of matching."""
    if s.shield == "adversarial":
        return losses.generator_logistic(logits(nets, x, batch.cond, batch))
    real, _ = batch.real
    return losses.moments(x, *(moment.mean() for moment in losses.sample_moments(real)))


def logits(nets: Nets, x: Tensor, cond: Condition, batch: Batch) -> Tensor:
    """The discriminator's view of samples (B, ...) at noise of all levels, (B,)."""
    t = batch.times()
    return nets.discriminator(  # type: ignore[no-any-return]
        nets.features.features(nets.features.path.noised(x, batch.noise(), t), t, cond)
    )


def cost(s: Settings) -> float:
    """Per step: the rollout always, the student's turn where it is, and what learns beside the student."""
    rollout_cost = 1 + (s.student_steps - 1) / 2
    guided = s.guidance_scale != 1
    student = 2.0 + 2 * guided
    if s.shield == "mean and variance":
        return rollout_cost + student
    if s.shield == "adversarial":
        return rollout_cost + (student + 1) / s.fake_score_updates + 1
    asked = 1 + (not guided or s.schedule != "shared")
    return rollout_cost + (student + asked) / s.fake_score_updates + 3


METHOD = Method(
    title="Guidance and matching apart (Decoupled DMD)",
    paper="arXiv:2511.22677",
    family="distribution matching",
    summary="DMD2's guided gradient in two parts, each at its own noise level; for teachers that need guidance.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: () if s.shield == "matching" else ("real data",),
    training={"steps": 900, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0},
    presets={
        "guided": Preset(
            "Guided, four steps",
            "Guidance of 2 below each step's noise, matching at all noise; for a teacher that can go without a prompt.",
            {"guidance_scale": 2.0},
        ),
        "unguided": Preset("Four steps without guidance", "The shield alone: matching as in DMD2."),
        "moments": Preset(
            "Guided, without a fake score",
            "The mean and variance of each picture, as in real data, hold the student; cheap, and the coarsest shield.",
            {"guidance_scale": 1.5, "shield": "mean and variance"},
        ),
    },
    notes="Guidance is off by default, since not every teacher has an unconditional mode. The published weight "
    "of the two parts is DMD2's division by the guided teacher's error. The mean and variance that hold a sample are "
    "those of real data, where the paper gives numbers for one autoencoder.",
)
