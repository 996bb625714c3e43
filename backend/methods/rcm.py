"""rCM: Large Scale Diffusion Distillation via Score-Regularized Continuous-Time Consistency, arXiv:2510.08431.

Consistency follows the teacher's trajectories, which keeps every mode and blurs details; matching leads the student's
own samples where the teacher's score does, which sharpens them and by itself loses modes. sCM learns alone while its
tangent is let in, then DMD joins it, on samples of a backward simulation. Without the matching term it is sCM.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

import torch
from pydantic import model_validator
from torch import Tensor
from torch.optim import Optimizer

from backend import losses, trigflow
from backend.contract.settings import setting
from backend.methods import Batch, Method, Preset, Update, scm
from backend.networks import Condition, Denoiser, Prediction
from backend.noise import per_sample
from backend.optimizers import adam
from backend.samplers import initial, times
from backend.teachers import Teacher


class Settings(scm.Settings):
    matching_weight: float = setting(
        10.0, "Weight of distribution matching beside consistency; 0 is sCM, too much loses modes", low=0, high=100
    )
    fake_score_updates: int = setting(1, "Fake score updates per student update; more steps want more", low=1, high=20)
    fake_score_learning_rate: float = setting(4e-4, "Fake score network's learning rate", low=1e-7, high=1e-2)
    warmup_share: float = setting(
        0.125,
        "Share of the run in which consistency learns alone and its tangent is let in; 0 diverges early",
        low=0,
        high=1,
    )
    time_mean: float = setting(0.7, "Mean of ln(sigma/alpha), where times are log-normal", low=-4, high=4)
    time_spread: float = setting(1.6, "Spread of ln(sigma/alpha), where times are log-normal", low=0.1, high=4)
    lowest_time: float = setting(0.02, "Least noise at which scores are compared", low=0, high=0.5, advanced=True)
    highest_time: float = setting(0.98, "Most noise at which scores are compared", low=0.5, high=1, advanced=True)

    @model_validator(mode="after")
    def _matching_begins(self) -> Self:
        if self.warmup_share == 1 and self.matching_weight:
            raise ValueError(
                "warmup_share is 1, so that matching never begins; lower it, or set matching_weight to 0, which is sCM."
            )
        return self


@dataclass
class Nets(scm.Nets):
    fake_score: Denoiser


def build(teacher: Teacher, s: Settings) -> Nets:
    return Nets(**vars(scm.build(teacher, s)), fake_score=teacher.fake_score())


def optimizers(nets: Nets, s: Settings) -> Mapping[str, Optimizer]:
    # No momentum in what follows the student.
    own = adam(nets.fake_score, s.fake_score_learning_rate, (0.0, 0.999))
    return {**scm.optimizers(nets, s), "fake_score": own}


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    since = batch.step - math.ceil(s.warmup_share * batch.total)
    if since < 0 or not s.matching_weight:
        yield scm.consistency(nets, batch, s, tangent)
        return
    student_turn = since % s.fake_score_updates == 0
    with torch.set_grad_enabled(student_turn):
        x = simulated(nets.student, batch, s)
    # The fake score learns these very samples before the student follows it: of several steps a batch shows one.
    made, t, noise = x.detach(), batch.times(), batch.noise()
    prediction = nets.fake_score(nets.fake_score.path.noised(made, noise, t), t, batch.cond)
    yield Update(nets.fake_score, {"fake_score": losses.denoising(prediction, made, noise)})
    if student_turn:
        update = scm.consistency(nets, batch, s, tangent)
        matched, metrics = matching(nets, x, batch, s)
        terms = {**update.losses, "matching": s.matching_weight * matched}
        yield replace(update, losses=terms, metrics={**update.metrics, **metrics}, sample=x)


@torch.no_grad()
def tangent(
    student: Denoiser,
    prediction: Prediction,
    t: Tensor,
    cond: Condition,
    x0: Tensor,
    noise: Tensor,
    warmup: float,
    s: Settings,
) -> Tensor:
    """sCM's tangent (B, ...) at the end of the warm-up, and before that, with r for `warmup`, the authors' own:

    -cos sqrt(1 - r² sin²) (F - dx) - (r cos sin x + cos sin dF), whose derivative is let in from the first step.
    """
    whole = scm.tangent(student, prediction, t, cond, x0, noise, 1.0, s)
    if warmup == 1:
        return whole
    spread, angle = trigflow.spread(student), trigflow.angle(student, t)
    x = trigflow.state(student, prediction.noised, t)
    away = spread * (trigflow.turn_of(prediction, spread) - trigflow.turn(x0, noise, angle, spread))
    more = angle.cos() * (1 - (warmup * angle.sin()) ** 2).sqrt() - angle.cos() ** 2
    return whole - per_sample(more, x) * away + per_sample((1 - warmup) * angle.cos() * angle.sin(), x) * x


def simulated(student: Denoiser, batch: Batch, s: Settings) -> Tensor:
    """The student's own samples (B, ...), of one to all of its steps; the gradient is of the last alone.

    The later steps begin at any noise, less and less, so that the student learns no levels by heart.
    """
    level = scm.first_level(s, student)
    state = initial(batch.noise(), student.path, level)
    t = times(level, state)
    for _ in range(batch.index(s.student_steps)):
        with torch.no_grad():
            x0 = student(state, t, batch.cond).x0
        t = torch.minimum(t, batch.times(s.lowest_time, s.highest_time))
        state = student.path.noised(x0, batch.noise(), t)
    return student(state, t, batch.cond).x0  # type: ignore[no-any-return]


def matching(nets: Nets, x: Tensor, batch: Batch, s: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """The distribution matching term of samples x (B, ...), and what it hides."""
    t = batch.times(s.lowest_time, s.highest_time)
    noised = nets.teacher.path.noised(x, batch.noise(), t)
    with torch.no_grad():
        real, fake = nets.teacher(noised, t, batch.cond).x0, nets.fake_score(noised, t, batch.cond).x0
    return losses.distribution_matching(x, real, fake), losses.matching_metrics(x, real, fake)


def cost(s: Settings) -> float:
    """Per step, as a mean over the run: in the warm-up sCM's; later the samples and the fake score's update, and in the
    student's turn sCM's, the way back through the samples, and both scores."""
    alone = scm.cost(s)
    if not s.matching_weight:
        return alone
    guided = 2 if s.guidance_scale != 1 else 1
    turn = alone + 2 + guided + 1
    later = 1 + (s.student_steps - 1) / 2 + 3 + turn / s.fake_score_updates
    return s.warmup_share * alone + (1 - s.warmup_share) * later


METHOD = Method(
    title="Score-regularized consistency (rCM)",
    paper="arXiv:2510.08431",
    family="consistency",
    summary="Continuous-time consistency for variety, with distribution matching beside it for sharp details.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=scm.sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    training={"steps": 900, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0, "preview_every": 100},
    presets={
        "one-step": Preset("One step", "One network evaluation for a picture."),
        "four-steps": Preset(
            "Four steps",
            "Four network evaluations for a picture, with noise between them.",
            {"student_steps": 4},
            {"steps": 1800},
        ),
    },
    notes=(
        "The fake score learns at every step and the student at every so many; the authors' take turns, one to four. "
        "matching_weight is between means over a sample's N numbers, where their 100 to 1 between sums is sqrt(N)/50: "
        "10 to 30 for their pictures and videos, and so for ours, although they are smaller. Times are uniform, in "
        "TrigFlow's angle for consistency and by the teacher's clock for scores, in place of a log-normal and a "
        "shifted one; students re-noise at even levels. How many steps are simulated is drawn, up to the student's "
        "own, and does not go round to 4; the fake score has the teacher's training loss. All else is as in sCM "
        "here, whose options remain."
    ),
)
