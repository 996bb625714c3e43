"""Embedding Loss: mean features of random networks against means that are known, and DMD2 where it has no weight."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from backend import losses
from backend.methods import Batch, consistency, dmd2, gdd, load_method
from backend.methods.embedding_loss import Settings
from backend.networks import Condition
from backend.networks.random_features import random_features
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE
from backend.train import Run

CPU = torch.device("cpu")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(n: int, seed: int, features: int = 5) -> Tensor:
    return torch.randn(n, features, generator=generator(seed), dtype=torch.float64)


# The distance of means


def test_the_distance_of_shifted_means_is_the_shift_in_units_of_the_variance() -> None:
    real = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])  # mean 0, variances 1/2 and 2
    made = torch.zeros(3, 2) + torch.tensor([3.0, 4.0])
    assert losses.mean_distance(made, real).item() == pytest.approx(25 / 2.5)
    assert losses.mean_distance(10 * made, 10 * real).item() == pytest.approx(25 / 2.5)


def test_two_batches_of_one_distribution_are_as_far_apart_as_their_sizes_say_and_a_shift_stands_out() -> None:
    pairs = [(drawn(512, 2 * k), drawn(256, 2 * k + 1)) for k in range(200)]
    floor = torch.stack([losses.mean_distance(made, real) for made, real in pairs]).mean()
    assert floor.item() == pytest.approx(1 / 512 + 1 / 256, rel=0.1)
    made, real = drawn(512, 1000), drawn(512, 1001)
    shifted = losses.mean_distance(made + 0.2, real)  # a fifth of a standard deviation
    assert shifted > 5 * (2 / 512)


def test_its_gradient_is_that_of_finite_differences() -> None:
    made, real = drawn(6, 0).requires_grad_(), drawn(7, 1)
    labels = torch.tensor([0, 0, 1, 1, 2, 3]), torch.tensor([0, 1, 1, 1, 2, 2, 2])
    assert torch.autograd.gradcheck(lambda x: losses.mean_distance(x, real), made)
    assert torch.autograd.gradcheck(lambda x: losses.mean_distance(x, real, labels), made)


def test_classes_are_compared_one_by_one_and_those_that_one_side_lacks_not_at_all() -> None:
    # Exchanged classes: the same mean over all, another for each.
    real = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    labels = torch.tensor([0, 0, 1, 1])
    assert losses.mean_distance(-real, real).item() == 0
    assert losses.mean_distance(-real, real, (labels, labels)).item() == pytest.approx(4.0)
    assert losses.mean_distance(real, real, (labels, labels)).item() == 0
    assert losses.mean_distance(-real, real, (labels + 2, labels)).item() == 0
    half = losses.mean_distance(-real, real, (torch.tensor([0, 0, 7, 7]), labels))
    assert half.item() == pytest.approx(2.0)


# The random networks


@pytest.mark.parametrize("shape", [(2,), (3, 9), (1, 8, 8), (2, 5, 6), (4, 1, 1), (1, 4, 4, 4)])
def test_a_random_network_takes_any_shape_and_is_new_every_time(shape: tuple[int, ...]) -> None:
    x, from_here = torch.randn(3, *shape, generator=generator(1)).requires_grad_(), generator(2)
    one, other = (random_features(shape, 8, from_here)(x) for _ in range(2))
    again = random_features(shape, 8, generator(2))(x)
    assert one.ndim == 2
    assert one.shape == other.shape
    assert not torch.equal(one, other)
    assert torch.equal(one, again)
    (gradient,) = torch.autograd.grad(one.square().sum(), x)
    assert gradient.abs().max() > 0


def test_a_random_network_keeps_the_size_of_what_it_sees() -> None:
    """He's weights: on average over networks, the mean square stays where ReLU takes a half of it."""
    x = torch.randn(64, 256, generator=generator(3))
    squares = [random_features((256,), 256, generator(k))(x).square().mean().item() for k in range(20)]
    assert 0.5 < math.exp(sum(map(math.log, squares)) / len(squares)) < 8  # three layers, each with a bias of size 1


def test_the_loss_is_at_its_floor_for_real_samples_and_above_for_one_mode() -> None:
    cond = Condition.none(512)
    real, other = (MIXTURE.draw(512, generator(seed))[0] for seed in (1, 2))
    at_floor = [losses.embedding(other, cond, real, cond, generator(k)).item() for k in range(10)]
    mode = MIXTURE.means[0].float() + MIXTURE.std * torch.randn(512, 2, generator=generator(4))
    away = [losses.embedding(mode, cond, real, cond, generator(k)).item() for k in range(10)]
    assert sum(at_floor) / 10 < 3 * (2 / 512)
    assert min(away) > 10 * sum(at_floor) / 10


# In the methods


def batch(n: int = 8) -> Batch:
    real, _ = MIXTURE.draw(n, generator(7))
    return Batch(0, 1, Condition.none(n), (2,), generator(), CPU, real, Condition.none(n))


def test_without_weight_it_is_dmd2_number_by_number(
    begin: Callable[..., Run], untrained: Callable[[str], Teacher]
) -> None:
    from backend.train import train

    runs = [begin(name, untrained("edm"), 4, 8, **given) for name, given in (
        ("dmd2", {}), ("embedding_loss", {"embedding_weight": 0.0}))]  # fmt: skip
    for run in runs:
        list(train(run))
    for one, other in zip(runs[0].student.parameters(), runs[1].student.parameters(), strict=True):
        assert torch.equal(one, other)
    assert load_method("embedding_loss").needs(Settings(embedding_weight=0)) == ()
    assert load_method("embedding_loss").needs(Settings()) == ("real data",)
    assert not load_method("embedding_loss").accumulates(Settings())


@pytest.mark.parametrize("method", [dmd2, gdd, consistency])
def test_three_methods_take_it_as_a_term_of_the_student(method, untrained: Callable[[str], Teacher]) -> None:
    def terms(weight: float) -> dict[str, float]:
        torch.manual_seed(0)
        s = method.Settings(embedding_weight=weight)
        nets = method.build(untrained("edm"), s)
        given = replace(batch(), generator=generator(3))
        student = next(u for u in method.step(nets, given, s) if u.net is nets.student)
        return {name: term.item() for name, term in student.losses.items()}

    without, some, twice = terms(0.0), terms(0.25), terms(0.5)
    assert "embedding" not in without
    assert {name: value for name, value in some.items() if name != "embedding"} == without
    assert twice["embedding"] == pytest.approx(2 * some["embedding"])
    assert some["embedding"] > 0
