import hashlib
import json
import math
from collections.abc import Callable

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from backend.bundled import digits_features
from backend.datasets import ImageSet
from backend.datasets.digits import digits
from backend.evaluate import (
    EvaluationError,
    FeatureNetwork,
    Figures,
    class_std,
    fine_detail,
    frechet_distance,
    image_figures,
    kernel_distance,
    latency,
    mixture_figures,
    mode_weights,
    nearest_distance,
    neighbour_figures,
    rms_distance,
    sliced_wasserstein,
)
from backend.resources import RESOURCES


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_moments(n: int, mean: Tensor, covariance: Tensor, seed: int = 0) -> Tensor:
    """n samples whose own mean and covariance are these, to rounding."""
    raw = normal(n, len(mean), seed=seed)
    raw = raw - raw.mean(0)
    white = raw @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(raw.T))).T
    samples: Tensor = white @ torch.linalg.cholesky(covariance).T + mean
    return samples


@pytest.fixture(scope="module")
def features() -> FeatureNetwork:
    return FeatureNetwork.load()


# Frechet distance


def test_frechet_distance_of_normals_is_the_closed_form() -> None:
    a, b = torch.tensor([[2.0, 0.5], [0.5, 1.0]]).double(), torch.tensor([[1.0, -0.8], [-0.8, 3.0]]).double()
    shift = torch.tensor([1.0, -2.0]).double()
    # In two dimensions tr (AB)^½ = (tr AB + 2 (det AB)^½)^½, and these two do not commute.
    root = ((a @ b).trace() + 2 * torch.linalg.det(a @ b).sqrt()).sqrt()
    expected = float(shift.square().sum() + a.trace() + b.trace() - 2 * root)
    found = frechet_distance(with_moments(50, torch.zeros(2).double(), a), with_moments(70, shift, b, seed=1))
    assert found == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_of_independent_features() -> None:
    stds_a, stds_b = torch.linspace(0.1, 2, 48).double(), torch.linspace(3, 0, 48).double()
    raw = with_moments(100, torch.zeros(48).double(), torch.eye(48).double())
    # One of the features is constant on one side: the root of a singular covariance.
    expected = float((stds_a - stds_b).square().sum()) + 48 * 0.25
    assert frechet_distance(raw * stds_a, raw * stds_b + 0.5) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("n", [2, 20, 500])
def test_frechet_distance_of_equal_sets_is_zero(n: int) -> None:
    samples = 100 * normal(n, 48)
    assert 0 <= frechet_distance(samples, samples.flip(0)) < 1e-6


def test_frechet_distance_from_a_single_point() -> None:
    samples = with_moments(100, torch.ones(5).double(), 4 * torch.eye(5).double())
    collapsed = torch.zeros(100, 5)
    assert frechet_distance(samples, collapsed) == pytest.approx(5 + 20, rel=1e-10)


# Kernel distance


def test_kernel_distance_by_hand() -> None:
    a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    # k(x, y) = (xy + 1)³: k(0, 1) = 1; k(1, 2) = 27; across 1, 1, 8, 27, of which the mean is 9.25
    assert kernel_distance(a, b) == pytest.approx(1 + 27 - 2 * 9.25)


def test_kernel_distance_of_shifted_normals_is_the_difference_of_moments() -> None:
    # (xy + 1)³ = sum of binomials times xᵖyᵖ, so the MMD compares the first three moments.
    shift = 0.5
    moments, shifted = (0.0, 1.0, 0.0), (shift, 1 + shift**2, shift**3 + 3 * shift)
    weights = (3, 3, 1)
    expected = sum(w * (m - s) ** 2 for w, m, s in zip(weights, moments, shifted, strict=True))
    found = [kernel_distance(normal(2000, 1, seed=i), normal(1500, 1, seed=i + 100) + shift) for i in range(10)]
    error = torch.tensor(found).std() / math.sqrt(10)
    assert abs(sum(found) / 10 - expected) < 4 * error


def test_kernel_distance_is_unbiased() -> None:
    found = torch.tensor([kernel_distance(normal(30, 8, seed=i), normal(40, 8, seed=i + 1000)) for i in range(300)])
    assert abs(found.mean()) < 4 * found.std() / math.sqrt(300)
    assert found.min() < 0 < found.max()


def test_kernel_distance_does_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = normal(50, 3), normal(37, 3, seed=1)
    whole, neighbours = kernel_distance(a, b), neighbour_figures(a, b)
    monkeypatch.setattr("backend.evaluate.ROWS_AT_ONCE", 8)
    assert kernel_distance(a, b) == pytest.approx(whole)
    assert neighbour_figures(a, b) == neighbours


# Neighbours


def test_neighbour_figures_by_hand() -> None:
    real, fake = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.5], [10.0]])
    # Real balls reach 1, 1 and 2; the fake at 0.5 is in the first two, the one at 10 in none. Both fakes'
    # balls reach 9.5: the one at 0.5 holds every real sample.
    assert neighbour_figures(real, fake, k=1) == pytest.approx(
        {"precision": 1 / 2, "recall": 1.0, "density": 2 / (1 * 2), "coverage": 2 / 3}
    )


def test_neighbour_figures_of_copies_and_of_strangers() -> None:
    real = normal(200, 6)
    copies = neighbour_figures(real, real.flip(0))
    assert (copies["precision"], copies["recall"], copies["coverage"]) == (1, 1, 1)
    strangers = neighbour_figures(real, real + 100)
    assert strangers == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_a_collapsed_student_is_precise_and_covers_little() -> None:
    real = normal(500, 4)
    collapsed = real[:1] + 1e-3 * normal(500, 4, seed=1)
    found = neighbour_figures(real, collapsed)
    assert found["precision"] == 1
    assert found["recall"] <= 1 / 500
    assert found["coverage"] < 0.05


def test_density_and_coverage_of_real_samples() -> None:
    # Naeem 2020, 3.2: of two samples of one distribution the density is 1 on average, and the coverage
    # 1 - (N-1)...(N-k) / ((2N-1)...(2N-k)), about 1 - 2^-k.
    n, k = 400, 3
    found = [neighbour_figures(normal(n, 3, seed=i), normal(n, 3, seed=i + 50), k) for i in range(10)]
    assert sum(figure["density"] for figure in found) / 10 == pytest.approx(1, abs=0.05)
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    assert sum(figure["coverage"] for figure in found) / 10 == pytest.approx(expected, abs=0.02)


# Pictures


def test_rms_distance_is_per_value() -> None:
    a = torch.zeros(3, 1, 4, 4)
    assert rms_distance(a, a + 0.5) == pytest.approx(0.5)


def test_class_std_ignores_the_difference_between_classes() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2])
    images = torch.tensor([5.0, 5.0, -7.0, -7.0, 100.0])[:, None, None, None].expand(5, 1, 2, 2).clone()
    assert class_std(images, labels) == 0
    images[0], images[1] = 6, 4  # a standard deviation of √2 in one of the two classes that have one
    assert class_std(images, labels) == pytest.approx(math.sqrt(2) / 2)
    assert class_std(images[-1:], labels[-1:]) == 0


def test_nearest_distance_finds_copies() -> None:
    training = normal(50, 1, 4, 4)
    assert nearest_distance(training[10:20], training) == 0
    assert nearest_distance(training[10:20] + 0.01, training) == pytest.approx(0.01)


def test_fine_detail_of_a_checkerboard_and_of_a_gradient() -> None:
    rows, columns = torch.arange(16)[:, None], torch.arange(16)[None]
    checkerboard = (1.0 - 2.0 * ((rows + columns) % 2))[None, None]
    wave = torch.cos(2 * math.pi * columns / 16).expand(16, 16)[None, None]
    assert fine_detail(3 * checkerboard, checkerboard) == pytest.approx(9)
    assert fine_detail(wave, checkerboard) == pytest.approx(0, abs=1e-12)


def test_feature_network_is_the_bundled_file(features: FeatureNetwork) -> None:
    path = RESOURCES / "features" / "digits.safetensors"
    assert features.name == "digits-48"
    assert features.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.stat().st_size < 300_000
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["feature_network"])
    assert about["trained_on"] == digits("train").digest
    assert about["held_out_accuracy"] == pytest.approx(digits_features.held_out_accuracy(features), abs=0.003)
    assert about["held_out_accuracy"] >= 0.97


def test_features_have_unit_variance_on_the_training_images(features: FeatureNetwork) -> None:
    found, _ = features.describe(digits("train").images)
    torch.testing.assert_close(found.mean(0), torch.zeros(48).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.var(0), torch.ones(48).double(), atol=1e-2, rtol=0)


def test_features_do_not_depend_on_the_batch(features: FeatureNetwork) -> None:
    images = digits("all").images
    together, seen = features.describe(images)
    alone, seen_alone = features.describe(images[1500:1501])
    torch.testing.assert_close(alone[0], together[1500], atol=1e-4, rtol=1e-4)
    assert seen_alone[0] == seen[1500]


def test_a_feature_network_of_two_epochs_already_reads() -> None:
    state = torch.get_rng_state()
    assert digits_features.held_out_accuracy(digits_features.train(epochs=2)) > 0.85
    assert torch.equal(torch.get_rng_state(), state)


def test_held_out_digits_are_as_near_as_other_halves(features: FeatureNetwork) -> None:
    train, held_out = digits("train"), digits("held-out")
    found = image_figures(held_out.images, held_out.labels, train, features)
    described, _ = features.describe(train.images)
    # As many real samples against the rest: what the Frechet distance is at this count when nothing is wrong.
    orders = [torch.randperm(1400, generator=torch.Generator().manual_seed(i)) for i in range(6)]
    real = [frechet_distance(described[order[:397]], described[order[397:]]) for order in orders]
    assert found["frechet"] is not None
    assert found["frechet"] < 2 * sum(real) / len(real)
    assert found["class_accuracy"] is not None
    assert found["class_accuracy"] >= 0.97
    assert found["precision"] == pytest.approx(1, abs=0.1)
    assert found["recall"] == pytest.approx(1, abs=0.1)
    assert found["density"] == pytest.approx(1, abs=0.1)
    assert found["fine_detail"] == pytest.approx(1, abs=0.1)
    assert found["nearest_training"] == pytest.approx(0.18, abs=0.01)
    assert found["teacher_rms"] is None


@pytest.mark.parametrize(
    ("spoil", "figure", "worse"),
    [
        (lambda data: data.images + 0.3 * normal(*data.images.shape), "frechet", 1.0),
        (lambda data: torch.nn.functional.avg_pool2d(data.images, 3, 1, 1), "frechet", 1.0),
        (lambda data: data.images.flip(-1), "frechet", 1.0),
        (lambda data: data.images[:1].expand_as(data.images), "frechet", 48.0),
        (lambda data: data.images.flip(-1), "class_accuracy", -0.3),
        (lambda data: data.images[:1].expand_as(data.images), "coverage", -0.5),
        (lambda data: data.images[:1].expand_as(data.images), "recall", -0.5),
        (lambda data: data.images + 0.3 * normal(*data.images.shape), "precision", -0.2),
    ],
    ids=["noise", "blur", "mirror", "collapse", "wrong class", "collapse covers", "collapse recalls", "noise precise"],
)
def test_spoiled_digits_are_worse(
    features: FeatureNetwork, spoil: Callable[[ImageSet], Tensor], figure: str, worse: float
) -> None:
    train, held_out = digits("train"), digits("held-out")
    good = image_figures(held_out.images, held_out.labels, train, features)[figure]
    bad = image_figures(spoil(held_out).float(), held_out.labels, train, features)[figure]
    assert good is not None
    assert bad is not None
    assert (bad - good) / worse > 1


def test_image_figures_without_labels_and_with_a_teacher(features: FeatureNetwork) -> None:
    train = digits("train")
    samples = train.images[:50]
    found = image_figures(samples, None, train, features, teacher=samples * 0.9)
    assert found["class_accuracy"] is None
    assert found["teacher_rms"] == pytest.approx(0.1 * float(samples.square().mean().sqrt()))
    assert found["nearest_training"] == 0


def test_what_a_saved_picture_cannot_show_is_not_counted(features: FeatureNetwork) -> None:
    train = digits("train")
    samples = train.images[:50]
    brighter = torch.where(samples == 1, 1.5, samples)
    assert image_figures(brighter, None, train, features) == image_figures(samples, None, train, features)


def test_samples_that_cannot_be_judged_are_refused(features: FeatureNetwork) -> None:
    train = digits("train")
    broken = train.images[:20].clone()
    broken[3, 0, 5, 5] = math.nan
    with pytest.raises(EvaluationError, match="1 of 20 samples"):
        image_figures(broken, None, train, features)
    with pytest.raises(EvaluationError, match="too few"):
        image_figures(train.images[:4], None, train, features)
    with pytest.raises(EvaluationError, match=r"\(3, 32, 32\)"):
        image_figures(torch.zeros(20, 3, 32, 32), None, train, features)


# Mixtures

ANGLES = torch.arange(8).double() * (2 * math.pi / 8)
MEANS, STD = torch.stack([ANGLES.cos(), ANGLES.sin()], 1), 0.06
WEIGHTS = torch.tensor([0.28, 0.20, 0.15, 0.12, 0.09, 0.07, 0.05, 0.04]).double()


def ring(n: int, seed: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    modes = torch.multinomial(WEIGHTS, n, replacement=True, generator=generator)
    return MEANS[modes] + STD * torch.randn(n, 2, generator=generator, dtype=torch.float64)


def test_exact_samples_of_a_mixture() -> None:
    found = mixture_figures(ring(20_000), MEANS, STD, WEIGHTS)
    inside = 1 - math.exp(-4.5)  # of a normal in the plane, within 3 std
    assert found["recall"] == 1
    assert found["precision"] == pytest.approx(inside, abs=4 * math.sqrt(inside * (1 - inside) / 20_000))
    assert found["width"] == pytest.approx(1, abs=0.02)
    assert found["weights_tv"] == pytest.approx((1 - inside) / 2, abs=0.015)
    assert found["high_quality"] == pytest.approx(1 - math.exp(-8), abs=0.001)
    assert found["modes"] == 8
    assert found["sliced_wasserstein"] == pytest.approx(0, abs=0.04)
    assert found["coupling_rmse"] is None


def test_mode_weights_of_counted_samples() -> None:
    samples = torch.cat([MEANS[[0, 0, 0, 1]], torch.zeros(4, 2)])
    expected = torch.tensor([3 / 8, 1 / 8, 0, 0, 0, 0, 0, 0]).double()
    torch.testing.assert_close(mode_weights(samples, MEANS, STD), expected)


def test_a_student_on_one_mode() -> None:
    samples = MEANS[1] + 0.5 * STD * normal(5000, 2)
    found = mixture_figures(samples, MEANS, STD, WEIGHTS)
    assert found["recall"] == 1 / 8
    assert found["precision"] == pytest.approx(1, abs=1e-3)
    assert found["weights_tv"] == pytest.approx(1 - 0.20, abs=1e-3)
    # Half as wide: hardly any of it is cut, so the correction for the cut is 1 / 0.949 in the variance.
    inside = 1 - math.exp(-4.5)
    assert found["width"] == pytest.approx(0.5 / math.sqrt(1 - 4.5 * math.exp(-4.5) / inside), abs=0.02)


def test_a_student_between_the_modes() -> None:
    found = mixture_figures(0.01 * normal(1000, 2), MEANS, STD, WEIGHTS)
    assert (found["recall"], found["precision"], found["weights_tv"], found["width"]) == (0, 0, 1, None)


def test_coupling_to_the_teacher() -> None:
    teacher = ring(4000)
    same = mixture_figures(teacher, MEANS, STD, WEIGHTS, teacher=teacher)
    assert same["coupling_rmse"] == 0
    assert same["same_mode"] == same["high_quality"]
    # A quarter turn keeps every point on a mode, of another class, at √2 times the radius from where it was.
    turned = torch.stack([-teacher[:, 1], teacher[:, 0]], 1)
    found = mixture_figures(turned, MEANS, STD, WEIGHTS, teacher=teacher)
    assert found["coupling_rmse"] == pytest.approx(math.sqrt(2 * (1 + 2 * STD**2)), abs=0.01)
    assert found["same_mode"] == 0


@pytest.mark.parametrize("shift", [(0.3, 0.0), (0.0, -0.2), (0.3, 0.4)])
def test_sliced_wasserstein_of_a_shift(shift: tuple[float, float]) -> None:
    samples = ring(500)
    moved = samples[torch.randperm(500)] + torch.tensor(shift)
    # Each direction sees the shift's component along it, of which the mean square is |shift|² / 2.
    assert sliced_wasserstein(samples, moved) == pytest.approx(math.hypot(*shift) / math.sqrt(2), rel=1e-6)


def test_sliced_wasserstein_of_a_scaling_and_in_more_dimensions() -> None:
    samples = normal(20_000, 3)
    # Of a normal, W2 to the same one twice as wide is 1 along each direction.
    assert sliced_wasserstein(samples, 2 * samples) == pytest.approx(1, abs=0.02)
    with pytest.raises(EvaluationError, match="equally many"):
        sliced_wasserstein(samples, samples[:-1])


# Recipes and time

FIGURES = Figures({"frechet": 4.5, "class_accuracy": None}, "digits-48", "f00d", "da7a", count=1000, seed=0, nfe=1)


def test_figures_come_back_from_json() -> None:
    assert Figures.from_json(FIGURES.to_json()) == FIGURES


@pytest.mark.parametrize(
    "change",
    [
        {"measured_in": "other"},
        {"features_digest": "beef"},
        {"reference_digest": "beef"},
        {"count": 500},
        {"seed": 1},
        {"version": 0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_figures_of_another_recipe_are_not_compared(change: dict[str, object]) -> None:
    other = Figures.from_json(json.dumps(json.loads(FIGURES.to_json()) | change))
    assert not FIGURES.comparable_with(other)


def test_figures_of_another_number_of_steps_are_compared() -> None:
    assert FIGURES.comparable_with(Figures.from_json(json.dumps(json.loads(FIGURES.to_json()) | {"nfe": 4})))


def test_latency_is_the_median_per_image_after_the_warm_up() -> None:
    now = 0.0
    seconds = iter([100.0, 50.0, 4.0, 8.0, 1000.0])  # two to warm up, then three of which the median is 8

    def make(size: int) -> None:
        nonlocal now
        assert size == 4
        now += next(seconds)

    assert latency(make, [4], repeats=3, warm_up=2, clock=lambda: now) == {4: 2.0}
