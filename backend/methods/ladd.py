"""LADD: Fast High-Resolution Image Synthesis with Latent Adversarial Diffusion Distillation, arXiv:2403.12015.

The student denoises, each time in one step, what was noised to one of its own few levels; a discriminator on the
teacher's features tells what it makes from real samples, both noised anew. At which noise it looks decides what it sees
and so what the student learns. Real samples are the teacher's own, whose guidance is so folded in. ADD, which came
before (arXiv:2311.17042), also draws each sample towards what the teacher makes of it, and takes real data.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from pydantic import model_validator
from torch import Tensor

from backend import losses
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Need, Preset, Update
from backend.networks import Condition, Denoiser, Guided
from backend.networks.discriminators import LevelHeads
from backend.networks.heads import example_features
from backend.noise import per_sample
from backend.optimizers import adams
from backend.samplers import Sampler, initial, start_level, student_levels
from backend.stores import pairs_level
from backend.teachers import Teacher

PENALTY_EVERY = 16
"""Steps between two gradient penalties, each of which then counts for all of them (arXiv:1912.04958, 4.1)."""
LEAST_LEVELS = 4
"""Levels at which a student learns, also where it is used at fewer: the lower are the easier."""


class Settings(BaseSettings):
    student_steps: int = setting(1, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    data_share: float = setting(
        0.0, "Share of the data among real samples; the others the teacher makes beforehand", low=0, high=1
    )
    discriminator_noise: float = setting(
        0.3,
        "Noise over signal at which the discriminator mostly looks; too much hides what samples differ in, too little "
        "what they have in common",
        low=0.01,
        high=20,
    )
    discriminator_spread: float = setting(
        1.0, "Spread of the logarithm of that noise; 0 is always the same", low=0, high=3
    )
    highest_share: float = setting(
        0.7, "Share of the samples that in the end start from noise alone; other levels share the rest", low=0.1, high=1
    )
    shift: float = setting(
        0.25,
        "Part of the run in which samples move there from the lower levels; 0 begins with the final shares",
        low=0,
        high=1,
    )
    distillation_weight: float = setting(
        0.0, "Weight of the distance to what the teacher makes of a noised sample; 0 leaves it out", low=0, high=10
    )
    penalty_weight: float = setting(
        0.1, "Weight of the gradient penalty (R1) on real samples; more is steadier, 0 leaves it out", low=0, high=100
    )
    discriminator_updates: int = setting(1, "Discriminator updates per student update", low=1, high=10)
    learning_rate: float = setting(1e-4, "Student's learning rate", low=1e-7, high=1e-2)
    discriminator_learning_rate: float = setting(1e-3, "Discriminator's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    first_level: FirstLevel = 0.0

    @model_validator(mode="after")
    def _has_guidance_to_learn(self) -> "Settings":
        if self.guidance_scale != 1 and self.data_share == 1 and not self.distillation_weight:
            raise ValueError(
                f"guidance_scale is {self.guidance_scale:g}, but no guidance is learnt from data alone; set data_share "
                "below 1, distillation_weight above 0, or guidance_scale to 1."
            )
        return self


@dataclass
class Nets:
    teacher: Guided
    features: Denoiser  # the teacher, asked for its feature maps alone
    student: Denoiser
    discriminator: LevelHeads


def build(teacher: Teacher, s: Settings) -> Nets:
    features = teacher.feature_network()
    heads = LevelHeads(example_features(features, teacher.each_condition(2)), len(learnt_levels(s, features)))
    return Nets(Guided(teacher.denoiser, s.guidance_scale), features, teacher.trainable(), heads)


optimizers = adams((0.0, 0.99))


def sampler(s: Settings, net: Denoiser) -> Sampler:
    levels = learnt_levels(s, net)
    return Sampler("renoise", levels[:: len(levels) // s.student_steps])


def learnt_levels(s: Settings, net: Denoiser) -> tuple[float, ...]:
    """The times at which the student learns: those of its sampler, and between them as many as make `LEAST_LEVELS`."""
    count = s.student_steps * math.ceil(LEAST_LEVELS / s.student_steps)
    return student_levels(net.path, count, start_level(net, s.first_level))


def shares(count: int, progress: float, s: Settings) -> list[float]:
    """Share of each of `count` levels, highest first, after `progress` of the run: at first the lower half, evenly."""
    half, moved = count // 2, min(progress / s.shift, 1.0) if s.shift else 1.0
    first = [0.0] * half + [1 / (count - half)] * (count - half)
    last = [s.highest_share] + [(1 - s.highest_share) / (count - 1)] * (count - 1)
    return [a + moved * (b - a) for a, b in zip(first, last, strict=True)]


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    real, cond = real_samples(batch, s)
    level, t, noised = at_own_levels(nets, real, batch, s)
    student_turn = batch.step % s.discriminator_updates == 0
    with torch.set_grad_enabled(student_turn):
        x = nets.student(noised, t, cond).x0

    with torch.no_grad():
        fake_maps, real_maps = (seen(nets, samples, cond, batch, s) for samples in (x, real))
    penalty_turn = s.penalty_weight > 0 and batch.step % PENALTY_EVERY == 0
    real_maps = [maps.requires_grad_(penalty_turn) for maps in real_maps]
    on_fake, on_real = (nets.discriminator(maps, level) for maps in (fake_maps, real_maps))
    terms = {"discriminator": losses.discriminator_hinge(on_real, on_fake)}
    if penalty_turn:
        penalty = losses.gradient_penalty(torch.cat(on_real), real_maps)
        terms["penalty"] = PENALTY_EVERY * s.penalty_weight * penalty
    yield Update(nets.discriminator, terms, losses.discriminator_metrics(torch.cat(on_real), torch.cat(on_fake)))

    if student_turn:
        on_fake = nets.discriminator(seen(nets, x, cond, batch, s), level)
        wanted = {"gan": losses.generator_hinge(on_fake)}
        if s.distillation_weight:
            wanted["distillation"] = s.distillation_weight * distillation(nets, x, cond, batch, s)
        yield Update(nets.student, wanted, sample=x)


def real_samples(batch: Batch, s: Settings) -> tuple[Tensor, Condition]:
    """What counts as real, (B, ...): the teacher's samples, the data, or some of each."""
    if s.data_share == 1:
        return batch.real
    _, made, cond = batch.pairs
    if not s.data_share:
        return made, cond
    rows, (data, data_cond) = batch.times() < s.data_share, batch.real
    return torch.where(per_sample(rows, data).bool(), data, made), cond.replaced(rows, data_cond)


def at_own_levels(nets: Nets, real: Tensor, batch: Batch, s: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """The number of one of the student's levels for each sample and its time, (B,) each, and `real` noised to it.

    At the highest, number 0, the noise alone: so sampling starts, also where the path keeps some signal there.
    """
    path, levels, noise, u = nets.student.path, learnt_levels(s, nets.student), batch.noise(), batch.times()
    share = torch.tensor(shares(len(levels), batch.step / batch.total, s), dtype=u.dtype, device=u.device)
    level = torch.searchsorted(share.cumsum(0)[:-1], u, right=True)
    t = torch.tensor(levels, dtype=u.dtype, device=u.device)[level]
    is_start = per_sample(level == 0, real).bool()
    return level, t, torch.where(is_start, initial(noise, path, levels[0]), path.noised(real, noise, t))


def seen(nets: Nets, x: Tensor, cond: Condition, batch: Batch, s: Settings) -> list[Tensor]:
    """The teacher's feature maps of samples (B, ...), noised; the paper's logit-normal time of a flow is this law."""
    path = nets.features.path
    t = batch.log_normal_times(path, math.log(s.discriminator_noise), s.discriminator_spread, 1.0)
    return nets.features.features(path.noised(x, batch.noise(), t), t, cond)


def distillation(nets: Nets, x: Tensor, cond: Condition, batch: Batch, s: Settings) -> Tensor:
    """ADD's: mean square distance of samples (B, ...) from what the teacher makes of them noised, times its signal."""
    path = nets.teacher.path
    t, noise = batch.times(0.0, learnt_levels(s, nets.student)[0]), batch.noise()
    with torch.no_grad():
        answer = nets.teacher(path.noised(x, noise, t), t, cond).x0
        weight = path.alpha(t) / (path.alpha(t) ** 2 + path.sigma(t) ** 2).sqrt()
    return (weight * losses.sample_mean((x - answer).square())).mean()


def needs(s: Settings) -> tuple[Need, ...]:
    return (*(("pairs",) if s.data_share < 1 else ()), *(("real data",) if s.data_share else ()))


def cost(s: Settings) -> float:
    """Student, and half the teacher on fake and on real; of the student's turns its way back, half the teacher forth
    and back, and with distillation the teacher once."""
    guided = 2 if s.guidance_scale != 1 else 1
    return 1 + 1 + (2 + 1 + (guided if s.distillation_weight else 0)) / s.discriminator_updates


METHOD = Method(
    title="Latent adversarial distillation (LADD, ADD)",
    paper="arXiv:2403.12015",
    family="adversarial",
    summary="A discriminator on the teacher's features, at noise that is chosen, makes a student of one to four steps.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=needs,
    pairs_from=lambda s, net: pairs_level(net),
    training={"steps": 1000, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0},
    presets={
        "one-step": Preset("One step", "One network evaluation for a picture."),
        "four-steps": Preset(
            "Four steps",
            "Four network evaluations for a picture; what the teacher makes of a sample keeps the steps in hand.",
            {"student_steps": 4, "highest_share": 0.4, "distillation_weight": 0.5},
        ),
        "published-noise": Preset(
            "Noise as published",
            "The discriminator looks through much noise, for large pictures in latents: logit-normal times.",
            {"discriminator_noise": 2.72},
        ),
        "add": Preset(
            "With the teacher's answers (ADD)",
            "Real data, and a second term that draws each sample towards what the teacher makes of it.",
            {"data_share": 1.0, "distillation_weight": 2.5},
        ),
    },
    notes="The discriminator is told at which level its sample was begun: otherwise it judges the levels' mixture, and "
    "the student makes its lower levels too strong for what the highest lacks. Its noise is by default far below the "
    "published, whose pictures are larger. Heads see the condition and the noise through the teacher's features alone, "
    "and there is one for each map of its encoding half. How levels' shares shift is our law. ADD's discriminator is "
    "LADD's here, without an image classifier; its distance, and all losses over heads, are means.",
)
