"""What is known of the benches: where the exact flow leads, the few real samples, the normals."""

import pytest
import torch

from backend.networks import Condition, Guided
from backend.networks.mlp import MLP
from backend.networks.normal import NormalDenoiser, NormalStudent
from backend.noise import VarianceExploding
from backend.proofs import benches
from backend.samplers import heun, initial, times
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, Mixture, fit, paths


@pytest.fixture(autouse=True)
def _quick_fit(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(benches, "fit", lambda exact, **k: fit(exact, seed=0, steps=1, width=32))


@pytest.mark.parametrize(("name", "scale"), [("ring8", 1.0), ("ring8:v_prediction", 1.0), ("wide:flow", 3.0)])
def test_the_exact_flow_is_exact_to_eight_digits(name: str, scale: float) -> None:
    bench = benches._all()[name]()
    noise, cond = bench.noise()[0][:256], bench.noise()[1][slice(256)]
    found, finer = (benches.flow(bench.exact, scale, noise, cond, steps) for steps in (benches.EXACT_STEPS, 1000))
    assert (found - finer).norm(dim=1).max() < 1e-8
    state, steps, net = initial(noise.double(), bench.exact.path, 1.0), 400, Guided(bench.exact, scale)
    for k in range(steps, 0, -1):  # by the samplers' own way, of second order
        state = heun(net, state, times(k / steps, state), times((k - 1) / steps, state), cond)
    torch.testing.assert_close(found, state, rtol=0, atol=3e-3)


def test_of_one_normal_the_flow_is_known() -> None:
    mixture = Mixture(torch.zeros(1, 2).double(), torch.ones(1).double(), 0.5)
    exact = ClosedFormDenoiser(mixture, VarianceExploding(0.1, 10.0), "edm")
    noise = torch.randn(8, 2, generator=torch.Generator().manual_seed(0)).double()
    found = benches.flow(exact, 1.0, noise, Condition.none(8))
    begun = initial(noise, exact.path, 1.0)
    known = begun * ((0.5**2 + 0.1**2) / (0.5**2 + 10.0**2)) ** 0.5  # a normal stays one, as far out as it was
    torch.testing.assert_close(found, known, rtol=1e-9, atol=0)


def test_the_shots_are_ten_samples_that_lie_between_the_teachers_modes() -> None:
    bench = benches._all()["shots"]()
    assert bench.teacher.draws is not None
    drawn = {tuple(row) for row in bench.teacher.draws.draw(500, torch.Generator().manual_seed(0))[0].tolist()}
    assert len(drawn) == 10
    assert torch.cdist(torch.tensor(sorted(drawn)).double(), bench.mixture.means).min(1).values.max() < 4 * 0.06
    apart = torch.cdist(bench.mixture.means, MIXTURE.means).min(1).values
    torch.testing.assert_close(apart, torch.full((3,), 0.3902).double(), rtol=1e-3, atol=0)  # 2 sin(pi / 16)
    cond = bench.teacher.each_condition(4)
    exact = bench.teacher.denoiser(MIXTURE.means[:4], torch.zeros(4).double(), cond).x0
    torch.testing.assert_close(exact, MIXTURE.means[:4], rtol=0, atol=1e-6)  # the teacher's are the ring's own modes


def test_no_normal_is_nearer_to_the_noised_modes_than_the_one_that_is_known() -> None:
    """Both coordinates are independent, and along the second the data are normal: the first is searched in full."""
    bench = benches._all()["skew"]()
    mean, std = bench.least()
    torch.testing.assert_close(mean[1], torch.zeros(()).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(std[1], torch.tensor(0.3).double(), rtol=0, atol=1e-6)
    sigma = bench.exact.path.sigma(torch.tensor(benches.MIDDLE).double())
    along = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    modes = torch.distributions.Normal(torch.tensor([-1.0, 2.0]).double(), (0.09 + sigma**2).sqrt())
    density = torch.logsumexp(modes.log_prob(along[:, None]) + torch.tensor([0.7, 0.3]).double().log(), 1)
    means, stds = torch.linspace(-2, 3, 101).double(), torch.linspace(0.1, 2.5, 97).double()
    of, spread = torch.cartesian_prod(means, stds).T[..., None]
    log_q = torch.distributions.Normal(of, (spread**2 + sigma**2).sqrt()).log_prob(along)
    divergence = (log_q.exp() * (log_q - density)).sum(1)
    best = torch.cartesian_prod(means, stds)[divergence.argmin()]
    assert (best - torch.stack([mean[0], std[0]])).abs().max() <= 0.05  # a step of the search


def test_a_normal_is_as_far_from_the_nearest_one_as_mean_and_spread_say() -> None:
    bench = benches._all()["skew"]()
    mean, std = bench.least()
    net = NormalStudent(mean + torch.tensor([0.3, 0.0]), std + torch.tensor([0.0, 0.4]), *paths()["edm"], 0.5)
    assert bench.from_least(net) == pytest.approx(0.5, rel=1e-5)


def test_in_benches_of_normals_student_and_fake_score_start_alike_and_maps_are_a_fitted_networks() -> None:
    teacher = benches._all()["apart"]().teacher
    for net in (teacher.trainable(), teacher.fake_score()):
        assert isinstance(net, NormalDenoiser)
        torch.testing.assert_close(torch.cat([net.mean, net.std]), torch.tensor([1.2, 0.0, 1.2, 1.2]).double())
    features = teacher.feature_network()
    assert isinstance(features.network, MLP)
    assert not any(p.requires_grad for p in features.parameters())
    assert features is teacher.feature_network()
