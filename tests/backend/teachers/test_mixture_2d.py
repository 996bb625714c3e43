"""The closed-form teacher against torch's own derivative of its log density, and against Bayes by brute force."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from backend.networks import Condition, Denoiser, PredictionType
from backend.noise import FlowMatching, Path, Trigonometric, VarianceExploding
from backend.teachers import TeacherError, load_teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, Mixture, paths, ring

torch.set_num_threads(1)

KINDS = paths()
WIDE = ring(0.7, 0.25, (0.4, 0.3, 0.2, 0.1))
every_kind = pytest.mark.parametrize("kind", KINDS)


def points(path: Path, n: int = 400) -> tuple[Tensor, Tensor]:
    """Noised samples of the ring at times all over the path, and some far from where any would be."""
    generator = torch.Generator().manual_seed(3)
    x0, _ = MIXTURE.draw(n, generator)
    t = torch.linspace(0, 1, n, dtype=torch.float64)
    noised = path.noised(x0.double(), torch.randn(n, 2, generator=generator, dtype=torch.float64), t)
    noised[::10] *= 3
    return noised, t


@pytest.mark.parametrize("mixture", [MIXTURE, WIDE], ids=["ring", "wide"])
@every_kind
def test_score_is_the_gradient_of_the_log_density(kind: str, mixture: Mixture) -> None:
    path, prediction_type = KINDS[kind]
    net = ClosedFormDenoiser(mixture, path, prediction_type)
    noised, t = points(path)
    # The score is noise over sigma: at sigma 0 no network states it. An x0 prediction loses digits as sigma falls.
    inner = path.sigma(t) > 1e-3
    noised, t = noised[inner].requires_grad_(True), t[inner]
    log_density = mixture.log_density(noised, path.alpha(t), path.sigma(t))
    (score,) = torch.autograd.grad(log_density.sum(), noised)
    found = net(noised.detach(), t, Condition.none(len(t))).score
    assert found.dtype == torch.float64
    assert ((found - score).norm(dim=1) / score.norm(dim=1).clamp(min=1e-3)).max() < 1e-6


def test_modes_of_a_group_are_one_class() -> None:
    grouped = replace(WIDE, groups=(0, 0, 1, 1))
    path, prediction_type = KINDS["flow"]
    noised, t = points(path)
    labels = torch.arange(len(t)) % 3  # two classes, and 2 for none of them
    found = ClosedFormDenoiser(grouped, path, prediction_type, conditional=True)(noised, t, Condition.of_labels(labels))
    for label, modes in enumerate(([0, 1], [2, 3], [0, 1, 2, 3])):
        share = WIDE.weights[modes] / WIDE.weights[modes].sum()
        one = ClosedFormDenoiser(Mixture(WIDE.means[modes], share, WIDE.std), path, prediction_type)
        rows = labels == label
        expected = one(noised[rows], t[rows], Condition.none(int(rows.sum()))).x0
        torch.testing.assert_close(found.x0[rows], expected)
    samples, classes = grouped.draw(500, torch.Generator().manual_seed(0))
    nearest = (samples[:, None] - WIDE.means.float()).square().sum(-1).argmin(1)
    assert (classes == nearest // 2).float().mean() > 0.9
    assert WIDE.digest != grouped.digest
    assert WIDE.classes == 4


@every_kind
def test_score_of_each_class(kind: str) -> None:
    path, prediction_type = KINDS[kind]
    net = ClosedFormDenoiser(MIXTURE, path, prediction_type, conditional=True)
    noised, t = points(path)
    inner = path.sigma(t) > 1e-3
    noised, t = noised[inner], t[inner]
    labels = torch.arange(len(t)) % 9  # 8 modes, and 8 for none of them
    found = net(noised, t, Condition.of_labels(labels)).score
    for label in range(9):
        one = MIXTURE if label == 8 else Mixture(MIXTURE.means[[label]], torch.ones(1).double(), MIXTURE.std)
        rows = labels == label
        x = noised[rows].requires_grad_(True)
        (score,) = torch.autograd.grad(one.log_density(x, path.alpha(t[rows]), path.sigma(t[rows])).sum(), x)
        assert ((found[rows] - score).norm(dim=1) / score.norm(dim=1).clamp(min=1e-3)).max() < 1e-6


@every_kind
def test_x0_and_noise_add_up_to_the_sample(kind: str) -> None:
    path, _ = KINDS[kind]
    noised, t = points(path)
    alpha, sigma = path.alpha(t), path.sigma(t)
    x0, noise = MIXTURE.posterior(noised, alpha, sigma)
    assert (alpha[:, None] * x0 + sigma[:, None] * noise - noised).abs().max() < 1e-12 * noised.abs().max()
    assert torch.equal(x0, MIXTURE.x0(noised, alpha, sigma))


def test_posterior_mean_by_brute_force() -> None:
    """x0 averaged over very many draws, weighted by how well each explains the noised sample."""
    draws, _ = WIDE.draw(400_000, torch.Generator().manual_seed(0))
    x0 = draws.double()
    for alpha, sigma, at in [(1.0, 0.5, (0.5, 0.2)), (0.6, 0.4, (-0.3, 0.4)), (0.0, 1.0, (1.0, -1.0))]:
        x = torch.tensor([at], dtype=torch.float64)
        weights = (-(x - alpha * x0).square().sum(1) / (2 * sigma**2)).softmax(0)
        expected = weights @ x0
        a, s = torch.tensor([alpha]).double(), torch.tensor([sigma]).double()
        assert torch.allclose(WIDE.x0(x, a, s)[0], expected, atol=5e-3)


def test_the_ends_of_a_path_are_exact() -> None:
    x = torch.tensor([[0.3, -0.4]], dtype=torch.float64)
    one, zero = torch.ones(1).double(), torch.zeros(1).double()
    for path, kind in [(FlowMatching(), "flow"), (Trigonometric(), "v_prediction")]:
        net = ClosedFormDenoiser(MIXTURE, path, kind)  # type: ignore[arg-type]
        clean = net(x, zero, Condition.none(1))
        assert torch.allclose(clean.x0, x)
        assert torch.allclose(clean.noise, torch.zeros_like(x))
        pure = net(x, one, Condition.none(1))
        assert torch.allclose(pure.x0[0], MIXTURE.weights @ MIXTURE.means)
        assert torch.allclose(pure.noise, x)


@every_kind
def test_density_is_normalised(kind: str) -> None:
    path, _ = KINDS[kind]
    axis = torch.linspace(-6, 6, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    for level in (0.3, 0.5):
        t = torch.full((1,), level, dtype=torch.float64)
        alpha, sigma = path.alpha(t).expand(len(grid)), path.sigma(t).expand(len(grid))
        total = MIXTURE.log_density(grid, alpha, sigma).exp().sum() * (axis[1] - axis[0]) ** 2
        assert float(total) == pytest.approx(1, abs=1e-3)


def test_float32_goes_in_and_comes_out() -> None:
    net = ClosedFormDenoiser(MIXTURE, *KINDS["edm"])
    noised, t = points(net.path, 20)
    single, double = net(noised.float(), t, Condition.none(20)), net(noised, t, Condition.none(20))
    assert single.x0.dtype == torch.float32
    assert torch.allclose(single.output.double(), double.output, atol=1e-5)


def test_draws_are_the_mixtures_and_the_generators_alone() -> None:
    samples, modes = MIXTURE.draw(50_000, torch.Generator().manual_seed(1))
    assert torch.allclose(modes.bincount() / 50_000, MIXTURE.weights.float(), atol=0.01)
    distance = (samples - MIXTURE.means.float()[modes]).square().mean().sqrt()
    assert float(distance) == pytest.approx(MIXTURE.std, rel=0.02)
    assert float(samples.square().mean().sqrt()) == pytest.approx(MIXTURE.sigma_data, rel=0.01)
    torch.manual_seed(5)
    again, _ = MIXTURE.draw(50_000, torch.Generator().manual_seed(1))
    assert torch.equal(samples, again)


def test_kinds_by_name() -> None:
    for kind, (path, prediction_type) in KINDS.items():
        teacher = load_teacher(f"mixture-2d:{kind}")
        assert teacher.denoiser.path == path
        assert teacher.denoiser.prediction_type == prediction_type
        assert teacher.draws is MIXTURE
    assert load_teacher("mixture-2d").denoiser.prediction_type == "edm"
    assert len({load_teacher(f"mixture-2d:{kind}").digest for kind in KINDS}) == len(KINDS)
    with pytest.raises(TeacherError, match="no kind 'cubic'; choose one of edm, epsilon"):
        load_teacher("mixture-2d:cubic")


# The same teacher in another parameterisation is the same teacher (U5).


def distribution_matching_direction(net: Denoiser, other: Denoiser, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Difference of x0 at one noise level, whatever each network's path: the state is x/alpha at equal sigma/alpha."""
    t, cond = net.path.t_of_ratio(sigma / alpha), Condition.none(len(x))
    state = x / alpha[:, None] * net.path.alpha(t)[:, None]
    real: Tensor = net(state, t, cond).x0
    fake: Tensor = other(state, t, cond).x0
    return real - fake


def test_one_mixture_in_every_parameterisation_gives_one_direction() -> None:
    generator = torch.Generator().manual_seed(7)
    # Levels that every path reaches.
    ratio = torch.logspace(math.log10(0.05), math.log10(9), 300, dtype=torch.float64)
    alpha, sigma = torch.ones_like(ratio), ratio
    x = MIXTURE.draw(300, generator)[0] + ratio[:, None] * torch.randn(300, 2, generator=generator, dtype=torch.float64)
    directions = {}
    for kind, (path, prediction_type) in KINDS.items():
        real = ClosedFormDenoiser(MIXTURE, path, prediction_type)
        fake = ClosedFormDenoiser(WIDE, path, prediction_type)
        directions[kind] = distribution_matching_direction(real, fake, x, alpha, sigma)
    for direction in directions.values():
        assert (direction - directions["edm"]).norm() / directions["edm"].norm() < 1e-9


def test_one_path_in_every_prediction_type_gives_one_prediction() -> None:
    kinds: tuple[PredictionType, ...] = ("epsilon", "v_prediction", "sample", "flow")
    for path in (KINDS["epsilon"][0], FlowMatching(3.0), Trigonometric()):
        noised, t = points(path)
        inner = (path.sigma(t) > 1e-3) & (path.alpha(t) > 1e-3)
        noised, t = noised[inner], t[inner]
        found = [ClosedFormDenoiser(MIXTURE, path, kind)(noised, t, Condition.none(len(t))) for kind in kinds]
        for other in found[1:]:
            assert torch.allclose(other.x0, found[0].x0, atol=1e-9)
            assert torch.allclose(other.noise, found[0].noise, atol=1e-9)
            assert torch.allclose(other.velocity, found[0].velocity, atol=1e-9)
            assert torch.allclose(other.score, found[0].score, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="go together"):
        ClosedFormDenoiser(MIXTURE, VarianceExploding(), "epsilon")
