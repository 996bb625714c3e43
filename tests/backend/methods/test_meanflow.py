import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from backend import losses
from backend.contract.settings import problems
from backend.derivatives import Way
from backend.methods import Batch, meanflow
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.noise import FlowMatching
from backend.samplers import times
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, Mixture, paths

from .several_steps import same_in_one_step_and_four

KINDS = tuple(paths())
WAYS: tuple[Way, ...] = ("forward mode", "differences")
GAUSSIAN = Mixture(torch.tensor([[0.0, 0.0]]).double(), torch.tensor([1.0]).double(), std=0.5)

every_kind = pytest.mark.parametrize("kind", KINDS)


class ExactAverage(torch.nn.Module):
    """The network whose every step on one Gaussian's flow is exact; that flow only rescales (see `spread`)."""

    def __init__(self, path: Any, kind: Any) -> None:
        super().__init__()
        self.path, self.kind, self.shape, self.null_label, self.inputs = path, kind, (2,), None, ("end_time",)
        self.end: Tensor

    def spread(self, t: Tensor) -> Tensor:
        size: Tensor = ((self.path.alpha(t) * GAUSSIAN.std) ** 2 + self.path.sigma(t) ** 2).sqrt()
        return size

    def answer(self, noised: Tensor, t: Tensor, end: Tensor) -> Tensor:
        """What it returns: the one output whose jump from t to `end` is that of the flow."""
        path, out = self.path, torch.zeros_like(noised, dtype=torch.float64)
        net = Denoiser(self, path, self.kind, GAUSSIAN.sigma_data)

        # The jump is linear in the output, of known slope: asked at outputs of 0 and 1.
        def jump(output: Tensor) -> Tensor:
            p = Prediction(noised.double(), output, t, path, net.prediction_type, net.sigma_data)
            state: Tensor = path.alpha(end)[:, None] * p.x0 + path.sigma(end)[:, None] * p.noise
            return state

        at_0, at_1 = jump(out), jump(out + 1)
        aim = noised.double() * (self.spread(end) / self.spread(t))[:, None]
        return (aim - at_0) / (at_1 - at_0)


class ExactDenoiser(Denoiser):
    def forward(self, noised, t, cond):
        network: Any = self.network
        output = network.answer(noised, t, cond.part("end_time"))
        return Prediction(noised, output, t, self.path, self.prediction_type, self.sigma_data)


def exact_nets(kind: str) -> meanflow.Nets:
    path, prediction_type = paths()[kind]
    teacher = ClosedFormDenoiser(GAUSSIAN, path, prediction_type)
    student = ExactDenoiser(ExactAverage(path, prediction_type), path, prediction_type, GAUSSIAN.sigma_data)
    return meanflow.Nets(Guided(teacher, 1.0), student)


def batch(n: int, mixture: Mixture = MIXTURE, seed: int = 0, cond: Condition | None = None) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    real, _ = mixture.draw(n, generator)
    cond = cond or Condition.none(n)
    return Batch(0, 1, cond, (2,), generator, torch.device("cpu"), real.double(), cond)


def told_nets(kind: str, untrained: Callable[[str], Teacher], **settings: Any) -> meanflow.Nets:
    made = meanflow.build(untrained(kind), meanflow.Settings(**settings))
    torch.manual_seed(1)
    for parameter in made.student.network.get_submodule("numbers").parameters():  # so that the end of a step matters
        torch.nn.init.normal_(parameter, std=0.3)
    made.student.double()
    return made


def squared_error(nets: meanflow.Nets, given: Batch, s: meanflow.Settings) -> Tensor:
    (update,) = meanflow.step(nets, given, s)
    return update.metrics["squared_error"]


@every_kind
@pytest.mark.parametrize("way", ["forward mode", "differences"])
def test_the_exact_average_velocity_of_a_gaussian_has_no_loss(kind: str, way: Any) -> None:
    s = meanflow.Settings(derivative=way, instantaneous_share=0.0, first_level=0.95)
    error = squared_error(exact_nets(kind), batch(64, GAUSSIAN), s)
    # Differences reach over kinks of the path where it is read from a table.
    assert float(error) < (1e-8 if way == "forward mode" else 1e-5)


@every_kind
def test_without_the_derivative_it_has(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meanflow, "correction", lambda student, noised, *rest: torch.zeros_like(noised))
    s = meanflow.Settings(instantaneous_share=0.0, first_level=0.95)
    assert float(squared_error(exact_nets(kind), batch(64, GAUSSIAN), s)) > 1e-4


def test_with_the_opposite_sign_the_error_is_twice_the_correction(monkeypatch: pytest.MonkeyPatch) -> None:
    s = meanflow.Settings(instantaneous_share=0.0, first_level=0.95)
    right = meanflow.correction
    found = []
    for factor in (1.0, 0.0, -1.0):
        monkeypatch.setattr(meanflow, "correction", lambda *given, factor=factor: factor * right(*given))
        found.append(float(squared_error(exact_nets("flow"), batch(64, GAUSSIAN), s)))
    assert found[0] < 1e-8 < found[1]
    assert found[2] == pytest.approx(4 * found[1], rel=1e-4)


def test_a_step_of_no_length_is_flow_matching_to_the_last_bit(untrained: Callable[[str], Teacher]) -> None:
    s = meanflow.Settings(velocity="data", instantaneous_share=1.0, weight_power=0.0)
    made = told_nets("flow", untrained, velocity="data")
    (update,) = meanflow.step(made, batch(32), s)
    again = batch(32)
    t, r = meanflow.step_ends(again, made.student.path, s, 1.0)
    assert torch.equal(t, r)
    x0, cond = again.real
    noise = again.noise()
    noised = (1 - t[:, None]) * x0 + t[:, None] * noise
    flow = made.student(noised, t, cond.with_part("end_time", t)).output - (noise - x0)
    assert torch.equal(update.losses["average_velocity"], flow.square().sum(1).mean())


def test_the_first_share_of_a_batch_has_no_length_and_the_rest_ends_before_it_begins() -> None:
    for choice in ("uniform", "logit-normal"):
        s = meanflow.Settings(times=choice, instantaneous_share=0.75)
        t, r = meanflow.step_ends(batch(400), FlowMatching(), s, 0.9)
        assert torch.equal(t[:300], r[:300])
        assert bool((r[300:] < t[300:]).all())
        assert 0 <= float(r.min()) < float(t.max()) <= 0.9
    mean = torch.cat([t[:300], t[300:]]).logit()[:300].mean()
    assert float(mean) == pytest.approx(-0.4 + 0.56, abs=0.15)  # the larger of two normals lies 1/sqrt(pi) higher


@every_kind
def test_differentiated_by_differences_the_loss_is_the_same(kind: str, untrained: Callable[[str], Teacher]) -> None:
    made = told_nets(kind, untrained)
    found = [float(squared_error(made, batch(64), meanflow.Settings(derivative=way, first_level=0.8))) for way in WAYS]
    assert found[0] == pytest.approx(found[1], rel=1e-2)


def test_the_losss_gradient_is_that_of_differences(untrained: Callable[[str], Teacher]) -> None:
    made = told_nets("v_prediction", untrained)
    s = meanflow.Settings(weight_power=0.0)
    fixed = torch.randn(16, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    def value() -> Tensor:
        given = batch(16)
        t, r = meanflow.step_ends(given, made.student.path, s, 1.0)
        error = made.student(given.real[0], t, given.cond.with_part("end_time", r)).error(fixed, fixed.flip(0))
        return losses.adaptive(error.square().sum(1), 0.0, 1e-2)

    weight = made.student.network.get_parameter("head.weight")
    (gradient,) = torch.autograd.grad(value(), weight)
    direction, h = torch.randn_like(weight), 1e-5
    with torch.no_grad():
        weight.add_(h * direction)
        ahead = value()
        weight.sub_(2 * h * direction)
        behind = value()
    assert float((ahead - behind) / (2 * h)) == pytest.approx(float((gradient * direction).sum()), rel=1e-6)


def test_the_adaptive_loss_and_its_gradient_are_known() -> None:
    squares = torch.tensor([0.09, 3.99], requires_grad=True)
    loss = losses.adaptive(squares, 1.0, 0.01)
    loss.backward()
    assert float(loss.detach()) == pytest.approx((0.9 + 0.9975) / 2)
    assert squares.grad is not None
    assert squares.grad.tolist() == pytest.approx([5.0, 0.125])
    assert float(losses.adaptive(squares, 0.0, 0.01).detach()) == pytest.approx(2.04)


@pytest.mark.parametrize(("scale", "mix"), [(3.0, 0.0), (3.0, 0.5), (1.0, 0.5)])
def test_guided_velocity_from_data_has_the_scale_it_is_asked_for(scale: float, mix: float) -> None:
    """Where the student already is the guided velocity, and so its own target but for noise, it stays that."""
    exact = ClosedFormDenoiser(MIXTURE, *paths()["flow"], conditional=True)
    n, s = 4000, meanflow.Settings(velocity="data", guidance_scale=scale, guidance_mix=mix)
    x = torch.tensor([[0.3, 0.4]], dtype=torch.float64).expand(n, 2)
    t, cond = times(0.5, x), Condition.of_labels(torch.full((n,), 2))
    there: Prediction = exact(x, t, cond)
    guided: Any = Guided(exact, scale)
    guided.null = exact.null  # without a condition it is the plain one
    x0, noise, asked = meanflow.velocity_of_data(guided, x, t, there.x0, there.noise, cond, batch(n, cond=cond), s)
    kept = asked.part("labels") == 2
    aim = guided(x, t, cond)
    torch.testing.assert_close(x0[kept], aim.x0[kept])
    torch.testing.assert_close(noise[kept], aim.noise[kept])
    assert float((~kept).double().mean()) == pytest.approx(0.1 if scale != 1 else 0.0, abs=0.02)
    torch.testing.assert_close(x0[~kept], there.x0[~kept])


def test_its_cost_counts_every_evaluation(untrained: Callable[[str], Teacher]) -> None:
    for share, way in itertools.product((0.0, 0.5, 1.0), WAYS):
        s = meanflow.Settings(instantaneous_share=share, derivative=way)
        made = told_nets("flow", untrained)
        seen: list[int] = []
        made.student.register_forward_hook(lambda net, given, out, seen=seen: seen.append(len(given[0])))
        list(meanflow.step(made, batch(16), s))
        passes = sum(seen) / 16 + (1 - share) * (way == "forward mode")  # that one carries the derivative along
        assert meanflow.cost(s) == 1 + passes + 2


def test_a_mix_without_data_is_refused() -> None:
    (sentence,) = problems(meanflow.Settings, {"guidance_mix": 0.5})
    assert "set velocity to data" in sentence


@every_kind
def test_more_steps_of_the_exact_average_are_as_exact_as_one(kind: str) -> None:
    same_in_one_step_and_four(meanflow, exact_nets(kind).student)
