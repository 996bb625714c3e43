"""LADD: at which levels the student learns, at which noise the discriminator looks, what counts as real, ADD's term."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backend.contract.settings import problems
from backend.methods import Batch, Update, ladd, load_method
from backend.networks import Condition, Denoiser, Guided
from backend.networks.discriminators import LevelHeads
from backend.noise import FlowMatching, VarianceExploding, VariancePreserving, linear_betas, per_sample
from backend.samplers import initial
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, paths

CPU = torch.device("cpu")
KINDS = tuple(paths())


def batch(n: int = 64, step: int = 0, total: int = 100, labels: Tensor | None = None) -> Batch:
    """Real data at 5, samples of the teacher at -5."""
    cond = Condition.none(n) if labels is None else Condition.of_labels(labels)
    ones, generator = torch.ones(n, 2), torch.Generator().manual_seed(7)
    pairs = (0 * ones, -5 * ones, cond)
    return Batch(step, total, cond, (2,), generator, CPU, 5 * ones, cond, pairs)


def made(teacher: Teacher, **settings: Any) -> tuple[ladd.Nets, ladd.Settings]:
    s = ladd.Settings.model_validate(settings)
    torch.manual_seed(3)
    return ladd.build(teacher, s), s


def updates(nets: ladd.Nets, s: ladd.Settings, step: int = 0) -> list[Update]:
    return list(ladd.step(nets, batch(step=step), s))


def last_layers(nets: ladd.Nets) -> list[nn.Linear]:
    return [m for m in nets.discriminator.modules() if isinstance(m, nn.Linear) and m.out_features == 1]


def noting(function: Callable[..., Any], notes: list[Any], of: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which also notes something of what it is given."""

    def noted(*given: Any) -> Any:
        notes.append(of(*given))
        return function(*given)

    return noted


# The student's levels


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", range(1, 9))
def test_a_student_learns_at_every_level_it_is_used_at_and_at_four_or_more(
    kind: str, steps: int, untrained: Callable[[str], Teacher]
) -> None:
    net, s = untrained(kind).denoiser, ladd.Settings(student_steps=steps)
    learnt, used = ladd.learnt_levels(s, net), ladd.sampler(s, net).levels
    assert len(used) == steps
    assert set(used) <= set(learnt)
    assert used[0] == learnt[0]
    assert 4 <= len(learnt) <= max(4, 2 * steps)


def test_samples_move_from_the_lower_half_of_the_levels_to_the_highest() -> None:
    s = ladd.Settings(highest_share=0.7, shift=0.5)
    expected = {
        0.0: [0, 0, 0.5, 0.5],
        0.25: [0.35, 0.05, 0.3, 0.3],
        0.5: [0.7, 0.1, 0.1, 0.1],
        1.0: [0.7, 0.1, 0.1, 0.1],
    }
    for progress, wanted in expected.items():
        assert ladd.shares(4, progress, s) == pytest.approx(wanted)
    assert ladd.shares(5, 0.0, s) == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3])
    at_once = ladd.Settings(highest_share=0.7, shift=0)
    assert ladd.shares(4, 0.0, at_once) == pytest.approx([0.7, 0.1, 0.1, 0.1])


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_from_the_very_noise_that_sampling_starts_from_and_else_from_noised_samples(
    kind: str, untrained: Callable[[str], Teacher]
) -> None:
    nets, s = made(untrained(kind), shift=0, highest_share=0.5)
    path, levels, n = nets.student.path, ladd.learnt_levels(s, nets.student), 4000
    real = MIXTURE.draw(n, torch.Generator().manual_seed(1))[0]
    level, t, noised = ladd.at_own_levels(nets, real, batch(n), s)
    noise = batch(n).noise()  # the first that is drawn
    assert set(t.tolist()) == set(levels)
    assert torch.equal(torch.tensor(levels, dtype=torch.float64)[level], t)
    for place, time in enumerate(levels):
        rows = t == time
        assert float(rows.double().mean()) == pytest.approx(0.5 if place == 0 else 1 / 6, abs=0.03)
        wanted = initial(noise, path, time) if place == 0 else path.noised(real, noise, t)
        torch.testing.assert_close(noised[rows], wanted[rows])


def test_at_first_no_sample_starts_from_noise_alone(untrained: Callable[[str], Teacher]) -> None:
    nets, s = made(untrained("flow"))
    _, t, _ = ladd.at_own_levels(nets, torch.zeros(500, 2), batch(500), s)
    assert set(t.tolist()) == {0.5, 0.25}


# The discriminator's noise


@pytest.mark.parametrize(
    "path",
    [FlowMatching(), FlowMatching(3.0), VarianceExploding(1e-5, 1e5), VariancePreserving.of_betas(linear_betas())],
)
def test_its_noise_is_logit_normal_in_the_time_of_a_flow(
    path: Any, untrained: Callable[[str], Teacher], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: dict[type, str] = {VarianceExploding: "edm", VariancePreserving: "v_prediction", FlowMatching: "flow"}
    kind = kinds[type(path)]
    nets, s = made(untrained(kind), discriminator_noise=0.5, discriminator_spread=0.7)
    seen: list[Tensor] = []
    net = Denoiser(nets.features.network, path, nets.features.prediction_type)
    monkeypatch.setattr(net, "features", lambda noised, t, cond: seen.append(t))
    ladd.seen(replace(nets, features=net), torch.zeros(20_000, 2), Condition.none(20_000), batch(20_000), s)
    logit = torch.logit(path.flow_time(seen[0]))
    assert float(logit.mean()) == pytest.approx(math.log(0.5), abs=0.03)
    assert float(logit.std()) == pytest.approx(0.7, abs=0.02)


def test_without_spread_it_always_looks_at_the_same_noise(
    untrained: Callable[[str], Teacher], monkeypatch: pytest.MonkeyPatch
) -> None:
    nets, s = made(untrained("edm"), discriminator_noise=0.2, discriminator_spread=0)
    seen: list[tuple[Tensor, Tensor]] = []
    asked = nets.features.features
    monkeypatch.setattr(nets.features, "features", noting(asked, seen, lambda x, t, cond: (x, t)))
    updates(nets, s)
    assert len(seen) == 3  # the student's sample and a real one, and the student's again for its own turn
    for _, t in seen:
        torch.testing.assert_close(nets.features.path.ratio(t), torch.full_like(t, 0.2))
    assert not torch.equal(seen[0][0] - seen[0][0].mean(0), seen[2][0] - seen[2][0].mean(0))  # noised anew


# The losses


def test_losses_of_an_undecided_discriminator_are_those_of_the_hinge(untrained: Callable[[str], Teacher]) -> None:
    nets, s = made(untrained("flow"))
    for layer in last_layers(nets):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    discriminator, student = updates(nets, s)
    assert {name: float(term.detach()) for name, term in discriminator.losses.items()} == {
        "discriminator": 2,
        "penalty": 0,
    }
    assert float(student.losses["gan"].detach()) == 0


def test_every_head_judges_its_own_map_and_is_told_the_level(untrained: Callable[[str], Teacher]) -> None:
    nets, s = made(untrained("edm"))
    maps = nets.features.features(torch.randn(1, 2).expand(4, 2), torch.full((4,), 0.3), Condition.none(4))
    levels = torch.arange(len(ladd.learnt_levels(s, nets.student)))
    before = nets.discriminator(maps, levels)
    assert len(before) == len(maps) > 1
    assert all(len(set(logits.tolist())) == 4 for logits in before)  # the same sample, made at each of the levels
    after = nets.discriminator([maps[0], *(h + 1 for h in maps[1:])], levels)
    assert torch.equal(before[0], after[0])
    assert not any(torch.equal(a, b) for a, b in zip(before[1:], after[1:], strict=True))


def test_a_real_sample_is_judged_as_one_of_its_students_level(
    untrained: Callable[[str], Teacher], monkeypatch: pytest.MonkeyPatch
) -> None:
    nets, s = made(untrained("flow"), shift=0)
    told: list[Tensor] = []
    started: list[Tensor] = []
    judge, asked = nets.discriminator.forward, nets.student.forward
    monkeypatch.setattr(nets.discriminator, "forward", noting(judge, told, lambda maps, level: level))
    monkeypatch.setattr(nets.student, "forward", noting(asked, started, lambda x, t, cond: t))
    updates(nets, s)
    assert len(told) == 3
    levels = torch.tensor(ladd.learnt_levels(s, nets.student), dtype=torch.float64)
    assert all(torch.equal(levels[level], started[0]) for level in told)
    assert len(set(told[0].tolist())) == 4


def test_the_discriminators_loss_reaches_it_alone_and_the_students_pulls_at_its_samples(
    untrained: Callable[[str], Teacher],
) -> None:
    nets, s = made(untrained("flow"))
    discriminator, student = updates(nets, s)
    own = list(nets.student.parameters())
    reached = torch.autograd.grad(sum(discriminator.losses.values()), own, allow_unused=True)  # type: ignore[arg-type]
    assert all(gradient is None for gradient in reached)
    assert student.sample is not None
    (pull,) = torch.autograd.grad(student.losses["gan"], student.sample)
    assert (pull.flatten(1).norm(dim=1) > 0).all()


def test_the_penalty_comes_every_sixteen_steps_and_counts_for_all_of_them(untrained: Callable[[str], Teacher]) -> None:
    nets, s = made(untrained("flow"), penalty_weight=0.5)
    assert [step for step in (0, 1, 15, 16, 17, 32) if "penalty" in updates(nets, s, step)[0].losses] == [0, 16, 32]
    penalty = updates(nets, s)[0].losses["penalty"]
    twice = updates(nets, s.model_copy(update={"penalty_weight": 1.0}))[0].losses["penalty"]
    torch.testing.assert_close(twice, 2 * penalty)
    assert penalty > 0
    assert "penalty" not in updates(nets, s.model_copy(update={"penalty_weight": 0.0}))[0].losses


def test_the_student_waits_for_the_discriminators_updates(untrained: Callable[[str], Teacher]) -> None:
    nets, s = made(untrained("edm"), discriminator_updates=3)
    turns = [[update.net is nets.student for update in updates(nets, s, step)] for step in range(4)]
    assert turns == [[False, True], [False], [False], [False, True]]


# What counts as real


def test_real_are_the_teachers_samples_the_data_or_a_share_of_each() -> None:
    labels = torch.arange(4000)

    def real(share: float) -> tuple[Tensor, Condition]:
        of = batch(4000, labels=labels)
        other = replace(of, real_cond=Condition.of_labels(-labels - 1))
        return ladd.real_samples(other, ladd.Settings(data_share=share))

    for share, value in ((0.0, -5), (1.0, 5)):
        assert (real(share)[0] == value).all()
    samples, cond = real(0.3)
    from_data = samples[:, 0] == 5
    assert float(from_data.double().mean()) == pytest.approx(0.3, abs=0.02)
    assert cond.labels is not None
    assert torch.equal(cond.labels, torch.where(from_data, -labels - 1, labels))  # each with its own condition


def test_it_asks_for_what_counts_as_real() -> None:
    needs = load_method("ladd").needs
    wanted = {0.0: ("pairs",), 0.5: ("pairs", "real data"), 1.0: ("real data",)}
    assert {share: needs(ladd.Settings(data_share=share)) for share in wanted} == wanted
    with pytest.raises(ValueError, match="pairs"):
        ladd.real_samples(replace(batch(), drawn_pairs=None), ladd.Settings())


# ADD's term, where what the teacher makes is known


def tweedie(noised: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The mixture's posterior mean from the gradient of its log density alone."""
    at = noised.double().requires_grad_()
    (score,) = torch.autograd.grad(MIXTURE.log_density(at, alpha, sigma).sum(), at)
    return (noised.double() + per_sample(sigma**2, score) * score) / per_sample(alpha, score)


@pytest.mark.parametrize("kind", KINDS)
def test_distillation_draws_a_sample_towards_its_posterior_mean(kind: str, untrained: Callable[[str], Teacher]) -> None:
    nets, s = made(untrained(kind))
    n, path = 256, nets.teacher.path
    x = MIXTURE.draw(n, torch.Generator().manual_seed(2))[0].float().requires_grad_()
    loss = ladd.distillation(nets, x, Condition.none(n), batch(n), s)
    (pull,) = torch.autograd.grad(loss, x)

    drawn = batch(n)
    t, noise = drawn.times(0.0, ladd.learnt_levels(s, nets.student)[0]), drawn.noise()
    alpha, sigma = path.alpha(t), path.sigma(t)
    difference = x.detach() - tweedie(path.noised(x.detach(), noise, t), alpha, sigma)
    weight = alpha / (alpha**2 + sigma**2).sqrt()
    assert float(loss.detach()) == pytest.approx(float((weight[:, None] * difference.square()).mean()), rel=1e-3)
    expected = 2 * weight[:, None] * difference / x.numel()  # and nothing through the teacher
    torch.testing.assert_close(pull.double(), expected, rtol=1e-2, atol=1e-5)


def test_distillation_is_the_same_in_any_coordinates(untrained: Callable[[str], Teacher]) -> None:
    """A teacher on the variance preserving path and one on the flow say the same of equal noise over signal."""
    terms = []
    for kind in ("v_prediction", "flow"):
        nets, s = made(untrained(kind))
        path, n = nets.teacher.path, 64
        x = MIXTURE.draw(n, torch.Generator().manual_seed(2))[0].float()
        ratio = torch.linspace(0.05, 3, n, dtype=torch.float64)

        class Set(Batch):
            def times(self, low: float = 0.0, high: float = 1.0) -> Tensor:
                return path.t_of_ratio(ratio)  # noqa: B023

        terms.append(ladd.distillation(nets, x, Condition.none(n), Set(**vars(batch(n))), s))
    torch.testing.assert_close(*terms, rtol=1e-3, atol=0)


def test_the_distance_is_weighed_and_left_out_at_0(untrained: Callable[[str], Teacher]) -> None:
    nets, s = made(untrained("flow"), distillation_weight=2.5)
    with_term, without = (updates(nets, s.model_copy(update={"distillation_weight": w}))[1] for w in (2.5, 0.0))
    assert set(without.losses) == {"gan"}
    torch.testing.assert_close(with_term.losses["gan"], without.losses["gan"])
    twice = updates(nets, s.model_copy(update={"distillation_weight": 5.0}))[1]
    torch.testing.assert_close(twice.losses["distillation"], 2 * with_term.losses["distillation"])


def test_guidance_is_in_what_the_teacher_answers() -> None:
    exact = ClosedFormDenoiser(MIXTURE, *paths()["edm"], conditional=True).frozen()
    net = Guided(exact, 2.0)
    nets = ladd.Nets(net, exact, exact, LevelHeads([], 4))
    labels = torch.arange(64) % len(MIXTURE.means)
    x = MIXTURE.means[labels].float()
    s = ladd.Settings(first_level=0.7)
    found = ladd.distillation(nets, x, Condition.of_labels(labels), batch(labels=labels), s)
    drawn = batch(labels=labels)
    t, noise = drawn.times(0.0, 0.7), drawn.noise()
    answer = net(net.path.noised(x, noise, t), t, Condition.of_labels(labels)).x0
    weight = 1 / (1 + net.path.sigma(t) ** 2).sqrt()
    torch.testing.assert_close(
        found.double(), (weight * (x - answer).square().mean(1)).mean().double(), rtol=1e-4, atol=0
    )


# Settings and cost


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"guidance_scale": 3, "data_share": 1}, "guidance_scale is 3, but no guidance is learnt from data alone"),
        ({"discriminator_noise": 0}, "discriminator_noise"),
        ({"first_level": 0.01}, "first_level is 0.01, too near the data to start from"),
        ({"highest_share": 0}, "highest_share"),
        ({"data_share": 1.5}, "data_share"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(values: dict[str, Any], words: str) -> None:
    (problem,) = problems(ladd.Settings, values)
    assert words in problem
    assert problem.endswith(".")


def test_guidance_is_accepted_where_it_is_learnt() -> None:
    for more in ({}, {"data_share": 0.5}, {"data_share": 1, "distillation_weight": 2.5}):
        assert not problems(ladd.Settings, {"guidance_scale": 3, **more})


def test_the_cost_is_that_of_the_turns() -> None:
    cost = load_method("ladd").cost
    assert cost(ladd.Settings()) == 5
    assert cost(ladd.Settings(distillation_weight=1)) == 6
    assert cost(ladd.Settings(distillation_weight=1, guidance_scale=2)) == 7
    assert cost(ladd.Settings(discriminator_updates=5)) == pytest.approx(2 + 3 / 5)
