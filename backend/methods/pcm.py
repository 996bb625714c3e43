"""PCM: Phased Consistency Model, arXiv:2405.18407.

The trajectory is cut into phases, and two neighbouring points of a phase must lead to the same state at its edge, not
to the same sample at the very end. Each phase is then as easy as a short trajectory, and the student goes from edge to
edge without noise in between: every noise keeps its sample, however many phases there are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from backend import losses
from backend.boundary import distance, euler, first_level
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Condition, Denoiser, Guided
from backend.networks.adapters import follower
from backend.networks.heads import Heads, example_features
from backend.noise import Path, per_sample, transition
from backend.optimizers import adam
from backend.samplers import Sampler, heun, jump, student_levels, times
from backend.teachers import Teacher


class Settings(BaseSettings):
    student_steps: int = setting(
        4, "Phases, and so network evaluations of the finished student; 1 is consistency", low=1, high=16, unit="steps"
    )
    discretisation: int = setting(
        48, "Steps of the teacher over all phases, as many for each, rounded down", low=32, high=1000, unit="steps"
    )
    solver: Literal["euler", "heun"] = setting("euler", "How the teacher steps: euler takes one evaluation, heun two")
    distance: Literal["l2", "pseudo-huber"] = setting(
        "l2",
        "Between student and target; pseudo-huber, the paper's, gives small differences as much pull as large ones",
    )
    huber_offset: float = setting(1e-3, "Difference below which pseudo-huber is quadratic", low=1e-5, high=1)
    target_ema: float = setting(
        0.95, "Share of the target kept at each step; 0 takes the student itself, as the paper does", low=0, high=0.9999
    )
    gan_weight: float = setting(0.0, "Weight of the adversarial loss at the phases' edges; 0 is none", low=0, high=10)
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    discriminator_learning_rate: float = setting(1e-3, "Discriminator's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    first_level: FirstLevel = 0.0


@dataclass
class Nets:
    teacher: Guided
    features: Denoiser  # the teacher, asked for its feature maps alone
    student: Denoiser
    target: Denoiser
    discriminator: Heads


def build(teacher: Teacher, s: Settings) -> Nets:
    features = teacher.feature_network()
    heads = Heads(example_features(features, teacher.each_condition(2)))
    student = teacher.trainable()
    return Nets(Guided(teacher.denoiser, s.guidance_scale), features, student, follower(student), heads)


def optimizers(nets: Nets, s: Settings) -> Mapping[str, Optimizer]:
    return {
        "student": adam(nets.student, s.learning_rate),
        "discriminator": adam(nets.discriminator, s.discriminator_learning_rate, (0.0, 0.99)),
    }


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("deterministic", student_levels(net.path, s.student_steps, first_level(s.first_level, net)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    x0, cond = batch.real
    at = points(batch, (*sampler(s, nets.student).levels, 0.0), s.discretisation)
    noised = nets.student.path.noised(x0, batch.noise(), at.t)
    with torch.no_grad():
        reached = {"euler": euler, "heun": heun}[s.solver](nets.teacher, noised, at.t, at.t_next, cond)
        answer = led_to_edge(nets.target, reached, at.t_next, at.edge, cond)
    x = led_to_edge(nets.student, noised, at.t, at.edge, cond)
    terms = {"consistency": distance(x, answer, s.distance, s.huber_offset)}
    if s.gan_weight:
        level = at.edge + (at.begin - at.edge) * batch.times()
        fake = logits(nets, x, at.edge, level, cond, batch)
        terms["gan"] = s.gan_weight * losses.generator_hinge([fake])
    yield Update(nets.student, terms, sample=x)

    if s.gan_weight:
        on_real, on_fake = (logits(nets, state, at.edge, level, cond, batch) for state in (answer, x.detach()))
        loss = {"discriminator": losses.discriminator_hinge([on_real], [on_fake])}
        yield Update(nets.discriminator, loss, losses.discriminator_metrics(on_real, on_fake))
    losses.ema_update(nets.target, nets.student, s.target_ema)


@dataclass(frozen=True)
class Points:
    """Times (B,) of two neighbours, the noisier first, and of where their phase begins and of the edge it leads to."""

    t: Tensor
    t_next: Tensor
    begin: Tensor
    edge: Tensor


def points(batch: Batch, edges: tuple[float, ...], discretisation: int) -> Points:
    """A step of the teacher for each sample, in a phase at random; phases lie between neighbours of `edges`, falling.

    Each has a grid of its own, even in t, so that its edges are exactly the levels at which the student is used.
    """
    phases = len(edges) - 1
    each = discretisation // phases
    phase, n = batch.indices(phases), batch.indices(each) + 1
    at = torch.stack([times(edge, phase) for edge in edges])[:, 0]
    begin, edge = at[phase], at[phase + 1]
    spacing = (begin - edge) / each
    return Points(torch.where(n == each, begin, edge + n * spacing), edge + (n - 1) * spacing, begin, edge)


def led_to_edge(net: Denoiser, noised: Tensor, t: Tensor, edge: Tensor, cond: Condition) -> Tensor:
    """The phase's consistency function, (B, ...): the network's own jump to the edge, at which it is the identity.

    No boundary has to be mixed in, on any path and for any prediction type; see `boundary.led_to_start`.
    """
    return jump(net(noised, t, cond), net.path, edge)


def moved_on(path: Path, state: Tensor, s: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """States (B, ...) at times s noised on to times t >= s, (B,) each."""
    kept, added = transition((path.alpha(s), path.sigma(s)), (path.alpha(t), path.sigma(t)))
    return per_sample(kept, state) * state + per_sample(added, state) * noise


def logits(nets: Nets, state: Tensor, edge: Tensor, level: Tensor, cond: Condition, batch: Batch) -> Tensor:
    """The discriminator's view (B,) of states at their edges, noised on to times `level` within the phase."""
    noised = moved_on(nets.features.path, state, edge, level, batch.noise())
    return nets.discriminator(nets.features.features(noised, level, cond))  # type: ignore[no-any-return]


def cost(s: Settings) -> float:
    """Student, target, the teacher; half the features forward and back for its turn, half on real and fake."""
    guided = 2 if s.guidance_scale != 1 else 1
    return 3 + 1 + guided * (2 if s.solver == "heun" else 1) + (2 if s.gan_weight else 0)


METHOD = Method(
    title="Phased consistency (PCM)",
    paper="arXiv:2405.18407",
    family="consistency",
    summary="Consistency within phases of the trajectory; deterministic in as many steps as there are phases.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    followers=("target",),
    only_as_trained=lambda s: True,
    training={"steps": 2000, "batch_size": 48, "ema_decay": 0.995, "gradient_clip": 10.0},
    presets={
        "four-steps": Preset("Four phases", "Four network evaluations for a picture."),
        "one-step": Preset("One phase", "One network evaluation for a picture.", {"student_steps": 1}),
        "two-steps": Preset("Two phases", "Two network evaluations for a picture.", {"student_steps": 2}),
        "eight-steps": Preset("Eight phases", "Eight network evaluations for a picture.", {"student_steps": 8}),
        "adversarial": Preset(
            "With a discriminator",
            "Four phases, and a discriminator that compares the states to which neighbouring points lead.",
            {"gan_weight": 0.1},
        ),
    },
    notes="The target is a moving average, where the paper has the student itself: on digits that student came out "
    "noisy in one phase and no better in four. The distance is l2, which in the plane erred a little less than the "
    "paper's pseudo-huber. The guidance scale is one "
    "number and folded in, where the published program draws it from a narrow range and tells the student nothing. "
    "A phase's consistency function is the student's own jump to the edge, and phases have even grids of their own. "
    "The discriminator learns after every update of the student instead of in turn with it; the student's part of the "
    "hinge loss is minus the logit, where the published program stops at 1; heads are on the encoding half of the "
    "teacher. By default there is no adversarial term.",
)
