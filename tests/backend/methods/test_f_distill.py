"""f-distill: the weights of every divergence by hand, DMD2 as its limit, and which divergences cover two modes."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backend import losses
from backend.contract.settings import problems
from backend.methods import Batch, f_distill
from backend.networks import Condition
from backend.networks.denoiser import Denoiser
from backend.noise import VarianceExploding, per_sample
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, Mixture

CPU = torch.device("cpu")
GENERATORS: dict[f_distill.Divergence, Callable[[Tensor], Tensor]] = {
    "reverse-kl": lambda r: -r.log(),
    "softened-reverse-kl": lambda r: (1 + r) * ((1 + r) / r).log(),
    "neyman": lambda r: 0.5 / r,
    "jensen-shannon": lambda r: r * r.log() - (1 + r) * ((1 + r) / 2).log(),
    "squared-hellinger": lambda r: -4 * r.sqrt(),
    "forward-kl": lambda r: r * r.log(),
    "jeffreys": lambda r: (r - 1) * r.log(),
}
"""f of each divergence, whose D_f(p|q) is the mean of f(p/q) under q, with the factors that table 1 leaves out."""


def batch(n: int, step: int = 0) -> Batch:
    real, _ = MIXTURE.draw(n, torch.Generator().manual_seed(step))
    cond = Condition.none(n)
    return Batch(step, 1000, cond, (2,), torch.Generator().manual_seed(step), CPU, real, cond)


@pytest.mark.parametrize("divergence", GENERATORS)
def test_the_weight_is_r_squared_times_the_second_derivative(divergence: f_distill.Divergence) -> None:
    r = torch.tensor([0.1, 0.5, 1.0, 3.0, 20.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(GENERATORS[divergence](r).sum(), r, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), r)
    torch.testing.assert_close(f_distill.WEIGHTS[divergence](r.detach()), (r**2 * bend).detach())


def test_every_divergence_has_its_weight() -> None:
    assert set(f_distill.WEIGHTS) == set(GENERATORS)


def made(untrained: Callable[[str], Teacher], **settings: object) -> tuple[f_distill.Nets, f_distill.Settings]:
    s = f_distill.Settings.model_validate({"warm_up_steps": 0, **settings})
    torch.manual_seed(0)
    return f_distill.build(untrained("edm"), s), s


@pytest.mark.parametrize("settings", [{"divergence": "reverse-kl"}, {"warm_up_steps": 10}])
def test_the_reverse_divergence_and_the_warm_up_are_dmd2(
    settings: dict[str, object], untrained: Callable[[str], Teacher]
) -> None:
    nets, s = made(untrained, gan_weight=0, **settings)
    x = torch.randn(32, 2, requires_grad=True)
    (mine,) = torch.autograd.grad(f_distill.student_update(nets, x, batch(32), s).losses["matching"], x)
    drawn = batch(32)
    t = drawn.times(s.lowest_time, s.highest_time)
    noised, cond = nets.teacher.path.noised(x, drawn.noise(), t), Condition.none(32)
    term = losses.distribution_matching(x, nets.teacher(noised, t, cond).x0, nets.fake_score(noised, t, cond).x0)
    (theirs,) = torch.autograd.grad(term, x)
    torch.testing.assert_close(mine, theirs)
    assert mine.abs().max() > 0


@pytest.mark.parametrize("divergence", GENERATORS)
def test_weights_are_one_on_average_and_follow_the_ratio(
    divergence: f_distill.Divergence, untrained: Callable[[str], Teacher]
) -> None:
    nets, s = made(untrained, divergence=divergence, bins=1)
    logits, t = torch.linspace(-12, 12, 25), torch.full((25,), 0.5, dtype=torch.float64)
    h = f_distill.weights(nets, logits, t, s)
    assert float(h.mean()) == pytest.approx(1, rel=1e-5)
    step = h.diff()
    assert h[:4].std() == pytest.approx(0, abs=1e-6)  # below the smallest ratio they are alike
    assert h[-4:].std() == pytest.approx(0, abs=1e-5)
    rising = {"reverse-kl": 0, "softened-reverse-kl": -1, "neyman": -1}.get(divergence, 1)
    assert bool((rising * step >= 0).all())
    assert bool(step.any()) == (rising != 0)


def test_each_range_of_noise_has_a_running_mean_of_its_own() -> None:
    ranges = f_distill.Discriminator([torch.zeros(1, 8)], bins=2)
    ratio, place = torch.tensor([1.0, 3.0, 10.0]), torch.tensor([0.1, 0.4, 0.9])
    torch.testing.assert_close(ranges.evened(ratio, place, 0.5), torch.tensor([0.5, 1.5, 1.0]))
    torch.testing.assert_close(ranges.means, torch.tensor([2.0, 10.0]))
    ranges.evened(torch.tensor([4.0]), torch.tensor([0.0]), 0.5)
    torch.testing.assert_close(ranges.means, torch.tensor([3.0, 10.0]))
    ranges.evened(torch.tensor([8.0]), torch.tensor([1.0]), 0.0)
    torch.testing.assert_close(ranges.means, torch.tensor([3.0, 8.0]))
    assert "means" in ranges.state_dict()


def test_the_adversarial_term_reaches_the_sample_and_the_weight_does_not(untrained: Callable[[str], Teacher]) -> None:
    def gradient(weight: float) -> Tensor:
        nets, s = made(untrained, gan_weight=weight)
        x = torch.linspace(-1, 1, 16).reshape(8, 2).requires_grad_()
        terms = f_distill.student_update(nets, x, batch(8), s).losses
        (found,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), x)
        return found

    assert not torch.equal(gradient(0.0), gradient(0.5))


@pytest.mark.parametrize(("updates", "turns"), [(1, "111"), (3, "100")])
def test_the_student_has_its_turn_first_and_every_so_often(
    updates: int, turns: str, untrained: Callable[[str], Teacher]
) -> None:
    nets, s = made(untrained, fake_score_updates=updates)
    for step, turn in enumerate(turns):
        found = [update.net for update in f_distill.step(nets, batch(4, step), s)]
        expected = [nets.student] if turn == "1" else []
        assert all(a is b for a, b in zip(found, [*expected, nets.fake_score, nets.discriminator], strict=True))


@pytest.mark.parametrize(
    "values", [{"smallest_ratio": 1, "largest_ratio": 1}, {"lowest_time": 0.5, "highest_time": 0.5}]
)
def test_settings_that_leave_nothing_between_them_are_refused(values: dict[str, float]) -> None:
    (words,) = problems(f_distill.Settings, values)
    assert "part them" in words


def test_its_cost_is_counted() -> None:
    assert f_distill.cost(f_distill.Settings()) == 1 + (2 + 1 + 1 + 1) + 3 + 1
    assert f_distill.cost(f_distill.Settings(gan_weight=0, fake_score_updates=2)) == 1 + (2 + 1 + 1 + 0.5) / 2 + 3 + 1


# Two narrow modes, noise too small to connect them, an affine student that starts over one of them. Everything but the
# student is exact: both denoisers, and the ratio.


def two_modes() -> Mixture:
    return Mixture(torch.tensor([[-1.0], [1.0]]).double(), torch.tensor([0.5, 0.5]).double(), 0.2)


def affine_student(divergence: f_distill.Divergence, steps: int, highest: float = 0.3) -> tuple[float, float]:
    """Mean and spread of x = m + exp(l) z after training with that weight; noise from 0.02 to `highest`."""
    mixture, path, generator = two_modes(), VarianceExploding(0.01, 10.0), torch.Generator().manual_seed(0)
    at = torch.tensor([0.3, math.log(0.5)], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([at], lr=3e-3)
    teacher: Denoiser = ClosedFormDenoiser(mixture, path, "edm")
    cond = Condition.none(512)
    for _ in range(steps):
        noise = torch.randn(2, 512, 1, generator=generator, dtype=torch.float64)
        x = at[0] + at[1].exp() * noise[0]
        sigma = 0.02 * (highest / 0.02) ** torch.rand(512, generator=generator, dtype=torch.float64)
        t, one = path.t_of_ratio(sigma), torch.ones_like(sigma)
        own = Mixture(at[None, :1].detach(), torch.ones(1).double(), float(at[1].detach().exp()))
        with torch.no_grad():
            noised = path.noised(x, noise[1], t)
            real, fake = teacher(noised, t, cond).x0, own.x0(noised, one, path.sigma(t))
            ratio = (
                mixture.log_density(noised, one, path.sigma(t)) - own.log_density(noised, one, path.sigma(t))
            ).exp()
            h = f_distill.WEIGHTS[divergence](ratio.clamp(0.1, 20))
            # Of all samples, as each has one value alone: one over its own is as large as you like, and drowns h.
            normaliser = (x - real).abs().mean()
            gradient = per_sample(h / h.mean(), x) * (fake - real) / normaliser
        optimizer.zero_grad()
        losses.pushed(x, gradient).backward()
        optimizer.step()
    return float(at[0].detach()), float(at[1].detach().exp())


@pytest.mark.parametrize("divergence", ["neyman", "reverse-kl", "softened-reverse-kl"])
def test_mode_seeking_divergences_settle_on_one_mode(divergence: f_distill.Divergence) -> None:
    mean, spread = affine_student(divergence, 2000)
    assert mean == pytest.approx(1, abs=0.05)
    assert spread == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("divergence", ["jeffreys", "squared-hellinger", "jensen-shannon", "forward-kl"])
def test_covering_divergences_cover_both_modes(divergence: f_distill.Divergence) -> None:
    mean, spread = affine_student(divergence, 2000)
    assert mean == pytest.approx(0, abs=0.05)
    assert spread > 0.8


def test_enough_noise_connects_the_modes_for_the_reverse_divergence_too() -> None:
    mean, spread = affine_student("reverse-kl", 2000, highest=2.0)
    assert mean == pytest.approx(0, abs=0.1)
    assert spread > 0.8
