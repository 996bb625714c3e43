import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from backend import trigflow
from backend.methods import Batch, scm
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.networks.denoiser import output_weights
from backend.networks.log_variance import LogVariance
from backend.samplers import times
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, Mixture, paths

KINDS = tuple(paths())
GAUSSIAN = Mixture(torch.tensor([[0.0, 0.0]]).double(), torch.tensor([1.0]).double(), std=0.5)

every_kind = pytest.mark.parametrize("kind", KINDS)


class ExactStart(Denoiser):
    """The consistency function of one Gaussian, whose flow only rescales: x0 = std x / sqrt(alpha² std² + sigma²)."""

    def forward(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction:
        alpha, sigma = self.path.alpha(t), self.path.sigma(t)
        x0 = GAUSSIAN.std * noised / ((alpha * GAUSSIAN.std) ** 2 + sigma**2).sqrt()[:, None]
        noise = (noised - alpha[:, None] * x0) / sigma[:, None]
        a, b = output_weights(self.prediction_type, alpha, sigma, self.sigma_data)
        return Prediction(
            noised, a[:, None] * x0 + b[:, None] * noise, t, self.path, self.prediction_type, self.sigma_data
        )


def exact_start(kind: str) -> ExactStart:
    path, prediction_type = paths()[kind]
    return ExactStart(torch.nn.Identity(), path, prediction_type, GAUSSIAN.sigma_data)


def batch(n: int, seed: int = 0, step: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    real, _ = MIXTURE.draw(n, generator)
    cond = Condition.none(n)
    return Batch(step, 10, cond, (2,), generator, torch.device("cpu"), real.double(), cond)


def tangent(student: Denoiser, teacher: Denoiser, x: Tensor, t: Tensor, warmup: float, **settings: Any) -> Tensor:
    there, mine = teacher(x, t, Condition.none(len(x))), student(x, t, Condition.none(len(x)))
    s = scm.Settings(**settings)
    return scm.tangent(student, mine, t, Condition.none(len(x)), there.x0, there.noise, warmup, s)


def points() -> tuple[Tensor, Tensor]:
    x = torch.randn(16, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return x, torch.linspace(0.1503, 0.8503, 16, dtype=torch.float64)


@every_kind
@pytest.mark.parametrize("way", ["forward mode", "differences"])
def test_the_exact_start_of_a_gaussians_trajectories_has_no_tangent(kind: str, way: str) -> None:
    x, t = points()
    teacher = ClosedFormDenoiser(GAUSSIAN, *paths()[kind])
    found = tangent(exact_start(kind), teacher, x, t, 1.0, derivative=way)
    # Where a path is read from a table, differences reach over points at which its slope changes by a thousandth.
    assert float(found.abs().max()) < (1e-6 if way == "forward mode" else 2e-3)
    half = tangent(exact_start(kind), teacher, x, t, 0.5, derivative=way)
    assert float(half.abs().max()) > 1e-2  # either term alone is not 0: they cancel


@every_kind
def test_the_tangent_is_the_change_of_the_answer_by_differences(kind: str, untrained: Callable[[str], Teacher]) -> None:
    """cos(angle) d/d angle of x0 along the teacher's trajectory, taken outside of all of TrigFlow's formulas."""
    x, t = points()
    student = untrained(kind).trainable().double()
    teacher = ClosedFormDenoiser(GAUSSIAN, *paths()[kind])
    found = tangent(student, teacher, x, t, 1.0)
    h = 1e-5

    def answer(side: float) -> Tensor:
        s = t + side * h
        scale = [((student.path.alpha(u) * GAUSSIAN.std) ** 2 + student.path.sigma(u) ** 2).sqrt() for u in (t, s)]
        made: Prediction = student(x * (scale[1] / scale[0])[:, None], s, Condition.none(len(x)))
        return made.x0

    angles = [trigflow.angle(student, t + side * h) for side in (1, -1)]
    slope = (answer(1) - answer(-1)) / (angles[0] - angles[1])[:, None]
    expected = trigflow.angle(student, t).cos()[:, None] * slope
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.detach().abs().max()))


@every_kind
def test_before_the_warm_up_the_student_is_only_drawn_to_the_trajectorys_direction(
    kind: str, untrained: Callable[[str], Teacher]
) -> None:
    x, t = points()
    student = untrained(kind).trainable().double()
    teacher = ClosedFormDenoiser(GAUSSIAN, *paths()[kind])
    spread, cond = trigflow.spread(student), Condition.none(len(x))
    own, aim = (trigflow.turn_of(net(x, t, cond), spread) for net in (student, teacher))
    expected = -((trigflow.angle(student, t).cos() ** 2)[:, None]) * spread * (own - aim)
    torch.testing.assert_close(tangent(student, teacher, x, t, 0.0), expected, rtol=1e-6, atol=1e-9)
    assert float(tangent(teacher, teacher, x, t, 0.0).abs().max()) == 0


def test_the_losss_gradient_in_the_velocity_is_the_tangent_turned(untrained: Callable[[str], Teacher]) -> None:
    net = untrained("v_prediction").trainable().double()
    nets = scm.Nets(Guided(ClosedFormDenoiser(MIXTURE, *paths()["v_prediction"]), 1.0), net, LogVariance())
    made: list[Tensor] = []

    def kept(module: object, given: object, out: Tensor) -> Tensor:
        made.append(out.requires_grad_()) if out.requires_grad else None
        return out

    net.network.register_forward_hook(kept)
    (update,) = scm.step(nets, batch(8, step=10), scm.Settings(learned_weight=False))
    (gradient,) = torch.autograd.grad(update.losses["tangent_loss"], made[0])
    size = gradient.square().mean().sqrt() * 8  # of -2 g / (elements of the batch)
    assert float(size) == pytest.approx(float(update.metrics["tangent"]), rel=1e-6)


@pytest.mark.parametrize(("step", "share", "expected"), [(0, 0.5, 0.0), (2, 0.5, 0.4), (5, 0.5, 1.0), (0, 0.0, 1.0)])
def test_the_warm_up_rises_from_none_to_all(
    step: int, share: float, expected: float, untrained: Callable[[str], Teacher], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watched(*given: object) -> Tensor:
        seen.append(given[6])
        return torch.zeros(4, 2)

    monkeypatch.setattr(scm, "tangent", watched)
    list(scm.step(scm.build(untrained("flow"), scm.Settings()), float_batch(4, step), scm.Settings(warmup_share=share)))
    assert seen == [expected]


def float_batch(n: int, step: int) -> Batch:
    given = batch(n, step=step)
    assert given.real_samples is not None
    return replace(given, real_samples=given.real_samples.float())


@every_kind
def test_uniform_times_are_uniform_in_the_angle_up_to_the_start(kind: str) -> None:
    net = exact_start(kind)
    ends = trigflow.angle(net, torch.tensor([0.0, 0.9], dtype=torch.float64))
    t = scm.drawn_times(batch(4001), net, scm.Settings(first_level=0.9))
    share = (trigflow.angle(net, t) - ends[0]) / (ends[1] - ends[0])
    assert float(t.max()) <= 0.9
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    torch.testing.assert_close(share.quantile(levels), levels, rtol=0, atol=0.03)


def test_log_normal_times_have_their_median_where_they_are_said_to() -> None:
    net = Denoiser(torch.nn.Identity(), paths()["edm"][0], "edm")
    t = scm.drawn_times(batch(4001), net, scm.Settings(times="log-normal", time_mean=-1.0, time_spread=0.5))
    assert float(net.path.sigma(t).log().median()) == pytest.approx(-1.0, abs=0.05)
    assert float(scm.drawn_times(batch(64), net, scm.Settings(first_level=0.5)).max()) <= 0.5
    assert float(trigflow.angle(net, times(1.0, torch.zeros(1, 2)))[0]) == pytest.approx(math.atan(10 / 0.5))
