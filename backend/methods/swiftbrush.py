"""SwiftBrush: One-Step Text-to-Image Diffusion Model with Variational Score Distillation, arXiv:2312.05239.

The loss that made 3D scenes from a text-to-image teacher (ProlificDreamer's) trains a one-step student instead: it is
pushed along teacher minus fake score, both guided alike. The fake score is the frozen teacher itself with low-rank
adapters, so beside the student nearly nothing is kept; and no pictures are needed at all.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from backend import losses
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Denoiser, Guided
from backend.networks.adapters import with_adapters
from backend.noise import per_sample
from backend.optimizers import adams
from backend.samplers import Sampler, rollout, start_level, student_levels
from backend.teachers import Teacher

DROPPED = 10
"""In one step of so many the fake score learns without conditions, as it is asked under guidance."""


class Settings(BaseSettings):
    first_level: FirstLevel = 0.0
    rank: int = setting(16, "Rank of the fake score's adapters; more can follow the student closer", low=1, high=128)
    learning_rate: float = setting(1e-4, "Student's learning rate", low=1e-7, high=1e-2)
    fake_score_learning_rate: float = setting(
        1e-3, "Learning rate of the fake score's adapters; too low loses modes", low=1e-7, high=1e-2
    )
    guidance_scale: float = setting(
        1.0, "Guidance of teacher and fake score alike, folded into the student; 1 is none", low=1, high=20
    )
    lowest_time: float = setting(0.02, "Least noise at which scores are compared", low=0, high=0.5, advanced=True)
    highest_time: float = setting(0.98, "Most noise at which scores are compared", low=0.5, high=1, advanced=True)


@dataclass
class Nets:
    teacher: Guided
    student: Denoiser
    fake_score: Denoiser  # the teacher's weights, and adapters of its own


def build(teacher: Teacher, s: Settings) -> Nets:
    fake_score = with_adapters(teacher.feature_network(), s.rank)
    return Nets(Guided(teacher.denoiser, s.guidance_scale), teacher.trainable(), fake_score)


# No momentum: each of them follows the other. With Adam's usual one the adapters overshoot: on eight unequal modes in
# closed form TV is then 0.33 after 1,200 steps and 0.38 after 3,000, without 0.21 and 0.19.
optimizers = adams((0.0, 0.999))


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("renoise", student_levels(net.path, 1, start_level(net, s.first_level)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    x = rollout(nets.student, sampler(s, nets.student), 0, batch.noise(), batch.cond, batch.generator)
    with torch.no_grad():
        t = batch.times(s.lowest_time, s.highest_time)
        noised = nets.teacher.path.noised(x, batch.noise(), t)
        real = nets.teacher(noised, t, batch.cond).x0
        fake = Guided(nets.fake_score, s.guidance_scale)(noised, t, batch.cond).x0
        gradient = per_sample(schedule(*level(nets, t)), x) * (fake - real)
    metrics = {"score_difference": (fake - real).abs().mean()}
    yield Update(nets.student, {"matching": losses.pushed(x, gradient)}, metrics, sample=x)

    x, t, noise, cond = x.detach(), batch.times(), batch.noise(), batch.cond
    if s.guidance_scale != 1 and batch.index(DROPPED) == 0:
        cond = nets.fake_score.null(cond) or cond
    error = nets.fake_score(nets.fake_score.path.noised(x, noise, t), t, cond).error(x, noise)
    alpha, sigma = level(nets, t)
    weight = per_sample(alpha**2 / (alpha**2 + sigma**2), x)
    yield Update(nets.fake_score, {"fake_score": (weight * error.square()).mean()})


def level(nets: Nets, t: Tensor) -> tuple[Tensor, Tensor]:
    return nets.student.path.alpha(t), nets.student.path.sigma(t)


def schedule(alpha: Tensor, sigma: Tensor) -> Tensor:
    """What the difference of the two clean samples counts, (B,), from 0 to 1/2.

    alpha sigma of the variance preserving path at the same noise over data, where it makes the paper's sigma² times the
    difference of the noise predictions (alg. 1); taken literally that grows without bound on EDM's path.
    """
    return alpha * sigma / (alpha**2 + sigma**2)


def cost(s: Settings) -> float:
    """Per step: the student's update, both scores, doubled by guidance, and that of the adapters, through the base."""
    return 3 + 2 * (2 if s.guidance_scale != 1 else 1) + 2


METHOD = Method(
    title="Score distillation with adapters (SwiftBrush)",
    paper="arXiv:2312.05239",
    family="distribution matching",
    summary="Matches scores with adapters on the teacher as fake score: the least memory, and no pictures.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    training={"steps": 1200, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 1.0, "preview_every": 100},
    presets={
        "one-step": Preset("One step", "One network evaluation for a picture; no real data needed."),
        "guided": Preset(
            "Guided",
            "For teachers of prompts: the guidance at which they are sampled becomes the student's own.",
            {"guidance_scale": 4.5, "learning_rate": 1e-5},
        ),
        "closer": Preset("Closer fake score", "Four times the adapters' rank, at a little more memory.", {"rank": 64}),
    },
    notes="The fake score has adapters whatever the recipe says of it. The student's start is the highest that suits "
    "the teacher, not index 999 with alpha² = 0.0047; on other paths than the variance preserving one its weights are "
    "taken at the same noise over data, and the fake score learns in the teacher's own output. The optimizers are "
    "without the momentum of the paper's.",
)
