"""TCM: where its boundary lies, who answers on which side of it, and that only the exact map is at rest."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backend import train
from backend.contract.recipe import RecipeError
from backend.contract.settings import problems
from backend.methods import Batch, tcm
from backend.networks import Condition, Denoiser, Guided
from backend.noise import Path, per_sample
from backend.samplers import times
from backend.teachers import Teacher
from backend.teachers.mixture_2d import ClosedFormDenoiser, Mixture, paths

from .test_finite_differences import agree

CPU = torch.device("cpu")
KINDS = tuple(paths())
GAUSSIAN = Mixture(torch.tensor([[0.0, 0.0]]).double(), torch.tensor([1.0]).double(), std=0.5)
Untrained = Callable[..., Teacher]


def batch(n: int = 64, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    real = 0.5 * torch.randn(n, 2, generator=generator)
    cond = Condition.none(n)
    return Batch(0, 8, cond, (2,), generator, CPU, real, cond)


class Flow(nn.Module):
    """A network that predicts x0 so that the jump to the least noise is the exact flow of a Gaussian, which rescales.

    wrong: factor of the answer.
    """

    shape, null_label, inputs = (2,), None, ()

    def __init__(self, path: Path, wrong: float = 1.0) -> None:
        super().__init__()
        self.path, self.wrong = path, wrong

    def forward(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        t = self.path.t_of_network_time(time)
        alpha, sigma, low = self.path.alpha(t), self.path.sigma(t), times(0.0, x)
        alpha_0, sigma_0 = self.path.alpha(low), self.path.sigma(low)
        started = self.wrong * (spread(self.path, low) / spread(self.path, t))
        share = sigma_0 / sigma
        return per_sample((started - share) / (alpha_0 - share * alpha), x) * x


def spread(path: Path, t: Tensor) -> Tensor:
    return ((path.alpha(t) * GAUSSIAN.std) ** 2 + path.sigma(t) ** 2).sqrt()


def exact_flow(path: Path, wrong: float = 1.0) -> Denoiser:
    return Denoiser(Flow(path, wrong), path, "sample")


def terms(nets: tcm.Nets, s: tcm.Settings, of: Batch) -> dict[str, float]:
    update = next(tcm.step(nets, of, s))  # what follows would move an average, and these networks have no parameters
    return {name: float(value.detach()) for name, value in update.losses.items()}


@pytest.fixture
def settled() -> Callable[..., tcm.Nets]:
    """settled(first_stage=1, student=1): every network the exact answer on the flow's path, but for these factors."""

    def of(first_stage: float = 1.0, student: float = 1.0) -> tcm.Nets:
        teacher = ClosedFormDenoiser(GAUSSIAN, *paths()["sample"])
        path = teacher.path
        return tcm.Nets(
            Guided(teacher, 1.0), exact_flow(path, student), exact_flow(path, student), exact_flow(path, first_stage)
        )

    return of


# Where the boundary lies, and the times on both sides of it


@pytest.mark.parametrize("kind", KINDS)
def test_the_boundary_is_the_same_noise_level_on_every_path(kind: str, untrained: Untrained) -> None:
    net = untrained(kind).trainable()
    for level in (0.5, 1.0, 3.0):
        t = tcm.boundary_time(tcm.Settings(boundary=level), net)
        assert float(net.path.ratio(torch.tensor(t, dtype=torch.float64))) == pytest.approx(level, rel=0.01)
        assert net.path.on_grid(t) == pytest.approx(t, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_stay_above_the_boundary_but_for_those_of_the_held(kind: str, untrained: Untrained) -> None:
    net, s = untrained(kind).trainable(), tcm.Settings(first_level=0.9)
    t, t_next = tcm.step_ends(batch(1000), net, 250, s)
    low = tcm.boundary_time(s, net)
    assert bool((t[:250] == low).all())
    assert bool((t_next[:250] < low).all())
    assert low <= float(t[250:].min()) < low + 0.01
    assert 0.89 < float(t[250:].max()) <= 0.9
    assert bool((t_next[250:] >= low).all())
    assert bool((t_next < t).all())


def test_the_gap_is_that_of_easy_consistency_tuning_halved_so_often(untrained: Untrained) -> None:
    net = untrained("edm").trainable()

    def kept(halvings: int) -> float:
        t, t_next = tcm.step_ends(batch(8), net, 8, tcm.Settings(halvings=halvings))
        return float((net.path.ratio(t_next) / net.path.ratio(t))[0])

    gap = 1 + 8 / (1 + math.e)  # 1 + 8 sigmoid(-1)
    assert kept(3) == pytest.approx(1 - gap / 16, abs=1e-6)
    assert kept(7) == pytest.approx(1 - gap / 256, abs=1e-6)
    assert kept(0) == pytest.approx(0.01)  # longer than the noise: to the least of the path


def test_a_student_of_several_steps_is_asked_nothing_below_the_boundary(untrained: Untrained) -> None:
    for kind in KINDS:
        net = untrained(kind).trainable()
        for steps in range(1, 9):
            s = tcm.Settings(student_steps=steps, first_level=0.9)
            levels = tcm.sampler(s, net).levels
            assert levels[0] == pytest.approx(0.9, abs=1e-3)
            assert len(levels) == steps
            if steps > 1:
                assert levels[-1] == pytest.approx(tcm.boundary_time(s, net), abs=1e-12)


# Who answers


def test_the_first_stage_answers_the_held_and_the_target_all_others(untrained: Untrained) -> None:
    s = tcm.Settings(first_level=0.9)
    nets = tcm.build(untrained("flow"), s)
    asked: dict[str, list[Tensor]] = {name: [] for name in ("student", "target", "first_stage")}
    for name, seen in asked.items():
        getattr(nets, name).register_forward_pre_hook(lambda net, given, seen=seen: seen.append(given[1]))
    list(tcm.step(nets, batch(40), s))
    (student,), (target,), (first_stage,) = asked.values()
    assert (len(student), len(target), len(first_stage)) == (40, 30, 10)
    assert float(student.min()) == tcm.boundary_time(s, nets.student) <= float(target.min())
    assert float(first_stage.max()) < tcm.boundary_time(s, nets.student)


def test_a_batch_of_one_is_held_in_its_share_of_the_steps(untrained: Untrained) -> None:
    s = tcm.Settings(boundary_share=0.25)
    nets = tcm.build(untrained("flow"), s)
    held = []
    nets.first_stage.register_forward_pre_hook(lambda net, given: held.append(len(given[0])))
    for seed in range(200):
        list(tcm.step(nets, batch(1, seed), s))
    assert set(held) == {1}
    assert len(held) == pytest.approx(50, abs=4 * (200 * 0.25 * 0.75) ** 0.5)


def test_without_a_share_there_is_no_boundary(untrained: Untrained) -> None:
    s = tcm.Settings(boundary_share=0)
    (update,) = tcm.step(tcm.build(untrained("flow"), s), batch(), s)
    assert set(update.losses) == {"consistency"}


@pytest.mark.parametrize("distance", ["l2", "pseudo-huber"])
def test_the_exact_map_is_at_rest(distance: str, settled: Callable[..., tcm.Nets]) -> None:
    s = tcm.Settings(halvings=7, distance=distance, learning_rate=0.01)  # type: ignore[arg-type]
    found = terms(settled(), s, batch(512))
    assert found["consistency"] < 1e-6
    assert found["boundary"] < 1e-6


def test_a_wrong_map_is_at_rest_above_the_boundary_and_only_the_boundary_tells(
    settled: Callable[..., tcm.Nets],
) -> None:
    """Half of every answer is as consistent as the whole: what the second stage would collapse to without a first."""
    s = tcm.Settings(halvings=7, boundary_weight=1.0)
    found = terms(settled(student=0.5), s, batch(4096))
    assert found["consistency"] < 1e-6
    # Half of what the first stage says of the boundary, which is the data: mean square of half of 0.5.
    assert found["boundary"] == pytest.approx(0.25**2, rel=0.1)
    weighed = terms(settled(student=0.5), tcm.Settings(halvings=7), batch(4096))
    assert weighed["boundary"] == pytest.approx(0.1 * found["boundary"], rel=1e-5)


def test_it_is_the_first_stage_that_is_believed_at_the_boundary(settled: Callable[..., tcm.Nets]) -> None:
    s = tcm.Settings(halvings=7, boundary_weight=1.0)
    assert terms(settled(first_stage=0.5, student=0.5), s, batch(512))["boundary"] < 1e-6
    nets = settled(first_stage=0.5)
    assert terms(nets, s, batch(512))["boundary"] > 0.03
    instead = s.model_copy(update={"teacher_steps": 50})
    assert terms(nets, instead, batch(512))["boundary"] < 1e-3  # the teacher answers, whatever the first stage would


def test_the_teacher_in_place_of_a_first_stage_leads_to_the_start_to_first_order() -> None:
    for kind in KINDS:
        teacher = ClosedFormDenoiser(GAUSSIAN, *paths()[kind])
        x, t = torch.randn(64, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64), 0.5
        scale = spread(teacher.path, times(0.0, x)) / spread(teacher.path, times(t, x))
        expected = per_sample(scale, x) * x

        def error(steps: int) -> float:
            made = tcm.followed(Guided(teacher, 1.0), x, times(t, x), Condition.none(64), steps)  # noqa: B023
            return float((made - expected).abs().max())  # noqa: B023

        assert error(200) < 0.02
        assert error(200) == pytest.approx(error(100) / 2, rel=0.1)


def test_the_datas_trajectory_keeps_its_noise(untrained: Untrained) -> None:
    s = tcm.Settings(trajectory="data", first_level=0.9)
    nets = tcm.build(untrained("flow"), s)
    states: list[tuple[Tensor, Tensor]] = []
    for net in (nets.first_stage, nets.target, nets.student):
        net.register_forward_pre_hook(lambda net, given: states.append((given[0], given[1])))
    nets.teacher.denoiser.register_forward_pre_hook(lambda net, given: pytest.fail("The teacher was asked."))
    of = batch(32)
    x0, _ = of.real
    list(tcm.step(nets, of, s))
    path = nets.student.path
    order = sorted(states, key=lambda seen: len(seen[0]))
    assert [len(x) for x, _ in order] == [8, 24, 32]
    noises = []
    for (x, t), rows in zip(order, (slice(8), slice(8, 32), slice(32)), strict=True):
        alpha, sigma = path.alpha(t), path.sigma(t)
        noises.append((x - per_sample(alpha, x) * x0[rows]) / per_sample(sigma, x))
    torch.testing.assert_close(torch.cat(noises[:2]), noises[2], rtol=1e-4, atol=1e-4)


# Its gradient


@pytest.fixture
def _in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_in_float64")
@pytest.mark.parametrize(
    "settings", [{}, {"trajectory": "data"}, {"distance": "pseudo-huber"}, {"teacher_steps": 3}, {"boundary_share": 0}]
)
def test_the_gradient_is_that_of_finite_differences(settings: dict[str, Any], untrained: Untrained) -> None:
    s = tcm.Settings(boundary_weight=1.0, **settings)
    torch.manual_seed(0)
    nets = tcm.build(untrained("flow"), s)
    for net in vars(nets).values():
        net.double()
    with torch.no_grad():
        for parameter in nets.student.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))

    def loss() -> Tensor:
        return torch.stack(list(next(tcm.step(nets, batch(8), s)).losses.values())).sum()

    agree(loss, nets.student)


# A run


def test_the_first_stage_stays_and_the_target_follows(begin: Callable[..., train.Run], untrained: Untrained) -> None:
    run = begin("tcm", untrained("edm"), steps=3, target_ema=0.7, learning_rate=1e-2)
    started = [p.detach().clone() for p in run.student.parameters()]
    averaged = started
    for _ in train.train(run):
        averaged = [0.7 * old + 0.3 * new for old, new in zip(averaged, run.student.parameters(), strict=True)]
    for p, expected in zip(run.nets.target.parameters(), averaged, strict=True):
        torch.testing.assert_close(p, expected)
    assert all(torch.equal(p, was) for p, was in zip(run.nets.first_stage.parameters(), started, strict=True))
    assert not all(torch.equal(p, was) for p, was in zip(run.student.parameters(), started, strict=True))
    assert {"target", "first_stage"} <= set(run.modules())


def test_it_says_where_it_is_meant_to_start() -> None:
    assert set(tcm.METHOD.followers) == {"target", "first_stage"}  # both start where the student starts
    assert tcm.METHOD.meant_start(tcm.Settings()) == "a run of consistency distillation"
    assert tcm.METHOD.meant_start(tcm.Settings(teacher_steps=8)) == ""


def test_bad_settings_are_refused_in_words(untrained: Untrained) -> None:
    (words,) = problems(tcm.Settings, {"trajectory": "data", "guidance_scale": 2.0})
    assert "guidance_scale is 2 and trajectory data" in words
    assert problems(tcm.Settings, {"boundary_share": 0.95})
    assert problems(tcm.Settings, {"boundary": 0})
    with pytest.raises(RecipeError, match=r"The boundary is noise level 3, and the student starts at time 0\.3"):
        tcm.build(untrained("flow"), tcm.Settings(boundary=3.0, first_level=0.3))


def test_what_a_step_costs() -> None:
    cases: list[tuple[dict[str, Any], float]] = [
        ({}, 3 + 1 + 2),
        ({"guidance_scale": 2.0}, 3 + 1 + 4),
        ({"trajectory": "data"}, 3 + 1),
        ({"teacher_steps": 8, "boundary_share": 0.5}, 3 + 0.5 + 4 + 2),
        ({"teacher_steps": 8, "boundary_share": 0.5, "guidance_scale": 2.0}, 3 + 0.5 + 8 + 4),
    ]
    for settings, expected in cases:
        assert tcm.cost(tcm.Settings(**settings)) == pytest.approx(expected)
