import math

import pytest
import torch

from backend import trigflow
from backend.networks import Denoiser, Prediction
from backend.noise import VariancePreserving, linear_betas
from backend.teachers.mixture_2d import paths


def test_the_angle_matches_the_noise_level() -> None:
    vp = Denoiser(torch.nn.Identity(), VariancePreserving.of_betas(linear_betas()), "epsilon")
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    torch.testing.assert_close(trigflow.angle(vp, t).tan(), vp.path.sigma(t) / vp.path.alpha(t))
    edm = Denoiser(torch.nn.Identity(), paths()["edm"][0], "edm", 0.5)
    torch.testing.assert_close(0.5 * trigflow.angle(edm, t).tan(), edm.path.sigma(t))


@pytest.mark.parametrize("kind", paths())
def test_the_time_of_an_angle_is_its_inverse(kind: str) -> None:
    path, prediction_type = paths()[kind]
    net = Denoiser(torch.nn.Identity(), path, prediction_type)
    t = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0], dtype=torch.float64)
    torch.testing.assert_close(trigflow.t_of_angle(net, trigflow.angle(net, t)), t, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("kind", "sign"), [("trigonometric", 1), ("v_prediction", 1), ("edm", -1)])
def test_on_its_own_path_the_turn_is_what_the_network_returns(kind: str, sign: int) -> None:
    path, prediction_type = paths()[kind]
    x, output = torch.randn(2, 16, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    made = Prediction(x, output, torch.linspace(0.1503, 0.8503, 16, dtype=torch.float64), path, prediction_type, 0.5)
    spread = trigflow.spread(Denoiser(torch.nn.Identity(), path, prediction_type, 0.5))
    torch.testing.assert_close(trigflow.turn_of(made, spread), sign * output)


@pytest.mark.parametrize("kind", paths())
def test_a_state_is_the_noised_sample_of_the_angle_and_its_turn_the_derivative(kind: str) -> None:
    path, prediction_type = paths()[kind]
    net, spread = Denoiser(torch.nn.Identity(), path, prediction_type), 0.5 if kind == "edm" else 1.0
    x0, noise = torch.randn(2, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64)
    angle, h = trigflow.angle(net, t), 1e-6

    def turned(angle: torch.Tensor) -> torch.Tensor:
        state: torch.Tensor = angle.cos()[:, None] * x0 + angle.sin()[:, None] * spread * noise
        return state

    torch.testing.assert_close(trigflow.state(net, path.noised(x0, noise, t), t), turned(angle))
    slope = (turned(angle + h) - turned(angle - h)) / (2 * h)
    torch.testing.assert_close(spread * trigflow.turn(x0, noise, angle, spread), slope, rtol=1e-6, atol=1e-8)


def test_pure_noise_is_at_a_quarter_turn_and_has_a_time() -> None:
    net = Denoiser(torch.nn.Identity(), *paths()["trigonometric"])
    t = torch.ones(1, dtype=torch.float64)
    assert float(trigflow.angle(net, t)) == pytest.approx(math.pi / 2)
    assert float(trigflow.t_of_angle(net, trigflow.angle(net, t))) == pytest.approx(1)
