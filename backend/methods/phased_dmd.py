"""Phased DMD: Few-step Distribution Matching Distillation via Score Matching within Subintervals, arXiv:2510.27684.

The student is several networks, each for a part of the noise, trained one after the other from the most noise down. A
network before the last is to bring noise to the distribution that the teacher has at the noise where the next takes
over, and is matched there; for that the fake score learns states that were noised from a level, not from clean.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor

from backend import losses
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Denoiser, Guided, Prediction
from backend.networks.experts import with_experts
from backend.noise import Level, per_sample, transition
from backend.optimizers import adams
from backend.samplers import Sampler, end_of_step, initial, jump_to, start_level, student_levels, times
from backend.samplers import step as sampler_step
from backend.teachers import Teacher


class Settings(BaseSettings):
    phases: int = setting(2, "Networks of the student, each trained in a phase of its own", low=1, high=4)
    student_steps: int = setting(
        4, "Network evaluations of the finished student, as many for each phase", low=1, high=8, unit="steps"
    )
    first_level: FirstLevel = 0.0
    fake_score_updates: int = setting(5, "Fake score updates per student update", low=1, high=20)
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    fake_score_learning_rate: float = setting(4e-4, "Fake score network's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    weighting: Literal["residual", "score"] = setting(
        "residual",
        "What a sample counts: residual divides by the teacher's error, score is the plain difference of scores",
    )
    weight_cap: float = setting(
        10.0, "Cap of the fake score's weight near the level from which is noised", low=1, high=100, advanced=True
    )
    average_decay: float = setting(
        0.99, "Share kept at each step of the average that a network becomes at its phase's end", low=0, high=0.9999
    )
    lowest_time: float = setting(0.02, "Least noise at which scores are compared", low=0, high=0.5, advanced=True)
    highest_time: float = setting(0.98, "Most noise at which scores are compared", low=0.5, high=1, advanced=True)

    @model_validator(mode="after")
    def _as_many_steps_each(self) -> Self:
        if self.student_steps % self.phases:
            raise ValueError(
                f"student_steps is {self.student_steps} and phases {self.phases}; "
                "make student_steps a multiple of phases."
            )
        return self


@dataclass
class Nets:
    """promoted: the moving average of the student, whose networks it becomes at the end of their phase.
    untrained: what the fake score starts from in every phase.
    """

    teacher: Guided
    student: Denoiser
    promoted: Denoiser
    fake_score: Denoiser
    untrained: Denoiser


def new_student(teacher: Teacher, s: Settings) -> Denoiser:
    """A network for each phase, all as the teacher; one takes over midway between the levels of two phases."""
    networks = [teacher.trainable() for _ in range(s.phases)]
    levels, each = sampler(s, networks[0]).levels, s.student_steps // s.phases
    starts = [(levels[k - 1] + levels[k]) / 2 for k in range(each, s.student_steps, each)]
    return with_experts(networks, starts)


def build(teacher: Teacher, s: Settings) -> Nets:
    student, promoted = new_student(teacher, s), new_student(teacher, s).requires_grad_(False)
    losses.copy_weights(promoted, student)  # adapters start at random
    fake_score = teacher.fake_score()
    untrained = teacher.fake_score().requires_grad_(False)
    losses.copy_weights(untrained, fake_score)
    return Nets(Guided(teacher.denoiser, s.guidance_scale), student, promoted, fake_score, untrained)


# No momentum: each follows the other, and a network whose phase is not on must stay still.
optimizers = adams((0.0, 0.999))


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("deterministic", student_levels(net.path, s.student_steps, start_level(net, s.first_level)))


@dataclass(frozen=True)
class Phase:
    """index from 0; since: steps since it began."""

    index: int
    since: int


def phase_at(step: int, total: int, s: Settings) -> Phase:
    """The phase of `step` (from 0) in a run of `total` steps, equal shares, the remainder to the last phase."""
    share = max(total // s.phases, 1)
    index = min(step // share, s.phases - 1)
    return Phase(index, step - index * share)


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    phase = phase_at(batch.step, batch.total, s)
    starts = phase.since == 0
    if starts and phase.index and batch.first:
        losses.copy_weights(nets.student, nets.promoted)
        losses.copy_weights(nets.fake_score, nets.untrained)
    student_turn = phase.since % s.fake_score_updates == 0
    with torch.set_grad_enabled(student_turn):
        made, level, end = arrived(nets, phase, batch, s)
        state = jump_to(made, level)
    fake_score = fake_score_loss(nets, state.detach(), level, end, batch, s)
    yield Update(nets.fake_score, {"fake_score": fake_score}, fresh=starts)
    if student_turn:
        terms, metrics = matching(nets, made, state, level, end, batch, s)
        metrics |= {"phase": torch.tensor(phase.index + 1.0)}
        yield Update(nets.student, terms, metrics, fresh=starts, sample=made.x0)
        losses.ema_update(nets.promoted, nets.student, s.average_decay)


def arrived(nets: Nets, phase: Phase, batch: Batch, s: Settings) -> tuple[Prediction, Level, float]:
    """What the phase's network makes of the student's own states, and the level and time t at which its phase ends.

    It goes to the end from one of its levels at random, the same for the batch; what is before has no gradient.
    """
    plan, each = sampler(s, nets.student), s.student_steps // s.phases
    last = phase.index * each + batch.index(each)
    state = initial(batch.noise(), nets.student.path, plan.levels[0])
    with torch.no_grad():
        for k in range(last):
            state = sampler_step(nets.student, plan, k, state, batch.cond, batch.generator)
    end = (*plan.levels, 0.0)[(phase.index + 1) * each]
    made = nets.student(state, times(plan.levels[last], state), batch.cond)
    _ = made.x0, made.noise  # now, while gradients are kept: they are computed once
    return made, end_of_step(nets.student.path, times(end, state)), end


def noised_on(
    nets: Nets, state: Tensor, level: Level, end: float, batch: Batch, s: Settings
) -> tuple[Tensor, Tensor, Tensor]:
    """States (B, ...) noised on to any time above the phase's end, these times (B,), and the noise that was added."""
    path, noise = nets.student.path, batch.noise()
    t = batch.times(min(max(end, s.lowest_time), s.highest_time), s.highest_time)
    kept, added = transition(level, (path.alpha(t), path.sigma(t)))
    return per_sample(kept, state) * state + per_sample(added, state) * noise, t, noise


def fake_score_loss(nets: Nets, state: Tensor, level: Level, end: float, batch: Batch, s: Settings) -> Tensor:
    """Denoising of states that were noised from the phase's end, near it with less weight."""
    noised, t, noise = noised_on(nets, state, level, end, batch, s)
    prediction: Prediction = nets.fake_score(noised, t, batch.cond)
    here = (prediction.alpha, prediction.sigma)
    error = prediction.error(*losses.interval_target(state, level, here, noise))
    weight = (s.weight_cap * (transition(level, here)[1] / here[1]) ** 2).clamp(max=1)
    return (weight * losses.sample_mean(error.square())).mean()


def matching(
    nets: Nets, made: Prediction, state: Tensor, level: Level, end: float, batch: Batch, s: Settings
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The matching term at the phase's end, and the size of the score difference, which the term hides."""
    with torch.no_grad():
        noised, t, _ = noised_on(nets, state, level, end, batch, s)
        there = nets.teacher(noised, t, batch.cond)
        difference = nets.fake_score(noised, t, batch.cond).x0 - there.x0
        kept, _ = transition(level, (there.alpha, there.sigma))
        scores = per_sample(kept * there.alpha / there.sigma**2, state) * difference
    if s.weighting == "score":
        term = losses.pushed(state, scores)
    else:  # the state is a multiple of x0 plus what has no gradient, so x0 stands for it
        term = losses.distribution_matching(made.x0, there.x0, there.x0 + difference)
    return {"matching": term}, {"score_difference": difference.abs().mean()}


def cost(s: Settings) -> float:
    """Per step: the steps before and the one that arrives, the fake score's turn, and the student's where it is."""
    guided = 2 if s.guidance_scale != 1 else 1
    return (s.student_steps - 1) / 2 + 1 + 3 + (2 + guided + 1) / s.fake_score_updates


METHOD = Method(
    title="Matching in phases (Phased DMD)",
    paper="arXiv:2510.27684",
    family="distribution matching",
    summary="Several networks, each for a part of the noise, trained in turn; keeps variety, and is as large as all.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    student=new_student,
    followers=("promoted",),
    only_as_trained=lambda s: True,
    training={"steps": 1600, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0},
    presets={
        "two-phases": Preset("Four steps in two phases", "Two networks, two evaluations of each."),
        "four-phases": Preset(
            "A network for every step", "Four networks, one evaluation of each.", {"phases": 4}, {"steps": 2400}
        ),
        "one-phase": Preset("One network", "All four steps by one network, for comparison.", {"phases": 1}),
    },
    notes="An export is safetensors with the networks of all phases, experts.0 for the most noise, and starts, the "
    "network times at which they take over; diffusers has no pipeline for it. With adapters for the student the "
    "networks share one base. By default the difference is divided by the teacher's error as in DMD2; score is the "
    "published weight. The cap of the fake score's weight is relative to the noise, so that it is the same on every "
    "path. Levels are even in the path's own time.",
)
