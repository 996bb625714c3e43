"""SNOOPI: Supercharged One-step Diffusion Distillation with Proper Guidance, arXiv:2412.02687.

SwiftBrush with another guidance scale at every step, teacher and fake score alike: a fixed one suits one teacher and
makes the pictures of the next too narrow. And one-step students get a negative prompt, though they have no second
evaluation to be guided by: their cross-attention is steered away from it when they are used (NASA).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from pydantic import model_validator

from backend import losses
from backend.contract.recipe import RecipeError
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, Method, Preset, StartLevel, Update
from backend.methods.swiftbrush import DROPPED, schedule
from backend.networks import Denoiser, Guided
from backend.networks.adapters import with_adapters
from backend.networks.steering import refuse_unsteerable, steer
from backend.noise import per_sample
from backend.optimizers import adams
from backend.samplers import Sampler, rollout, start_level, student_levels
from backend.teachers import Teacher


class Settings(BaseSettings):
    first_level: StartLevel = setting(
        0.0, "Time t at which the student starts; 0 is the highest that suits the teacher", low=0, high=1, advanced=True
    )
    lowest_guidance: float = setting(
        0.5, "Least guidance drawn for a step, of teacher and fake score alike; 1 is none", low=0, high=20
    )
    highest_guidance: float = setting(4.0, "Most of it; a wider range blurs, a narrower one narrows", low=0, high=20)
    negative_prompt: str = setting("", "What the student's pictures are steered away from; empty for nothing")
    away: float = setting(0.2, "How strongly: share of the attention to it that is subtracted", low=0, high=1)
    rank: int = setting(16, "Rank of the fake score's adapters; more can follow the student closer", low=1, high=128)
    learning_rate: float = setting(1e-4, "Student's learning rate", low=1e-7, high=1e-2)
    fake_score_learning_rate: float = setting(
        1e-3, "Learning rate of the fake score's adapters; too low loses modes", low=1e-7, high=1e-2
    )
    lowest_time: float = setting(0.02, "Least noise at which scores are compared", low=0, high=0.5, advanced=True)
    highest_time: float = setting(0.98, "Most noise at which scores are compared", low=0.5, high=1, advanced=True)

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.lowest_guidance <= self.highest_guidance:
            raise ValueError(
                f"lowest_guidance is {self.lowest_guidance:g} and highest_guidance {self.highest_guidance:g}; "
                "give a range, the lowest first."
            )
        return self


@dataclass
class Nets:
    teacher: Guided
    student: Denoiser
    fake_score: Denoiser  # the teacher's weights, and adapters of its own


def student(teacher: Teacher, s: Settings) -> Denoiser:
    if teacher.denoiser.null(teacher.each_condition(1)) is None:
        raise RecipeError("This teacher takes neither classes nor prompts to be guided by; choose SwiftBrush for it.")
    net = teacher.trainable()
    if not s.negative_prompt:
        return net
    refuse_unsteerable(net.network)
    from backend.teachers.prompts import tokens  # noqa: PLC0415 - needs transformers, which takes seconds

    return steer(net, s.negative_prompt, tokens(teacher, s.negative_prompt))


def build(teacher: Teacher, s: Settings) -> Nets:
    fake_score = with_adapters(teacher.feature_network(), s.rank)
    return Nets(Guided(teacher.denoiser, None), student(teacher, s), fake_score)


optimizers = adams((0.0, 0.999))  # no momentum, as SwiftBrush's


def sampler(s: Settings, net: Denoiser) -> Sampler:
    away = s.away if s.negative_prompt else 0.0
    return Sampler("renoise", student_levels(net.path, 1, start_level(net, s.first_level)), away=away)


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    plain = s.model_copy(update={"negative_prompt": ""})  # it learns as it is, and is steered when it is used
    x = rollout(nets.student, sampler(plain, nets.student), 0, batch.noise(), batch.cond, batch.generator)
    with torch.no_grad():
        t = batch.times(s.lowest_time, s.highest_time)
        noised = nets.teacher.path.noised(x, batch.noise(), t)
        scale = batch.times(s.lowest_guidance, s.highest_guidance)[:1].expand(len(t))  # one for the whole step
        told = batch.cond.with_part("guidance", scale)
        real = nets.teacher(noised, t, told).x0
        fake = Guided(nets.fake_score, None)(noised, t, told).x0
        path = nets.student.path
        gradient = per_sample(schedule(path.alpha(t), path.sigma(t)), x) * (fake - real)
    metrics = {"score_difference": (fake - real).abs().mean(), "guidance_scale": scale[0]}
    yield Update(nets.student, {"matching": losses.pushed(x, gradient)}, metrics, sample=x)

    x, t, noise, cond = x.detach(), batch.times(), batch.noise(), batch.cond
    if batch.index(DROPPED) == 0:
        cond = nets.fake_score.null(cond) or cond
    error = nets.fake_score(path.noised(x, noise, t), t, cond).error(x, noise)
    weight = path.alpha(t) ** 2 / (path.alpha(t) ** 2 + path.sigma(t) ** 2)
    yield Update(nets.fake_score, {"fake_score": (per_sample(weight, x) * error.square()).mean()})


def cost(s: Settings) -> float:
    """Per step: the student's update, both scores with their condition and without, and that of the fake score's
    adapters, through the base."""
    return 3 + 2 * 2 + 2


METHOD = Method(
    title="Score distillation, guided at random (SNOOPI)",
    paper="arXiv:2412.02687",
    family="distribution matching",
    summary="SwiftBrush for teachers that are guided: no scale to choose, and a negative prompt for one-step pictures.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    student=student,
    training={"steps": 1200, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 1.0, "preview_every": 100},
    presets={
        "one-step": Preset("One step", "Guidance from 0.5 to 4, as for Stable Diffusion 1 and 2."),
        "transformer": Preset("Transformer", "Guidance from 0.5 to 3, as for PixArt.", {"highest_guidance": 3.0}),
        "large": Preset(
            "Large teacher",
            "Learning rate for a teacher of a thousand million parameters.",
            {"learning_rate": 1e-6, "rank": 64},
            {"batch_size": 16},
        ),
    },
    notes="The fake score has adapters whatever the recipe says of it. Without the paper's optional CLIP term and its "
    "training with negative prompts. Steering needs layers that attend to the prompt alone (Stable Diffusion 1, 2 and "
    "XL, PixArt, Sana), and plain diffusers has no setting for it: a diffusers export brings the lines for it in its "
    "sample.py, a single file cannot. On average a step's push is that of the middle of the range, and a student that "
    "is right is pushed at no scale: drawing changes the way and not the end. The optimizers are without momentum, as "
    "SwiftBrush's.",
)
