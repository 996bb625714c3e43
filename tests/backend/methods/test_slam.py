from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.methods import Batch, lcm, slam
from backend.networks import Condition, Denoiser
from backend.networks.adapters import follower
from backend.samplers import rollout, sample
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, paths

KINDS = tuple(paths())
MIXINGS = ("quadrature", "linear")

every_kind = pytest.mark.parametrize("kind", KINDS)


def batch(n: int, total: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(0)
    real, _ = MIXTURE.draw(n, generator)
    cond = Condition.none(n)
    return Batch(0, total, cond, (2,), generator, torch.device("cpu"), real, cond)


def hearing(kind: str, untrained: Callable[[str], Teacher]) -> slam.Nets:
    """Networks that have learnt to hear where on the sub-path a point is."""
    made = slam.build(untrained(kind), slam.Settings())
    torch.manual_seed(1)
    for parameter in made.student.network.get_submodule("numbers").parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return replace(made, target=follower(made.student))


def ends(kind: str) -> tuple[Tensor, ...]:
    path, generator = paths()[kind][0], torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(16, 2, dtype=torch.float64, generator=generator) for _ in range(2))
    t = torch.linspace(0.1, 0.9, 16, dtype=torch.float64)
    return x0, noise, t, path.noised(x0, noise, t), path.noised(x0, noise, t - 0.05), t - 0.05


@every_kind
@pytest.mark.parametrize("mixing", MIXINGS)
def test_at_a_sub_paths_ends_point_and_noise_are_those_of_the_ends(kind: str, mixing: str) -> None:
    path = paths()[kind][0]
    _, _, t, noised, reached, t_next = ends(kind)
    point, sigma = slam.on_the_sub_path(path, noised, t, reached, t_next, torch.ones_like(t), mixing)
    assert torch.equal(point, noised)
    assert torch.equal(sigma, path.sigma(t))
    point, sigma = slam.on_the_sub_path(path, noised, t, reached, t_next, torch.zeros_like(t), mixing)
    scale = path.alpha(t) / path.alpha(t_next)
    torch.testing.assert_close(point, scale[:, None] * reached)
    torch.testing.assert_close(sigma, scale * path.sigma(t_next))


@pytest.mark.parametrize("kind", ["epsilon", "trigonometric"])
def test_on_a_variance_preserving_path_the_noise_is_the_papers(kind: str) -> None:
    path, gamma = paths()[kind][0], torch.linspace(0, 1, 16, dtype=torch.float64)
    _, _, t, noised, reached, t_next = ends(kind)
    _, sigma = slam.on_the_sub_path(path, noised, t, reached, t_next, gamma, "quadrature")
    scale = path.alpha(t) / path.alpha(t_next)
    expected = ((scale * path.sigma(t_next)) ** 2 + gamma**2 * (1 - scale**2)).sqrt()
    torch.testing.assert_close(sigma, expected)


@every_kind
def test_between_the_ends_of_a_straight_step_the_point_is_x0_and_the_linearly_mixed_noise(kind: str) -> None:
    path, gamma = paths()[kind][0], torch.linspace(0, 1, 16, dtype=torch.float64)
    x0, noise, t, noised, reached, t_next = ends(kind)
    point, sigma = slam.on_the_sub_path(path, noised, t, reached, t_next, gamma, "linear")
    torch.testing.assert_close(point, path.alpha(t)[:, None] * x0 + sigma[:, None] * noise)


@every_kind
def test_a_network_that_is_right_about_the_point_gives_its_x0(kind: str) -> None:
    """Whatever it predicts, the output that means x0 and noise is read back as x0 at the point's own noise."""
    path, prediction_type = paths()[kind]
    x0, noise, t, *_ = ends(kind)
    sigma = 0.8 * path.sigma(t)
    point = path.alpha(t)[:, None] * x0 + sigma[:, None] * noise

    class Right(torch.nn.Module):
        shape, null_label = (2,), None

        def forward(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
            a, b = slam_weights(prediction_type, path.alpha(t), path.sigma(t))
            return a[:, None] * x0 + b[:, None] * noise

    net = Denoiser(Right(), path, prediction_type, 0.5)
    torch.testing.assert_close(slam.x0_of(net, point, t, sigma, Condition.none(16)), x0, rtol=1e-5, atol=1e-5)


def slam_weights(kind: str, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    from backend.networks.denoiser import output_weights

    return output_weights(kind, alpha, sigma, 0.5)  # type: ignore[arg-type]


@every_kind
@pytest.mark.parametrize("mixing", MIXINGS)
def test_without_points_between_the_loss_is_latent_consistencys_to_the_last_bit(
    kind: str, mixing: Any, untrained: Callable[[str], Teacher]
) -> None:
    made = hearing(kind, untrained)

    class Told(Denoiser):
        """The same network for a method that knows nothing of sub-paths."""

        def __init__(self, net: Denoiser) -> None:
            torch.nn.Module.__init__(self)
            self.net, self.path, self.prediction_type = net, net.path, net.prediction_type

        def forward(self, noised, t, cond):
            return self.net(noised, t, cond.with_part("sub_path", torch.zeros_like(t)))

    mine = next(slam.step(made, batch(64), slam.Settings(between=False, mixing=mixing)))
    told = lcm.Nets(made.teacher, Told(made.student), Told(made.target))
    theirs = next(lcm.step(told, batch(64), lcm.Settings(distance="l2")))
    assert torch.equal(mine.losses["consistency"], theirs.losses["consistency"])


def test_the_student_is_told_where_it_is_and_the_target_that_it_is_at_an_end(
    untrained: Callable[[str], Teacher],
) -> None:
    made = hearing("epsilon", untrained)
    told: dict[str, Tensor] = {}
    for name, net in (("student", made.student), ("target", made.target)):
        net.register_forward_pre_hook(lambda m, given, name=name: told.update({name: given[2].part("sub_path")}))
    list(slam.step(made, batch(500), slam.Settings()))
    assert torch.equal(told["target"], torch.zeros(500, dtype=torch.float64))
    assert 0 <= float(told["student"].min()) < 0.05
    assert 0.95 < float(told["student"].max()) <= 1


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0.0, 0.0), (0.5, 0.45, 0.55), (1.0, 1.0, 1.0)])
def test_so_many_points_are_where_the_step_starts_and_the_others_lie_evenly(
    share: float, low: float, high: float
) -> None:
    given = batch(4000)
    gamma = slam.places(given, torch.zeros(4000, dtype=torch.float64), slam.Settings(at_the_start=share))
    at_the_start = gamma == 1
    assert low <= float(at_the_start.double().mean()) <= high
    rest = gamma[~at_the_start]
    if len(rest):
        assert float(rest.mean()) == pytest.approx(0.5, abs=0.03)
        assert float(rest.std()) == pytest.approx(12**-0.5, abs=0.02)


def test_when_sampling_it_is_told_that_it_is_at_an_end(untrained: Callable[[str], Teacher]) -> None:
    made = hearing("v_prediction", untrained)
    told: list[Tensor] = []
    made.student.register_forward_pre_hook(lambda m, given: told.append(given[2].part("sub_path")))
    plan = slam.sampler(slam.Settings(), made.student)
    sample(made.student, plan, torch.randn(3, 2), Condition.none(3), torch.Generator())
    rollout(made.student, plan, 1, torch.randn(3, 2), Condition.none(3), torch.Generator())
    assert len(told) == 4
    assert all(float(t.abs().max()) == 0 for t in told)


def test_what_is_told_makes_a_difference(untrained: Callable[[str], Teacher]) -> None:
    made, x = hearing("flow", untrained), torch.randn(4, 2)
    t = torch.full((4,), 0.5, dtype=torch.float64)
    low, high = (
        made.student(x, t, Condition.none(4).with_part("sub_path", torch.full((4,), share))).x0 for share in (0.0, 0.9)
    )
    assert not torch.allclose(low, high, atol=1e-3)
