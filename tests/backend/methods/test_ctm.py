"""CTM against closed forms: on one Gaussian's flow, which only rescales, every map from any time to any other is known.

What holds of any network, of the grid, of the balance and of the gradient's way through the target is beside it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from backend import train
from backend.contract.settings import problems
from backend.methods import Batch, Update, ctm
from backend.networks import Condition, Guided
from backend.samplers import times
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, Mixture, paths

from .several_steps import same_in_one_step_and_four
from .test_finite_differences import agree, built
from .test_finite_differences import batch as drawn_batch
from .test_meanflow import GAUSSIAN, ExactAverage, ExactDenoiser

KINDS = tuple(paths())
CPU = torch.device("cpu")

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def _in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Exact(ExactAverage):
    """The network whose every step on one Gaussian's flow is exact; over no distance any answer is."""

    def answer(self, noised: Tensor, t: Tensor, end: Tensor) -> Tensor:
        return torch.where((t == end)[:, None], 0, super().answer(noised, t, end))


def exact_nets(kind: str) -> ctm.Nets:
    path, prediction_type = paths()[kind]
    teacher = ClosedFormDenoiser(GAUSSIAN, path, prediction_type)
    student = ExactDenoiser(Exact(path, prediction_type), path, prediction_type, GAUSSIAN.sigma_data)
    return ctm.Nets(Guided(teacher, 1.0), teacher, student, student, torch.nn.Identity())


def batch(n: int, mixture: Mixture = MIXTURE, step: int = 0, total: int = 1, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    real, _ = mixture.draw(n, generator)
    cond = Condition.none(n)
    return Batch(step, total, cond, (2,), generator, CPU, real, cond)


def moved_nets(kind: str, untrained: Callable[[str], Teacher], **settings: Any) -> tuple[ctm.Nets, ctm.Settings]:
    """Networks that say different things, the end of a step among what matters."""
    s = ctm.Settings(**settings)
    torch.manual_seed(1)
    nets = ctm.build(untrained(kind), s)
    with torch.no_grad():
        for net in (nets.student, nets.target):
            for parameter in net.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
    return nets, s


def updates(nets: ctm.Nets, given: Batch, s: ctm.Settings) -> list[Update]:
    """Those of one step, without what follows the last."""
    taken = []
    for update in ctm.step(nets, given, s):
        taken.append(update)
        if len(taken) == (2 if "gan" in taken[0].losses else 1):
            break
    return taken


@every_kind
def test_the_exact_maps_of_a_gaussian_have_no_loss(kind: str) -> None:
    s = ctm.Settings(discretisation=200, longest_span=9, denoising_weight=0, first_level=0.95)
    (update,) = updates(exact_nets(kind), batch(256, GAUSSIAN), s)
    assert float(update.losses["trajectory"]) < 1e-7  # Heun's error


@every_kind
def test_without_the_teachers_steps_they_have(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctm, "teacher_steps", lambda teacher, noised, *rest: noised)
    s = ctm.Settings(discretisation=200, longest_span=9, denoising_weight=0, first_level=0.95)
    (update,) = updates(exact_nets(kind), batch(256, GAUSSIAN), s)
    assert float(update.losses["trajectory"]) > 1e-5


@every_kind
def test_over_no_distance_any_network_leads_to_the_point_itself(kind: str, untrained: Callable[[str], Teacher]) -> None:
    nets, _ = moved_nets(kind, untrained)
    net = nets.student.double()
    x, cond = torch.randn(256, 2, dtype=torch.float64), Condition.none(256)
    for t in (times(level, x) for level in (0.0, 0.3, 0.9)):
        torch.testing.assert_close(ctm.led(net, x, t, t, cond), x, rtol=0, atol=1e-9)
    assert not torch.allclose(ctm.led(net, x, times(0.9, x), times(0.0, x), cond), x, atol=0.1)


def test_on_edms_path_it_is_the_papers_map(untrained: Callable[[str], Teacher]) -> None:
    """G = s/t x + (1 - s/t) g, with s and t noise levels."""
    nets, _ = moved_nets("edm", untrained)
    net = nets.student.double()
    x, cond = 3 * torch.randn(64, 2, dtype=torch.float64), Condition.none(64)
    t, end = times(0.8, x), times(0.3, x)
    share = (net.path.sigma(end) / net.path.sigma(t))[:, None]
    g = ctm.told(net, x, t, end, cond).x0
    torch.testing.assert_close(ctm.led(net, x, t, end, cond), share * x + (1 - share) * g)


def test_steps_begin_and_end_on_the_grid_in_order() -> None:
    s = ctm.Settings(discretisation=18, longest_span=4, start_share=0.25)
    spans = set()
    for seed in range(20):
        t, u, end, span = ctm.points(batch(300, seed=seed), s, 0.9)
        for at in (t, u, end):
            torch.testing.assert_close((at * 17 / 0.9).round() * 0.9 / 17, at)
        torch.testing.assert_close(t - u, torch.full_like(t, span * 0.9 / 17))
        assert bool((end <= u).all())
        assert bool((end[:75] == 0).all())
        assert bool((end[75:] > 0).any())
        assert float(t.max()) == pytest.approx(0.9)
        spans.add(span)
    assert spans == {1, 2, 3, 4}


def test_a_step_ends_anywhere_before_the_teachers_alike() -> None:
    _, u, end, _ = ctm.points(batch(20_000), ctm.Settings(discretisation=5, longest_span=1, start_share=0), 1.0)
    assert set((4 * u).tolist()) == {0, 1, 2, 3}
    for k in range(4):
        ends = (4 * end[u == k / 4]).round()
        shares = [float((ends == j).double().mean()) for j in range(k + 1)]
        assert shares == pytest.approx([1 / (k + 1)] * (k + 1), abs=0.03)


def test_the_teacher_walks_to_where_it_must_in_its_own_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    walked = []

    def heun(teacher: Any, noised: Tensor, t: Tensor, s: Tensor, cond: Condition) -> Tensor:
        walked.append((float(t), float(s)))
        return noised + 1

    monkeypatch.setattr(ctm, "heun", heun)
    x = torch.zeros(1, 2)
    reached = ctm.teacher_steps(None, x, times(0.9, x), times(0.3, x), 3, Condition.none(1))  # type: ignore[arg-type]
    assert torch.equal(reached, x + 3)
    assert [at for pair in walked for at in pair] == pytest.approx([0.9, 0.7, 0.7, 0.5, 0.5, 0.3])


def test_the_denoising_loss_pulls_as_hard_as_the_trajectorys(
    untrained: Callable[[str], Teacher], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, ask = list[Tensor](), ctm.told

    def seen(*given: Any) -> Any:
        prediction = ask(*given)
        if torch.is_grad_enabled() and given[0] is nets.student:
            made.append(prediction.output)
        return prediction

    monkeypatch.setattr(ctm, "told", seen)
    for weight in (1.0, 0.25):
        nets, s = moved_nets("flow", untrained, denoising_weight=weight)
        (update,) = updates(nets, batch(64), s)
        on_way, at_rest = made[-2:]
        terms = update.losses
        assert float(ctm.pull(terms["denoising"], at_rest)) == pytest.approx(
            weight * float(ctm.pull(terms["trajectory"], on_way)), rel=1e-5
        )


def test_how_hard_a_term_pulls_is_known() -> None:
    x = torch.zeros(2, 2, requires_grad=True)
    assert float(ctm.pull((x * torch.tensor([[1.0, 4.0], [8.0, 0.0]])).sum(), x)) == pytest.approx(9)


def test_the_target_is_passed_through_and_not_moved(untrained: Callable[[str], Teacher]) -> None:
    nets, s = moved_nets("edm", untrained, target_ema=0.7)
    before = [p.detach().clone() for p in nets.target.parameters()]
    steps = ctm.step(nets, batch(64), s)
    update = next(steps)
    assert not any(p.requires_grad for p in nets.target.parameters())
    torch.autograd.grad(update.losses["trajectory"], list(nets.student.parameters()))
    assert next(steps, None) is None
    for mine, old, new in zip(nets.target.parameters(), before, nets.student.parameters(), strict=True):
        torch.testing.assert_close(mine, 0.7 * old + 0.3 * new)


@pytest.mark.parametrize(("share", "rows"), [(0.0, 8), (0.75, 2), (1.0, 0)])
def test_the_target_leads_on_what_is_not_at_the_start(
    share: float, rows: int, untrained: Callable[[str], Teacher]
) -> None:
    nets, s = moved_nets("flow", untrained, start_share=share)
    seen: list[int] = []
    nets.target.register_forward_hook(lambda net, given, out: seen.append(len(given[0])))
    x, cond = torch.randn(8, 2), Condition.none(8)
    t = torch.linspace(0.2, 0.9, 8, dtype=torch.float64)
    led = ctm.led_on(nets.target, x, t, cond, s)
    assert sum(seen) == rows
    assert torch.equal(led[: 8 - rows], x[: 8 - rows])
    torch.testing.assert_close(led[8 - rows :], ctm.led(nets.target, x, t, torch.zeros_like(t), cond)[8 - rows :])


@pytest.mark.usefixtures("_in_float64")
@pytest.mark.parametrize("kind", ["flow", "edm"])
def test_its_terms_have_the_gradient_of_their_losses(
    kind: str, untrained: Callable[[str], Teacher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the student leads the teacher's point is held, as the loss takes it for given."""
    nets, s = built("ctm", {"discretisation": 6, "longest_span": 2, "denoising_weight": 0}, untrained(kind))
    held, lead = nets.student.copy(), ctm.led

    def given(net: Any, *more: Any) -> Tensor:
        return lead(held if net is nets.student else net, *more)

    monkeypatch.setattr(ctm, "led", given)
    agree(lambda: updates(nets, drawn_batch(), s)[0].losses["trajectory"], nets.student)
    agree(lambda: ctm.denoising(nets, drawn_batch(), s)[1], nets.student)


def test_denoising_is_the_networks_own_loss_at_the_time_it_is_told(untrained: Callable[[str], Teacher]) -> None:
    nets, s = moved_nets("edm", untrained, denoising_share=1.0)
    seen: list[tuple[Any, ...]] = []
    nets.student.register_forward_pre_hook(lambda net, given: seen.append(given))
    made, loss = ctm.denoising(nets, batch(64), s)
    ((noised, t, cond),) = seen
    assert torch.equal(cond.part("end_time"), t)
    x0 = batch(64).real[0]
    sigma, data = nets.student.path.sigma(t), nets.student.sigma_data
    weight = (sigma**2 + data**2) / (sigma * data) ** 2
    expected = (weight[:, None] * (made.x0 - x0).square()).mean()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    assert bool((noised != x0).all())


def test_under_guidance_it_is_the_guided_teacher_that_is_denoised_as() -> None:
    """Where the student is that teacher already, nothing is left to learn; without guidance, what noise leaves open."""
    exact = ClosedFormDenoiser(MIXTURE, *paths()["flow"], conditional=True)
    generator = torch.Generator().manual_seed(0)
    real, modes = MIXTURE.draw(64, generator)
    cond = Condition.of_labels(modes)
    given = Batch(0, 1, cond, (2,), generator, CPU, real.double(), cond)
    for scale in (3.0, 1.0):
        guided: Any = Guided(exact, scale)
        nets = ctm.Nets(guided, exact, guided, guided, torch.nn.Identity())
        _, loss = ctm.denoising(nets, given, ctm.Settings(guidance_scale=scale, first_level=0.9))
        assert (float(loss) < 1e-12) == (scale != 1)


def test_the_adversarial_loss_joins_when_it_is_asked_to(untrained: Callable[[str], Teacher]) -> None:
    nets, s = moved_nets("edm", untrained, gan_weight=1.0, gan_start=0.5)
    (early,) = updates(nets, batch(64, step=4, total=10), s)
    student, discriminator = updates(nets, batch(64, step=5, total=10), s)
    assert set(early.losses) == {"trajectory", "denoising"}
    assert set(student.losses) == {"trajectory", "denoising", "gan"}
    assert discriminator.net is nets.discriminator
    assert student.sample is not None
    pulls = [float(ctm.pull(student.losses[name], student.sample)) for name in ("gan", "trajectory")]
    assert 0.01 < float(student.metrics["gan_balance"]) < 10
    assert pulls[0] == pytest.approx(pulls[1], rel=1e-4)


@pytest.mark.parametrize(("scale", "weight"), [(1.0, 1.0), (3.0, 1.0), (3.0, 0.0)])
def test_its_cost_counts_every_evaluation(
    scale: float, weight: float, untrained: Callable[..., Teacher], monkeypatch: pytest.MonkeyPatch
) -> None:
    s, teacher = ctm.Settings(guidance_scale=scale, denoising_weight=weight), untrained("flow", classes=True)
    nets = ctm.build(teacher, s)
    seen: list[int] = []
    for net in (teacher.denoiser, nets.student, nets.target):
        net.register_forward_hook(lambda net, given, out: seen.append(len(given[0])))
    real, modes = MIXTURE.draw(8, torch.Generator().manual_seed(0))
    cond = Condition.of_labels(modes)
    for span in range(s.longest_span):
        monkeypatch.setattr(Batch, "index", lambda given, count, span=span: span)
        list(ctm.step(nets, Batch(0, 1, cond, (2,), torch.Generator(), CPU, real, cond), s))
    # Of the student and what the target leads on; with denoising of its rows, and of the target for the balance.
    backwards = 2 + 0.5 + (2 * 0.25 + 0.5 if weight else 0)
    assert ctm.cost(s) == sum(seen) / (8 * s.longest_span) + backwards


def test_a_span_longer_than_the_grid_is_refused() -> None:
    assert not problems(ctm.Settings, {"discretisation": 5, "longest_span": 4})
    (sentence,) = problems(ctm.Settings, {"discretisation": 5, "longest_span": 5})
    assert "longest_span is 5 on a grid of 5 points; set it to at most 4" in sentence


@every_kind
def test_more_steps_of_the_exact_maps_are_as_exact_as_one(kind: str) -> None:
    same_in_one_step_and_four(ctm, exact_nets(kind).student)


@pytest.mark.long
def test_more_steps_come_nearer_to_the_exact_flow_and_over_no_distance_it_denoises(begin, ring8):
    published = {"longest_span": 4, "start_share": 0, "denoising_weight": 1, "denoising_share": 1}
    run = begin("ctm", ring8.teacher, 800, 512, learning_rate=1e-3, **published)
    list(train.train(run))
    found = [ring8.coupling(run.average, ctm.sampler(ctm.Settings(student_steps=n), run.student)) for n in (1, 4)]
    assert found[1] < 0.9 * found[0]
    x0, _ = ring8.teacher.draws.draw(4000, torch.Generator().manual_seed(1))
    x0, net = x0.double(), ring8.teacher.denoiser
    t, cond = times(0.3, x0), Condition.none(len(x0))
    noised = net.path.noised(x0, torch.randn(x0.shape, generator=torch.Generator().manual_seed(2)).double(), t)
    with torch.no_grad():
        off = ctm.told(run.average, noised.float(), t, t, cond).x0 - net(noised, t, cond).x0
    assert float(off.square().mean().sqrt()) < 0.05
