"""Flow matching's coordinates: what guidance adds to a velocity, and between which times a student learns."""

import pytest
import torch
from torch import Tensor

from backend.flow import by_guidance, mean_velocity, reach
from backend.networks import Condition
from backend.samplers import Sampler
from backend.teachers.mixture_2d import ClosedFormDenoiser, Mixture, paths

TWO = Mixture(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]).double(), torch.tensor([0.5, 0.5]).double(), 0.3)


@pytest.mark.parametrize("kind", ["flow", "epsilon"])
def test_guidance_adds_its_scale_less_one_times_what_the_condition_makes_of_the_velocity(kind: str) -> None:
    net = ClosedFormDenoiser(TWO, *paths()[kind], conditional=True)
    state = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    tau = torch.tensor([0.3, 0.4, 0.6, 0.8], dtype=torch.float64)
    cond = Condition.of_labels(torch.tensor([0, 1, 0, 1]))
    with_cond, without = (mean_velocity(net, state, tau, tau, c) for c in (cond, net.unconditional(cond)))
    added = by_guidance(net, state, tau, cond, 3.0)
    assert isinstance(added, Tensor)
    assert added[:, 0].abs().min() > 1e-3
    torch.testing.assert_close(added, 2 * (with_cond - without))
    assert by_guidance(net, state, tau, cond, 1.0) == 0.0


def test_a_teacher_without_an_unconditional_mode_refuses_guidance() -> None:
    net = ClosedFormDenoiser(TWO, *paths()["flow"])
    with pytest.raises(ValueError, match="no unconditional mode"):
        by_guidance(net, torch.zeros(4, 2), torch.full((4,), 0.5).double(), Condition.none(4), 2.0)


@pytest.mark.parametrize("kind", ["flow", "epsilon"])
def test_a_student_learns_between_the_least_noise_and_where_it_starts(kind: str) -> None:
    path = paths()[kind][0]
    low, high = reach(path, Sampler("deterministic", (0.7, 0.3)))
    assert low == pytest.approx(float(path.flow_time(torch.zeros(1).double())))
    assert high == pytest.approx(float(path.flow_time(torch.full((1,), 0.7).double())))
