import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from backend import losses
from backend.networks import Prediction, PredictionType
from backend.teachers.mixture_2d import paths

KINDS = tuple(paths())


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_slope(f: Callable[[Tensor], Tensor], x: Tensor, rtol: float = 1e-3) -> None:
    """The gradient of `f` at `x` is its central difference along two directions."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(f(x), x)
    h = 0.1 if f(x).dtype == torch.float32 else 1e-5  # logistic losses are float32 whatever they are given
    for seed in (11, 12):
        direction = drawn(*x.shape, seed=seed).to(x.dtype)
        direction /= direction.norm()
        difference = (f(x + h * direction) - f(x - h * direction)).item() / (2 * h)
        assert difference == pytest.approx(
            (gradient * direction).sum().item(), rel=rtol, abs=1e-5 if h > 1e-3 else 1e-7
        )


def predicted(kind: str, output: Tensor, t: Tensor) -> Prediction:
    path, prediction_type = paths()[kind]
    return Prediction(drawn(*output.shape, seed=3), output, t, path, prediction_type, 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_denoising_has_the_slope_of_its_value(kind: str) -> None:
    x0, noise, t = drawn(6, 2, seed=1), drawn(6, 2, seed=2), torch.linspace(0.1, 0.9, 6).double()
    assert_slope(lambda output: losses.denoising(predicted(kind, output, t), x0, noise), drawn(6, 2))


@pytest.mark.parametrize(
    ("kind", "weight"),
    [
        ("epsilon", lambda alpha, sigma: alpha**2 / sigma**2),
        ("v_prediction", lambda alpha, sigma: 1 / sigma**2),
        ("sample", lambda alpha, sigma: torch.ones_like(sigma)),
        ("flow", lambda alpha, sigma: 1 / sigma**2),
        ("edm", lambda alpha, sigma: (sigma**2 + 0.25) / (0.5 * sigma) ** 2),
    ],
)
def test_denoising_is_the_weighted_x0_error_of_its_kind(
    kind: PredictionType, weight: Callable[[Tensor, Tensor], Tensor]
) -> None:
    path, _ = paths()[kind]
    x0, noise, t = drawn(8, 2, seed=1), drawn(8, 2, seed=2), torch.linspace(0.1, 0.9, 8).double()
    prediction = Prediction(path.noised(x0, noise, t), drawn(8, 2), t, path, kind, 0.5)
    error = (prediction.x0 - x0).square().mean(1) * weight(path.alpha(t), path.sigma(t))
    assert losses.denoising(prediction, x0, noise).item() == pytest.approx(error.mean().item(), rel=1e-9)


def test_matching_is_still_when_the_scores_agree() -> None:
    x, score = drawn(8, 2).requires_grad_(), drawn(8, 2, seed=1)
    losses.distribution_matching(x, score, score).backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.parametrize("shape", [(5, 2), (4, 1, 3, 3)])
def test_matching_has_the_papers_gradient_and_half_its_square_as_value(shape: tuple[int, ...]) -> None:
    x, real, fake = (drawn(*shape, seed=s) for s in range(3))
    expected = torch.stack([(f - r) / (a - r).abs().mean() for a, r, f in zip(x, real, fake, strict=True)])
    x.requires_grad_()
    value = losses.distribution_matching(x, real, fake)
    value.backward()
    torch.testing.assert_close(x.grad, expected / x.numel(), rtol=1e-6, atol=0)  # the normaliser is float32
    assert value.item() == pytest.approx(0.5 * expected.square().mean().item(), rel=1e-6)


def test_matching_survives_a_teacher_that_returns_the_sample() -> None:
    x = drawn(4, 2).requires_grad_()
    losses.distribution_matching(x, x.detach().clone(), x.detach() + 1).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_logistic_losses_have_the_slope_of_their_value() -> None:
    logits, other = 3 * drawn(32), 3 * drawn(32, seed=1)
    assert_slope(losses.generator_logistic, logits)
    assert_slope(lambda real: losses.discriminator_logistic(real, other), logits)
    assert_slope(lambda fake: losses.discriminator_logistic(other, fake), logits)


def test_logistic_losses_of_an_undecided_and_of_a_sure_discriminator() -> None:
    unsure, sure = torch.zeros(4), torch.full((4,), 30.0)
    assert losses.generator_logistic(unsure).item() == pytest.approx(math.log(2))
    assert losses.discriminator_logistic(unsure, unsure).item() == pytest.approx(2 * math.log(2))
    assert losses.discriminator_logistic(sure, -sure).item() == pytest.approx(0, abs=1e-9)
    assert losses.generator_logistic(-sure).item() == pytest.approx(30, rel=1e-6)


def test_discriminator_metrics_count_what_was_recognised() -> None:
    metrics = losses.discriminator_metrics(torch.tensor([1.0, -1, 2, 3]), torch.tensor([1.0, -1, 2, 3]))
    assert {name: value.item() for name, value in metrics.items()} == {"real_recognised": 0.75, "fake_recognised": 0.25}


def test_gradient_penalty_of_a_linear_logit_is_half_its_squared_weights() -> None:
    weights, real = drawn(2), drawn(7, 2, seed=1).requires_grad_()
    penalty = losses.gradient_penalty(real @ weights, [real])
    assert penalty.item() == pytest.approx(0.5 * weights.square().sum().item())
    (slope,) = torch.autograd.grad(losses.gradient_penalty(real @ weights.requires_grad_(), [real]), weights)
    torch.testing.assert_close(slope, weights)  # it can be minimised in the discriminator


def test_gradient_penalty_adds_up_over_maps_and_has_the_slope_of_its_value() -> None:
    maps = [drawn(5, 3, 4, seed=1).requires_grad_(), drawn(5, 2, seed=2).requires_grad_()]

    def logits(weights: Tensor) -> Tensor:
        return (maps[0].flatten(1) @ weights[:12]).tanh() + (maps[1] @ weights[12:]).sigmoid()

    weights = drawn(14) / 4
    together = losses.gradient_penalty(logits(weights), maps)
    apart = sum(losses.gradient_penalty(logits(weights), [one]).item() for one in maps)
    assert together.item() == pytest.approx(apart)
    assert_slope(lambda w: losses.gradient_penalty(logits(w), maps), weights)


def test_pseudo_huber_is_square_near_zero_and_absolute_far_away() -> None:
    y = drawn(9, 2, 3, seed=1)
    assert_slope(lambda x: losses.pseudo_huber(x, y, 0.3), drawn(9, 2, 3))
    near, far = y + 1e-4, y + 1e4
    norm = math.sqrt(6)
    assert losses.pseudo_huber(near, y, 0.3).item() == pytest.approx((1e-4 * norm) ** 2 / 0.6, rel=1e-4)
    assert losses.pseudo_huber(far, y, 0.3).item() == pytest.approx(1e4 * norm - 0.3, rel=1e-6)


def test_truncated_snr_is_the_snr_but_at_least_one() -> None:
    alpha, sigma = torch.tensor([0.9, 0.6, 0.1]), torch.tensor([0.3, 0.8, 1.0])
    torch.testing.assert_close(losses.truncated_snr(alpha, sigma), torch.tensor([9.0, 1.0, 1.0]))


def test_average_moves_by_its_share_and_copies_buffers() -> None:
    average, net = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    with torch.no_grad():
        average.weight.copy_(torch.tensor([1.0, 2, 3]))
        net.weight.copy_(torch.tensor([11.0, 12, 13]))
        assert net.running_mean is not None
        net.running_mean.fill_(5)
    losses.ema_update(average, net, 0.9)
    torch.testing.assert_close(average.weight.data, torch.tensor([2.0, 3, 4]))
    assert average.running_mean is not None
    assert average.running_mean.tolist() == [5, 5, 5]
    assert net.weight.tolist() == [11, 12, 13]


def test_copied_weights_are_equal_and_not_shared() -> None:
    target, source = nn.Linear(2, 2), nn.Linear(2, 2)
    losses.copy_weights(target, source)
    assert torch.equal(target.weight, source.weight)
    assert target.weight.data_ptr() != source.weight.data_ptr()


def test_a_normalised_gradient_keeps_its_direction_and_a_spoilt_one_is_counted() -> None:
    g = torch.tensor([[3.0, 4.0], [0.0, 0.0], [math.nan, 1.0], [300.0, 400.0]])
    found, share = losses.normalised(g, 0.1)
    size = math.sqrt(12.5)
    torch.testing.assert_close(found[0], g[0] / (size + 0.1))
    assert found[1].tolist() == found[2].tolist() == [0, 0]
    torch.testing.assert_close(found[3], g[3] / (100 * size + 0.1))
    assert float(share) == 0.25
