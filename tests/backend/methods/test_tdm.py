"""TDM against answers known without it: what is noised on, what the fake score learns, where the student is pushed."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from backend import losses
from backend.methods import Batch, load_method, tdm
from backend.networks import Condition, Denoiser, Guided
from backend.noise import transition
from backend.samplers import end_of_step, sample, times, trajectory
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, Mixture, paths

KINDS = tuple(paths())


def batch(n: int, step: int = 0, seed: int = 0, cond: Condition | None = None) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(step, 9, cond or Condition.none(n), (2,), generator, torch.device("cpu"))


def made_by(nets: tdm.Nets, of: Batch, **settings: object) -> tuple[tdm.Made, tdm.Settings]:
    s = tdm.Settings.model_validate(settings)
    plan = tdm.sampler(s, nets.student)
    states = trajectory(nets.student, plan, of.noise(), of.cond, of.generator)
    return tdm.noised_on(nets, plan, states, of, s), s


def exact(kind: str, mixture: Mixture = MIXTURE) -> tdm.Nets:
    net = ClosedFormDenoiser(mixture, *paths()[kind])
    return tdm.Nets(Guided(net, 1), net, net)


@pytest.mark.parametrize("kind", KINDS)
def test_a_transition_adds_the_variance_that_is_missing(kind: str) -> None:
    path = paths()[kind][0]
    s, t = torch.rand(2, 500, dtype=torch.float64).sort(0).values * 0.98 + 0.01
    level_s, level_t = ((path.alpha(u), path.sigma(u)) for u in (s, t))
    kept, added = transition(level_s, level_t)
    torch.testing.assert_close(kept * level_s[0], level_t[0])
    torch.testing.assert_close((kept * level_s[1]) ** 2 + added**2, level_t[1] ** 2)


def test_the_mean_target_of_states_noised_on_is_their_exact_score_and_the_naive_one_is_not() -> None:
    path, values = paths()["flow"][0], torch.tensor([-1.0, 0.0, 1.0, 2.0], dtype=torch.float64)
    at = torch.linspace(-0.6, 1.2, 9, dtype=torch.float64)
    s, t = (times(level, at) for level in (0.5, 0.7))
    level_s, level_t = ((path.alpha(u), path.sigma(u)) for u in (s, t))
    (alpha_s, sigma_s), (alpha_t, sigma_t) = level_s, level_t
    likely = (-((at[:, None] - alpha_t[0] * values) ** 2) / (2 * sigma_t[0] ** 2)).softmax(1)
    velocity = (at - (likely * values).sum(1)) / sigma_t  # E noise - E x0, the clean values being four points
    # Of the state and the noise that was added to it, the means at each noised state, by Gaussian conditioning.
    kept, added = transition(level_s, level_t)
    gain = kept * sigma_s**2 / sigma_t**2
    means = alpha_s[0] * values + gain[:, None] * (at[:, None] - alpha_t[0] * values)
    state = (likely * means).sum(1)
    second = (at - kept * state) / added
    x0, noise = losses.interval_target(state, level_s, level_t, second)
    torch.testing.assert_close(noise - x0, velocity)
    assert (second - state - velocity).abs().max() > 0.2


def test_a_clean_state_has_the_ordinary_target() -> None:
    path = paths()["edm"][0]
    state, noise = torch.randn(2, 8, 2, dtype=torch.float64)
    t = times(0.4, state)
    x0, all_noise = losses.interval_target(
        state, end_of_step(path, times(0, state)), (path.alpha(t), path.sigma(t)), noise
    )
    assert torch.equal(x0, state)
    assert torch.equal(all_noise, noise)


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_the_students_own_noised_within_the_step_that_led_to_them(kind: str) -> None:
    nets, of = exact(kind), batch(256)
    made, s = made_by(nets, of, student_steps=4)
    plan, path = tdm.sampler(s, nets.student), nets.student.path
    drawn = batch(256)
    states = trajectory(nets.student, plan, drawn.noise(), drawn.cond, drawn.generator)
    k = drawn.indices(4)
    edges = torch.tensor([*plan.levels, 0.0], dtype=torch.float64)
    assert len(k.unique()) == 4
    assert (made.t <= edges[k]).all()
    assert (made.t >= edges[k + 1]).all()
    # The trajectory's next state is where each step ended, and what the last makes is clean.
    for j in range(4):
        expected = states[j + 1] if j < 3 else made.x0
        torch.testing.assert_close(made.state[k == j], expected[k == j])
    noise = (made.noised - path.alpha(made.t).float()[:, None] * made.x0) / path.sigma(made.t).float()[:, None]
    assert noise.std().item() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_pulls_while_the_fake_score_is_the_teacher(kind: str) -> None:
    nets = exact(kind)
    made, s = made_by(nets, batch(64))
    x0 = made.x0.clone().requires_grad_()
    there = nets.fake_score(made.noised, made.t, made.told_fake).x0
    (gradient,) = torch.autograd.grad(tdm.matching(x0, there, there, s), x0)
    assert gradient.abs().max() == 0


def test_one_step_is_distribution_matching_on_the_clean_sample() -> None:
    nets = exact("edm")
    made, _ = made_by(nets, batch(64), student_steps=1)
    assert torch.equal(made.state, made.x0)
    path = nets.student.path
    torch.testing.assert_close(made.noised, path.noised(made.x0, made.noise, made.t))
    torch.testing.assert_close(tdm.importance(made.noise, made.noise), torch.ones(64))


def test_pseudo_huber_pulls_each_sample_as_hard_and_l2_by_the_teachers_error() -> None:
    x0 = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    real = torch.tensor([[3.0, 4.0], [0.3, 0.4]], dtype=torch.float64)
    fake = torch.zeros(2, 2, dtype=torch.float64)
    huber = tdm.matching(x0, real, fake, tdm.Settings(distance="pseudo-huber"))
    (gradient,) = torch.autograd.grad(2 * huber, x0)
    torch.testing.assert_close(gradient, -torch.tensor([[0.6, 0.8], [0.6, 0.8]]).double(), rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(4 * tdm.matching(x0, real, fake, tdm.Settings()), x0)
    torch.testing.assert_close(gradient, -real / real.mean(1, keepdim=True))


def test_by_element_each_element_pulls_as_hard_over_the_teachers_error() -> None:
    x0 = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    real = torch.tensor([[3.0, 4.0], [30.0, 40.0]], dtype=torch.float64)
    fake = torch.zeros(2, 2, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(
        4 * tdm.matching(x0, real, fake, tdm.Settings(distance="pseudo-huber by element")), x0
    )
    torch.testing.assert_close(gradient, -1 / torch.tensor([[3.5, 3.5], [35.0, 35.0]]).double(), rtol=1e-5, atol=0)


def test_the_importance_weight_is_that_of_two_normal_densities() -> None:
    noise, fresh = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    expected = torch.exp(torch.tensor([-0.5 * 2 + 0.5 * 1]))
    torch.testing.assert_close(tdm.importance(noise, fresh), expected)


@pytest.mark.parametrize("target", ["clean sample", "sub-interval"])
def test_the_fake_scores_gradient_is_that_of_finite_differences(
    target: str, untrained: Callable[[str], Teacher]
) -> None:
    nets = tdm.build(untrained("flow"), tdm.Settings())
    nets.fake_score.double()
    nets.student.double()
    with torch.no_grad():
        made, s = made_by(nets, batch(32), fake_score_target=target)
    bias = list(nets.fake_score.parameters())[-1]  # of the last layer
    (gradient,) = torch.autograd.grad(tdm.fake_score_loss(nets, made, s), bias)
    found = []
    for i in range(2):
        ends = []
        for move in (1e-5, -2e-5):
            with torch.no_grad():
                bias[i] += move
                ends.append(tdm.fake_score_loss(nets, made, s))
        with torch.no_grad():
            bias[i] += 1e-5
        found.append((ends[0] - ends[1]) / 2e-5)
    torch.testing.assert_close(gradient, torch.stack(found), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("updates", "turns"), [(1, "111"), (2, "101"), (3, "1001")])
def test_the_fake_score_learns_first_and_the_student_every_so_often(
    updates: int, turns: str, untrained: Callable[[str], Teacher]
) -> None:
    s = tdm.Settings(fake_score_updates=updates)
    nets = tdm.build(untrained("edm"), s)
    for step, turn in enumerate(turns):
        found = [update.net for update in tdm.step(nets, batch(4, step), s)]
        assert found == [nets.fake_score, *[nets.student] * int(turn)]


def test_a_student_of_several_budgets_is_told_where_its_step_ends(untrained: Callable[[str], Teacher]) -> None:
    s = tdm.Settings(several_budgets=True, student_steps=3)
    nets = tdm.build(untrained("flow"), s)
    asked: list[tuple[Tensor, Tensor]] = []
    lengths: list[Tensor] = []

    def hook(net: Denoiser, given: tuple[Tensor, Tensor, Condition], made: object) -> None:
        asked.append((given[1], given[2].part("end_time")))

    nets.student.register_forward_hook(hook)
    nets.fake_score.register_forward_hook(lambda net, given, made: lengths.append(given[2].part("step_length")))
    for seed in range(6):
        list(tdm.step(nets, batch(64, seed=seed), s))
    budgets = {round(1 / float(length)) for length in torch.cat(lengths)}
    assert budgets == {1, 2, 3}
    begin, end = (torch.cat(parts) for parts in zip(*asked, strict=True))
    steps = {(round(float(b), 4), round(float(e), 4)) for b, e in zip(begin, end, strict=True)}
    expected = {(1 - i / n, 1 - (i + 1) / n) for n in (1, 2, 3) for i in range(n)}
    assert steps == {(round(b, 4), round(e, 4)) for b, e in expected}
    method = load_method("tdm")
    assert method.only_as_trained(tdm.Settings())
    assert not method.only_as_trained(s)


def test_the_cost_is_what_a_step_evaluates(untrained: Callable[[str], Teacher]) -> None:
    for steps, updates in itertools.product((1, 4), (1, 2)):
        s = tdm.Settings(student_steps=steps, fake_score_updates=updates)
        nets = tdm.build(untrained("edm"), s)
        counted = [0]

        def count(net: Denoiser, given: object, made: object, counted: list[int] = counted) -> None:
            counted[0] += 3 if torch.is_grad_enabled() else 1

        for net in (nets.teacher, nets.student, nets.fake_score):
            net.register_forward_hook(count)
        for step in range(updates):
            list(tdm.step(nets, replace(batch(4, step)), s))
        assert counted[0] / updates == pytest.approx(tdm.cost(s))


def test_a_trained_student_is_sampled_along_the_trajectory_it_was_trained_on(
    untrained: Callable[[str], Teacher],
) -> None:
    s = tdm.Settings(student_steps=3)
    net = tdm.build(untrained("edm"), s).student
    plan, drawn = tdm.sampler(s, net), batch(8)
    noise = drawn.noise()
    states = trajectory(net, plan, noise, drawn.cond, drawn.generator)
    last = net(states[-1], times(plan.levels[-1], noise), drawn.cond).x0
    torch.testing.assert_close(sample(net, plan, noise, drawn.cond, drawn.generator), last)
