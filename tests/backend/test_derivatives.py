import math
from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor

from backend import derivatives
from backend.contract.recipe import RecipeError
from backend.networks import Condition, Denoiser
from backend.networks.mlp import MLP
from backend.networks.unet2d import UNet2D
from backend.noise import FlowMatching, VariancePreserving, linear_betas
from backend.samplers import times
from backend.teachers.mixture_2d import ClosedFormDenoiser, Mixture, paths

WAYS: tuple[derivatives.Way, ...] = ("forward mode", "differences")
GAUSSIAN = Mixture(torch.tensor([[0.0, 0.0]]).double(), torch.tensor([1.0]).double(), std=0.5)

each_way = pytest.mark.parametrize("way", WAYS)


class Rounded(torch.autograd.Function):
    """A function that knows its backward and not its forward derivative, as fused attention."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return grad


def unet() -> Denoiser:
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return Denoiser(UNet2D(network), VariancePreserving.of_betas(linear_betas()), "v_prediction")


def mlp() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(MLP(2, width=32, scale=1000.0), FlowMatching(), "flow")


@each_way
def test_the_derivative_of_a_polynomial_is_known(way: derivatives.Way) -> None:
    x, t = torch.tensor([[1.0, 2.0]], dtype=torch.float64), torch.tensor([3.0], dtype=torch.float64)
    u, h = torch.tensor([[0.5, -1.0]], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64)
    found = derivatives.along(lambda x, t: x**2 * t[:, None], (x, t), (u, h), way)
    expected = 2 * x * u * t[:, None] + x**2 * h[:, None]
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=0)
    assert not found.requires_grad


@pytest.mark.parametrize("make", [mlp, unet])
def test_forward_mode_and_differences_agree_on_a_network(make: Callable[[], Denoiser]) -> None:
    net = make()
    generator = torch.Generator().manual_seed(0)
    x, u = (torch.randn(4, *net.shape, generator=generator) for _ in range(2))
    t = torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=torch.float64)
    f, at, direction = lambda x, t: net(x, t, Condition.none(4)).output, (x, t), (u, torch.ones_like(t))
    exact, near = (derivatives.along(f, at, direction, way) for way in WAYS)
    assert near.norm() > 0.05  # of a network that does not stand still
    assert (exact - near).norm() < 5e-3 * near.norm()
    assert derivatives.can_be_differentiated(f, at, direction)
    derivatives.require(net, Condition.none(1), "forward mode")


def test_a_function_without_a_forward_rule_is_found_out() -> None:
    at = (torch.tensor([0.3, 1.2]),)
    assert not derivatives.can_be_differentiated(Rounded.apply, at, (torch.ones(2),))
    assert derivatives.can_be_differentiated(torch.sin, at, (torch.ones(2),))


def test_one_whose_forward_rule_is_wrong_is_found_out_too() -> None:
    def sine_of_another_slope(x: Tensor) -> Tensor:
        return x.detach().sin() + 0.9 * (x - x.detach())

    x = torch.tensor([0.3, 1.2])
    assert not derivatives.can_be_differentiated(sine_of_another_slope, (x,), (torch.ones(2),))


def test_a_network_without_forward_mode_is_refused_in_a_sentence() -> None:
    net = mlp()
    net.network.get_submodule("head").register_forward_hook(lambda module, given, made: Rounded.apply(made))
    with pytest.raises(RecipeError, match="set derivative to differences"):
        derivatives.require(net, Condition.none(1), "forward mode")
    derivatives.require(net, Condition.none(1), "differences")


@pytest.mark.parametrize("kind", paths())
def test_the_time_rate_is_that_of_the_natural_clock(kind: str) -> None:
    path, _ = paths()[kind]
    t, h = torch.linspace(0.0503, 0.9503, 7, dtype=torch.float64), 1e-6  # between two points of any table

    def clock(t: Tensor) -> Tensor:
        turns = isinstance(path, VariancePreserving) or kind == "trigonometric"
        return torch.atan2(path.sigma(t), path.alpha(t)) if turns else path.sigma(t)

    slope = (clock(t + h) - clock(t - h)) / (2 * h)
    torch.testing.assert_close(derivatives.time_rate(path, t), 1 / slope, rtol=1e-5, atol=0)


@each_way
@pytest.mark.parametrize("kind", paths())
def test_along_a_trajectory_the_end_of_a_gaussians_flow_does_not_move(kind: str, way: derivatives.Way) -> None:
    """The flow of one Gaussian only rescales, by the root of alpha² std² + sigma²: x over that stays what it is."""
    net = ClosedFormDenoiser(GAUSSIAN, *paths()[kind])
    x, t = torch.randn(8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), 0.6003
    cond, weight = Condition.none(8), torch.full((8,), 0.3, dtype=torch.float64)
    velocity = net(x, times(t, x), cond).velocity

    def derivative(power: float) -> Tensor:
        def scaled(prediction):
            size = (prediction.alpha**2 * GAUSSIAN.std**2 + prediction.sigma**2).sqrt()[:, None]
            return prediction.noised / size**power

        return derivatives.along_trajectory(net, scaled, x, times(t, x), cond, velocity, weight, way)

    torch.testing.assert_close(derivative(1), torch.zeros_like(x), rtol=0, atol=1e-6)
    torch.testing.assert_close(derivative(0), 0.3 * velocity, rtol=1e-6, atol=1e-9)


@each_way
def test_a_derivative_is_in_float32_whatever_the_runs_precision(way: derivatives.Way) -> None:
    net, x, t = mlp(), torch.randn(4, 2), torch.full((4,), 0.5, dtype=torch.float64)
    given = (lambda p: p.output, x, t, Condition.none(4), x.flip(1), torch.ones_like(t), way)
    expected = derivatives.along_trajectory(net, *given)
    net.precision = torch.bfloat16
    assert torch.equal(derivatives.along_trajectory(net, *given), expected)
    assert net.precision == torch.bfloat16
    assert math.isfinite(float(expected.sum()))
