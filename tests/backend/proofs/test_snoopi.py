"""The bench `two`: where its normals settle is an answer, and there the push is spread as the scale is drawn."""

import math

import pytest
import torch
from torch import Tensor

from backend.methods import Batch, load_method
from backend.methods.snoopi import Nets, Settings, step
from backend.methods.swiftbrush import schedule
from backend.networks import Condition, Guided
from backend.networks.adapters import with_adapters
from backend.proofs import begin, load_proof
from backend.proofs.benches import MIDDLE, NODES
from backend.proofs.snoopi import HIGHEST, LOWEST, SCALE, NormalsScore, NormalsStudent, Two, two
from backend.teachers.mixture_2d import ClosedFormDenoiser, Mixture, paths

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bench() -> Two:
    return two()


def at_root(bench: Two, scale: float) -> tuple[NormalsStudent, NormalsScore]:
    """Student and fake score at the root of this scale."""
    given = *bench.root(scale), bench.exact.sigma_data
    return NormalsStudent(*given), NormalsScore(*given)


@torch.no_grad()
def mean_push(bench: Two, fake: NormalsScore, scale: float) -> Tensor:
    """By how much mean and std of each class are pushed on average, (2, C, 2), by sums over nodes and not by samples.

    The student is the distribution that `fake` knows. Along a normal of std s that noise has widened to w, the mean of
    the sample's own noise times a push is s / w of that of all noise.
    """
    weights = (-NODES.square() / 2).softmax(0)
    weights, nodes = torch.outer(weights, weights).flatten(), torch.cartesian_prod(NODES, NODES)
    time = torch.tensor([MIDDLE], dtype=torch.float64)
    sigma, (mean, std) = bench.exact.path.sigma(time), fake.moments()
    wide = (std**2 + sigma**2).sqrt()
    found = []
    for label in range(len(mean)):
        noised, t = mean[label] + wide[label] * nodes, time.expand(len(nodes))
        cond = Condition.of_labels(torch.full((len(nodes),), label))
        difference = Guided(fake, scale)(noised, t, cond).x0 - Guided(bench.exact, scale)(noised, t, cond).x0
        push = weights[:, None] * schedule(torch.ones(1).double(), sigma) * difference
        found.append(torch.stack([push.sum(0), (push * nodes).sum(0) * std[label] / wide[label]]))
    return torch.stack(found, 1)


@pytest.mark.parametrize("scale", [1.0, SCALE, HIGHEST])
def test_at_the_root_of_a_scale_the_mean_push_is_nothing_and_at_no_other(bench: Two, scale: float) -> None:
    _, fake = at_root(bench, scale)
    assert mean_push(bench, fake, scale).abs().max() < 1e-5
    assert min(mean_push(bench, fake, scale + change).abs().max() for change in (-0.5, 0.5)) > 1e-3


def test_the_roots_are_apart_and_that_of_the_top_is_narrower(bench: Two) -> None:
    student, _ = at_root(bench, SCALE)
    assert bench.from_root(student) == pytest.approx(0, abs=1e-6)
    assert bench.from_root(student, HIGHEST) == pytest.approx(0.435, abs=0.001)
    (_, middle), (_, top) = bench.root(SCALE), bench.root(HIGHEST)
    assert (top[:, 0] < middle[:, 0] - 0.05).all()
    torch.testing.assert_close(torch.stack([middle, top])[:, :, 1], torch.full((2, 2), 0.3).double(), rtol=0, atol=1e-4)


def pushes(bench: Two, count: int, lowest: float, highest: float) -> Tensor:
    """What `count` steps push the student's mean and std, (count, 2, C, 2), held where the middle of the range leads.

    The noises are the same at every step and lie evenly, so that only the scale is drawn anew.
    """
    student, fake = at_root(bench, SCALE)
    s = Settings(lowest_guidance=lowest, highest_guidance=highest, lowest_time=MIDDLE, highest_time=MIDDLE)
    drawn = torch.quasirandom.SobolEngine(4, scramble=True, seed=0).draw(4096).clamp(1e-6, 1 - 1e-6)
    noises = torch.special.ndtri(drawn).repeat(2, 1).chunk(2, 1)
    cond, generator = Condition.of_labels(torch.arange(2).repeat_interleave(4096)), torch.Generator().manual_seed(0)
    nets, found = Nets(Guided(bench.exact, None), student, fake), []
    for k in range(count):
        batch = Batch(k, count, cond, (2,), generator, CPU)
        object.__setattr__(batch, "noise", iter(noises).__next__)
        (loss,) = next(step(nets, batch, s)).losses.values()
        (gradient,) = torch.autograd.grad(loss, student.network.normals.weight)
        mean, log_std = gradient[:, :2].double().T.chunk(2, 1)
        # The loss divides by the batch's 2 · 8192 numbers, of which half are each class's.
        found.append(4 * torch.stack([mean, log_std / student.moments()[1].detach()]))
    return torch.stack(found)


def test_a_student_at_the_root_is_pushed_to_and_fro_as_far_as_the_range_is_wide(bench: Two) -> None:
    """A + (scale - 1) B is 0 at the middle, and else B times the scale's distance from it."""
    _, fake = at_root(bench, SCALE)
    b = mean_push(bench, fake, 2.0) - mean_push(bench, fake, 1.0)
    found = pushes(bench, 400, LOWEST, HIGHEST)
    spread = b.norm() * (HIGHEST - LOWEST) / math.sqrt(12)
    assert found.mean(0).norm() < 0.1 * spread
    assert float(found.var(0).sum().sqrt()) == pytest.approx(float(spread), rel=0.1)
    torch.testing.assert_close(found.std(0), b.abs() * (HIGHEST - LOWEST) / math.sqrt(12), rtol=0.1, atol=0.01 * spread)


def test_of_one_scale_alone_every_step_pushes_alike(bench: Two) -> None:
    found = pushes(bench, 3, SCALE, SCALE)
    torch.testing.assert_close(found, found[:1].expand_as(found), rtol=0, atol=1e-9)
    _, fake = at_root(bench, SCALE)
    assert found[0].norm() < 0.05 * (mean_push(bench, fake, 2.0) - mean_push(bench, fake, 1.0)).norm()


def test_the_score_is_the_exact_one_of_each_class_and_of_all() -> None:
    means = torch.tensor([[1.0, -0.5], [-0.7, 0.2]], dtype=torch.float64)
    mixture = Mixture(means, torch.full((2,), 0.5).double(), 0.4)
    exact = ClosedFormDenoiser(mixture, *paths()["edm"], conditional=True)
    score = NormalsScore(means, torch.full((2, 2), 0.4), exact.sigma_data)
    noised, t = torch.randn(90, 2, generator=torch.Generator().manual_seed(0)).double(), torch.linspace(0, 1, 90)
    cond = Condition.of_labels(torch.arange(90) % 3)  # 2 is no class
    torch.testing.assert_close(
        score(noised, t.double(), cond).x0, exact(noised, t.double(), cond).x0, rtol=0, atol=1e-5
    )


def test_adapters_reach_other_normals_in_both_classes(bench: Two) -> None:
    """As many as there are classes, and no fewer: else the fake score cannot follow one class apart from the other."""
    rank = load_proof("snoopi").settings["rank"]
    score = with_adapters(bench.teacher.feature_network(), rank)
    layer = score.network.normals
    down = layer.lora_A["default"].weight[:, :2]  # type: ignore[union-attr, index]
    assert torch.linalg.matrix_rank(down) == 2


def test_the_proofs_run_starts_as_the_bench_says(bench: Two) -> None:
    _, run = begin("snoopi", load_proof("snoopi"), key_term=True, steps=1)
    assert isinstance(run.student, NormalsStudent)
    for net in (run.student, run.nets.fake_score):
        mean, std = net.moments()
        assert torch.equal(mean, torch.zeros(2, 2).double())
        assert torch.equal(std, torch.ones(2, 2).double())
    assert load_method("snoopi").settings.model_validate(load_proof("snoopi").settings).highest_guidance == HIGHEST
