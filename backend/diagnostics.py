"""What the curves of the losses do not tell, read from a run every so often: curves that mean the same in every method.

Each reading is of networks that most methods have: the student, the teacher, a fake score network, discriminators. What
a run does not have gives no curve. It has generators of its own, leaves training's random state alone, and costs about
`SAMPLES` (student's NFE + 4) evaluations every `EVERY` steps, and once `SAMPLES` (TEACHER_NFE + 40) of the teacher.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from backend import judge, losses
from backend.health import GuidanceReading, TeacherReading
from backend.networks import Condition
from backend.networks.denoiser import Denoiser, Guided, Prediction, PredictionType
from backend.noise import Path, VarianceExploding
from backend.samplers import normal, sample, teacher_sampler, times
from backend.train import LOOKED_AT_EVERY as EVERY
from backend.train import Run

SAMPLES = 32
POINTS = 512
"""Samples of a few numbers each cost nothing, and so are many."""
MOST_NFE = 8
"""A student that takes more evaluations than this, in a stage before the last, is not sampled."""
TEACHER_NFE = 20
SHARES = (0.2, 0.4, 0.6, 0.8)
"""Of noise in what the teacher sees, sigma / (alpha + sigma)."""
SHIFTS = (-1.6, -0.8, -0.4, 0.0, 0.4, 0.8, 1.6)
"""Of the noise that a teacher is told, in log(sigma/alpha); the kinds of betas in use differ by 0.5 to 2."""


BEYOND = 1.25
"""Times what all but a thousandth of the teacher's values keep within: a value larger than this is out of range.
Samples of pictures lie at the ends of their range by nature, and a student may overshoot these a little."""

_NAMES, _SUFFIXES = ("spread", "out_of_range"), ("_on_student", "_on_real")


def is_reading(name: str) -> bool:
    """Whether a curve of this name is read here, and so has a point every so often alone."""
    return name in _NAMES or name.endswith(_SUFFIXES)


class Diagnostics:
    """Ask `look` after every step. What it says depends on the run's state alone, also after a resume."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._reference: _Reference | None = None

    @property
    def due(self) -> bool:
        """Whether the step just made is one to look at; never the first, whose point whoever started the run awaits."""
        return self._run.step % EVERY == 1 and self._run.step > 1

    def look(self) -> dict[str, float]:
        """The readings as the run stands, by the names of their curves; none where none are due.

        spread: how far apart two samples of one condition are, as a share of the teacher's.
        out_of_range: share of the samples' values that are larger, either way, than the teacher's ever are.
        NET_on_WHAT: what teacher and fake score lose on the student's samples, and on real ones.
        """
        if not self.due:
            return {}
        self._reference = self._reference or _reference(self._run)
        return _of_samples(self._run, self._reference)


@dataclass(frozen=True)
class _Reference:
    """What the student is compared with. cond: of its samples, the same twice; spread: of the teacher's samples for it.
    largest: what is larger is out of their range.

    real, real_cond: real samples in the teacher's space; where there are none, those that the teacher made.
    """

    cond: Condition
    real: Tensor
    real_cond: Condition
    spread: float
    largest: float


def _count(run: Run) -> int:
    return POINTS if len(run.student.shape) == 1 else SAMPLES


def _pairs_of_conditions(run: Run, count: int) -> Condition:
    """Each condition twice: the first half of the batch and the second have the same."""
    half = run.teacher.each_condition(count // 2)
    return Condition.join([half, half]).to(run.device)


@torch.no_grad()
def _reference(run: Run) -> _Reference:
    count, generator = _count(run), torch.Generator().manual_seed(17)
    cond = _pairs_of_conditions(run, count)
    net, scale = run.teacher.denoiser, getattr(run.settings, "guidance_scale", 1.0)
    teacher = net if net.null(cond) is None else Guided(net, scale)
    noise = normal((count, *run.student.shape), generator, run.device)
    made = sample(teacher, teacher_sampler(TEACHER_NFE), noise, cond, generator)
    real, real_cond = real_samples(run, count) or (made, cond)
    return _Reference(cond, real, real_cond, spread(made), BEYOND * nearly_largest(made))


def real_samples(run: Run, count: int) -> tuple[Tensor, Condition] | None:
    """Real samples in the teacher's space and their conditions: the run's, or those the teacher brings; else None."""
    # Of a teacher that takes prompts, the pictures it is measured against are numbered otherwise than its prompts.
    reference = judge.reference_of(run.teacher) if not run.teacher.prompts else None
    data = run.data or run.teacher.draws or reference
    if data is None:
        return None
    samples, labels = data.draw(count, torch.Generator(run.generator.device).manual_seed(19))
    samples = samples.to(run.device)
    encoded = samples if data.encoded else run.teacher.codec.encode(samples)
    return encoded, run.teacher.condition_of(labels).to(run.device)


def spread(samples: Tensor) -> float:
    """Root mean square distance between two samples of one condition, per element: (2N, ...), i and i + N a pair."""
    one, other = samples.double().chunk(2)
    return float((one - other).square().mean().sqrt())


def nearly_largest(samples: Tensor) -> float:
    """What all but a thousandth of the absolute values keep within."""
    values = samples.abs().flatten()
    return float(values.kthvalue(max(1, math.ceil(0.999 * len(values)))).values)


@torch.no_grad()
def _of_samples(run: Run, reference: _Reference) -> dict[str, float]:
    """How varied the student's samples are, and what teacher and fake score lose on them and on real ones."""
    if run.sampler.nfe > MOST_NFE:
        return {}
    generator = torch.Generator().manual_seed(23)
    noise = normal(tuple(reference.real.shape), generator, run.device)
    made = sample(run.student, run.sampler, noise, reference.cond, generator)
    found = {"spread": spread(made) / reference.spread} if reference.spread else {}
    found["out_of_range"] = float((made.abs() > reference.largest).double().mean())
    fake_score = getattr(run.nets, "fake_score", None)
    if not isinstance(fake_score, Denoiser):
        return found
    judged = {"teacher": run.teacher.denoiser, "fake_score": fake_score}
    for name, net in judged.items():
        for what, x, cond in (("student", made, reference.cond), ("real", reference.real, reference.real_cond)):
            found[f"{name}_on_{what}"] = _denoising_loss(net, x, cond)
    return found


def _denoising_loss(net: Denoiser, x: Tensor, cond: Condition) -> float:
    """A network's own training loss on given samples, over all of the path; the same noise and times every time."""
    t = torch.linspace(0.02, 0.98, len(x), dtype=times(0.0, x).dtype, device=x.device)
    t = t[torch.randperm(len(t), generator=torch.Generator().manual_seed(29)).to(x.device)]
    noise = normal(tuple(x.shape), torch.Generator().manual_seed(31), x.device)
    return float(losses.denoising(net(net.path.noised(x, noise, t), t, cond), x, noise))


# The teacher, which stands still and so is looked at once


@torch.no_grad()
def teacher_reading(run: Run) -> TeacherReading | None:
    """How well the teacher denoises real samples, as its card says and otherwise; None where there are no samples."""
    found = real_samples(run, _count(run))
    return read_teacher(run.teacher.denoiser, *found) if found else None


def read_teacher(net: Denoiser, x: Tensor, cond: Condition) -> TeacherReading:
    """Errors of x0 (squared, over the best linear denoiser's) as declared, as another prediction type, and when told
    another level of noise than there is."""
    noise = normal(tuple(x.shape), torch.Generator().manual_seed(37), x.device)
    levels = list(_levels(net.path, x))
    kinds: dict[PredictionType, list[float]] = {kind: [] for kind in _kinds(net)}
    shifted: dict[float, list[float]] = {shift: [] for shift in SHIFTS}
    for t in levels:
        noised, least = net.path.noised(x, noise, t), linear_error(net.path, t, x)
        for shift in SHIFTS:
            told = net.path.t_of_log_snr(net.path.log_snr(t) - 2 * shift)
            output = net(noised, told, cond).output
            for kind in kinds if shift == 0 else (net.prediction_type,):
                x0 = Prediction(noised, output, t, net.path, kind, net.sigma_data).x0
                error = float((x0 - x).square().mean()) / least
                if shift == 0:
                    kinds[kind].append(error)
                if kind == net.prediction_type:
                    shifted[shift].append(error)
    likely = min(kinds, key=lambda kind: _log_mean(kinds[kind]))
    best = [min((shifted[shift][k], shift) for shift in SHIFTS) for k in range(len(levels))]
    gain = _log_mean([shifted[0.0][k] / error for k, (error, _) in enumerate(best)])
    return TeacherReading(
        declared=net.prediction_type,
        error=math.exp(_log_mean(kinds[net.prediction_type])),
        likely=likely,
        likely_error=math.exp(_log_mean(kinds[likely])),
        told=math.exp(sum(shift for _, shift in best) / len(best)),
        gain=math.exp(gain),
    )


def _kinds(net: Denoiser) -> tuple[PredictionType, ...]:
    """The prediction types that the network's path allows."""
    if isinstance(net.path, VarianceExploding):
        return ("edm",)
    return tuple(kind for kind in get_args(PredictionType) if kind != "edm")


def _levels(path: Path, x: Tensor) -> Iterator[Tensor]:
    """Times (B,) of the noise levels that are looked at, in which noise has the `SHARES` on every path."""
    for share in SHARES:
        yield path.t_of_ratio(torch.full_like(times(0.0, x), share / (1 - share)))


def linear_error(path: Path, t: Tensor, x: Tensor) -> float:
    """Mean squared error of the best denoiser that knows nothing of the data but its mean and variance."""
    variance = float((x - x.mean(0)).square().mean())
    alpha, sigma = float(path.alpha(t[:1])), float(path.sigma(t[:1]))
    return variance * sigma**2 / (alpha**2 * variance + sigma**2)


def _log_mean(values: list[float]) -> float:
    return sum(math.log(max(value, 1e-12)) if math.isfinite(value) else 60.0 for value in values) / len(values)


@torch.no_grad()
def guidance_reading(run: Run) -> GuidanceReading | None:
    """The scale under which the method's teacher works, beside the one asked for; None where there is no guidance.

    Guided prediction = without + scale (with - without): the scale is the one that fits best by least squares.
    """
    asked = getattr(run.settings, "guidance_scale", 1.0)
    teacher = getattr(run.nets, "teacher", None)
    if asked == 1 or not isinstance(teacher, Guided):
        return None
    found = real_samples(run, _count(run))
    null = teacher.denoiser.null(found[1]) if found else None
    if found is None or null is None:
        return None
    x, cond = found
    noise = normal(tuple(x.shape), torch.Generator().manual_seed(41), x.device)
    t = list(_levels(teacher.path, x))[-1]
    noised = teacher.path.noised(x, noise, t)
    scale = torch.full((len(x),), asked, device=x.device)
    with_cond, without = teacher.denoiser(noised, t, cond).x0, teacher.denoiser(noised, t, null).x0
    guided = teacher(noised, t, cond.with_part("guidance", scale) if teacher.scale is None else cond).x0
    step = with_cond - without
    size = float(step.square().sum())
    scale_found = float(((guided - without) * step).sum()) / size if size else 1.0
    effect = math.sqrt(size / float((with_cond - x).square().sum()))
    return GuidanceReading(asked, scale_found, effect)
