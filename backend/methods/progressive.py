"""Progressive Distillation for Fast Sampling of Diffusion Models, arXiv:2202.00512, algorithm 2.

The student learns to do in one deterministic step what the teacher does in two. Then the student becomes the teacher
of the next stage, and the number of steps has halved; and so on until `student_steps` are left.

Guidance is folded in by the first stage, at one scale or at a whole range of scales, of which the student is told its
own at every stage (On Distillation of Guided Diffusion Models, arXiv:2210.03142, second stage).

At pure noise an epsilon network says nothing of the clean sample. The student of such a teacher starts below that, or
first learns to predict v (section 4), from the teacher and at the highest noise from the data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from pydantic import model_validator
from torch import Tensor

from backend import losses
from backend.contract.recipe import RecipeError
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Condition, Denoiser, Guided
from backend.noise import per_sample
from backend.optimizers import adams
from backend.samplers import Denoises, Sampler, even_levels, inverse_jump, jump, start_level, times
from backend.teachers import Teacher

# Of the start with an epsilon teacher. Less than where a student is trained from its own noise: this one learns from
# noised data, whose share is missing when it starts from pure noise. On digits-eps, 600 steps from alpha 0.006, 0.02,
# 0.04, 0.16 gave 4 evaluations a Frechet distance of 4.8, 0.83, 0.43, 0.68.
LEAST_ALPHA = 0.04

DROPPED = 10
"""One condition of so many is left out while v is learnt."""


class Settings(BaseSettings):
    student_steps: int = setting(4, "Network evaluations of the finished student", low=1, high=64, unit="steps")
    start_steps: int = setting(
        32,
        "Most steps of the first stage's student; the stages halve down to the finished student's steps",
        low=1,
        high=1024,
        unit="steps",
    )
    average_decay: float = setting(
        0.99, "Share kept at each step of the average that becomes the next stage's teacher", low=0, high=0.9999
    )
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(
        1.0, "Guidance of the teacher, folded in at the first stage; 1 is none", low=1, high=20
    )
    highest_guidance: float = setting(
        1.0,
        "Most guidance of a student that is told its scale, from 1; 1 folds guidance_scale alone in",
        low=1,
        high=20,
    )
    conversion_share: float = setting(
        0.0,
        "Share of the run in which the student of an epsilon teacher first learns v, to begin at pure noise; 0: none",
        low=0,
        high=0.8,
    )
    first_level: FirstLevel = 0.0

    @property
    def is_told_guidance(self) -> bool:
        return self.highest_guidance > 1

    @model_validator(mode="after")
    def _learns_the_scale_it_is_used_at(self) -> Self:
        if self.is_told_guidance and self.guidance_scale > self.highest_guidance:
            raise ValueError(
                f"guidance_scale is {self.guidance_scale:g}, which a student of scales up to "
                f"{self.highest_guidance:g} does not learn; lower it, or raise highest_guidance."
            )
        return self


@dataclass
class Nets:
    """stage_teacher: the student of the stage before, teacher from the second stage on.
    next_teacher: the moving average of the student, which is promoted at the stage's end.
    """

    teacher: Guided
    student: Denoiser
    stage_teacher: Denoiser
    next_teacher: Denoiser


def new_student(teacher: Teacher, s: Settings) -> Denoiser:
    net = teacher.trainable().extended(*inputs(s)) if inputs(s) else teacher.trainable()
    if s.conversion_share:
        if net.prediction_type != "epsilon":
            raise RecipeError(
                f"Only a student of epsilon is converted to v, and this teacher predicts {net.prediction_type}; set "
                "conversion_share to 0."
            )
        net.prediction_type = "v_prediction"
    return net


def inputs(s: Settings) -> tuple[str, ...]:
    return ("guidance",) if s.is_told_guidance else ()


def build(teacher: Teacher, s: Settings) -> Nets:
    student = new_student(teacher, s)
    stage_teacher, next_teacher = (student.copy().requires_grad_(False) for _ in range(2))
    scale = None if s.is_told_guidance else s.guidance_scale
    return Nets(Guided(teacher.denoiser, scale), student, stage_teacher, next_teacher)


optimizers = adams()


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return sampler_of(s.student_steps, net, s)


def stage_sampler(s: Settings, net: Denoiser, step: int, total: int) -> Sampler:
    return sampler_of(stage_at(max(step - 1, 0), total, s).steps, net, s)


def sampler_of(steps: int, net: Denoiser, s: Settings) -> Sampler:
    first, told = first_level(s, net), s.guidance_scale if s.is_told_guidance else None
    return Sampler("deterministic", tuple(first * level for level in even_levels(steps)), told)


def first_level(s: Settings, net: Denoiser) -> float:
    return start_level(net, s.first_level, LEAST_ALPHA)


@dataclass(frozen=True)
class Stage:
    """index from 0, of the conversion to v -1; steps: of this stage's student, of the conversion those of the first;
    starts: whether the step asked about is the stage's first."""

    index: int
    steps: int
    starts: bool


def stage_at(step: int, total: int, s: Settings) -> Stage:
    """The stage of `step` (from 0) in a run of `total` steps, equal shares, the remainder to the last stage.

    The finished student's steps are doubled as often as `start_steps` and one step of training per stage allow. Before
    them is the conversion.
    """
    before = max(int(s.conversion_share * total), 1) if s.conversion_share and total > 1 else 0
    step, total = step - before, total - before
    stages = min(max(1, (s.start_steps // s.student_steps).bit_length()), total)
    share = total // stages
    index = max(min(step // share, stages - 1), -1)
    begun = index * share if index >= 0 else -before
    return Stage(index, s.student_steps << (stages - 1 - max(index, 0)), step == begun)


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    stage = stage_at(batch.step, batch.total, s)
    if stage.index < 0:
        yield conversion(nets, batch, s, stage.starts)
        # What it starts as is epsilon, which is no v and soon to be forgotten.
        decay = min(s.average_decay, (1 + batch.step) / (4 + batch.step))
        losses.ema_update(nets.next_teacher, nets.student, decay)
        return
    later = stage.index > 0 or s.conversion_share > 0
    if stage.starts and later and batch.first:
        losses.copy_weights(nets.stage_teacher, nets.next_teacher)
        losses.copy_weights(nets.student, nets.next_teacher)
    x0, cond = batch.real
    if s.is_told_guidance:
        cond = cond.with_part("guidance", batch.times(1, s.highest_guidance))
    i = batch.indices(stage.steps) + 1
    spacing = times(first_level(s, nets.student) / stage.steps, x0)
    noised = nets.student.path.noised(x0, batch.noise(), i * spacing)
    first = Guided(nets.stage_teacher, nets.teacher.scale) if s.conversion_share else nets.teacher
    answer = two_steps(nets.stage_teacher if stage.index else first, noised, i, spacing, cond)
    prediction = nets.student(noised, i * spacing, cond)
    # max(SNR, 1) on the x0 error suits every prediction type. In the network's own output it weighs v by max(alpha²,
    # sigma²), flow likewise (its target is then the average velocity), edm from sigma_data²/(1 + sigma_data²) to 1:
    # nearly evenly. For epsilon it is max(1, sigma²/alpha²), which teaches the first step where SNR would give it 0.
    weight = per_sample(losses.truncated_snr(prediction.alpha, prediction.sigma), x0)
    terms = {"two_steps": (weight * (prediction.x0 - answer).square()).mean()}
    yield Update(nets.student, terms, {"stage_steps": torch.tensor(float(stage.steps))}, fresh=stage.starts)
    losses.ema_update(nets.next_teacher, nets.student, s.average_decay)


def conversion(nets: Nets, batch: Batch, s: Settings, starts: bool) -> Update:
    """The student learns v of the teacher's answers; of the data where these are errors multiplied by 1/alpha."""
    (x0, cond), t, noise = batch.real, batch.times(), batch.noise()
    null = nets.student.null(cond)
    if null is not None:  # the first stage may guide what is learnt here
        cond = cond.replaced(batch.indices(DROPPED) == 0, null)
    noised = nets.student.path.noised(x0, noise, t)
    with torch.no_grad():
        answer = nets.teacher.denoiser(noised, t, cond)
        says = per_sample(answer.alpha, x0) >= LEAST_ALPHA
        wanted, wanted_noise = torch.where(says, answer.x0, x0), torch.where(says, answer.noise, noise)
    if s.is_told_guidance:  # so far it is to make no difference
        cond = cond.with_part("guidance", batch.times(1, s.highest_guidance))
    error = nets.student(noised, t, cond).error(wanted, wanted_noise)
    return Update(nets.student, {"conversion": error.square().mean()}, fresh=starts)


@torch.no_grad()
def two_steps(teacher: Denoises, noised: Tensor, i: Tensor, spacing: Tensor, cond: Condition) -> Tensor:
    """The x0 with which one step from level i to i - 1 lands where the teacher lands in two, (B, ...) (alg. 2).

    i: (B,) from 1, levels being i spacing; spacing: (B,). The step from level 1 ends at the clean sample, as the
    sampler's last does, also on paths whose least noise is not 0.
    """
    t, t_half, t_next, last = i * spacing, (i - 0.5) * spacing, (i - 1) * spacing, i == 1
    path = teacher.path
    half = teacher(jump(teacher(noised, t, cond), path, t_half), t_half, cond)
    alpha, sigma = path.alpha(t_next).masked_fill(last, 1), path.sigma(t_next).masked_fill(last, 0)
    reached = per_sample(alpha, noised) * half.x0 + per_sample(sigma, noised) * half.noise
    return inverse_jump(noised, (path.alpha(t), path.sigma(t)), reached, (alpha, sigma))


def cost(s: Settings) -> float:
    """Per step: the student's update and two teacher evaluations, doubled by guidance in the first stage alone; one
    during the conversion."""
    stages = max(1, (s.start_steps // s.student_steps).bit_length())
    halving = 2 * (1 + (1 / stages if s.guidance_scale != 1 or s.is_told_guidance else 0))
    return 3 + (1 - s.conversion_share) * halving + s.conversion_share


METHOD = Method(
    title="Progressive distillation",
    paper="arXiv:2202.00512",
    family="trajectory",
    summary="Halves the number of steps stage by stage, each student the next one's teacher; best at 2 to 8 steps.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    stage_sampler=stage_sampler,
    inputs=inputs,
    student=new_student,
    followers=("next_teacher",),
    training={"steps": 2000, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0},
    presets={
        "four-steps": Preset("Four steps", "Stages of 32, 16, 8 and 4 steps."),
        "eight-steps": Preset("Eight steps", "Stages of 32, 16 and 8 steps.", {"student_steps": 8}),
        "one-step": Preset(
            "Down to one step", "Stages of 32 steps down to 1; longer.", {"student_steps": 1}, {"steps": 3000}
        ),
        "told-guidance": Preset(
            "Four steps, any guidance",
            "The student is told the guidance scale, from 1 to 5; of teachers that take classes or prompts.",
            {"guidance_scale": 3.0, "highest_guidance": 5.0},
        ),
    },
    notes="The learning rate does not fall within a stage; the average that is promoted takes its place. "
    "A student that is told its scale learns it at the first stage, from the guided teacher itself, where the paper "
    "starts from a student of guidance distillation; from such a one the run may start, too.",
)
