"""TCM: Truncated Consistency Models, arXiv:2410.14895, the second stage after a consistency model.

A consistency model learns to denoise and to generate, and one step needs the latter alone. So the student goes on only
at times from a boundary up, where it need not be the trajectory's start any more: there the first stage, which is
frozen, says where a trajectory starts, and a share of the batch that sits on the boundary holds the student to it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor

from backend import losses
from backend.boundary import GAP_STAGES, euler, first_level, led_to_start, nearer
from backend.contract.recipe import RecipeError
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Condition, Denoiser, Guided
from backend.networks.adapters import follower
from backend.optimizers import adams
from backend.samplers import Sampler, heun
from backend.teachers import Teacher


class Settings(BaseSettings):
    student_steps: int = setting(1, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    boundary: float = setting(
        1.0, "Noise level sigma/alpha from which up the student learns; 1 suits data of spread 0.5", low=0.05, high=10
    )
    boundary_share: float = setting(
        0.25, "Share of the batch that sits on the boundary; with 0 the student forgets where to lead", low=0, high=0.9
    )
    boundary_weight: float = setting(0.1, "Weight of the boundary's loss", low=1e-3, high=10)
    teacher_steps: int = setting(
        0,
        "Steps in which the teacher answers at the boundary in place of a first stage; 0 where the run starts from one",
        low=0,
        high=50,
        unit="steps",
    )
    trajectory: Literal["teacher", "data"] = setting(
        "teacher", "What neighbouring points lie on: the teacher's trajectory, or the data's, with the same noise"
    )
    halvings: int = setting(
        2, "How often a gap of half the noise is halved between neighbours; few are biased, many slow", low=0, high=8
    )
    target_ema: float = setting(
        0.95, "Share of the target kept at each step; 0 takes the student itself", low=0, high=0.9999
    )
    distance: Literal["l2", "pseudo-huber"] = setting(
        "l2", "Between student and target; pseudo-huber gives single large errors less weight"
    )
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    first_level: FirstLevel = 0.0

    @model_validator(mode="after")
    def _is_guided_by_the_teacher(self) -> Self:
        if self.trajectory == "data" and self.guidance_scale != 1:
            raise ValueError(
                f"guidance_scale is {self.guidance_scale:g} and trajectory data, which has no guidance; "
                "set trajectory to teacher, or guidance_scale to 1."
            )
        return self


@dataclass
class Nets:
    """first_stage: where the student starts, for good. target: the moving average of the student."""

    teacher: Guided
    student: Denoiser
    target: Denoiser
    first_stage: Denoiser


def build(teacher: Teacher, s: Settings) -> Nets:
    student = teacher.trainable()
    if boundary_time(s, student) >= (first := first_level(s.first_level, student)):
        raise RecipeError(
            f"The boundary is noise level {s.boundary:g}, and the student starts at time {first:.4g}, where there is "
            "no more noise than that; lower boundary, or raise first_level."
        )
    return Nets(Guided(teacher.denoiser, s.guidance_scale), student, follower(student), follower(student))


optimizers = adams()


def boundary_time(s: Settings, net: Denoiser) -> float:
    """The time t of the boundary on the path of `net`."""
    return net.path.on_grid(float(net.path.t_of_ratio(torch.tensor(s.boundary, dtype=torch.float64))))


def sampler(s: Settings, net: Denoiser) -> Sampler:
    """Levels even from the start down to the boundary, below which the student has learnt nothing."""
    first, last = first_level(s.first_level, net), boundary_time(s, net)
    spacing = (first - last) / max(s.student_steps - 1, 1)
    return Sampler("renoise", tuple(net.path.on_grid(first - k * spacing) for k in range(s.student_steps)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    x0, cond = batch.real
    held = int(s.boundary_share * len(x0) + float(batch.times()[0]))  # so that a batch of one has its share too
    t, t_next = step_ends(batch, nets.student, held, s)
    noise = batch.noise()
    noised = nets.student.path.noised(x0, noise, t)
    with torch.no_grad():
        if s.trajectory == "data":
            reached = nets.student.path.noised(x0, noise, t_next)
        else:
            reached = heun(nets.teacher, noised, t, t_next, cond)
        answer = answers(nets, reached, t_next, cond, held, s)
    made = led_to_start(nets.student, noised, t, cond)
    errors = distances(made, answer, s)
    terms = {"consistency": errors[held:].sum() / (len(x0) * (1 - s.boundary_share))}
    if s.boundary_share:
        terms["boundary"] = s.boundary_weight * errors[:held].sum() / (len(x0) * s.boundary_share)
    yield Update(nets.student, terms, {"step_length": (t - t_next).mean()}, sample=made)
    losses.ema_update(nets.target, nets.student, s.target_ema)


def step_ends(batch: Batch, net: Denoiser, held: int, s: Settings) -> tuple[Tensor, Tensor]:
    """Times of two neighbours on a trajectory, (B,) each, the noisier first.

    That is the boundary for the first `held`, whose neighbour lies below; no other step ends there.
    """
    low = boundary_time(s, net)
    t = batch.times(low, first_level(s.first_level, net))
    t[:held] = low
    t_next = torch.minimum(net.path.t_of_ratio(nearer(net.path.ratio(t), s.halvings, GAP_STAGES)), t)
    t_next[held:] = t_next[held:].clamp(min=low)
    return t, t_next


def answers(nets: Nets, reached: Tensor, t: Tensor, cond: Condition, held: int, s: Settings) -> Tensor:
    """Where the trajectories through `reached` (B, ...) at times t start: the truncated consistency function.

    It is the first stage below the boundary, where the first `held` are, and the target from there up.
    """
    below, above = slice(None, held), slice(held, None)
    made = list[Tensor]()
    if held and s.teacher_steps:
        made.append(followed(nets.teacher, reached[below], t[below], cond[below], s.teacher_steps))
    elif held:
        made.append(led_to_start(nets.first_stage, reached[below], t[below], cond[below]))
    if held < len(t):
        made.append(led_to_start(nets.target, reached[above], t[above], cond[above]))
    return torch.cat(made)


def followed(teacher: Guided, noised: Tensor, t: Tensor, cond: Condition, steps: int) -> Tensor:
    """The teacher's trajectory through `noised` at times t, followed to the least noise in `steps` evaluations."""
    for k in range(steps, 0, -1):
        noised = euler(teacher, noised, t * (k / steps), t * ((k - 1) / steps), cond)
    return noised


def distances(x: Tensor, y: Tensor, s: Settings) -> Tensor:
    """Of each sample, (B,): the mean square, or pseudo-Huber, whose c grows with its size (arXiv:2310.14189, 3.3)."""
    squares = (x - y).square().flatten(1)
    if s.distance == "l2":
        return squares.mean(1)
    c: float = 0.00054 * squares.shape[1] ** 0.5
    return (squares.sum(1) + c**2).sqrt() - c


def cost(s: Settings) -> float:
    """Per step: the student's update, target or first stage, and the teacher's evaluations, doubled by guidance."""
    guided = 2 if s.guidance_scale != 1 else 1
    answering = 1 - s.boundary_share + s.boundary_share * (guided * s.teacher_steps or 1)
    return 3 + answering + (2 * guided if s.trajectory == "teacher" else 0)


METHOD = Method(
    title="Truncated consistency (TCM)",
    paper="arXiv:2410.14895",
    family="consistency",
    summary="A consistency student goes on at high noise alone, where one step is made; held to what it was below.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    followers=("target", "first_stage"),
    meant_start=lambda s: "" if s.teacher_steps else "a run of consistency distillation",
    training={"steps": 1000, "batch_size": 48, "ema_decay": 0.995, "gradient_clip": 10.0},
    presets={
        "second-stage": Preset("Second stage", "One step, for a run that starts from consistency distillation."),
        "alone": Preset(
            "Without a first stage",
            "One step from the teacher alone, which answers at the boundary in eight steps.",
            {"teacher_steps": 8},
        ),
        "two-steps": Preset(
            "Two steps, without a first stage",
            "From the teacher alone; the second step is taken at the boundary.",
            {"student_steps": 2, "teacher_steps": 8},
        ),
        "four-steps": Preset(
            "Four steps, without a first stage",
            "From the teacher alone, four steps with noise between them, down to the boundary.",
            {"student_steps": 4, "teacher_steps": 8},
        ),
    },
    notes=(
        "Meant to start from a run of consistency distillation (student.start), whose student is the first stage and "
        "stays so; it cannot become better than that one's answers at the boundary. Started from the teacher, the "
        "first stage would be one evaluation of it, a blurry mean: there let the teacher answer in several steps "
        "(teacher_steps), which is ours. By default neighbours lie on the teacher's trajectory, while the paper's lie "
        "on the data's; the gap is Easy Consistency Tuning's but longer, for short runs, and ends on the boundary "
        "where it would cross it. Times are even on the path's own clock and not log-Student, all count alike, the "
        "distance is l2, the target a moving average, and networks run without dropout. With several steps the last "
        "is at the boundary."
    ),
)
