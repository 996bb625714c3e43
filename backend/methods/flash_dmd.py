"""Flash-DMD: Towards High-Fidelity Few-Step Image Generation with Efficient Distillation, arXiv:2511.20549, stage one.

Each loss where it works: the student's noisy steps, which lay a picture out, learn from the difference of scores alone;
its clean steps, which finish it, from a discriminator on real data alone. The fake score network follows quickly with
few updates, because it is drawn a little towards the student, of which it is a relative.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from pydantic import model_validator
from torch import Tensor, nn

from backend import losses
from backend.contract.recipe import RecipeError
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Denoiser, Guided
from backend.networks.adapters import adapted
from backend.networks.discriminators import DataDiscriminator
from backend.optimizers import adams
from backend.samplers import Sampler, rollout, start_level, student_levels
from backend.teachers import Teacher


class Settings(BaseSettings):
    student_steps: int = setting(4, "Network evaluations of the finished student", low=2, high=8, unit="steps")
    clean_steps: int = setting(
        2, "The last of these, which learn from real data alone; the others learn from the teacher", low=1, high=7
    )
    fake_score_updates: int = setting(1, "Fake score updates per student update; long runs gain by 2", low=1, high=5)
    kept_share: float = setting(
        0.999,
        "Share of the fake score network kept when it is drawn towards the student; 1 leaves it",
        low=0.99,
        high=1,
    )
    gan_weight: float = setting(0.1, "Weight of the adversarial loss at the clean steps", low=1e-4, high=10)
    # Slower than where scores correct every step: what the noisy steps learn spills onto the clean ones. Four steps of
    # `digits` came to a Frechet distance of 1.2 with 2e-4 and of 0.6 with this.
    learning_rate: float = setting(5e-5, "Student's learning rate", low=1e-7, high=1e-2)
    fake_score_learning_rate: float = setting(4e-4, "Fake score network's learning rate", low=1e-7, high=1e-2)
    discriminator_learning_rate: float = setting(4e-4, "Discriminator's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    lowest_time: float = setting(0.02, "Least noise at which scores are compared", low=0, high=0.5, advanced=True)
    highest_time: float = setting(0.98, "Most noise at which scores are compared", low=0.5, high=1, advanced=True)
    first_level: FirstLevel = 0.0

    @model_validator(mode="after")
    def _has_noisy_steps(self) -> "Settings":
        if self.clean_steps >= self.student_steps:
            raise ValueError(
                f"clean_steps is {self.clean_steps} of {self.student_steps} student_steps, so that no step learns from "
                "the teacher; lower clean_steps."
            )
        return self


@dataclass
class Nets:
    teacher: Guided
    student: Denoiser
    fake_score: Denoiser
    discriminator: nn.Module


def build(teacher: Teacher, s: Settings) -> Nets:
    student, fake_score = teacher.trainable(), teacher.fake_score()
    if s.kept_share < 1 and (adapted(student) or adapted(fake_score)):
        raise RecipeError(
            "Adapters cannot be drawn towards each other; train student and fake score in full, or set kept_share to 1."
        )
    discriminator = DataDiscriminator(teacher.codec, teacher.data_shape)
    return Nets(Guided(teacher.denoiser, s.guidance_scale), student, fake_score, discriminator)


# No momentum: each of them follows the others.
optimizers = adams((0.0, 0.999))


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("renoise", student_levels(net.path, s.student_steps, start_level(net, s.first_level)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    student_turn = batch.step % s.fake_score_updates == 0
    plan = sampler(s, nets.student)
    index = batch.index(plan.nfe)
    with torch.set_grad_enabled(student_turn):
        x = rollout(nets.student, plan, index, batch.noise(), batch.cond, batch.generator)
    if student_turn:
        if index < s.student_steps - s.clean_steps:
            terms, metrics = matching(nets, x, batch, s)
        else:
            terms, metrics = {"gan": s.gan_weight * losses.generator_logistic(nets.discriminator(x))}, {}
        yield Update(nets.student, terms, metrics, sample=x)
        if s.kept_share < 1 and batch.first:
            losses.ema_update(nets.fake_score, nets.student, s.kept_share)

    x = x.detach()
    t, noise = batch.times(), batch.noise()
    prediction = nets.fake_score(nets.fake_score.path.noised(x, noise, t), t, batch.cond)
    yield Update(nets.fake_score, {"fake_score": losses.denoising(prediction, x, noise)})
    on_real, on_fake = nets.discriminator(batch.real[0]), nets.discriminator(x)
    terms = {"discriminator": losses.discriminator_logistic(on_real, on_fake)}
    yield Update(nets.discriminator, terms, losses.discriminator_metrics(on_real, on_fake))


def matching(nets: Nets, x: Tensor, batch: Batch, s: Settings) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The distribution matching term of DMD2, of samples (B, ...) of a noisy step, and what it hides."""
    with torch.no_grad():
        t = batch.times(s.lowest_time, s.highest_time)
        noised = nets.teacher.path.noised(x, batch.noise(), t)
        real, fake = nets.teacher(noised, t, batch.cond).x0, nets.fake_score(noised, t, batch.cond).x0
    return {"matching": losses.distribution_matching(x, real, fake)}, losses.matching_metrics(x, real, fake)


def cost(s: Settings) -> float:
    """Per step: rollout and fake score always; of the student's turns a part with both scores.

    The discriminator's small networks are left out.
    """
    scores = (3 if s.guidance_scale != 1 else 2) * (1 - s.clean_steps / s.student_steps)
    return 1 + (s.student_steps - 1) / 2 + (2 + scores) / s.fake_score_updates + 3


METHOD = Method(
    title="Scores, then real data (Flash-DMD)",
    paper="arXiv:2511.20549",
    family="distribution matching",
    summary="The student's noisy steps learn from the teacher, its clean steps from real data; few fake score updates.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    training={"steps": 900, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0, "preview_every": 100},
    presets={
        "four-steps": Preset("Four steps", "Two by the teacher's score, two by real data."),
        "two-steps": Preset("Two steps", "One by each.", {"student_steps": 2, "clean_steps": 1}),
        "last-step": Preset("Last step alone", "Three of four by the teacher's score.", {"clean_steps": 1}),
    },
    notes="The first stage; the second, preference learning, needs a reward model. The discriminator on decoded data "
    "is a small network that learns, not heads on a frozen SAM encoder. A clean step begins where the student's own "
    "noisy steps led, by backward simulation, not from its finished sample noised anew. The kept share is ours.",
)
