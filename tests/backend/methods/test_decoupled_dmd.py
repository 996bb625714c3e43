"""Decoupled DMD against answers known without it: guidance alone runs away, matching holds it at its own noise."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from backend import losses
from backend.contract.recipe import RecipeError
from backend.contract.settings import problems
from backend.methods import Batch, decoupled_dmd, load_method
from backend.methods.decoupled_dmd import Nets, Settings
from backend.networks import Condition, Denoiser, Guided
from backend.networks.heads import Heads
from backend.networks.mlp import MLP
from backend.noise import VarianceExploding
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, Mixture, paths

TWO = Mixture(torch.tensor([[1.0], [-1.0]]).double(), torch.tensor([0.5, 0.5]).double(), std=0.3)


def nets(teacher: Denoiser, fake_score: Denoiser) -> Nets:
    return Nets(teacher, fake_score, fake_score, teacher, Heads([torch.zeros(1, 8)]))


def batch(cond: Condition, shape: tuple[int, ...] = (2,), seed: int = 0) -> Batch:
    return Batch(0, 1, cond, shape, torch.Generator().manual_seed(seed), torch.device("cpu"))


def ring(moved: float = 0.8) -> tuple[Nets, Tensor, Condition]:
    """The ring with its modes as classes, a fake score of a smaller one, and samples in between."""
    teacher = ClosedFormDenoiser(MIXTURE, *paths()["edm"], conditional=True)
    fake = ClosedFormDenoiser(Mixture(MIXTURE.means * moved, MIXTURE.weights, 0.1), *paths()["edm"], conditional=True)
    x, modes = MIXTURE.draw(64, torch.Generator().manual_seed(5))
    return nets(teacher, fake), x.double(), Condition.of_labels(modes)


def gradient(real: Tensor, fake: Tensor, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(losses.distribution_matching(x, real, fake), x)[0] * x.numel()


def test_with_shared_noise_it_is_guided_distribution_matching() -> None:
    made, x, cond = ring()
    s = Settings(guidance_scale=3.0, schedule="shared")
    _, real, fake = decoupled_dmd.aims(made, x, 0.5, batch(cond), s)
    drawn = batch(cond)
    t = drawn.times(s.lowest_time, s.highest_time)
    noised = made.teacher.path.noised(x, drawn.noise(), t)
    expected = Guided(made.teacher, 3.0)(noised, t, cond).x0, made.fake_score(noised, t, cond).x0
    torch.testing.assert_close(gradient(real, fake, x), gradient(*expected, x))


@pytest.mark.parametrize("schedule", ["shared", "full", "constrained", "hybrid"])
def test_each_part_is_asked_at_the_noise_of_its_schedule(schedule: str) -> None:
    made, x, cond = ring()
    s = Settings.model_validate({"guidance_scale": 3.0, "schedule": schedule})
    spear, shield = [], []
    made.teacher.register_forward_hook(
        lambda net, given, out: spear.append(given[1]) if len(given[1]) == 2 * len(x) else None
    )
    made.fake_score.register_forward_hook(lambda net, given, out: shield.append(given[1]))
    level = 0.4
    for seed in range(5):
        decoupled_dmd.aims(made, x, level, batch(cond, seed=seed), s)
    spears, shields = torch.cat([t[: len(x)] for t in spear]), torch.cat(shield)
    assert (spears.max() <= level) == (schedule in ("constrained", "hybrid"))
    assert (shields.max() <= level) == (schedule == "constrained")
    assert torch.equal(spears, shields) == (schedule == "shared")
    assert min(spears.min(), shields.min()) >= s.lowest_time


def test_nothing_moves_without_guidance_while_the_fake_score_is_the_teacher() -> None:
    made, x, cond = ring()
    spear, real, fake = decoupled_dmd.aims(nets(made.teacher, made.teacher), x, 0.5, batch(cond), Settings())
    assert spear.abs().max() == 0
    assert torch.equal(real, fake)


def test_a_guidance_scale_next_to_one_is_next_to_none() -> None:
    made, x, cond = ring()
    spear, real, _ = decoupled_dmd.aims(made, x, 0.5, batch(cond), Settings(guidance_scale=1.0001))
    assert 0 < float(spear.abs().max()) < 1e-3
    assert not torch.equal(real, x)


def settled(scale: float, shield: bool, steps: int) -> float:
    """The mean of an affine student of N(1, 0.3²) after gradient descent, its own exact score beside it.

    The teacher knows N(1, 0.3²) as class 0 and half of it and N(-1, 0.3²) as none (the specification's closed form).
    """
    path = VarianceExploding(0.02, 10.0)
    teacher = ClosedFormDenoiser(TWO, path, "edm", conditional=True)
    mean, size = 1.0, 0.3
    cond = Condition.of_labels(torch.zeros(256, dtype=torch.long))
    s = Settings.model_validate({"guidance_scale": scale, "schedule": "full"})
    drawn = batch(cond, (1,))
    for _ in range(steps):
        own = Mixture(torch.tensor([[mean]]).double(), torch.ones(1).double(), std=size)
        fake = ClosedFormDenoiser(own, path, "edm")
        z = drawn.noise().double()
        x = mean + size * z
        spear, real, answer = decoupled_dmd.aims(nets(teacher, fake), x, 1.0, drawn, s)
        pull = gradient(real, answer if shield else real - spear, x)
        mean, size = mean - 0.004 * float(pull.mean()), max(size - 0.004 * float((pull * z).mean()), 0.02)
    return mean


def test_guidance_alone_runs_away_and_matching_holds_it() -> None:
    alone = [settled(4.0, False, steps) for steps in (200, 400)]
    held = [settled(4.0, True, steps) for steps in (200, 400)]
    assert 1.5 < alone[0] < alone[1] - 1  # and no end to it
    for free, kept in zip(alone, held, strict=True):
        assert 0 < kept - 1 < 0.2 * (free - 1)
    assert settled(1.0, True, 200) == pytest.approx(1.0, abs=0.05)


def test_the_divergence_of_moments_is_that_of_two_normals() -> None:
    x = torch.tensor([[1.0, -1.0, 3.0, 5.0]], dtype=torch.float64)  # mean 2, variance 5
    own = torch.distributions.Normal(torch.tensor(2.0), torch.tensor(5.0).sqrt())
    aim = torch.distributions.Normal(torch.tensor(0.5), torch.tensor(0.9).sqrt())
    expected = torch.distributions.kl_divergence(own, aim)
    torch.testing.assert_close(losses.moments(x, torch.tensor(0.5), torch.tensor(0.9)), expected)
    assert float(losses.moments(x, torch.tensor(2.0), torch.tensor(5.0))) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("shield", "learning"),
    [("matching", "fake_score"), ("mean and variance", None), ("adversarial", "discriminator")],
)
def test_what_learns_beside_the_student_is_what_its_shield_needs(
    shield: str, learning: str | None, untrained: Callable[[str], Teacher]
) -> None:
    s = Settings.model_validate({"shield": shield, "fake_score_updates": 2})
    made = decoupled_dmd.build(untrained("edm"), s)
    real, _ = MIXTURE.draw(4, torch.Generator().manual_seed(0))
    given = replace(batch(Condition.none(4)), real_samples=real, real_cond=Condition.none(4))
    for step, student in enumerate((True, shield == "mean and variance")):
        found = [update.net for update in decoupled_dmd.step(made, replace(given, step=step), s)]
        assert found == ([getattr(made, learning)] if learning else []) + [made.student] * student
    assert load_method("decoupled_dmd").needs(s) == (() if shield == "matching" else ("real data",))


def test_what_does_not_go_together_is_refused_in_a_sentence(untrained: Callable[[str], Teacher]) -> None:
    wrong: dict[str, Any] = {"schedule": "shared", "shield": "adversarial"}
    assert "set schedule to hybrid" in problems(Settings, wrong)[0]
    with pytest.raises(RecipeError, match="guidance_scale must stay 1"):
        decoupled_dmd.build(untrained("edm"), Settings(guidance_scale=2.0))


@pytest.mark.parametrize("shield", ["matching", "mean and variance", "adversarial"])
@pytest.mark.parametrize("schedule", ["shared", "hybrid"])
def test_the_cost_is_what_a_step_evaluates(shield: str, schedule: str) -> None:
    if schedule == "shared" and shield != "matching":
        return
    s = Settings.model_validate(
        {"guidance_scale": 2.0, "schedule": schedule, "shield": shield, "student_steps": 1, "fake_score_updates": 1}
    )
    made, x, cond = ring()
    net = Denoiser(MLP(2, 16, classes=8), made.teacher.path, "edm", 0.7)
    heads = Heads([torch.zeros(1, 16)] * 3)
    own = Nets(made.teacher, net, net.copy(), net.copy().frozen(), heads)
    counted = [0.0]

    def count(module: Denoiser, given: tuple[Tensor, ...], out: object) -> None:
        counted[0] += (3 if torch.is_grad_enabled() else 1) * len(given[1]) / len(cond)

    for each in (own.teacher, own.student, own.fake_score):
        each.register_forward_hook(count)
    features = own.features.features

    def half(noised: Tensor, t: Tensor, cond: Condition) -> list[Tensor]:
        counted[0] += 1.0 if noised.requires_grad else 0.5
        return features(noised, t, cond)

    own.features.features = half  # type: ignore[method-assign]
    given = replace(batch(cond), real_samples=x.float(), real_cond=cond)
    list(decoupled_dmd.step(own, given, s))
    # A half network forward and back to its input counts 1, and what is frozen has no backward of its own.
    assert counted[0] == pytest.approx(decoupled_dmd.cost(s))
