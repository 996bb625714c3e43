"""Knowledge Distillation in Iterative Generative Models for Improved Sampling Speed, arXiv:2101.02388.

The teacher's deterministic sampler is a function from noise to samples. Pairs of it are made once, and the student
learns that function by regression: in one evaluation, from the noise alone, where the teacher's sampler leads. The
loss's least value is the coupling itself, so that losses of different runs may be compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Denoiser
from backend.optimizers import adams
from backend.samplers import Sampler, rollout, start_level, student_levels
from backend.stores import pairs_level
from backend.teachers import Teacher

HELD_OUT_EVERY = 10  # steps between two looks at pairs that are never trained on


class Settings(BaseSettings):
    distance: Literal["l2", "l1"] = setting(
        "l2", "Between student and teacher; l1 blurs less where neighbouring noises lead far apart"
    )
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(
        1.0, "Guidance of the teacher that makes the pairs, folded into the student; 1 is none", low=1, high=20
    )
    first_level: FirstLevel = 0.0


@dataclass
class Nets:
    student: Denoiser


def build(teacher: Teacher, s: Settings) -> Nets:
    return Nets(teacher.trainable())


optimizers = adams()


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("deterministic", student_levels(net.path, 1, start_level(net, s.first_level)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    plan = sampler(s, nets.student)
    noise, answer, cond = batch.pairs
    guess = rollout(nets.student, plan, 0, noise, cond, batch.generator)
    metrics: dict[str, Tensor] = {}
    held_out = batch.held_out() if batch.step % HELD_OUT_EVERY == 0 else None
    if held_out is not None:
        noise, never_seen, cond = held_out
        with torch.no_grad():
            on_held_out = rollout(nets.student, plan, 0, noise, cond, batch.generator)
        metrics["held_out"] = distance(on_held_out, never_seen, s)
    yield Update(nets.student, {"regression": distance(guess, answer, s)}, metrics)


def distance(x: Tensor, y: Tensor, s: Settings) -> Tensor:
    """Mean square or mean absolute difference of samples (B, ...), in data units, a scalar."""
    difference = x - y
    return difference.square().mean() if s.distance == "l2" else difference.abs().mean()


def cost(s: Settings) -> float:
    """Per step: the student's update, and now and then the student on pairs it never learns. The pairs come once."""
    return 3 + 1 / HELD_OUT_EVERY


METHOD = Method(
    title="Knowledge distillation",
    paper="arXiv:2101.02388",
    family="trajectory",
    summary="Learns by heart where the teacher's sampler leads from given noise; the baseline of all others, one step.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("pairs",),
    only_as_trained=lambda s: True,
    pairs_from=lambda s, net: pairs_level(net),
    training={
        "steps": 2000,
        "batch_size": 48,
        "ema_decay": 0.99,
        "gradient_clip": 10.0,
        "learning_rate_schedule": "cosine",
    },
    presets={
        "one-step": Preset("One step", "One network evaluation for a picture."),
        "sharper": Preset(
            "Sharper (l1)",
            "Absolute instead of squared differences, which forgives a few large ones.",
            {"distance": "l1"},
        ),
    },
    notes="Pairs are kept in float32, not as bytes. The average is judged by the run's previews, not by its own "
    "held-out loss, which is plotted of the raw student; and the distance is never LPIPS.",
)
