"""NitroFusion: High-Fidelity Single-Step Diffusion through Dynamic Adversarial Training, arXiv:2412.02030.

A one-step student is refined against its teacher's many-step samples by a crowd of discriminator heads on the teacher's
features. A few heads, drawn anew at every step, look at one noise level; a hundredth of the crowd forgets everything,
so that none learns the student by heart. No real data, no fake score.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from pydantic import model_validator
from torch import Tensor
from torch.optim import Adam, Optimizer

from backend import losses
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Condition, Denoiser, Guided
from backend.networks.discriminators import HeadPool
from backend.networks.heads import example_features
from backend.optimizers import adam
from backend.samplers import Sampler, rollout, sample, start_level, student_levels, teacher_sampler, times
from backend.teachers import Teacher

LEVELS = (0.01, 0.25, 0.5, 0.75)
"""Times t at which the heads look at samples, a quarter of the pool each."""

BETAS = (0.0, 0.99)


class Settings(BaseSettings):
    student_steps: int = setting(1, "Most network evaluations of the finished student", low=1, high=4, unit="steps")
    teacher_steps: int = setting(
        8, "Evaluations by which the teacher makes what counts as real", low=1, high=64, unit="steps"
    )
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    pool_size: int = setting(120, "Heads in the pool", low=48, high=960, unit="heads")
    active_heads: int = setting(10, "Heads that look at one step", low=1, high=120, unit="heads")
    refresh: float = setting(0.01, "Share of the heads that start anew at each step", low=0, high=0.2)
    learning_rate: float = setting(5e-5, "Student's learning rate", low=1e-7, high=1e-2)
    discriminator_learning_rate: float = setting(3e-3, "The heads' learning rate", low=1e-7, high=1e-2)
    first_level: FirstLevel = 0.0

    @model_validator(mode="after")
    def _has_heads_enough(self) -> "Settings":
        most = self.pool_size // len(LEVELS)
        if self.active_heads > most:
            raise ValueError(
                f"active_heads is {self.active_heads}, and a pool of {self.pool_size} has {most} for each noise level; "
                f"choose {most} or fewer, or a larger pool_size."
            )
        return self


@dataclass
class Nets:
    teacher: Guided
    features: Denoiser  # the teacher, asked for its feature maps alone
    student: Denoiser
    discriminator: HeadPool


def build(teacher: Teacher, s: Settings) -> Nets:
    features = teacher.feature_network()
    pool = HeadPool(example_features(features, teacher.each_condition(2)), s.pool_size, len(LEVELS))
    return Nets(Guided(teacher.denoiser, s.guidance_scale), features, teacher.trainable(), pool)


def optimizers(nets: Nets, s: Settings) -> dict[str, Optimizer]:
    # The heads' holds them one by one: those that do not look stay as they are, and one that starts anew is forgotten.
    heads = Adam(nets.discriminator.parameters(), s.discriminator_learning_rate, BETAS, fused=True)
    return {"student": adam(nets.student, s.learning_rate, BETAS), "discriminator": heads}


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("renoise", student_levels(net.path, s.student_steps, start_level(net, s.first_level)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    plan = sampler(s, nets.student)
    # Any step of the student may be its last, so that it can be used with fewer.
    x = rollout(nets.student, plan, batch.index(plan.nfe), batch.noise(), batch.cond, batch.generator)
    real = sample(nets.teacher, teacher_sampler(s.teacher_steps), batch.noise(), batch.cond, batch.generator)
    level = batch.index(len(LEVELS))
    renewed = nets.discriminator.refresh(s.refresh, batch.generator) if batch.first else ()
    heads = nets.discriminator.drawn(level, s.active_heads, batch.generator)
    with torch.no_grad():
        fake_maps, real_maps = (seen(nets, samples, level, batch) for samples in (x, real))
    on_fake, on_real = (nets.discriminator(heads, *maps) for maps in (fake_maps, real_maps))
    terms = {"discriminator": losses.discriminator_hinge(on_real, on_fake)}
    recognised = losses.discriminator_metrics(*(torch.cat([h.flatten() for h in on]) for on in (on_real, on_fake)))
    yield Update(nets.discriminator, terms, recognised, renewed=renewed)

    on_fake = nets.discriminator(heads, *seen(nets, x, level, batch))
    yield Update(nets.student, {"gan": losses.generator_hinge(on_fake)}, sample=x)


def seen(nets: Nets, x: Tensor, level: int, batch: Batch) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The teacher's feature maps of samples (B, ...) at a noise level, with their condition and without."""
    t = times(LEVELS[level], x)
    noised = nets.features.path.noised(x, batch.noise(), t)
    null: Condition | None = nets.features.null(batch.cond)
    with_cond = nets.features.features(noised, t, batch.cond)
    return with_cond, with_cond if null is None else nets.features.features(noised, t, null)


def cost(s: Settings) -> float:
    """Student, teacher, and half the teacher twice each for fake and real, and forth and back for the student.

    Where the teacher has no unconditional mode 2 less.
    """
    return (s.student_steps - 1) / 2 + 3 + s.teacher_steps * (2 if s.guidance_scale != 1 else 1) + 2 + 2


METHOD = Method(
    title="NitroFusion",
    paper="arXiv:2412.02030",
    family="adversarial",
    summary="Refines a one-step student against the teacher's many steps, by a changing crowd of discriminators.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    meant_start=lambda s: "a one-step student of another method" if s.student_steps == 1 else "a few-step student",
    training={"steps": 600, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0},
    presets={
        "refine": Preset("Refine", "For a run that starts from a one-step student of another method."),
        "flexible": Preset("One to four steps", "The same weights for any of 1 to 4 steps.", {"student_steps": 4}),
        "large-pool": Preset("Large pool", "The paper's 480 heads.", {"pool_size": 480}),
    },
    notes="Meant to start from a distilled student (student.start). Heads are smaller than the paper's. "
    "Accumulated batches each draw their own heads.",
)
