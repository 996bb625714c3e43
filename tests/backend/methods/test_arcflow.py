"""ArcFlow: its closed form against quadrature, its steps against the teacher's, its loss where it must be 0."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as FilePath

import pytest
import torch
from torch import Tensor

from backend import losses
from backend.contract.recipe import Recipe
from backend.exports import ExportError, Facts, export
from backend.methods import Batch, arcflow
from backend.networks import Condition, Denoiser, Guided
from backend.networks.adapters import load_own_state, own_state, with_adapters
from backend.networks.momentum import MomentumDenoiser, Profile, mean_growth, with_momentum
from backend.samplers import Sampler, even_levels, initial, jump, sample, teacher_sampler, times
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, paths

KINDS = tuple(paths())
every_kind = pytest.mark.parametrize("kind", KINDS)


def batch(n: int, step: int = 0, total: int = 10) -> Batch:
    return Batch(step, total, Condition.none(n), (2,), torch.Generator().manual_seed(0), torch.device("cpu"))


def random_profile(shape: tuple[int, ...], components: int = 4, start: float = 0.9) -> Profile:
    """A mixture of anything, for 5 samples; its first rate is 0."""
    generator = torch.Generator().manual_seed(1)

    def drawn(*sizes: int) -> Tensor:
        return torch.randn(5, *sizes, generator=generator, dtype=torch.float64)

    rates = 3 * drawn(components, 1, *shape[1:])
    rates[:, 0] = 0
    begin = torch.full((5,), start, dtype=torch.float64)
    return Profile(begin, drawn(components, *shape), drawn(components, 1, *shape[1:]), rates)


def curved(teacher: Teacher, components: int = 4) -> MomentumDenoiser:
    """A student whose mixture's layers are no longer 0."""
    net = with_momentum(teacher.trainable(), components)
    generator = torch.Generator().manual_seed(2)
    for parameter in net.network.profile.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return net.requires_grad_(False)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_velocities_are_compared_over_one_short_window_however_far_the_teacher_leads(
    share: float, untrained: Callable[[str], Teacher], monkeypatch: pytest.MonkeyPatch
) -> None:
    windows, average = list[Tensor](), Profile.average

    def seen(profile: Profile, a: Tensor, b: Tensor) -> Tensor:
        if profile.velocities.requires_grad:  # where it is followed, it is without
            windows.append(a - b)
        return average(profile, a, b)

    monkeypatch.setattr(Profile, "average", seen)
    teacher, s = untrained("flow"), arcflow.Settings(components=2)
    nets = arcflow.build(teacher, s)
    arcflow.segment(nets, torch.randn(8, 2), 1.0, 0.5, share, batch(8), s)
    assert len(windows) == s.compared_points
    torch.testing.assert_close(torch.stack(windows), torch.full((4, 8), 3 / 128, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(2,), (3, 4, 6)])
def test_the_displacement_is_the_integral_of_the_velocity(shape: tuple[int, ...]) -> None:
    profile = random_profile(shape)
    a, b = torch.full((5,), 0.8, dtype=torch.float64), torch.full((5,), 0.1, dtype=torch.float64)
    nodes, weights = 0.5 + 0.5 * torch.tensor(GAUSS_NODES), 0.5 * torch.tensor(GAUSS_WEIGHTS)
    parts = [w * profile.velocity(b + (a - b) * x) for x, w in zip(nodes.double(), weights.double(), strict=True)]
    torch.testing.assert_close(profile.displacement(a, b), 0.7 * torch.stack(parts).sum(0), rtol=1e-6, atol=1e-6)


GAUSS_NODES = (-0.96028985649753623, -0.79666647741362674, -0.52553240991632899, -0.18343464249564980,
               0.18343464249564980, 0.52553240991632899, 0.79666647741362674, 0.96028985649753623)  # fmt: skip
GAUSS_WEIGHTS = (0.10122853629037626, 0.22238103445337447, 0.31370664587788729, 0.36268378337836198,
                 0.36268378337836198, 0.31370664587788729, 0.22238103445337447, 0.10122853629037626)  # fmt: skip


def test_two_displacements_make_one() -> None:
    profile = random_profile((2,))
    a, b, c = (torch.full((5,), s, dtype=torch.float64) for s in (0.9, 0.55, 0.0))
    torch.testing.assert_close(
        profile.displacement(a, c), profile.displacement(a, b) + profile.displacement(b, c), rtol=1e-9, atol=1e-9
    )


def test_mean_growth_is_smooth_through_0() -> None:
    z = torch.tensor([-2.0, -1e-3, -1e-9, 0.0, 1e-9, 9.99e-4, 1.01e-3, 2.0], dtype=torch.float64, requires_grad=True)
    expected = torch.tensor([float(torch.special.expm1(x.detach()) / x.detach()) if x else 1.0 for x in z]).double()
    torch.testing.assert_close(mean_growth(z).detach(), expected, rtol=1e-6, atol=0)
    (slope,) = torch.autograd.grad(mean_growth(z).sum(), z)
    assert slope[3] == pytest.approx(0.5)
    assert slope.isfinite().all()


def test_components_that_are_left_out_have_no_share_and_one_always_stays() -> None:
    profile = random_profile((2,))
    alone = torch.tensor([False, True, True, True]).expand(5, 4)
    torch.testing.assert_close(profile.without(alone).velocity(profile.start), profile.velocities[:, 0])
    all_of_them = torch.ones(5, 4, dtype=torch.bool)
    assert torch.equal(profile.without(all_of_them).velocity(profile.start), profile.velocity(profile.start))


@every_kind
def test_a_new_students_velocity_is_the_teachers_where_its_step_starts(
    kind: str, untrained: Callable[[str], Teacher]
) -> None:
    teacher = untrained(kind)
    net = with_momentum(teacher.trainable(), 5)
    plain = teacher.trainable()
    noised, t, cond = torch.randn(6, 2), times(0.6, torch.zeros(6, 2)), Condition.none(6)
    profile = net.profile(noised, t, cond)
    torch.testing.assert_close(
        profile.velocity(profile.start), losses.flow_velocity(plain(noised, t, cond)), rtol=1e-4, atol=1e-5
    )


@every_kind
def test_without_rates_a_step_is_a_deterministic_one(kind: str, untrained: Callable[[str], Teacher]) -> None:
    net = curved(untrained(kind))
    net.network.most_rate = 0.0
    noised, t, cond = torch.randn(6, 2), times(0.8, torch.zeros(6, 2)), Condition.none(6)
    s = times(0.3, noised)
    moved = net.step(noised, t, (net.path.alpha(s), net.path.sigma(s)), cond)
    torch.testing.assert_close(moved, jump(net(noised, t, cond), net.path, s), rtol=1e-3, atol=1e-4)
    # The same sampler, then, as the deterministic one, the last step to the clean sample included.
    plans = [Sampler(kind, even_levels(3)) for kind in ("momentum", "deterministic")]
    one, other = (sample(net, plan, torch.randn(6, 2, generator=seeded()), cond, seeded()) for plan in plans)
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(4)


class Curve(torch.nn.Module):
    """A perfect student of a teacher whose velocity in flow matching's coordinates is exp(r (1 - s)), everywhere alike.

    As a teacher it is asked at one s; as a student it says the curve from there on.
    """

    rate = 1.5

    def answer(self, s: Tensor, like: Tensor) -> Tensor:
        return torch.exp(self.rate * (1 - s))[:, None].to(like) * torch.ones_like(like)


class CurveTeacher(Denoiser):
    def forward(self, noised, t, cond):
        return self.of(noised, t, Curve().answer(t, noised))

    def of(self, noised, t, output):
        from backend.networks import Prediction

        return Prediction(noised, output, t, self.path, "flow")


class CurveStudent(CurveTeacher):
    def profile(self, noised, t, cond):
        here = Curve().answer(t, noised)[:, None]
        zero = torch.zeros_like(here[..., :1])
        return Profile(t, here, zero, zero + Curve.rate)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_perfect_student_errs_by_its_windows_alone_and_ends_where_the_curve_does(share: float) -> None:
    path = paths()["flow"][0]
    shell = ClosedFormDenoiser(MIXTURE, path, "flow")
    teacher, student = CurveTeacher(shell.network, path, "flow"), CurveStudent(shell.network, path, "flow")
    nets = arcflow.Nets(Guided(teacher, 1), student)  # type: ignore[arg-type]
    of, s = batch(512), arcflow.Settings()
    state = torch.zeros(512, 2, dtype=torch.float64)
    error, reached = arcflow.segment(nets, state, 1.0, 0.5, share, of, s)
    exact = -(torch.tensor(Curve.rate * 0.5).expm1() / Curve.rate)
    if share == 0:
        # A window of 3/128 holds on average half of it, times the slope of the curve, too much.
        assert error.sqrt().item() < 1.05 * 1.5 / 128 * Curve.rate * float(torch.tensor(0.75).exp())
        torch.testing.assert_close(reached, torch.full_like(reached, float(exact)), rtol=1e-5, atol=1e-6)
    else:  # the teacher's share of the way is Euler's, which on this curve stays behind
        assert (reached > float(exact)).all()


@pytest.mark.parametrize(("share", "points"), itertools.product([0.0, 0.3, 1.0], [1, 4]))
def test_the_way_is_shared_as_asked(share: float, points: int) -> None:
    student, teacher = arcflow.intervals(share, 0.4, batch(2000), points)
    assert student.shape == teacher.shape == (points, 2000)
    assert (student >= 0).all()
    assert (teacher >= 0).all()
    torch.testing.assert_close(teacher.sum(0), torch.full((2000,), 0.4 * share, dtype=torch.float64))
    assert (student.sum(0) <= 0.4 * (1 - share) + 1e-12).all()
    # The largest of n uniform numbers is n / (n + 1) on average.
    assert student.sum(0).mean().item() == pytest.approx(0.4 * (1 - share) * points / (points + 1), rel=0.03)


def test_the_loss_gradient_is_that_of_finite_differences(untrained: Callable[[str], Teacher]) -> None:
    teacher = untrained("flow")
    s = arcflow.Settings(components=3)
    net = curved(teacher, 3).double()
    for name in ("velocities", "logits", "rates"):
        bias = net.network.profile[name].bias
        assert isinstance(bias, Tensor)
        bias.requires_grad_(True)
        nets = arcflow.Nets(Guided(teacher.denoiser, 1), net)

        def loss(nets: arcflow.Nets = nets) -> Tensor:
            state = torch.ones(16, 2, dtype=torch.float64)
            # One point: its place does not depend on the student's curve but through the state, which has no gradient.
            return arcflow.segment(nets, state, 1.0, 0.5, 1.0, batch(16), s)[0]

        (gradient,) = torch.autograd.grad(loss(), bias)
        for i in range(len(bias)):
            ends = []
            for move in (1e-6, -2e-6):
                bias.data[i] += move
                ends.append(loss().detach())
            bias.data[i] += 1e-6
            torch.testing.assert_close(gradient[i], (ends[0] - ends[1]) / 2e-6, rtol=1e-4, atol=1e-8)
        bias.requires_grad_(False)


def test_the_teachers_part_of_the_way_falls_to_none(untrained: Callable[[str], Teacher]) -> None:
    s = arcflow.Settings(mixing_share=0.5, components=2)
    nets = arcflow.build(untrained("edm"), s)
    shares = [float(next(arcflow.step(nets, batch(4, step), s)).metrics["teacher_share"]) for step in (0, 1, 4, 5, 9)]
    assert shares == pytest.approx([1.0, 0.8, 0.2, 0.0, 0.0])


def test_the_cost_is_what_a_step_evaluates(untrained: Callable[[str], Teacher]) -> None:
    for steps, points in itertools.product((1, 3), (1, 4)):
        s = arcflow.Settings(student_steps=steps, compared_points=points, components=2)
        nets = arcflow.build(untrained("edm"), s)
        counted = [0]

        def count(net: object, given: object, made: object, counted: list[int] = counted) -> None:
            counted[0] += 3 if torch.is_grad_enabled() else 1

        nets.teacher.register_forward_hook(count)
        nets.student.network.base.register_forward_hook(count)
        list(arcflow.step(nets, batch(4), s))
        assert counted[0] == arcflow.cost(s)


def test_only_a_network_of_its_kind_is_sampled_so(untrained: Callable[[str], Teacher]) -> None:
    net, noise = untrained("edm").trainable(), torch.randn(3, 2)
    with pytest.raises(ValueError, match="no velocity for a whole step"):
        sample(net, Sampler("momentum", (1.0,)), noise, Condition.none(3), seeded())


@every_kind
def test_it_starts_where_any_student_of_the_path_does(kind: str, untrained: Callable[[str], Teacher]) -> None:
    net = curved(untrained(kind))
    plan = Sampler("momentum", even_levels(2))
    noise = torch.randn(4, 2)
    state = initial(noise, net.path, 1.0)
    s = times(0.5, state)
    middle = net.step(state, times(1.0, state), (net.path.alpha(s), net.path.sigma(s)), Condition.none(4))
    zero, one = torch.zeros(4).double(), torch.ones(4).double()
    expected = net.step(middle, s, (one, zero), Condition.none(4))
    torch.testing.assert_close(sample(net, plan, noise, Condition.none(4), seeded()), expected)
    assert teacher_sampler(2).nfe == plan.nfe


def test_with_adapters_a_checkpoint_holds_them_and_the_mixture(untrained: Callable[[str], Teacher]) -> None:
    base = untrained("edm").trainable()
    nets = [with_momentum(with_adapters(base, 4), 3) for _ in range(2)]
    for parameter in nets[0].parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn_like(parameter)
    kept = own_state(nets[0])
    assert {name.split(".")[1] for name in kept} == {"base", "profile"}
    load_own_state(nets[1], kept)
    noised, t = torch.randn(3, 2), times(0.7, torch.zeros(3, 2))
    one, other = (net.profile(noised, t, Condition.none(3)) for net in nets)
    assert torch.equal(one.velocities, other.velocities)
    assert torch.equal(one.rates, other.rates)


def test_of_points_the_weights_leave_alone(untrained: Callable[[str], Teacher], tmp_path: FilePath) -> None:
    teacher, net = untrained("edm"), curved(untrained("edm"))
    recipe = Recipe.from_values({"teacher": "mixture-2d", "method": "arcflow"})
    facts = Facts("A student", recipe, "ArcFlow", "arXiv:2602.09014", 1, "mixture", "0", "none")
    plan = Sampler("momentum", even_levels(2))
    with pytest.raises(ExportError, match="makes vectors"):
        export("diffusers", net, plan, Condition.none(4), facts, tmp_path / "a", 0, replace(teacher))
    done = export("safetensors", net, plan, Condition.none(4), facts, tmp_path / "b.safetensors", 0, teacher)
    assert done.path.is_file()
