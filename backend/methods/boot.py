"""BOOT: Data-free Distillation of Denoising Diffusion Models with Bootstrapping, arXiv:2306.05544.

The student says, from the noise alone, where the clean part of the teacher's trajectory is at any time: the signal
y_t = (x_t - sigma_t noise) / alpha_t, which begins as a blur and ends as the sample. What it says at one time tells
where on the trajectory to ask the teacher, and the teacher's answer leads to what it should say a little later. So
nothing is needed but noise: no data, and no trajectory is ever followed to its end.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Condition, Denoiser, Guided
from backend.noise import Path, per_sample
from backend.optimizers import adams
from backend.samplers import Sampler, initial, start_level, student_levels, times
from backend.teachers import Teacher

LEAST_ALPHA = 0.04  # of the start with an epsilon teacher


class Settings(BaseSettings):
    step_size: float = setting(
        0.04,
        "Part of the whole time between two neighbouring signals; small is noisy, large is biased",
        low=0.01,
        high=0.5,
    )
    boundary_weight: float = setting(
        1.0, "Weight of the teacher's own blur at the start; 0 leaves it out", low=0, high=10
    )
    weight_power: float = setting(
        1.0,
        "How much more small changes of the signal count: by the change to this power",
        low=0,
        high=2,
        advanced=True,
    )
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    first_level: FirstLevel = 0.0


@dataclass
class Nets:
    teacher: Guided
    student: Denoiser  # told the time of the signal, as where its one step ends


def build(teacher: Teacher, s: Settings) -> Nets:
    return Nets(Guided(teacher.denoiser, s.guidance_scale), teacher.trainable().extended("end_time"))


optimizers = adams()


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("deterministic", student_levels(net.path, 1, start_level(net, s.first_level, LEAST_ALPHA)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    path, cond = nets.teacher.path, batch.cond
    (first,) = sampler(s, nets.student).levels
    start = initial(batch.noise(), path, first)
    t = first * (1 - batch.times())  # never 0
    t_next = (t - s.step_size * first).clamp(min=0)
    with torch.no_grad():
        blur = nets.teacher(start, times(first, start), cond)
        now = signal(nets.student, start, first, t, cond)
        # With the noise that the teacher sees at the start, its blur there lies exactly on the trajectory.
        clean = nets.teacher(path.noised(now, blur.noise, t), t, cond).x0
        kept = kept_share(path, t, t_next)
        share = per_sample(kept, clean)
        answer = (1 - share) * clean + share * now
    weight = per_sample((1 - kept) ** -s.weight_power, start)
    error = signal(nets.student, start, first, t_next, cond) - answer
    terms = {"bootstrap": (weight * error.square()).mean()}
    if s.boundary_weight:
        at_start = signal(nets.student, start, first, times(first, start), cond)
        terms["boundary"] = s.boundary_weight * (at_start - blur.x0).square().mean()
    yield Update(nets.student, terms)


def signal(student: Denoiser, start: Tensor, first: float, t: Tensor, cond: Condition) -> Tensor:
    """What the student says of the signal at times t (B,), (B, ...), from the state at which sampling starts."""
    said: Tensor = student(start, times(first, start), cond.with_part("end_time", t)).x0
    return said


def kept_share(path: Path, t: Tensor, t_next: Tensor) -> Tensor:
    """How much of the signal at t is left in that at t_next < t, exp(lambda(t) - lambda(t_next)), (B,) in [0, 1).

    lambda is log(alpha/sigma): one step of the signal's equation, dy/dt = lambda' (x0 - y), with x0 held (eq. 9). At
    time 0 nothing is left, also on paths whose least noise is not 0, for there the sampler's last step ends.
    """
    kept = path.sigma(t_next) * path.alpha(t) / (path.sigma(t) * path.alpha(t_next))
    return kept.masked_fill(t_next == 0, 0)


def cost(s: Settings) -> float:
    """Per step: the teacher at the start and on the way, the student there, its update, and that at the boundary."""
    guided = 2 if s.guidance_scale != 1 else 1
    return 2 * guided + 1 + 3 + (3 if s.boundary_weight else 0)


METHOD = Method(
    title="Bootstrapping from noise (BOOT)",
    paper="arXiv:2306.05544",
    family="trajectory",
    summary="Learns the clean part of a trajectory at each time from that at the time before; needs no data, no pairs.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    inputs=lambda s: ("end_time",),
    only_as_trained=lambda s: True,
    training={"steps": 3000, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0},
    presets={
        "one-step": Preset("One step", "One network evaluation for a picture; no data needed."),
        "fine": Preset(
            "Finer steps", "Smaller steps along the signal: less bias, longer.", {"step_size": 0.02}, {"steps": 6000}
        ),
    },
    notes="The signal's time is told beside the network's own, which stays that of the start, so that the student "
    "begins as exactly the teacher's blur at every time. The constant noise is the one that the teacher sees at the "
    "start, which makes the boundary exact where alpha is not 0 there.",
)
