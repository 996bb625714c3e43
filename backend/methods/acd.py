"""ACD: Accelerating Diffusion for SAR-to-Optical Translation via Adversarial Consistency Distillation (2407.06095).

Latent consistency with a discriminator beside it. The discriminator sees the noised sample together with what was made
of it, and so tells whether the one may have come from the other; consistency alone averages where that is open. Made
for translation, where the teacher takes a picture beside the noised sample; it works with any condition or none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from backend import losses
from backend.boundary import distance, first_level, start_of, step_ends
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, Method, Preset, StartLevel, Update
from backend.networks import Condition, Denoiser, Guided
from backend.networks.adapters import follower
from backend.networks.heads import Heads, example_features
from backend.optimizers import adam
from backend.samplers import Sampler, jump, student_levels
from backend.teachers import Teacher


class Settings(BaseSettings):
    student_steps: int = setting(4, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    discretisation: int = setting(50, "Points of the time grid on which the student learns", low=2, high=1000)
    skip: int = setting(20, "How far one step of the teacher leads, of 1000 times; 1 hardly learns", low=1, high=250)
    gan_weight: float = setting(
        0.1, "Weight of the adversarial loss; 0 leaves it out, much invents detail", low=0, high=10
    )
    real_samples: Literal["data", "target"] = setting(
        "data",
        "What the discriminator takes for real: the data, or what the target makes, which no student can surpass",
    )
    target_ema: float = setting(0.95, "Share of the target kept at each step", low=0, high=0.9999)
    distance: Literal["pseudo-huber", "l2"] = setting("pseudo-huber", "Between student and target")
    huber_offset: float = setting(1e-3, "Difference below which pseudo-huber is quadratic", low=1e-5, high=1)
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    discriminator_learning_rate: float = setting(1e-3, "Discriminator's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    highest_level: float = setting(
        0.4, "Most noise, as time t, at which the discriminator looks", low=0, high=1, advanced=True
    )
    first_level: StartLevel = setting(
        0.0, "Time t at which the student starts; 0 is the highest that suits the teacher", low=0, high=1, advanced=True
    )


@dataclass
class Nets:
    teacher: Guided
    features: Denoiser  # the teacher, asked for its feature maps alone
    student: Denoiser
    target: Denoiser
    discriminator: Heads


def build(teacher: Teacher, s: Settings) -> Nets:
    student, features = teacher.trainable(), teacher.feature_network()
    maps = example_features(features, teacher.each_condition(2))
    heads = Heads([torch.cat([h, h], 1) for h in maps])
    return Nets(Guided(teacher.denoiser, s.guidance_scale), features, student, follower(student), heads)


def optimizers(nets: Nets, s: Settings) -> Mapping[str, Optimizer]:
    return {
        "student": adam(nets.student, s.learning_rate),
        "discriminator": adam(nets.discriminator, s.discriminator_learning_rate, (0.0, 0.99)),
    }


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("renoise", student_levels(net.path, s.student_steps, first_level(s.first_level, net)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    x0, cond = batch.real
    t, t_next = step_ends(batch, s.discretisation, s.skip, first_level(s.first_level, nets.student))
    noised = nets.student.path.noised(x0, batch.noise(), t)
    with torch.no_grad():
        reached = jump(nets.teacher(noised, t, cond), nets.teacher.path, t_next)
        answer = start_of(nets.target(reached, t_next, cond).x0, reached, t_next)
    x = start_of(nets.student(noised, t, cond).x0, noised, t)
    terms = {"consistency": distance(x, answer, s.distance, s.huber_offset)}
    if s.gan_weight:
        with torch.no_grad():
            origin = nets.features.features(noised, t, cond)
        terms["gan"] = s.gan_weight * losses.generator_logistic(logits(nets, origin, x, cond, batch, s))
    yield Update(nets.student, terms, sample=x)

    if s.gan_weight:
        real = x0 if s.real_samples == "data" else answer
        on_real, on_fake = (logits(nets, origin, samples, cond, batch, s) for samples in (real, x.detach()))
        loss = {"discriminator": losses.discriminator_logistic(on_real, on_fake)}
        yield Update(nets.discriminator, loss, losses.discriminator_metrics(on_real, on_fake))
    losses.ema_update(nets.target, nets.student, s.target_ema)


def logits(nets: Nets, origin: list[Tensor], x: Tensor, cond: Condition, batch: Batch, s: Settings) -> Tensor:
    """The discriminator's view of samples (B, ...), at noise of some level, beside the maps of what they came from."""
    t = batch.times(0.0, s.highest_level)
    maps = nets.features.features(nets.features.path.noised(x, batch.noise(), t), t, cond)
    return nets.discriminator([torch.cat(pair, 1) for pair in zip(origin, maps, strict=True)])  # type: ignore[no-any-return]


def cost(s: Settings) -> float:
    """Per step: the student's update, the target, the teacher's one evaluation; and with a discriminator half the
    features of the noised sample, forward and back for the student's turn, and of real and fake for its own."""
    return 3 + 1 + (2 if s.guidance_scale != 1 else 1) + (0.5 + 1 + 1 if s.gan_weight else 0)


METHOD = Method(
    title="Adversarial consistency (ACD)",
    paper="arXiv:2407.06095",
    family="adversarial",
    summary="Latent consistency, kept sharp by a discriminator that sees what each sample was made of.",
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
        "four-steps": Preset("Four steps", "Four network evaluations for a picture."),
        "one-step": Preset("One step", "One network evaluation for a picture.", {"student_steps": 1}),
        "published": Preset(
            "As published",
            "Eight steps, the target's samples as real ones, and both terms of the same weight.",
            {"student_steps": 8, "real_samples": "target", "gan_weight": 1.0},
        ),
    },
    notes="The discriminator's heads are on the frozen teacher, which is published as trained along; it sees samples "
    "noised to the level they are labelled with, not clean ones under another's label. By default the data count as "
    "real and the adversarial weight is a tenth of the published. With guidance, what is folded in is the teacher's.",
)
