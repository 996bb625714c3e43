"""LCM: Latent Consistency Models, arXiv:2310.04378; LCM-LoRA, arXiv:2311.05556.

Consistency distillation with two changes that make it quick on large teachers: the teacher's step skips k of 1000
times, so that the start spreads in few of them, and it is guided with a scale drawn for each sample, which the student
is told. The finished student takes its guidance as a number and evaluates its network once a step.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import model_validator

from backend import losses
from backend.boundary import distance, first_level, start_of, step_ends
from backend.contract.recipe import RecipeError
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Denoiser, Guided
from backend.networks.adapters import follower
from backend.optimizers import adams
from backend.samplers import Sampler, jump, student_levels
from backend.teachers import Teacher


class Settings(BaseSettings):
    student_steps: int = setting(4, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    discretisation: int = setting(50, "Points of the time grid on which the student learns", low=2, high=1000)
    skip: int = setting(20, "How far one step of the teacher leads, of 1000 times; 1 hardly learns", low=1, high=250)
    guidance_scale: float = setting(
        1.0, "Guidance that the finished student is told, within the range it has learnt", low=1, high=20
    )
    guidance_low: float = setting(1.0, "Least guidance of the teacher; with most the same, it is fixed", low=1, high=20)
    guidance_high: float = setting(1.0, "Most guidance of the teacher; 1 is none", low=1, high=20)
    target_ema: float = setting(
        0.95, "Share of the target kept at each step; 0 takes the student itself, as LCM-LoRA does", low=0, high=0.9999
    )
    distance: Literal["pseudo-huber", "l2"] = setting("pseudo-huber", "Between student and target")
    huber_offset: float = setting(1e-3, "Difference below which pseudo-huber is quadratic", low=1e-5, high=1)
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    first_level: FirstLevel = 0.0

    @model_validator(mode="after")
    def _scale_is_learnt(self) -> Self:
        if not self.guidance_low <= self.guidance_scale <= self.guidance_high:
            raise ValueError(
                f"guidance_scale is {self.guidance_scale:g}, outside the range that is learnt; "
                f"set guidance_low and guidance_high so that it lies between them."
            )
        return self

    @property
    def told(self) -> bool:
        """Whether the student is told its guidance."""
        return self.guidance_low < self.guidance_high


@dataclass
class Nets:
    """target: the moving average of the student."""

    teacher: Guided
    student: Denoiser
    target: Denoiser


def build(teacher: Teacher, s: Settings) -> Nets:
    if s.guidance_high != 1 and teacher.denoiser.null(teacher.each_condition(1)) is None:
        raise RecipeError("This teacher has no unconditional mode; set guidance_low and guidance_high to 1.")
    student = teacher.trainable()
    if s.told:
        student.extended("guidance")
    guided = Guided(teacher.denoiser, None if s.told else s.guidance_scale)
    return Nets(guided, student, follower(student))


optimizers = adams()


def sampler(s: Settings, net: Denoiser) -> Sampler:
    levels = student_levels(net.path, s.student_steps, first_level(s.first_level, net))
    return Sampler("renoise", levels, guidance=s.guidance_scale if s.told else None)


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    x0, cond = batch.real
    t, t_next = step_ends(batch, s.discretisation, s.skip, first_level(s.first_level, nets.student))
    noised = nets.student.path.noised(x0, batch.noise(), t)
    if s.told:
        cond = cond.with_part("guidance", batch.times(s.guidance_low, s.guidance_high))
    with torch.no_grad():
        reached = jump(nets.teacher(noised, t, cond), nets.teacher.path, t_next)
        answer = start_of(nets.target(reached, t_next, cond).x0, reached, t_next)
    mine = start_of(nets.student(noised, t, cond).x0, noised, t)
    yield Update(nets.student, {"consistency": distance(mine, answer, s.distance, s.huber_offset)})
    losses.ema_update(nets.target, nets.student, s.target_ema)


def cost(s: Settings) -> float:
    """Per step: the student's update, the target, and the teacher's one evaluation, doubled by guidance."""
    return 3 + 1 + (2 if s.guidance_high != 1 else 1)


METHOD = Method(
    title="Latent consistency (LCM)",
    paper="arXiv:2310.04378",
    family="consistency",
    summary="Consistency with long, guided teacher steps; the student takes the guidance scale as a number.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    inputs=lambda s: ("guidance",) if s.told else (),
    followers=("target",),
    training={"steps": 2000, "batch_size": 48, "ema_decay": 0.995, "gradient_clip": 10.0},
    presets={
        "four-steps": Preset("Four steps", "Four network evaluations for a picture, without guidance."),
        "guided": Preset(
            "Guidance as a number",
            "The teacher's guidance is drawn from a range and told to the student, whose user then chooses.",
            {"guidance_scale": 3.0, "guidance_high": 8.0},
            {"steps": 3000},
        ),
        "lora": Preset(
            "For adapters (LCM-LoRA)",
            "Small adapters on the teacher's own weights; the target is the student of the step before.",
            {"target_ema": 0.0, "learning_rate": 1e-3},
            student={"kind": "lora", "rank": 64},
        ),
    },
    notes=(
        "Guidance is on the scale where 1 is none, one more than the paper's. The grid is even in t up to the start on "
        "every path. LCM-LoRA is this with student.kind lora and target_ema 0."
    ),
)
