"""Normals as networks: the score against a mixture of one mode, the student's samples by hand."""

import pytest
import torch

from backend.networks import Condition
from backend.networks.normal import NormalScore, NormalStudent
from backend.samplers import Sampler, sample
from backend.teachers.mixture_2d import ClosedFormDenoiser, Mixture, paths

MEAN, STD = torch.tensor([0.5, -1.0]), 0.25
every_kind = pytest.mark.parametrize("kind", paths())


@every_kind
def test_the_score_is_that_of_a_mixture_of_one_mode(kind: str) -> None:
    mixture = Mixture(MEAN[None].double(), torch.ones(1).double(), STD)
    exact = ClosedFormDenoiser(mixture, *paths()[kind])
    net = NormalScore(MEAN, torch.full((2,), STD), *paths()[kind], exact.sigma_data)
    noised = torch.randn(16, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t, cond = torch.linspace(0.1, 1, 16, dtype=torch.float64), Condition.none(16)
    found, expected = net(noised, t, cond), exact(noised, t, cond)
    torch.testing.assert_close(found.output, expected.output, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.x0, expected.x0, rtol=1e-5, atol=1e-5)


@every_kind
def test_the_student_turns_unit_noise_into_its_normal_and_learns_from_where_its_samples_are(kind: str) -> None:
    std = torch.tensor([0.25, 2.0])
    net = NormalStudent(MEAN, std, *paths()[kind], 0.5)
    noise = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    made = sample(net, Sampler("renoise", (1.0,)), noise, Condition.none(32), torch.Generator())
    torch.testing.assert_close(made, MEAN + std * noise, rtol=1e-4, atol=1e-4)
    t = torch.ones(32, dtype=torch.float64)
    scale = float(paths()[kind][0].start_scale(t[:1]))
    x0 = net(scale * noise, t, Condition.none(32)).x0
    mean, log_std = torch.autograd.grad(x0.sum(), [net.network.mean, net.network.log_std])
    torch.testing.assert_close(mean, torch.full((2,), 32.0), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(log_std, (std * noise).sum(0), rtol=1e-4, atol=1e-3)
