"""rCM against sCM, which it is without its matching term, and its tangent against answers known without it."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from backend import derivatives, losses, trigflow
from backend.contract.settings import problems
from backend.methods import Batch, Update, rcm, scm
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.networks.log_variance import LogVariance
from backend.noise import VarianceExploding
from backend.proofs import figures
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, Mixture, paths

every_kind = pytest.mark.parametrize("kind", tuple(paths()))
CPU = torch.device("cpu")


def batch(n: int, step: int = 5, total: int = 10, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    real, _ = MIXTURE.draw(n, generator)
    return Batch(step, total, Condition.none(n), (2,), generator, CPU, real, Condition.none(n))


def moved(net: Denoiser) -> Denoiser:
    """No longer the teacher, so that no term of its tangent is 0."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return net


def built(teacher: Teacher, **settings: Any) -> tuple[rcm.Nets, rcm.Settings]:
    s = rcm.Settings.model_validate(settings)
    nets = rcm.build(teacher, s)
    moved(nets.student)
    return nets, s


# Without matching


@every_kind
@pytest.mark.parametrize("step", [5, 9])
@pytest.mark.parametrize("changed", [{}, {"trajectory": "data"}, {"learned_weight": True}, {"times": "log-normal"}])
def test_without_matching_it_is_scm_to_the_bit_once_the_tangent_is_let_in(
    kind: str, step: int, changed: dict[str, Any], untrained: Callable[[str], Teacher]
) -> None:
    nets, s = built(untrained(kind), matching_weight=0.0, warmup_share=0.5, **changed)
    own = scm.Nets(nets.teacher, nets.student, nets.weight)
    (found,) = rcm.step(nets, batch(8, step), s)
    (expected,) = scm.step(own, batch(8, step), s)
    assert found.nets == expected.nets
    assert found.losses.keys() == expected.losses.keys() == {"tangent_loss"}
    gradients = []
    for update in (found, expected):
        parameters = [p for net in update.nets for p in net.parameters()]
        gradients.append(torch.autograd.grad(update.losses["tangent_loss"], parameters))
    assert torch.equal(found.losses["tangent_loss"], expected.losses["tangent_loss"])
    assert any(float(g.abs().max()) > 0 for g in gradients[0])
    for mine, theirs in zip(*gradients, strict=True):
        assert torch.equal(mine, theirs)


def test_in_the_warm_up_it_is_not_scm(untrained: Callable[[str], Teacher]) -> None:
    nets, s = built(untrained("flow"), matching_weight=0.0, warmup_share=0.5)
    (found,) = rcm.step(nets, batch(8, 2), s)
    (scms,) = scm.step(scm.Nets(nets.teacher, nets.student, nets.weight), batch(8, 2), s)
    assert not torch.equal(
        *(torch.autograd.grad(u.losses["tangent_loss"], [next(nets.student.parameters())])[0] for u in (found, scms))
    )


@every_kind
@pytest.mark.parametrize("warmup", [0.0, 0.4, 1.0])
def test_the_tangent_is_that_of_the_authors_code(kind: str, warmup: float, untrained: Callable[[str], Teacher]) -> None:
    """Written out with a derivative by differences along the exact trajectory of one Gaussian, which only rescales."""
    gaussian = Mixture(torch.zeros(1, 2).double(), torch.ones(1).double(), std=0.5)
    student, teacher = moved(untrained(kind).trainable().double()), ClosedFormDenoiser(gaussian, *paths()[kind])
    generator = torch.Generator().manual_seed(1)
    x, t = torch.randn(16, 2, dtype=torch.float64, generator=generator), torch.linspace(0.1503, 0.8503, 16).double()
    cond, path, spread, h = Condition.none(16), student.path, trigflow.spread(student), 1e-5
    there, here = teacher(x, t, cond), student(x, t, cond)
    found = rcm.tangent(student, here, t, cond, there.x0, there.noise, warmup, rcm.Settings())

    def turned(side: float) -> Tensor:
        s = t + side * h
        size = [((path.alpha(u) * gaussian.std) ** 2 + path.sigma(u) ** 2).sqrt() for u in (t, s)]
        made: Tensor = trigflow.turn_of(student(x * (size[1] / size[0])[:, None], s, cond), spread)
        return made

    ahead, behind = (trigflow.angle(student, t + side * h) for side in (1, -1))
    slope = (turned(1) - turned(-1)) / (ahead - behind)[:, None]
    angle = trigflow.angle(student, t)[:, None]
    cos, sin = angle.cos(), angle.sin()
    own, aim = trigflow.turn_of(here, spread), trigflow.turn_of(there, spread)
    first = -cos * (1 - warmup**2 * sin**2).sqrt() * spread * (own - aim)
    expected = first - (warmup * cos * sin * trigflow.state(student, x, t) + cos * sin * spread * slope)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.detach().abs().max()))


# Matching


def gaussian(mean: tuple[float, float], std: float = 0.5) -> ClosedFormDenoiser:
    mixture = Mixture(torch.tensor([mean], dtype=torch.float64), torch.ones(1, dtype=torch.float64), std)
    return ClosedFormDenoiser(mixture, VarianceExploding(0.01, 10.0), "edm")


def of(teacher: Denoiser, fake_score: Denoiser) -> rcm.Nets:
    return rcm.Nets(Guided(teacher, 1.0), fake_score, LogVariance(), fake_score)


@pytest.mark.parametrize("delta", [(0.7, 0.0), (-0.2, 0.4)])
def test_samples_are_sent_back_by_as_much_as_the_fake_scores_mean_is_off(delta: tuple[float, float]) -> None:
    """Of two Gaussians of one spread, one moved by delta, scores differ by sigma^2 delta / (std^2 + sigma^2)."""
    shift = torch.tensor(delta).double()
    teacher, s = gaussian((0.0, 0.0)), rcm.Settings(lowest_time=0.5, highest_time=0.5)
    x = (shift + 0.5 * torch.randn(64, 2, generator=torch.Generator().manual_seed(1)).double()).requires_grad_()
    drawn = batch(64)
    term, metrics = rcm.matching(of(teacher, gaussian(delta)), x, drawn, s)
    (gradient,) = torch.autograd.grad(term, x)
    variance = float(teacher.path.sigma(torch.tensor(0.5).double())) ** 2
    expected = variance / (0.25 + variance) * shift
    assert float(metrics["score_difference"]) == pytest.approx(float(expected.abs().mean()), rel=1e-6)
    way = gradient / gradient.norm(dim=1, keepdim=True)
    torch.testing.assert_close(way, (shift / shift.norm()).expand(64, 2), rtol=1e-6, atol=1e-6)
    still, _ = rcm.matching(of(teacher, teacher), x, drawn, s)
    assert float(still.detach()) == 0


@pytest.mark.parametrize(("updates", "turns"), [(1, "..111"), (2, "..101"), (3, "..100")])
def test_consistency_learns_alone_and_then_the_fake_score_learns_before_the_student_follows(
    updates: int, turns: str, untrained: Callable[[str], Teacher]
) -> None:
    nets, s = built(untrained("edm"), warmup_share=0.4, fake_score_updates=updates)
    for step, turn in enumerate(turns):
        taken = [(update.net, set(update.losses)) for update in rcm.step(nets, batch(4, step, total=5), s)]
        student, fake = (nets.student, {"tangent_loss", "matching"}), (nets.fake_score, {"fake_score"})
        assert taken == {".": [(nets.student, {"tangent_loss"})], "1": [fake, student], "0": [fake]}[turn]


def test_the_fake_score_learns_the_very_samples_that_are_matched(untrained: Callable[[str], Teacher]) -> None:
    nets, s = built(untrained("flow"))
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    for net in (nets.student, nets.fake_score):
        net.register_forward_hook(lambda net, given, made: seen.append((made.x0, made.output, given[1])))
        net.register_forward_pre_hook(lambda net, given: noised.append(given[0]))
    noised: list[Tensor] = []
    first = next(rcm.step(nets, batch(64), s))
    (x, _, _), (_, output, t) = seen
    noise = (noised[1] - (1 - t.float())[:, None] * x) / t.float()[:, None]
    assert float(noise.detach().std()) == pytest.approx(1, abs=0.2)
    expected = (output - (noise - x)).square().mean()
    assert float(first.losses["fake_score"].detach()) == pytest.approx(float(expected.detach()), rel=1e-3)


def test_the_losses_of_a_turn_are_consistency_and_weighed_matching(untrained: Callable[[str], Teacher]) -> None:
    terms = []
    for weight in (0.2, 0.6):
        nets, s = built(untrained("edm"), matching_weight=weight)
        _, update = rcm.step(nets, batch(4), s)
        terms.append({name: float(value.detach()) for name, value in update.losses.items()})
    assert terms[0]["tangent_loss"] == terms[1]["tangent_loss"]
    assert 3 * terms[0]["matching"] == pytest.approx(terms[1]["matching"], rel=1e-6)


def test_samples_are_of_the_students_own_steps_with_ever_less_noise(untrained: Callable[[str], Teacher]) -> None:
    nets, s = built(untrained("flow"), student_steps=4)
    asked: list[tuple[Tensor, Tensor, Tensor, bool]] = []
    nets.student.register_forward_hook(
        lambda net, given, made: asked.append((given[1], given[0], made.x0, torch.is_grad_enabled()))
    )
    lengths, later = set(), []
    for seed in range(12):
        asked.clear()
        x = rcm.simulated(nets.student, batch(256, seed=seed), s)
        assert x.requires_grad
        assert x is asked[-1][2]
        assert torch.equal(asked[0][0], torch.ones(256).double())
        assert [grad for *_, grad in asked] == [False] * (len(asked) - 1) + [True]
        for (before, _, x0, _), (t, state, _, _) in itertools.pairwise(asked):
            assert bool((t <= before).all())
            noise = (state - (1 - t.float())[:, None] * x0.detach()) / t.float()[:, None]  # on the path's straight line
            assert noise.std().item() == pytest.approx(1, abs=0.1)
        lengths.add(len(asked))
        later += [t for t, *_ in asked[1:2]]
    assert lengths == {1, 2, 3, 4}
    second = torch.cat(later)
    assert float(second.min()) == pytest.approx(s.lowest_time, abs=0.01)
    assert float(second.mean()) == pytest.approx(0.5, abs=0.03)


def test_the_steps_before_the_last_are_held(untrained: Callable[[str], Teacher]) -> None:
    nets, s = built(untrained("flow"), student_steps=4)
    asked: list[tuple[Tensor, Tensor]] = []
    hook = nets.student.register_forward_hook(lambda net, given, made: asked.append((given[0], given[1])))
    parameters = list(nets.student.parameters())
    found = torch.autograd.grad(rcm.simulated(nets.student, batch(8, seed=0), s).sum(), parameters)
    hook.remove()
    assert len(asked) > 1
    (state, t), cond = asked[-1], Condition.none(8)
    expected = torch.autograd.grad(nets.student(state.detach(), t, cond).x0.sum(), parameters)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("derivative", ["forward mode", "differences"])
def test_a_turns_gradient_is_that_of_its_targets_held_by_differences(
    derivative: derivatives.Way, untrained: Callable[[str], Teacher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student's update moves F by the tangent and samples by the score difference, both as found at the start."""
    nets, s = built(untrained("flow"), derivative=derivative)
    for net in vars(nets).values():
        net.double()
    pulls: list[Tensor] = []

    def held(gradients: Tensor, offset: float) -> tuple[Tensor, Tensor]:
        g, spoilt = normalised(gradients, offset)
        pulls.append(g)
        return g, spoilt

    normalised = losses.normalised
    monkeypatch.setattr(losses, "normalised", held)
    made: list[Prediction] = []
    nets.student.register_forward_hook(lambda net, given, prediction: made.append(prediction))

    def turn() -> tuple[Update, Tensor, Tensor]:
        """The update, the student's samples and its F."""
        made.clear()
        given = batch(8)
        assert given.real_samples is not None
        _, update = rcm.step(nets, replace(given, real_samples=given.real_samples.double()), s)
        sample, own = (prediction for prediction in made if prediction.output.requires_grad)
        return update, sample.x0, trigflow.turn_of(own, trigflow.spread(nets.student))

    update, x, _ = turn()
    g, total = pulls[0], torch.stack([term.double() for term in update.losses.values()]).sum()
    (push,) = torch.autograd.grad(update.losses["matching"], x, retain_graph=True)
    parameters = list(nets.student.parameters())
    gradient = torch.autograd.grad(total, parameters)

    def linear() -> float:
        _, sample, own = turn()
        return float(((push * sample).sum() - 2 * (g * own).mean()).detach())

    ends = []
    for step in (1e-5, -2e-5):
        with torch.no_grad():
            for parameter, way in zip(parameters, gradient, strict=True):
                parameter.add_(step * way)
        ends.append(linear())
    expected = sum(float(way.square().sum()) for way in gradient)
    assert expected > 1e-6
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(expected, rel=1e-3)


@pytest.mark.long
def test_matching_brings_more_samples_to_the_modes_and_loses_neither_mode_nor_trajectory() -> None:
    """The specification's check, on the proof's bench."""
    found, alone = (figures("rcm", key_term) for key_term in (True, False))
    assert found["high_quality"] > alone["high_quality"] + 0.1  # measured: 0.864 and 0.698
    assert found["coupling_rmse"] < alone["coupling_rmse"] + 0.1  # measured: 0.085 and 0.110
    assert found["modes"] == 8


# The card


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"warmup_share": 0.0}, 14),  # derivative 2, teacher 2, fake score 1 and 3, student twice: 3 and 3
        ({"warmup_share": 1.0, "matching_weight": 0.0}, 6),
        ({"matching_weight": 0.0}, 6),
        ({"warmup_share": 0.5}, 10),
        ({"warmup_share": 0.0, "fake_score_updates": 5}, 4 + 10 / 5),
        ({"warmup_share": 0.0, "guidance_scale": 3.0}, 16),
        ({"warmup_share": 0.0, "trajectory": "data"}, 13),
        ({"warmup_share": 0.0, "student_steps": 4}, 15.5),
    ],
)
def test_the_cost_is_what_a_step_computes(settings: dict[str, Any], expected: float) -> None:
    assert rcm.cost(rcm.Settings.model_validate(settings)) == expected


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"matching_weight": -1}, "matching_weight"),
        ({"fake_score_updates": 0}, "fake_score_updates"),
        ({"warmup_share": 1.5}, "warmup_share"),
        ({"warmup_share": 1.0}, "set matching_weight to 0"),
        ({"derivative": "guess"}, "derivative"),
    ],
)
def test_bad_settings_are_refused_by_name(settings: dict[str, Any], named: str) -> None:
    (problem,) = problems(rcm.Settings, settings)
    assert named in str(problem)
