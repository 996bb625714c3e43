"""ADM and its pre-training: what the discriminators are shown, whose gradient goes where, and what a step costs."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backend import losses
from backend.contract.settings import problems
from backend.methods import Batch, Update, adm, adm_pretraining, load_method
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.networks.codec import Identity
from backend.networks.discriminators import DataDiscriminator
from backend.noise import VarianceExploding
from backend.samplers import jump
from backend.teachers import Teacher
from backend.teachers.mixture_2d import ClosedFormDenoiser, Mixture

CPU = torch.device("cpu")


def gaussian(mean: float) -> ClosedFormDenoiser:
    mixture = Mixture(torch.tensor([[mean, 0.0]], dtype=torch.float64), torch.ones(1, dtype=torch.float64), 0.5)
    return ClosedFormDenoiser(mixture, VarianceExploding(0.01, 10.0), "edm")


def batch(n: int = 64, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    noise, made = (torch.randn(n, 2, generator=generator) for _ in range(2))
    cond = Condition.none(n)
    return Batch(0, 10, cond, (2,), generator, CPU, drawn_pairs=(noise, made, cond))


class Seen(nn.Module):
    """A discriminator that remembers what it is shown; its logit is the mean of the last map."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.shown: list[Tensor] = []

    def forward(self, features: list[Tensor]) -> Tensor:
        self.shown.append(features[-1].detach())
        return self.scale * features[-1].mean(1)


class Plain(nn.Module):
    """Stands where the teacher's features are: its feature map is the state itself."""

    def __init__(self, path: Any) -> None:
        super().__init__()
        self.path, self.times = path, list[Tensor]()

    def features(self, noised: Tensor, t: Tensor, cond: Condition) -> list[Tensor]:
        self.times.append(t)
        return [noised]


def nets(teacher: Denoiser, fake: Denoiser, student: Denoiser) -> adm.Nets:
    return adm.Nets(Guided(teacher, 1.0), Plain(teacher.path), student, fake, Seen())  # type: ignore[arg-type]


def updates(made: adm.Nets, s: adm.Settings, seed: int = 0) -> list[Update]:
    return list(adm.step(made, batch(seed=seed), s))


# What the discriminator of ADM is shown


def test_it_is_shown_where_teacher_and_fake_score_step_from_the_same_point(untrained: Callable[[str], Teacher]) -> None:
    teacher, fake, s = gaussian(0.0), gaussian(1.0), adm.Settings(ode_step=0.1)
    made = nets(teacher, fake, untrained("edm").trainable())
    updates(made, s)
    real, other, _ = made.discriminator.shown  # type: ignore[misc]
    t_next = made.features.times[0]  # type: ignore[index]
    assert torch.equal(made.features.times[1], t_next)  # type: ignore[index]
    t = t_next + s.ode_step
    assert s.lowest_time <= float(t_next.min())
    assert float(t.max()) <= s.highest_time
    # Exact scores of two Gaussians whose means differ by 1 differ in x0 by sigma²/(sigma² + std²), and the step
    # from sigma to sigma' takes the share 1 - sigma'/sigma of that.
    sigma, sigma_next = teacher.path.sigma(t), teacher.path.sigma(t_next)
    expected = (1 - sigma_next / sigma) * sigma**2 / (sigma**2 + 0.25)
    torch.testing.assert_close((other - real)[:, 0].double(), expected, rtol=1e-3, atol=1e-4)
    assert (other - real)[:, 1].abs().max() < 1e-4


def test_a_fake_score_that_is_the_teacher_leaves_the_discriminator_nothing_to_see(
    untrained: Callable[[str], Teacher],
) -> None:
    teacher = gaussian(0.0)
    made = nets(teacher, teacher, untrained("edm").trainable())
    discriminator = updates(made, adm.Settings())[1]
    real, fake, _ = made.discriminator.shown  # type: ignore[misc]
    assert torch.equal(real, fake)
    assert discriminator.metrics["score_difference"].item() == 0


def test_the_students_gradient_is_that_of_finite_differences(untrained: Callable[[str], Teacher]) -> None:
    fake = gaussian(1.0)
    made = nets(gaussian(0.0), fake, fake)
    noised_at, noise = torch.full((4,), 0.5, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)

    def loss(x: Tensor) -> Tensor:
        noised = fake.path.noised(x, noise, noised_at)
        state = jump(fake(noised, noised_at, Condition.none(4)), fake.path, noised_at - 0.1)
        return losses.generator_hinge([made.discriminator([state.square()])]).double()

    x = torch.randn(4, 2, dtype=torch.float64)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x), x)
    step = 1e-3
    for i, j in ((0, 0), (3, 1)):
        moved = torch.zeros_like(x)
        moved[i, j] = step
        with torch.no_grad():
            slope = (loss(x + moved) - loss(x - moved)) / (2 * step)
        assert gradient[i, j].item() == pytest.approx(slope.item(), rel=1e-2, abs=1e-4)


def test_each_turn_reaches_its_own_network(untrained: Callable[[str], Teacher]) -> None:
    s = adm.Settings(discriminator_updates=3)
    made = adm.build(untrained("edm"), s)
    names = [(update.net, next(iter(update.losses.values()))) for update in adm.step(made, batch(8), s)]
    order = [made.fake_score, made.discriminator, made.discriminator, made.discriminator, made.student]
    assert all(net is expected for (net, _), expected in zip(names, order, strict=True))
    student = list(made.student.parameters())
    for net, loss in names[:-1]:
        assert isinstance(net, nn.Module)
        assert all(g is None for g in torch.autograd.grad(loss, student, allow_unused=True))
    assert any(bool(g.count_nonzero()) for g in torch.autograd.grad(names[-1][1], student))


def test_the_cost_of_adm_is_what_it_asks_of_the_networks(untrained: Callable[[str], Teacher]) -> None:
    s = adm.Settings(discriminator_updates=2)
    made = adm.build(untrained("edm"), s)
    spent = 0.0

    def counted(trained: bool) -> Callable[[Denoiser, tuple[Any, ...], Prediction], None]:
        def count(net: Denoiser, given: tuple[Any, ...], out: Prediction) -> None:
            nonlocal spent
            to_input = given[0].requires_grad
            spent += 1 if not torch.is_grad_enabled() else 2 if to_input and not trained else 3

        return count

    made.student.register_forward_hook(counted(trained=True))
    made.fake_score.register_forward_hook(counted(trained=False))
    made.teacher.denoiser.register_forward_hook(counted(trained=False))
    asked = made.features.features

    def features(noised: Tensor, t: Tensor, cond: Condition) -> list[Tensor]:
        nonlocal spent
        spent += 0.5 * (2 if torch.is_grad_enabled() else 1)
        return asked(noised, t, cond)

    object.__setattr__(made.features, "features", features)
    list(adm.step(made, batch(8), s))
    assert spent == adm.cost(s)


def test_a_step_that_does_not_fit_is_refused_in_a_sentence() -> None:
    wrong = problems(adm.Settings, {"ode_step": 0.25, "lowest_time": 0.4, "highest_time": 0.6})
    assert wrong == ["No step of 0.25 fits between lowest_time 0.4 and highest_time 0.6; choose a smaller ode_step."]


# Pre-training


def test_the_student_sees_mixtures_of_a_pair_mostly_near_pure_noise(untrained: Callable[[str], Teacher]) -> None:
    s, teacher = adm_pretraining.Settings(), untrained("flow")
    made = adm_pretraining.build(teacher, s)
    given: list[tuple[Tensor, Tensor]] = []
    made.student.register_forward_hook(lambda net, asked, out: given.append((asked[0], asked[1])))
    drawn = batch(40_000)
    noise, real, _ = drawn.pairs
    list(adm_pretraining.step(made, drawn, s))
    ((noised, t),) = given
    torch.testing.assert_close(noised, (1 - t[:, None]).float() * real + t[:, None].float() * noise)
    # Of 1 - u³ the median is 7/8 and the mean 3/4.
    assert t.median().item() == pytest.approx(7 / 8, abs=0.01)
    assert t.mean().item() == pytest.approx(3 / 4, abs=0.01)


def test_what_a_perfect_student_makes_is_taken_for_real_as_often(untrained: Callable[[str], Teacher]) -> None:
    """Of pairs whose samples it makes itself, both discriminators see the same distribution: hinge losses are 2."""
    made = adm_pretraining.build(untrained("flow"), adm_pretraining.Settings())
    for discriminator in (made.discriminator.latent, made.discriminator.pixel):
        last = [m for m in discriminator.modules() if isinstance(m, nn.Linear) and m.out_features == 1]
        for linear in last:
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
    discriminators, student = adm_pretraining.step(made, batch(8), adm_pretraining.Settings())
    assert {name: term.item() for name, term in discriminators.losses.items()} == {
        "latent_discriminator": 2.0,
        "pixel_discriminator": 2.0,
    }
    assert all(term.item() == 0 for term in student.losses.values())


def test_both_discriminators_weigh_on_the_student_as_set(untrained: Callable[[str], Teacher]) -> None:
    def terms(weight: float) -> dict[str, float]:
        torch.manual_seed(0)
        s = adm_pretraining.Settings(pixel_weight=weight)
        made = adm_pretraining.build(untrained("edm"), s)
        *_, student = adm_pretraining.step(made, batch(8), s)
        return {name: term.item() for name, term in student.losses.items()}

    low, high, none = terms(0.2), terms(0.4), terms(0.0)
    assert high["pixel_gan"] == pytest.approx(2 * low["pixel_gan"])
    assert high["latent_gan"] == pytest.approx(0.75 * low["latent_gan"])
    assert none["pixel_gan"] == 0
    assert load_method("adm_pretraining").needs(adm_pretraining.Settings()) == ("pairs",)


def test_the_discriminator_of_data_looks_through_the_decoder_and_lets_the_gradient_back() -> None:
    class Doubles(Identity):
        def decode(self, samples: Tensor) -> Tensor:
            return torch.cat([samples, -samples], 1)

    for shape in ((2,), (1, 9), (1, 8, 8), (1, 4, 4, 4)):
        decoded = (2 * shape[0], *shape[1:])
        discriminator = DataDiscriminator(Doubles(), decoded)
        x = torch.randn(3, *shape, requires_grad=True)
        logits = discriminator(x)
        assert logits.shape == (3,)
        (gradient,) = torch.autograd.grad(logits.sum(), x)
        assert gradient.abs().max() > 0
        assert math.isfinite(float(gradient.sum()))
