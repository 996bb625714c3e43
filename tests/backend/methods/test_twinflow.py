"""TwinFlow: the mean velocity against the exact flow, the sign that parts the branches, and who learns what."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.flow import mean_velocity
from backend.methods import Batch, twinflow
from backend.networks import Condition, Denoiser, Prediction
from backend.networks.denoiser import output_weights
from backend.proofs import begin, load_proof
from backend.samplers import Sampler, even_levels, heun, initial, sample, times
from backend.teachers import Teacher
from backend.teachers.mixture_2d import ClosedFormDenoiser, Mixture, paths
from backend.train import train

CPU = torch.device("cpu")
KINDS = tuple(paths())
GAUSSIAN = Mixture(torch.tensor([[0.0, 0.0]]).double(), torch.tensor([1.0]).double(), std=0.5)


class MeanVelocity(ClosedFormDenoiser):
    """The exact mean velocity of a Gaussian's flow between any two times: the flow only rescales."""

    def forward(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction:
        start, end = (self.path.flow_time(time) for time in (t, cond.part("end_time")))
        end = end.masked_fill(cond.part("end_time") == 0, 0)  # the clean sample, also where the path ends before it
        ratio = spread(end) / spread(start)
        state = noised / (self.path.alpha(t) + self.path.sigma(t))[:, None]
        same = (start - end).abs() < 1e-5
        slope = (start - (1 - start) * GAUSSIAN.std**2) / spread(start) ** 2  # d log(spread) / dt
        mean = torch.where(same, slope, (1 - ratio) / (start - end).masked_fill(same, 1))
        velocity = mean[:, None] * state
        x0, noise = state - start[:, None] * velocity, state + (1 - start)[:, None] * velocity
        return _said(noised, x0, noise, t, self)


def _said(noised: Tensor, x0: Tensor, noise: Tensor, t: Tensor, net: Denoiser) -> Prediction:
    """A prediction of x0 and noise: the output that the kind makes of them."""
    a, b = output_weights(net.prediction_type, net.path.alpha(t), net.path.sigma(t), net.sigma_data)
    output = (a[:, None] * x0 + b[:, None] * noise).to(noised.dtype)
    return Prediction(noised, output, t, net.path, net.prediction_type, net.sigma_data)


def spread(t: Tensor) -> Tensor:
    return (((1 - t) * GAUSSIAN.std) ** 2 + t**2).sqrt()


def batch(n: int, seed: int = 0, shape: tuple[int, ...] = (2,)) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    real, cond = torch.randn(n, *shape, generator=generator), Condition.none(n)
    return Batch(0, 10, cond, shape, generator, CPU, real, cond)


def row(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# The flow's coordinates


@pytest.mark.parametrize("kind", KINDS)
def test_the_velocity_is_the_slope_of_the_rescaled_flow_on_every_path(kind: str) -> None:
    net = ClosedFormDenoiser(GAUSSIAN, *paths()[kind])
    t = row(0.3, 0.5, 0.6)
    state = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    slope = (t - (1 - t) * GAUSSIAN.std**2) / spread(t) ** 2
    torch.testing.assert_close(
        mean_velocity(net, state, t, t, Condition.none(3)), slope[:, None] * state, rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_exact_mean_velocity_is_left_alone_and_any_other_is_led_to_it(kind: str) -> None:
    exact = MeanVelocity(GAUSSIAN, *paths()[kind])
    t, r, s = row(0.6, 0.5, 0.45, 0.4), row(0.0, 0.2, 0.449, 0.4), twinflow.Settings(offset=2e-3)
    state, cond = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), Condition.none(4)
    slope = mean_velocity(exact, state, t, t, cond)
    mean = mean_velocity(exact, state, t, r, cond)

    def gap(made: Tensor) -> Tensor:
        return twinflow.residual(exact, made, slope, state, t, r, cond, s)

    # What is left is of the first order in the offset, which the paper's step along the slope has.
    assert gap(mean).abs().max() < 0.02
    moved = gap(mean + 0.1)
    assert (moved > 0.05).all()  # minimising sends it back
    torch.testing.assert_close(moved[3], torch.full((2,), 0.1, dtype=torch.float64), rtol=1e-4, atol=1e-3)


def test_one_step_of_the_exact_mean_velocity_lands_where_the_flow_does() -> None:
    exact, s = MeanVelocity(GAUSSIAN, *paths()["flow"]), twinflow.Settings()
    noise, cond = (
        torch.randn(64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2)),
        Condition.none(64),
    )
    made = twinflow.start(exact, noise, cond, s).x0
    torch.testing.assert_close(made, GAUSSIAN.std * noise, rtol=1e-6, atol=1e-9)
    plain = ClosedFormDenoiser(GAUSSIAN, *paths()["flow"])
    state = initial(noise, plain.path, 1.0)
    for k in range(100, 0, -1):
        state = heun(plain, state, times(k / 100, state), times((k - 1) / 100, state), cond)
    torch.testing.assert_close(made, state, rtol=1e-3, atol=1e-4)


# The step


def nets(teacher: Teacher, **settings: Any) -> tuple[twinflow.Nets, twinflow.Settings]:
    s = twinflow.Settings(**settings)
    torch.manual_seed(0)
    return twinflow.build(teacher, s), s


def test_nothing_is_rectified_while_the_sign_says_nothing(untrained: Callable[[str], Teacher]) -> None:
    made, s = nets(untrained("flow"))
    (update,) = twinflow.step(made, batch(16), s)
    assert update.losses["rectification"].item() == 0  # both branches are the teacher
    assert update.metrics["velocity_difference"].item() == 0
    with torch.no_grad():
        made.student.network.numbers["sign"].last.weight.normal_()  # type: ignore[index,union-attr]
    (update,) = twinflow.step(made, batch(16), s)
    assert update.losses["rectification"].item() > 0


def test_samples_move_towards_the_data_as_in_distribution_matching(untrained: Callable[[str], Teacher]) -> None:
    teacher, s = untrained("flow"), twinflow.Settings(clamp=5.0)
    net = teacher.trainable().extended(*twinflow.INPUTS)

    class Signed(Denoiser):
        """The data at 0, the student's own samples at 1: known velocities, whatever the sample."""

        def forward(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction:
            mean = (cond.part("sign") < 0).to(noised.dtype)[:, None].expand_as(noised)
            noise = (noised - (1 - t[:, None]).to(noised) * mean) / t[:, None].to(noised)
            return _said(noised, mean, noise, t, self)

    signed = Signed(net.network, net.path, net.prediction_type)
    x0 = torch.ones(64, 2, requires_grad=True)
    made = _said(torch.zeros(64, 2), x0, torch.randn(64, 2), times(1.0, x0), signed)
    own = replace(batch(64), generator=torch.Generator().manual_seed(4))
    terms, _ = twinflow.own_samples(signed, made, own, s)
    (gradient,) = torch.autograd.grad(terms["rectification"], x0)
    assert (gradient > 0).all()  # down, to the data


def test_each_branch_learns_its_own_samples(untrained: Callable[[str], Teacher]) -> None:
    made, s = nets(untrained("flow"))
    asked: list[tuple[float, int, bool]] = []
    made.student.register_forward_hook(
        lambda net, given, out: asked.append((float(given[2].part("sign")[0]), len(given[0]), torch.is_grad_enabled()))
    )
    list(twinflow.step(made, batch(16), s))
    assert asked == [(1.0, 4, True), (-1.0, 4, True), (1.0, 4, False), (1.0, 12, True)]


def test_its_cost_is_what_it_asks_of_the_network(untrained: Callable[[str], Teacher]) -> None:
    made, s = nets(untrained("flow"))
    evaluations = 0.0

    def count(net: Denoiser, given: tuple[Any, ...], out: Prediction) -> None:
        nonlocal evaluations
        evaluations += len(given[0]) * (3 if torch.is_grad_enabled() else 1)

    for net in (made.student, made.target):
        net.register_forward_hook(count)
    list(twinflow.step(made, batch(16), s))
    assert evaluations / 16 == twinflow.cost(s)


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_small_batches_train_too(rows: int, untrained: Callable[[str], Teacher]) -> None:
    made, s = nets(untrained("edm"), student_steps=3)
    (update,) = twinflow.step(made, batch(rows), s)
    assert all(bool(term.isfinite()) for term in update.losses.values())
    plan = twinflow.sampler(s, made.student)
    x = sample(made.student, plan, torch.randn(rows, 2), Condition.none(rows), torch.Generator())
    assert plan.kind == "deterministic"
    assert bool(x.isfinite().all())


@pytest.mark.long
def test_a_student_of_one_step_still_samples_in_forty() -> None:
    """One network is both: with rectification its many small steps go on finding every mode, and more exactly."""
    bench, run = begin("twinflow", load_proof("twinflow"), key_term=True)
    for _ in train(run):
        pass
    forty = Sampler("deterministic", tuple(run.sampler.levels[0] * level for level in even_levels(40)))
    one, many = (bench.figures(run.exported, plan) for plan in (run.sampler, forty))
    assert many["recall"] == 1
    assert many["weights_tv"] < one["weights_tv"]  # measured: 0.057 and 0.207
