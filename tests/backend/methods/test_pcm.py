"""PCM's phases and edges against the paths' closed forms, and what its two networks learn from."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.boundary import euler
from backend.contract.settings import problems
from backend.methods import Batch, Update, load_method, pcm
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.networks.heads import Heads
from backend.samplers import heun, step, times
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, paths
from backend.train import Run, train

KINDS = tuple(paths())
CPU = torch.device("cpu")

every_kind = pytest.mark.parametrize("kind", KINDS)


def batch(n: int = 64, seed: int = 0) -> Batch:
    real, _ = MIXTURE.draw(n, torch.Generator().manual_seed(5))
    cond = Condition.none(n)
    return Batch(0, 10, cond, (2,), torch.Generator().manual_seed(seed), CPU, real, cond)


def built(teacher: Teacher, **settings: Any) -> tuple[pcm.Nets, pcm.Settings]:
    s = pcm.Settings(**settings)
    torch.manual_seed(3)
    return pcm.build(teacher, s), s


def updates(teacher: Teacher, seed: int = 0, **settings: Any) -> list[Update]:
    nets, s = built(teacher, **settings)
    return list(pcm.step(nets, batch(seed=seed), s))


def edges_of(nets: pcm.Nets, s: pcm.Settings) -> tuple[float, ...]:
    return (*pcm.sampler(s, nets.student).levels, 0.0)


@pytest.mark.parametrize("phases", [1, 3, 4, 8])
def test_every_phase_has_a_grid_of_its_own_that_ends_at_its_edges(phases: int) -> None:
    edges = (*(0.8 * (1 - k / phases) for k in range(phases)), 0.0)
    at = pcm.points(batch(8000), edges, 48)
    each = 48 // phases
    for begin, edge in pairwise(edges):
        mine = at.begin == begin
        assert torch.equal(at.edge[mine], torch.full_like(at.edge[mine], edge))
        assert float(mine.double().mean()) == pytest.approx(1 / phases, abs=0.03)
        grid = edge + (begin - edge) / each * torch.arange(each + 1).double()
        torch.testing.assert_close(at.t[mine].unique(), grid[1:])
        torch.testing.assert_close(at.t_next[mine].unique(), grid[:-1])
        assert at.t[mine].max() == begin  # to the last bit: where the student is asked
        assert at.t_next[mine].min() == edge
    torch.testing.assert_close(at.t - at.t_next, (at.begin - at.edge) / each)


def test_phases_of_any_length_have_as_many_steps_of_the_teacher() -> None:
    """Levels are moved to where a scheduler can be set to, so phases differ in length."""
    at = pcm.points(batch(6000), (0.9, 0.2, 0.0), 32)
    for begin in (0.9, 0.2):
        assert len(at.t[at.begin == begin].unique()) == 16


@every_kind
@pytest.mark.parametrize("phases", [1, 4])
def test_a_point_at_its_phases_edge_is_returned_unchanged(
    kind: str, phases: int, untrained: Callable[[str], Teacher]
) -> None:
    nets, s = built(untrained(kind), student_steps=phases)
    generator = torch.Generator().manual_seed(1)
    for edge in edges_of(nets, s)[1:]:
        x0, noise = torch.randn(2, 32, 2, generator=generator)
        t = times(edge, x0)
        state = nets.student.path.noised(x0, noise, t)
        found = pcm.led_to_edge(nets.student, state, t, t, Condition.none(32))
        torch.testing.assert_close(found, state, rtol=1e-5, atol=1e-5 * float(state.abs().max()))


@every_kind
def test_the_student_is_used_as_it_learns_from_edge_to_edge(kind: str, untrained: Callable[[str], Teacher]) -> None:
    nets, s = built(untrained(kind))
    plan, state, cond = pcm.sampler(s, nets.student), torch.randn(8, 2), Condition.none(8)
    assert plan.kind == "deterministic"
    assert plan.nfe == s.student_steps
    for k in range(plan.nfe - 1):
        begin, edge = (times(level, state) for level in plan.levels[k : k + 2])
        expected = pcm.led_to_edge(nets.student, state, begin, edge, cond)
        assert torch.equal(step(nets.student, plan, k, state, cond, torch.Generator()), expected)


@every_kind
@pytest.mark.parametrize(("solver", "solve"), [("euler", euler), ("heun", heun)])
def test_the_loss_is_that_of_two_ends_of_the_teachers_step_at_the_edge(
    kind: str, solver: Any, solve: Callable[..., Tensor], untrained: Callable[[str], Teacher]
) -> None:
    nets, s = built(untrained(kind), solver=solver)
    with torch.no_grad():
        nets.target.network.get_parameter("head.bias").add_(0.1)  # not the student any more
    update = next(pcm.step(nets, batch(), s))
    again = batch()
    x0, cond = again.real
    at = pcm.points(again, edges_of(nets, s), s.discretisation)
    path = nets.student.path
    noised = path.noised(x0, again.noise(), at.t)
    reached = solve(nets.teacher, noised, at.t, at.t_next, cond)

    def at_the_edge(net: Denoiser, state: Tensor, t: Tensor) -> Tensor:
        made: Prediction = net(state, t, cond)
        alpha, sigma = path.alpha(at.edge).float()[:, None], path.sigma(at.edge).float()[:, None]
        return alpha * made.x0 + sigma * made.noise

    answer = at_the_edge(nets.target, reached, at.t_next)
    expected = (at_the_edge(nets.student, noised, at.t) - answer).square().mean()
    torch.testing.assert_close(update.losses["consistency"], expected)
    last = at.t_next == at.edge
    assert bool(last.any())  # whose answer is the teacher's step itself
    torch.testing.assert_close(answer[last], reached[last], rtol=1e-4, atol=1e-4)


def test_of_one_phase_it_is_consistency_distillation(untrained: Callable[[str], Teacher]) -> None:
    """On the same grid."""
    (mine,) = updates(untrained("edm"), student_steps=1, discretisation=48)
    method = load_method("consistency")
    s = method.settings(solver="euler", discretisation=49)
    given = batch()
    given.indices(1)  # the one phase, which consistency does not draw
    torch.manual_seed(3)
    theirs = next(method.step(method.build(untrained("edm"), s), given, s))
    torch.testing.assert_close(mine.losses["consistency"], theirs.losses["consistency"])


@every_kind
def test_states_at_an_edge_are_noised_on_to_the_paths_own_levels(kind: str) -> None:
    """In mean and variance: alpha(t) x0 and sigma(t)², whatever level they come from."""
    path, n = paths()[kind][0], 200_000
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, n, 1, dtype=torch.float64, generator=generator)
    x0 = torch.ones(n, 1, dtype=torch.float64)
    s, t = times(0.25, x0), times(0.4, x0)
    found = pcm.moved_on(path, path.noised(x0, first, s), s, t, second)
    sigma = float(path.sigma(t[:1]))
    assert float(found.mean()) == pytest.approx(float(path.alpha(t[:1])), abs=0.01 * max(sigma, 1e-3))
    assert float(found.std()) == pytest.approx(sigma, rel=0.01)
    torch.testing.assert_close(pcm.moved_on(path, first, s, s, second), first)  # no way, no noise


def test_the_discriminator_sees_answer_and_student_at_one_level_of_their_phase(
    untrained: Callable[[str], Teacher], monkeypatch: pytest.MonkeyPatch
) -> None:
    nets, s = built(untrained("flow"), gan_weight=0.1)
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    whole, found = pcm.logits, list[Tensor]()

    def watched(nets: pcm.Nets, state: Tensor, edge: Tensor, level: Tensor, *more: Any) -> Tensor:
        seen.append((state, edge, level))
        found.append(whole(nets, state, edge, level, *more))
        return found[-1]

    monkeypatch.setattr(pcm, "logits", watched)
    first, second = pcm.step(nets, batch(512), s)
    assert set(first.losses) == {"consistency", "gan"}
    assert set(second.losses) == {"discriminator"}
    assert (first.net, second.net) == (nets.student, nets.discriminator)
    (fake, edge, level), (real, _, level_of_real), (again, _, level_of_fake) = seen
    assert torch.equal(level, level_of_real)
    assert torch.equal(level, level_of_fake)
    assert torch.equal(fake, again)
    assert fake.requires_grad
    assert not real.requires_grad
    assert not again.requires_grad
    for_student, on_real, on_fake = found
    torch.testing.assert_close(first.losses["gan"], -0.1 * for_student.mean())
    torch.testing.assert_close(second.losses["discriminator"], ((1 - on_real).relu() + (1 + on_fake).relu()).mean())
    into = (level - edge) / 0.25  # four phases of equal length
    assert 0 <= float(into.min()) < 0.05
    assert 0.95 < float(into.max()) <= 1


def test_the_adversarial_weight_is_the_weight(untrained: Callable[[str], Teacher]) -> None:
    once, twice = (updates(untrained("edm"), gan_weight=w)[0].losses["gan"] for w in (0.4, 0.8))
    torch.testing.assert_close(2 * once, twice)
    assert float(once.detach()) != 0


class Straight(torch.nn.Module):
    """Of data that are one point: the exact flow's velocity, noise - x0, whose trajectories are straight."""

    shape, null_label, point = (2,), None, torch.tensor([[0.3, -0.7]])

    def forward(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        return (x - self.point) / (time / 1000).to(x.dtype)[:, None].clamp(min=1e-9)


@pytest.mark.parametrize("phases", [1, 4])
def test_where_trajectories_are_straight_the_exact_student_has_nothing_to_learn(phases: int) -> None:
    """Every point of a phase leads to the same state at its edge, in one step of any length."""
    exact, s = Denoiser(Straight(), paths()["flow"][0], "flow"), pcm.Settings(student_steps=phases)
    nets = pcm.Nets(Guided(exact, 1.0), exact, exact, exact, Heads([]))
    update = next(pcm.step(nets, replace(batch(), real_samples=Straight.point.expand(64, 2)), s))
    assert float(update.losses["consistency"]) < 1e-10


@every_kind
def test_every_updates_gradient_is_that_of_differences(
    kind: str, untrained: Callable[[str], Teacher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tensor, "float", Tensor.double)  # as which logits are taken, too coarse for differences
    nets, s = built(untrained(kind), gan_weight=0.3, distance="pseudo-huber", huber_offset=0.1, first_level=0.9)
    for net in (nets.features, nets.student, nets.target, nets.discriminator):
        net.double()
    for place, name in enumerate(("network.head.weight", "heads.0.out.weight")):

        def value(place: int = place) -> Tensor:
            of = batch(16)
            assert of.real_samples is not None
            taken = pcm.step(nets, replace(of, real_samples=of.real_samples.double()), s)
            update = list(islice(taken, place + 1))[place]  # what follows the last would move the target
            return torch.stack([term.double() for term in update.losses.values()]).sum()

        weight, h, ends = (nets.student, nets.discriminator)[place].get_parameter(name), 1e-5, []
        (gradient,) = torch.autograd.grad(value(), weight)
        for way in (h, -2 * h):
            with torch.no_grad():
                weight.add_(way * gradient / gradient.norm())
            ends.append(float(value().detach()))
        assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(float(gradient.norm()), rel=1e-4)


@pytest.mark.parametrize("target_ema", [0.0, 0.7])
def test_the_target_follows_the_student(
    target_ema: float, begin: Callable[..., Run], untrained: Callable[[str], Teacher]
) -> None:
    run = begin("pcm", untrained("flow"), steps=2, target_ema=target_ema, learning_rate=1e-2)
    expected = [p.detach().clone() for p in run.student.parameters()]
    for _ in train(run):
        pairs = zip(expected, run.student.parameters(), strict=True)
        expected = [target_ema * old + (1 - target_ema) * new.detach() for old, new in pairs]
        for mine, theirs in zip(run.nets.target.parameters(), expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("asked", "word"), [({"discretisation": 8}, "discretisation"), ({"student_steps": 0}, "student_steps")]
)
def test_too_few_steps_are_refused_in_a_sentence(asked: dict[str, Any], word: str) -> None:
    (sentence,) = problems(pcm.Settings, asked)
    assert word in sentence


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("gan_weight", [0.0, 0.1])
def test_its_cost_counts_every_evaluation(solver: Any, gan_weight: float, untrained: Callable[[str], Teacher]) -> None:
    nets, s = built(untrained("edm"), solver=solver, gan_weight=gan_weight)
    rows: list[int] = []
    for net in (nets.teacher, nets.student, nets.target):
        net.register_forward_pre_hook(lambda module, given: rows.append(len(given[0])))
    list(pcm.step(nets, batch(16), s))
    counted = sum(rows) + 2 * 16  # the update's backward
    assert pcm.cost(s) == counted / 16 + (2 if gan_weight else 0)
