import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from backend import boundary, train
from backend.contract.recipe import RecipeError
from backend.contract.settings import problems
from backend.methods import Batch, lcm
from backend.networks import Condition, Denoiser, Guided
from backend.networks.adapters import with_adapters
from backend.networks.mlp import MLP
from backend.samplers import jump, times
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, paths

KINDS = tuple(paths())
GUIDED: dict[str, Any] = {"guidance_scale": 3.0, "guidance_low": 2.0, "guidance_high": 6.0}


def with_classes(kind: str = "flow") -> Teacher:
    path, prediction_type = paths()[kind]
    exact = ClosedFormDenoiser(MIXTURE, path, prediction_type, conditional=True)
    torch.manual_seed(0)
    net = Denoiser(MLP(2, width=32, classes=8, scale=1000.0), path, prediction_type, exact.sigma_data)
    labels = tuple("01234567")
    return Teacher("ring", "Ring", exact.frozen(), net.copy, "0", labels=labels, draws=MIXTURE)


def batch(n: int, cond: Condition | None = None) -> Batch:
    generator = torch.Generator().manual_seed(0)
    real, modes = MIXTURE.draw(n, generator)
    cond = cond or Condition.of_labels(modes)
    return Batch(0, 1, cond, (2,), generator, torch.device("cpu"), real, cond)


def asked_of(net: torch.nn.Module) -> list[tuple[Tensor, Condition]]:
    """Fills with the times and conditions that a network is asked with from now on."""
    seen: list[tuple[Tensor, Condition]] = []
    net.register_forward_pre_hook(lambda module, given: seen.append((given[1], given[2])))
    return seen


def test_the_boundary_is_the_point_at_time_0_and_all_but_x0_above() -> None:
    x0, noised, t = torch.zeros(3, 2), torch.ones(3, 2), torch.tensor([0.0, 1e-3, 0.5], dtype=torch.float64)
    found = boundary.start_of(x0, noised, t)
    assert found[0].tolist() == [1, 1]
    assert found[1].tolist() == pytest.approx([0.25 / 100.25] * 2)  # the published code's at its first time
    assert float(found[2].abs().max()) < 1e-7
    assert boundary.start_of(noised, x0, t)[0].tolist() == [0, 0]


def test_the_grid_has_all_its_points_and_the_teacher_skips_k_of_1000() -> None:
    t, t_next = boundary.step_ends(batch(4000), 50, 20, 0.8)
    torch.testing.assert_close(t.unique(), 0.8 * torch.arange(1, 51).double() / 50)
    torch.testing.assert_close(t_next, (t - 0.02).clamp(min=0))
    assert bool((t_next == 0).any())


def test_distances_and_their_gradients_are_known() -> None:
    x, y = torch.tensor([[3.0, 0.0]], requires_grad=True), torch.zeros(1, 2)
    assert float(boundary.distance(x, y, "l2", 1e-3).detach()) == pytest.approx(4.5)
    loss = boundary.distance(x, y, "pseudo-huber", 4.0)
    assert float(loss.detach()) == pytest.approx(0.5)  # (5 - 4) / 2
    (gradient,) = torch.autograd.grad(loss, x)
    assert gradient.tolist()[0] == pytest.approx([0.3, 0.0])  # 3 / 5 / 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_losss_gradient_is_that_of_differences(kind: str, untrained: Callable[[str], Teacher]) -> None:
    s = lcm.Settings(target_ema=0.5, huber_offset=0.1, first_level=0.9)
    made = lcm.build(untrained(kind), s)
    made.student.double()
    made.target.double()
    weight = made.student.network.get_parameter("head.weight")

    def value() -> Tensor:
        given = batch(16, Condition.none(16))
        assert given.real_samples is not None
        (update,) = [next(lcm.step(made, replace(given, real_samples=given.real_samples.double()), s))]
        return update.losses["consistency"]

    (gradient,) = torch.autograd.grad(value(), weight)
    direction, h = torch.randn_like(weight), 1e-6
    with torch.no_grad():
        weight.add_(h * direction)
        ahead = value()
        weight.sub_(2 * h * direction)
        behind = value()
    assert float((ahead - behind) / (2 * h)) == pytest.approx(float((gradient * direction).sum()), rel=1e-4)


def test_student_target_and_teacher_are_told_the_same_guidance_of_the_range() -> None:
    s = lcm.Settings(**GUIDED)
    made = lcm.build(with_classes(), s)
    asked = [asked_of(net) for net in (made.student, made.target, made.teacher)]
    list(lcm.step(made, batch(2000), s))
    told = [seen[0][1].part("guidance") for seen in asked]
    assert torch.equal(told[0], told[1])
    assert torch.equal(told[0], told[2])
    assert 2 <= float(told[0].min()) < 2.05
    assert 5.95 < float(told[0].max()) <= 6
    assert lcm.sampler(s, made.student).guidance == 3
    assert made.student.inputs == ("guidance",)


def test_the_answer_is_the_guided_teachers_step_seen_by_the_target() -> None:
    s = lcm.Settings(**GUIDED, distance="l2")
    teacher = with_classes()
    made = lcm.build(teacher, s)
    (update,) = lcm.step(made, batch(64), s)
    again = batch(64)
    t, t_next = boundary.step_ends(again, s.discretisation, s.skip, 1.0)
    x0, cond = again.real
    noised = made.student.path.noised(x0, again.noise(), t)
    w = again.times(2.0, 6.0)
    reached = torch.cat([
        jump(Guided(teacher.denoiser, float(w[i]))(noised[i : i + 1], t[i : i + 1], cond[i : i + 1]),
             made.student.path, t_next[i : i + 1])
        for i in range(64)
    ])  # fmt: skip
    told = cond.with_part("guidance", w)
    answer = boundary.start_of(made.student(reached, t_next, told).x0, reached, t_next)
    mine = boundary.start_of(made.student(noised, t, told).x0, noised, t)
    assert float(update.losses["consistency"].detach()) == pytest.approx(
        float((mine - answer).square().mean().detach()), rel=1e-4
    )


def test_without_a_range_nothing_is_told_and_the_guidance_is_fixed() -> None:
    s = lcm.Settings(guidance_scale=3, guidance_low=3, guidance_high=3)
    made = lcm.build(with_classes(), s)
    assert made.student.inputs == ()
    assert made.teacher.scale == 3
    assert lcm.sampler(s, made.student).guidance is None


def test_a_scale_outside_the_range_and_a_teacher_without_guidance_are_refused(
    untrained: Callable[[str], Teacher],
) -> None:
    (sentence,) = problems(lcm.Settings, {"guidance_scale": 4.0})
    assert "set guidance_low and guidance_high" in sentence
    with pytest.raises(RecipeError, match="no unconditional mode"):
        lcm.build(untrained("flow"), lcm.Settings(**GUIDED))


def test_with_adapters_the_target_shares_the_base() -> None:
    teacher = with_classes()
    base = teacher.trainable()
    lora = replace(teacher, trainable=lambda: with_adapters(base, 4))
    made = lcm.build(lora, lcm.Settings(target_ema=0.9))
    shared = {p.data_ptr() for p in base.parameters()}
    apart = [p for p in made.target.parameters() if p.data_ptr() not in shared]
    assert sum(p.numel() for p in apart) == sum(p.numel() for p in made.student.parameters() if p.requires_grad)
    assert not any(p.requires_grad for p in made.target.parameters())


def test_the_target_follows_the_student(begin: Callable[..., train.Run], untrained: Callable[[str], Teacher]) -> None:
    run = begin("lcm", untrained("edm"), steps=2, target_ema=0.7, learning_rate=1e-2)
    expected = [p.detach().clone() for p in run.student.parameters()]
    for _ in train.train(run):
        expected = [0.7 * old + 0.3 * new for old, new in zip(expected, run.student.parameters(), strict=True)]
        for mine, theirs in zip(run.nets.target.parameters(), expected, strict=True):
            torch.testing.assert_close(mine, theirs.detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("high", [1.0, 6.0])
def test_its_cost_counts_every_evaluation(high: float) -> None:
    s = lcm.Settings(guidance_high=high)
    teacher = with_classes()
    made = lcm.build(teacher, s)
    rows = [0, 0]
    for i, net in enumerate((teacher.denoiser, made.target)):
        net.register_forward_pre_hook(lambda module, given, i=i: rows.__setitem__(i, rows[i] + len(given[0])))
    list(lcm.step(made, batch(16), s))
    assert lcm.cost(s) == 3 + sum(rows) / 16
    assert math.isfinite(float(times(0.5, torch.zeros(1))[0]))
