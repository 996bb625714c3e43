"""ADM: Adversarial Distribution Matching for Diffusion Distillation, arXiv:2507.18569, the second stage of DMDX.

In place of a fixed divergence between teacher and fake score, a discriminator that learns one: from the same noised
student sample both take one small step of the probability flow, and it tells by whom. The student's samples must make
the fake score's step look like the teacher's. Best from a student that already works, such as of adversarial
pre-training.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from pydantic import model_validator
from torch import Tensor, nn

from backend import losses
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Denoiser, Guided
from backend.networks.heads import Heads, example_features
from backend.optimizers import adams
from backend.samplers import Sampler, jump, rollout, start_level, student_levels
from backend.teachers import Teacher


class Settings(BaseSettings):
    student_steps: int = setting(1, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    ode_step: float = setting(
        0.0625, "Length in t of the step that the discriminator sees; less shows less", low=1 / 64, high=0.25
    )
    discriminator_updates: int = setting(1, "Discriminator updates per student update", low=1, high=8)
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    learning_rate: float = setting(1e-4, "Student's learning rate", low=1e-7, high=1e-2)
    fake_score_learning_rate: float = setting(4e-4, "Fake score network's learning rate", low=1e-7, high=1e-2)
    discriminator_learning_rate: float = setting(1e-3, "Discriminator's learning rate", low=1e-7, high=1e-2)
    lowest_time: float = setting(0.02, "Least noise after the step", low=0, high=0.5, advanced=True)
    highest_time: float = setting(0.98, "Most noise before the step", low=0.5, high=1, advanced=True)
    first_level: FirstLevel = 0.0

    @model_validator(mode="after")
    def _has_room_for_the_step(self) -> "Settings":
        if self.lowest_time + self.ode_step >= self.highest_time:
            raise ValueError(
                f"No step of {self.ode_step:g} fits between lowest_time {self.lowest_time:g} and highest_time "
                f"{self.highest_time:g}; choose a smaller ode_step."
            )
        return self


@dataclass
class Nets:
    teacher: Guided
    features: Denoiser  # the teacher, asked for its feature maps alone
    student: Denoiser
    fake_score: Denoiser
    discriminator: nn.Module


def build(teacher: Teacher, s: Settings) -> Nets:
    features = teacher.feature_network()
    heads = Heads(example_features(features, teacher.each_condition(2)))
    guided = Guided(teacher.denoiser, s.guidance_scale)
    return Nets(guided, features, teacher.trainable(), teacher.fake_score(), heads)


optimizers = adams((0.0, 0.999))


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("renoise", student_levels(net.path, s.student_steps, start_level(net, s.first_level)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    plan = sampler(s, nets.student)
    x = rollout(nets.student, plan, batch.index(plan.nfe), batch.noise(), batch.cond, batch.generator)
    made = x.detach()  # one rollout serves every turn
    t, noise = batch.times(), batch.noise()
    prediction = nets.fake_score(nets.fake_score.path.noised(made, noise, t), t, batch.cond)
    yield Update(nets.fake_score, {"fake_score": losses.denoising(prediction, made, noise)})

    for _ in range(s.discriminator_updates):
        with torch.no_grad():
            noised, t, t_next = drawn(nets, made, batch, s)
            fake, real = nets.fake_score(noised, t, batch.cond), nets.teacher(noised, t, batch.cond)
            maps = [
                seen(nets, jump(prediction, nets.teacher.path, t_next), t_next, batch) for prediction in (real, fake)
            ]
        on_real, on_fake = (nets.discriminator(view) for view in maps)
        metrics = losses.discriminator_metrics(on_real, on_fake)
        # What distribution matching would minimise: it must fall, though nothing here asks it to.
        metrics["score_difference"] = (fake.x0 - real.x0).abs().mean()
        yield Update(nets.discriminator, {"discriminator": losses.discriminator_hinge([on_real], [on_fake])}, metrics)

    noised, t, t_next = drawn(nets, x, batch, s)
    state = jump(nets.fake_score(noised, t, batch.cond), nets.teacher.path, t_next)
    on_fake = nets.discriminator(seen(nets, state, t_next, batch))
    yield Update(nets.student, {"gan": losses.generator_hinge([on_fake])}, sample=x)


def drawn(nets: Nets, x: Tensor, batch: Batch, s: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """Samples (B, ...) noised to times t (B,), and the times to which one step leads from there."""
    t = batch.times(s.lowest_time + s.ode_step, s.highest_time)
    return nets.teacher.path.noised(x, batch.noise(), t), t, t - s.ode_step


def seen(nets: Nets, state: Tensor, t: Tensor, batch: Batch) -> list[Tensor]:
    """The teacher's feature maps of states (B, ...) that are at times t (B,) already."""
    return nets.features.features(state, t, batch.cond)


def cost(s: Settings) -> float:
    """The rollout with its gradient; the fake score; both steps and half the teacher twice; through both, and back."""
    guided = 2 if s.guidance_scale != 1 else 1
    return (s.student_steps - 1) / 2 + 3 + 3 + s.discriminator_updates * (1 + guided + 1) + 2 + 1


METHOD = Method(
    title="Adversarial distribution matching (ADM)",
    paper="arXiv:2507.18569",
    family="adversarial",
    summary="A discriminator learns how teacher and fake score differ; sharpens a student that already works.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    # Four steps with as many updates of the discriminator as of the student come from the teacher alone.
    meant_start=lambda s: (
        "" if s.student_steps > 1 and s.discriminator_updates == 1 else "a run of adversarial pre-training"
    ),
    training={"steps": 600, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0},
    presets={
        "dmdx": Preset("After pre-training (DMDX)", "One step, for a run that starts from adversarial pre-training."),
        "four-steps": Preset("Four steps", "Four evaluations for a picture; needs no start.", {"student_steps": 4}),
        "after-seedream": Preset(
            "After Seedream 4.0, second stage",
            "Four steps, for a run that starts from adversarial pre-training by both of its discriminators; best of a "
            "flow teacher.",
            {"student_steps": 4, "discriminator_updates": 2},
        ),
        "careful": Preset(
            "Careful",
            "A slow student and a discriminator that learns four times for each of its steps.",
            {"discriminator_updates": 4, "learning_rate": 5e-5},
        ),
    },
    notes="All turns use one rollout. The length of the step is not published; a sixteenth of the time is ours.",
)
