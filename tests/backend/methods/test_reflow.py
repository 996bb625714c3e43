"""Reflow: the line between two ends that belong together, on every path, and the stages of its training."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from backend import losses
from backend.contract.recipe import Pairs, Training
from backend.contract.settings import problems
from backend.methods import Batch, reflow
from backend.methods.reflow import METHOD, Nets, Settings
from backend.networks import Condition, Denoiser
from backend.networks.mlp import MLP
from backend.proofs import begin, load_proof
from backend.samplers import Denoises, initial, times
from backend.stores import PairStore, Source, make
from backend.teachers import Teacher
from backend.teachers.mixture_2d import ClosedFormDenoiser, Mixture, paths
from backend.train import start, train

CPU = torch.device("cpu")
KINDS = tuple(paths())
POINT = Mixture(torch.tensor([[0.3, -0.7]]).double(), torch.ones(1).double(), std=1e-7)


def batch(noise: Tensor, samples: Tensor, step: int = 0, total: int = 100) -> Batch:
    cond, generator = Condition.none(len(noise)), torch.Generator().manual_seed(5)
    return Batch(step, total, cond, (2,), generator, CPU, drawn_pairs=(noise, samples, cond))


def loss_of(net: Denoiser, of: Batch, **settings: Any) -> Tensor:
    (update,) = reflow.step(Nets(net), of, Settings.model_validate(settings))
    (loss,) = update.losses.values()
    return loss


def two_by_two() -> tuple[Tensor, Tensor]:
    noise, samples = torch.randn(2, 64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return noise, samples


@pytest.mark.parametrize("kind", KINDS)
def test_where_all_lines_lead_to_one_point_the_teacher_is_straight(kind: str) -> None:
    net = ClosedFormDenoiser(POINT, *paths()[kind])
    noise = two_by_two()[0]
    for share in (0, 1):
        assert loss_of(net, batch(noise, POINT.means.expand(64, 2)), distilled_share=share).item() < 1e-10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [1.0, 0.8])
def test_the_line_starts_where_sampling_does(kind: str, first: float) -> None:
    path = paths()[kind][0]
    start, x0 = two_by_two()
    end = reflow.line_end(path, first, start, x0)
    torch.testing.assert_close(path.noised(x0, end, times(first, x0)), initial(start, path, first))
    if kind == "flow" and first == 1:
        assert torch.equal(end, start)


def test_for_a_flow_it_is_the_networks_own_training_loss_on_pairs(untrained: Callable[[str], Teacher]) -> None:
    net = untrained("flow").trainable().double()
    noise, samples = two_by_two()
    found = loss_of(net, batch(noise, samples))
    t = batch(noise, samples).times()
    own = losses.denoising(net(net.path.noised(samples, noise, t), t, Condition.none(64)), samples, noise)
    torch.testing.assert_close(found, own)


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_is_that_of_the_clean_sample_times_its_weight(kind: str, untrained: Callable[[str], Teacher]) -> None:
    net = untrained(kind).trainable().double()
    noise, x0 = two_by_two()
    t = torch.linspace(0.2, 0.9, 64, dtype=torch.float64)
    prediction = net(net.path.noised(x0, noise, t), t, Condition.none(64))
    alpha, sigma = net.path.alpha(t)[:, None], net.path.sigma(t)[:, None]
    expected = -(alpha + sigma) / sigma * (prediction.x0 - x0)
    torch.testing.assert_close(losses.flow_velocity_error(prediction, x0, noise), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_gradient_is_that_of_differences(kind: str, share: float, untrained: Callable[[str], Teacher]) -> None:
    net = untrained(kind).trainable().double()
    assert isinstance(net.network, MLP)
    weight, of = net.network.head.weight, two_by_two()
    (gradient,) = torch.autograd.grad(loss_of(net, batch(*of), distilled_share=share), weight)
    step = 1e-6
    with torch.no_grad():
        values = []
        for sign in (1, -1):
            weight[1, 3] += sign * step
            values.append(loss_of(net, batch(*of), distilled_share=share).item())
            weight[1, 3] -= sign * step
    assert gradient[1, 3].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("density", "outer"), [("uniform", 0.5), ("u-shaped", 0.6760)])  # 1 - sinh(1)/sinh(2)
def test_times_are_drawn_in_the_rectified_flows_own_clock(kind: str, density: str, outer: float) -> None:
    path, s = paths()[kind][0], Settings.model_validate({"times": density})
    many = torch.zeros(100_000, 2)
    t = reflow.drawn_times(path, 0.9, batch(many, many), s)
    top = times(0.9, many[:1])
    most = path.sigma(top) / (path.alpha(top) + path.sigma(top))
    place = path.sigma(t) / (path.alpha(t) + path.sigma(t)) / most
    assert t.min() >= 0
    assert t.max() <= 0.9
    assert place.mean().item() == pytest.approx(0.5, abs=0.005)
    assert ((place - 0.5).abs() > 0.25).double().mean().item() == pytest.approx(outer, abs=0.007)


def test_the_end_of_the_training_is_at_the_first_level_alone(untrained: Callable[[str], Teacher]) -> None:
    teacher, pairs = untrained("epsilon"), torch.randn(64, 2)
    store = PairStore(pairs, pairs, Condition.none(64), "")
    s = Settings(distilled_share=0.25)
    run = start(METHOD, s, Training(steps=8, batch_size=16), teacher, None, CPU, store)
    seen: list[Tensor] = []
    run.student.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[1]))
    names = [next(iter(progress.metrics)) for progress in train(run)]
    assert names == ["straightness"] * 6 + ["distillation"] * 2
    (first,) = run.sampler.levels
    assert [bool((t == first).all()) for t in seen] == [False] * 6 + [True] * 2
    assert float(run.student.path.alpha(torch.tensor(first))) == pytest.approx(0.4, abs=0.01)


def test_a_distilled_student_has_one_step_and_is_offered_no_other() -> None:
    (words,) = problems(Settings, {"student_steps": 4})
    assert words.startswith("distilled_share is 0.5, which makes a student of one step, and student_steps is 4; set")
    assert METHOD.only_as_trained(Settings())
    several = Settings(student_steps=4, distilled_share=0)
    assert not METHOD.only_as_trained(several)
    flow = ClosedFormDenoiser(POINT, *paths()["flow"])
    assert METHOD.sampler(several, flow).levels == (1.0, 0.75, 0.5, 0.25)


def test_the_next_round_learns_from_pairs_of_the_round_before(untrained: Callable[[str], Teacher]) -> None:
    teacher, asked, s = untrained("flow"), Pairs(count=8, steps=2), Settings(distilled_share=0)
    source = Source(teacher.denoiser, teacher, "", 1.0)
    first = make(source, asked, CPU)
    run = start(METHOD, s, Training(steps=3, batch_size=8), teacher, None, CPU, first)
    list(train(run))
    second = make(replace(source, net=run.exported), asked, CPU)
    assert torch.equal(first.noise, second.noise)
    assert not torch.allclose(first.samples, second.samples)
    list(train(start(METHOD, s, Training(steps=1, batch_size=8), teacher, None, CPU, second)))


@torch.no_grad()
def straightness(net: Denoises, noise: Tensor, reached: Tensor) -> float:
    """Mean of |velocity - (noise - sample)|² along the lines of a flow."""
    found = []
    for k in range(32):
        t = times((k + 0.5) / 32, noise)
        prediction = net(net.path.noised(reached, noise, t), t, Condition.none(len(noise)))
        found.append(losses.flow_velocity_error(prediction, reached, noise).square().sum(1).mean())
    return float(torch.stack(found).mean())


@pytest.mark.long
def test_the_flow_becomes_straight_on_pairs_that_belong_together_and_not_on_others() -> None:
    proof = load_proof("reflow")
    found = []
    for key_term in (True, False):
        bench, run = begin("reflow", proof, key_term, steps=1500)
        noise, reached = bench.noise()[0].double(), bench.reached()
        teacher = straightness(bench.exact, noise, reached)
        list(train(run))
        found.append(straightness(run.exported.double(), noise, reached) / teacher)
    assert found[0] < 0.1
    assert found[1] > 0.5
