"""Uni-DAD: Unified Distillation and Adaptation of Diffusion Models for Few-step Few-shot Image Generation, 2511.18281.

One run that distils and adapts: the student is drawn by the scores of two teachers, that of the source and one that
learns the few real samples of the target during the run, and by a discriminator on these. With a target weight of 0
the source's score keeps variety and the discriminator alone brings the new; with 1 the source is forgotten.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from backend import losses
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Condition, Denoiser, Guided
from backend.networks.heads import Heads, example_features
from backend.optimizers import adams
from backend.samplers import Sampler, initial, start_level, student_levels
from backend.samplers import step as sampler_step
from backend.teachers import Teacher


class Settings(BaseSettings):
    student_steps: int = setting(3, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    target_weight: float = setting(
        0.5, "Share of the target's score; 0 for targets near the source, 0.75 for distant ones", low=0, high=1
    )
    gan_weight: float = setting(0.015, "Weight of the adversarial loss on the real samples", low=1e-4, high=1)
    discriminator_weight: float = setting(
        0.05, "Weight of the discriminator's loss beside the fake score's", low=1e-4, high=1, advanced=True
    )
    fake_score_updates: int = setting(2, "Fake score updates per student update", low=1, high=20)
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    fake_score_learning_rate: float = setting(4e-4, "Fake score network's learning rate", low=1e-7, high=1e-2)
    target_learning_rate: float = setting(
        5e-5, "Target's learning rate; low, as few samples are soon learnt by heart", low=1e-7, high=1e-2
    )
    guidance_scale: float = setting(1.0, "Guidance of the source, folded into the student; 1 is none", low=1, high=20)
    lowest_time: float = setting(0.02, "Least noise at which scores are compared", low=0, high=0.5, advanced=True)
    highest_time: float = setting(0.98, "Most noise at which scores are compared", low=0.5, high=1, advanced=True)
    first_level: FirstLevel = 0.0


@dataclass
class Nets:
    teacher: Guided
    target: Denoiser
    student: Denoiser
    fake_score: Denoiser
    discriminator: nn.Module


def build(teacher: Teacher, s: Settings) -> Nets:
    fake_score = teacher.fake_score()
    heads = Heads(example_features(fake_score, teacher.each_condition(2)))
    guided = Guided(teacher.denoiser, s.guidance_scale)
    return Nets(guided, teacher.fake_score(), teacher.trainable(), fake_score, heads)


# No momentum: each of them follows the others.
optimizers = adams((0.0, 0.999), discriminator="fake_score_learning_rate")


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("renoise", student_levels(net.path, s.student_steps, start_level(net, s.first_level)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    real, cond = batch.real  # the student is asked for what the real samples are of
    student_turn = batch.step % s.fake_score_updates == 0
    with torch.set_grad_enabled(student_turn):
        x = whole_trajectory(nets, batch, cond, s)
    if student_turn:
        terms, metrics = matching(nets, x, cond, batch, s)
        terms["gan"] = s.gan_weight * losses.generator_logistic(logits(nets, x, cond, batch))
        yield Update(nets.student, terms, metrics, sample=x)
        if s.target_weight:
            yield Update(nets.target, {"target": denoising(nets.target, real, cond, batch)})

    x = x.detach()
    terms = {"fake_score": denoising(nets.fake_score, x, cond, batch)}
    on_real, on_fake = logits(nets, real, cond, batch), logits(nets, x, cond, batch)
    terms["discriminator"] = s.discriminator_weight * losses.discriminator_logistic(on_real, on_fake)
    yield Update((nets.fake_score, nets.discriminator), terms, losses.discriminator_metrics(on_real, on_fake))


def whole_trajectory(nets: Nets, batch: Batch, cond: Condition, s: Settings) -> Tensor:
    """The student's finished samples (B, ...), with the gradient of all of its steps."""
    plan = sampler(s, nets.student)
    state = initial(batch.noise(), nets.student.path, plan.levels[0])
    for k in range(plan.nfe):
        state = sampler_step(nets.student, plan, k, state, cond, batch.generator)
    return state


def denoising(net: Denoiser, x: Tensor, cond: Condition, batch: Batch) -> Tensor:
    t, noise = batch.times(), batch.noise()
    return losses.denoising(net(net.path.noised(x, noise, t), t, cond), x, noise)


def matching(
    nets: Nets, x: Tensor, cond: Condition, batch: Batch, s: Settings
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The terms of both teachers at the same noised samples, each normalised by itself, and what the first hides."""
    weights = {"matching": 1 - s.target_weight, "target_matching": s.target_weight}
    with torch.no_grad():
        t = batch.times(s.lowest_time, s.highest_time)
        noised = nets.teacher.path.noised(x, batch.noise(), t)
        fake = nets.fake_score(noised, t, cond).x0
        teachers = dict(zip(weights, (nets.teacher, nets.target), strict=True))
        wanted = {name: teachers[name](noised, t, cond).x0 for name, weight in weights.items() if weight}
    terms = {name: weights[name] * losses.distribution_matching(x, real, fake) for name, real in wanted.items()}
    return terms, losses.matching_metrics(x, next(iter(wanted.values())), fake)


def logits(nets: Nets, x: Tensor, cond: Condition, batch: Batch) -> Tensor:
    """The discriminator's view of samples (B, ...) at noise of all levels, (B,)."""
    t = batch.times()
    noised = nets.fake_score.path.noised(x, batch.noise(), t)
    return nets.discriminator(nets.fake_score.features(noised, t, cond))  # type: ignore[no-any-return]


def cost(s: Settings) -> float:
    """Per step: the whole trajectory, fake score and discriminator always; the student's turn and the target's."""
    scores = 1 + (0 if s.target_weight == 1 else 2 if s.guidance_scale != 1 else 1) + bool(s.target_weight)
    turn = 2 * s.student_steps + scores + 1 + (3 if s.target_weight else 0)
    return s.student_steps + turn / s.fake_score_updates + 3 + 3


METHOD = Method(
    title="Distil and adapt to a few samples (Uni-DAD)",
    paper="arXiv:2511.18281",
    family="distribution matching",
    summary="Makes a few-step student of another subject than the teacher's, from a handful of real samples of it.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    training={"steps": 900, "batch_size": 16, "ema_decay": 0.99, "gradient_clip": 10.0, "preview_every": 100},
    presets={
        "near": Preset("Near the source", "No teacher of the target: variety is the source's.", {"target_weight": 0.0}),
        "between": Preset("Between", "Half of each."),
        "distant": Preset("Far from the source", "Mostly the target's score.", {"target_weight": 0.75}),
    },
    notes="The student is trained for the conditions of the real samples and no others. Levels are even in the path's "
    "own time, not geometric, and real samples are not flipped. The target's teacher is always trained during the run.",
)
