"""Uni-DAD against answers known without it: what each weight leaves out, and whom the samples are drawn to."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from backend.methods import Batch, uni_dad
from backend.methods.uni_dad import Settings
from backend.networks import Condition, Guided
from backend.noise import VarianceExploding
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, Mixture, paths


def batch_of(step: int = 0, n: int = 4, size: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(step)
    real, cond = torch.randn(n, size, generator=generator), Condition.none(n)
    return Batch(step, 8, cond, (size,), generator, torch.device("cpu"), real_samples=real, real_cond=cond)


@pytest.mark.parametrize(
    ("weight", "terms"),
    [(0.0, ["matching", "gan"]), (0.5, ["matching", "target_matching", "gan"]), (1.0, ["target_matching", "gan"])],
)
def test_a_teacher_without_weight_is_not_asked(
    weight: float, terms: list[str], untrained: Callable[[str], Teacher]
) -> None:
    s = Settings(target_weight=weight)
    nets = uni_dad.build(untrained("edm"), s)
    first, *rest = uni_dad.step(nets, batch_of(), s)
    assert list(first.losses) == terms
    assert [update.net for update in rest[:-1]] == ([nets.target] if weight else [])
    assert [list(u.losses) for u in uni_dad.step(nets, batch_of(1), s)] == [["fake_score", "discriminator"]]


def test_two_equal_teachers_are_one(untrained: Callable[[str], Teacher]) -> None:
    nets = uni_dad.build(untrained("flow"), Settings())
    nets = replace(nets, teacher=Guided(nets.target, 1))
    x = torch.randn(4, 2)

    def found(weight: float) -> Tensor:
        terms, _ = uni_dad.matching(nets, x, Condition.none(4), batch_of(), Settings(target_weight=weight))
        return torch.stack(list(terms.values())).sum()

    torch.testing.assert_close(found(0.3), found(0.0))
    torch.testing.assert_close(found(1.0), found(0.0))


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", tuple(paths()))
def test_nothing_pulls_while_the_fake_score_is_both_teachers(kind: str, weight: float) -> None:
    net = ClosedFormDenoiser(MIXTURE, *paths()[kind])
    nets = uni_dad.Nets(Guided(net, 1), net, net, net, torch.nn.Identity())
    x = MIXTURE.draw(64, torch.Generator().manual_seed(5))[0].double().requires_grad_()
    terms, _ = uni_dad.matching(nets, x, Condition.none(64), batch_of(n=64), Settings(target_weight=weight))
    (gradient,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), x)
    assert gradient.abs().max() == 0


def test_guidance_of_the_source_adds_the_difference_that_the_condition_makes() -> None:
    net, scale, s = ClosedFormDenoiser(MIXTURE, *paths()["edm"], conditional=True), 3.0, Settings(target_weight=0.0)
    nets = uni_dad.Nets(Guided(net, scale), net, net, net, torch.nn.Identity())
    x, modes = MIXTURE.draw(64, torch.Generator().manual_seed(5))
    x, cond = x.double().requires_grad_(), Condition.of_labels(modes)
    (gradient,) = torch.autograd.grad(uni_dad.matching(nets, x, cond, batch_of(n=64), s)[0]["matching"], x)
    drawn = batch_of(n=64)
    t = drawn.times(s.lowest_time, s.highest_time)
    noised = net.path.noised(x.detach(), drawn.noise(), t)
    null = net.null(cond)
    assert null is not None
    with_cond, without = net(noised, t, cond).x0, net(noised, t, null).x0
    size = (x - without - scale * (with_cond - without)).abs().mean(1, keepdim=True)
    expected = -(scale - 1) * (with_cond - without) / size
    torch.testing.assert_close(gradient * x.numel(), expected.detach(), rtol=1e-4, atol=1e-7)


def test_samples_move_from_the_source_to_the_target_as_the_weight_grows() -> None:
    def gaussian(x: float) -> ClosedFormDenoiser:
        mixture = Mixture(torch.tensor([[x, 0.0]]).double(), torch.ones(1).double(), 0.5)
        return ClosedFormDenoiser(mixture, VarianceExploding(0.01, 10.0), "edm")

    source, target, own = gaussian(-1.0), gaussian(1.0), gaussian(0.0)
    nets = uni_dad.Nets(Guided(source, 1), target, own, own, torch.nn.Identity())
    x = (0.5 * torch.randn(512, 2)).double().requires_grad_()
    ways = []
    for a in (0.0, 0.5, 1.0):
        terms, _ = uni_dad.matching(nets, x, Condition.none(512), batch_of(n=512), Settings(target_weight=a))
        (gradient,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), x)
        ways.append(float(-gradient[:, 0].mean()))
    assert ways[0] < 0 < ways[2]
    assert ways[1] == pytest.approx((ways[0] + ways[2]) / 2)


def test_every_step_of_the_student_has_a_gradient(untrained: Callable[[str], Teacher]) -> None:
    s = Settings(student_steps=2)
    nets = uni_dad.build(untrained("edm"), s)
    made = []
    nets.student.register_forward_hook(lambda net, given, prediction: made.append(prediction.output))
    x = uni_dad.whole_trajectory(nets, batch_of(), Condition.none(4), s)
    first, last = torch.autograd.grad(x.sum(), made)
    assert first.abs().max() > 0
    assert last.abs().max() > 0
