"""TDM: Learning Few-Step Diffusion Models by Trajectory Distribution Matching, arXiv:2503.06674.

The student takes a few deterministic steps. Where a step ends, its states are noised on, no further than to where the
step began, and pushed along the difference between the teacher's score and a fake score's there. Steps share no noise
level, so that one fake score serves them all. Told its step's end, one student serves several numbers of steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from backend import losses
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.noise import Level, per_sample, transition
from backend.optimizers import adams
from backend.samplers import Sampler, end_of_step, jump_to, start_level, student_levels, times, trajectory
from backend.teachers import Teacher

MARGIN = 0.04
"""Share of a step's times, next to where it begins, that is left out: 10 of 225 in the paper's program."""
HUBER = 0.00054
"""Of the square root of a sample's size: where the pseudo-Huber distance turns from square to linear."""
HUBER_BY_ELEMENT = 1e-3
"""The same of one element, in the paper's program."""


class Settings(BaseSettings):
    student_steps: int = setting(4, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    several_budgets: bool = setting(
        False, "The student is also taught every lower number of steps, and told which it is to take"
    )
    first_level: FirstLevel = 0.0
    fake_score_updates: int = setting(1, "Fake score updates per student update", low=1, high=20)
    fake_score_target: Literal["clean sample", "sub-interval"] = setting(
        "clean sample",
        "What the fake score learns: the student's clean sample, weighted, is fast; sub-interval is exact and slower",
    )
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    fake_score_learning_rate: float = setting(4e-4, "Fake score network's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    distance: Literal["l2", "pseudo-huber", "pseudo-huber by element"] = setting(
        "l2",
        "Distance of the student's sample from where it is pushed; pseudo-huber pulls on all samples alike, by element "
        "on all of their elements",
    )
    snr_cap: float = setting(
        5.0, "Signal-to-noise ratio above which the fake score's loss counts less", low=0.1, high=100, advanced=True
    )
    lowest_time: float = setting(0.02, "Least noise at which scores are compared", low=0, high=0.5, advanced=True)
    highest_time: float = setting(0.98, "Most noise at which scores are compared", low=0.5, high=1, advanced=True)


@dataclass
class Nets:
    teacher: Guided
    student: Denoiser
    fake_score: Denoiser


def build(teacher: Teacher, s: Settings) -> Nets:
    student, fake_score = teacher.trainable(), teacher.fake_score()
    if s.several_budgets:
        student, fake_score = student.extended("end_time"), fake_score.extended("step_length")
    return Nets(Guided(teacher.denoiser, s.guidance_scale), student, fake_score)


optimizers = adams((0.0, 0.999))  # no momentum: each of them follows the other


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return sampler_of(s.student_steps, net, s)


def sampler_of(steps: int, net: Denoiser, s: Settings) -> Sampler:
    return Sampler("deterministic", student_levels(net.path, steps, start_level(net, s.first_level)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    plan = sampler_of(batch.index(s.student_steps) + 1 if s.several_budgets else s.student_steps, nets.student, s)
    states = trajectory(nets.student, plan, batch.noise(), batch.cond, batch.generator)
    with torch.no_grad():
        made = noised_on(nets, plan, states, batch, s)
    yield Update(nets.fake_score, {"fake_score": fake_score_loss(nets, made, s)})

    if batch.step % s.fake_score_updates == 0:
        made = noised_on(nets, plan, states, batch, s)  # other steps of the same trajectory
        with torch.no_grad():
            real = nets.teacher(made.noised, made.t, batch.cond).x0
            fake = nets.fake_score(made.noised, made.t, made.told_fake).x0
        metrics = losses.matching_metrics(made.x0, real, fake)
        yield Update(nets.student, {"matching": matching(made.x0, real, fake, s)}, metrics, sample=made.x0)


@dataclass(frozen=True)
class Made:
    """x0: what the student made at one of its levels for each sample. state: where that step ended, at level s.

    noised: the state with `noise` added to times t, without gradient; all (B, ...), times (B,).
    told_fake: the condition as the fake score takes it.
    """

    x0: Tensor
    state: Tensor
    s: Level
    noised: Tensor
    noise: Tensor
    t: Tensor
    told_fake: Condition


def noised_on(nets: Nets, plan: Sampler, states: Tensor, batch: Batch, s: Settings) -> Made:
    """One step of the trajectory for each sample, drawn anew, and a time within it."""
    k, rows = batch.indices(plan.nfe), torch.arange(len(batch.cond), device=batch.device)
    levels = torch.stack([times(level, states[0]) for level in (*plan.levels, 0.0)])
    begin, end = levels[k, rows], levels[k + 1, rows]
    cond, told_fake = batch.cond, batch.cond
    if s.several_budgets:
        cond, told_fake = cond.with_part("end_time", end), cond.with_part("step_length", begin - end)
    prediction = nets.student(states[k, rows], begin, cond)
    x0, path, level = prediction.x0, nets.student.path, end_of_step(nets.student.path, end)
    with torch.no_grad():
        state, noise = jump_to(prediction, level), batch.noise()
        high = (begin - MARGIN * (begin - end)).clamp(max=s.highest_time)
        low = torch.minimum(end.clamp(min=s.lowest_time), high)
        t = low + (high - low) * batch.times()
        kept, added = transition(level, (path.alpha(t), path.sigma(t)))
        noised = per_sample(kept, state) * state + per_sample(added, state) * noise
    return Made(x0, state, level, noised, noise, t, told_fake)


def fake_score_loss(nets: Nets, made: Made, s: Settings) -> Tensor:
    """The fake score's loss on noised states, that of its own training, counting less where there is little noise."""
    prediction: Prediction = nets.fake_score(made.noised, made.t, made.told_fake)
    here = (prediction.alpha, prediction.sigma)
    weight = (s.snr_cap * here[1] ** 2 / here[0] ** 2).clamp(max=1)
    if s.fake_score_target == "clean sample":
        noise = (made.noised - per_sample(here[0], made.x0) * made.x0) / per_sample(here[1], made.x0)
        x0, weight = made.x0, weight * importance(noise, made.noise).to(weight)
    else:
        x0, noise = losses.interval_target(made.state, made.s, here, made.noise)
        weight = torch.minimum(weight, (transition(made.s, here)[1] / here[1]) ** 2)  # the target's variance, undone
    return (weight * losses.sample_mean(prediction.error(x0, noise).square())).mean()


def importance(noise: Tensor, fresh: Tensor) -> Tensor:
    """How much likelier than fresh noise all the noise of a state is, (B,), each a mean over the sample's elements."""
    return (losses.sample_mean(fresh.square() - noise.square()) / 2).exp()


def matching(x0: Tensor, real: Tensor, fake: Tensor, s: Settings) -> Tensor:
    """The matching term. A step's end is a multiple of its x0 plus what has no gradient, so x0 stands for it."""
    if s.distance == "l2":
        return losses.distribution_matching(x0, real, fake)
    aim = (x0 + real - fake).detach()
    if s.distance == "pseudo-huber":
        return losses.pseudo_huber(x0, aim, HUBER * x0[0].numel() ** 0.5)
    error = losses.sample_mean((x0 - real).abs().float()).detach().clamp(min=losses.SMALLEST_NORMALISER)
    distances = ((x0 - aim).float().square() + HUBER_BY_ELEMENT**2).sqrt() - HUBER_BY_ELEMENT
    return (distances / per_sample(error, distances)).mean()


def cost(s: Settings) -> float:
    """Per step: the trajectory, the fake score's turn and its sample, and the student's turn where it has one."""
    before = (s.student_steps - 1) / (2 if s.several_budgets else 1)
    guided = 2 if s.guidance_scale != 1 else 1
    return before + 1 + 3 + (3 + guided + 1) / s.fake_score_updates


METHOD = Method(
    title="Trajectory distribution matching (TDM)",
    paper="arXiv:2503.06674",
    family="distribution matching",
    summary="Matches distributions at every step of a short deterministic trajectory; learns fast, at 2 to 8 steps.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    inputs=lambda s: ("end_time",) if s.several_budgets else (),
    only_as_trained=lambda s: not s.several_budgets,
    training={"steps": 400, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 1.0},
    presets={
        "four-steps": Preset("Four steps", "Four network evaluations for a picture; no real data needed."),
        "two-steps": Preset("Two steps", "Two network evaluations for a picture.", {"student_steps": 2}),
        "any": Preset(
            "One to four steps",
            "One student for one, two, three and four evaluations, which is told how many.",
            {"several_budgets": True},
            {"steps": 800},
        ),
    },
    notes="The fake score's loss is its network's own below the cap of the signal-to-noise ratio, which for networks "
    "that predict noise is the published one. The l2 distance is DMD2's, normalised by the teacher's "
    "error; pseudo-huber is the paper's, over the whole sample, and by element that of the published program, which is "
    "normalised too.",
)
