"""BOOT: the signal's own equation, against flows that are known, and the loss that follows it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.contract.recipe import Training
from backend.methods import Batch, Update, boot
from backend.methods.boot import METHOD, Nets, Settings
from backend.networks import Condition, Denoiser, Guided
from backend.networks.mlp import MLP
from backend.proofs import begin, load_proof
from backend.samplers import initial, normal, times
from backend.teachers import Teacher
from backend.teachers.mixture_2d import ClosedFormDenoiser, Mixture, paths
from backend.train import start, train

CPU = torch.device("cpu")
KINDS = tuple(paths())
POINT = Mixture(torch.tensor([[0.3, -0.7]]).double(), torch.ones(1).double(), std=1e-7)
GAUSSIAN = Mixture(torch.tensor([[0.0, 0.0]]).double(), torch.ones(1).double(), std=0.5)


def batch(n: int = 32) -> Batch:
    return Batch(0, 1, Condition.none(n), (2,), torch.Generator().manual_seed(3), CPU)


def update_of(nets: Nets, **settings: Any) -> Update:
    (update,) = boot.step(nets, batch(), Settings.model_validate(settings))
    return update


@pytest.mark.parametrize("kind", KINDS)
def test_on_one_point_of_data_the_teacher_is_a_perfect_student(kind: str) -> None:
    net = ClosedFormDenoiser(POINT, *paths()[kind])  # its signal is the point at every time
    update = update_of(Nets(Guided(net, 1.0), net))
    assert update.losses["bootstrap"].item() < 1e-10
    assert update.losses["boundary"].item() < 1e-10


@pytest.mark.parametrize("kind", KINDS)
def test_small_steps_of_the_signal_follow_the_flow(kind: str) -> None:
    """The flow of a Gaussian about 0 only rescales the state, and the signal is what is left without the noise."""
    net = ClosedFormDenoiser(GAUSSIAN, *paths()[kind])
    path, first, n = net.path, 0.9, 2000
    z, cond = torch.randn(8, 2, dtype=torch.float64), Condition.none(8)
    state = initial(z, path, first)
    blur = net(state, times(first, z), cond)

    def spread(t: float) -> float:
        at = torch.tensor(t, dtype=torch.float64)
        return float((path.alpha(at) ** 2 * GAUSSIAN.std**2 + path.sigma(at) ** 2).sqrt())

    now = blur.x0
    for k in range(n):
        t, t_next = times(first - 0.6 * k / n, z), times(first - 0.6 * (k + 1) / n, z)
        clean = net(path.noised(now, blur.noise, t), t, cond).x0
        kept = boot.kept_share(path, t, t_next)[:, None]
        now = (1 - kept) * clean + kept * now
    reached = path.noised(now, blur.noise, t_next)
    expected = state * spread(0.3) / spread(first)
    assert float((reached - expected).norm() / expected.norm()) < 2e-3


@pytest.mark.parametrize("kind", KINDS)
def test_at_the_end_the_signal_is_the_teachers_clean_sample(kind: str) -> None:
    path = paths()[kind][0]
    t = torch.tensor([0.01, 0.3, 1.0], dtype=torch.float64)
    assert torch.equal(boot.kept_share(path, t, torch.zeros(3, dtype=torch.float64)), torch.zeros(3).double())
    near = boot.kept_share(path, t, t * (1 - 1e-9))
    assert bool((near[:2] > 0.999).all())


@pytest.mark.parametrize("kind", KINDS)
def test_the_student_starts_as_the_teachers_blur_at_every_time(kind: str, untrained: Callable[[str], Teacher]) -> None:
    teacher = untrained(kind)
    net = teacher.trainable()
    nets = Nets(Guided(net, 1.0), net.copy().extended("end_time"))
    assert update_of(nets).losses["boundary"].item() == 0
    (first,) = boot.sampler(Settings(), net).levels
    start = initial(torch.randn(8, 2), net.path, first)
    blur = net(start, times(first, start), Condition.none(8)).x0
    for t in (0.0, 0.5, first):
        said = boot.signal(nets.student, start, first, times(t, start), Condition.none(8))
        assert torch.equal(said, blur)


@pytest.mark.parametrize("kind", ["edm", "flow", "epsilon"])
@pytest.mark.parametrize("term", ["bootstrap", "boundary"])
def test_the_gradient_is_that_of_differences_with_the_answer_held(
    kind: str, term: str, untrained: Callable[[str], Teacher]
) -> None:
    exact = untrained(kind)
    student = exact.trainable().extended("end_time").double()
    assert isinstance(student.network, MLP)
    weight = student.network.head.weight
    nets = Nets(Guided(exact.denoiser, 1.0), student)
    (gradient,) = torch.autograd.grad(update_of(nets).losses[term], weight)
    frozen = student.copy()
    step = 1e-6
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[1, 3] += sign * step
        values.append(held(term, nets, frozen))
        with torch.no_grad():
            weight[1, 3] -= sign * step
    assert gradient[1, 3].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-8)


def held(term: str, nets: Nets, frozen: Denoiser) -> float:
    """The loss with the student's own earlier say taken from `frozen`."""
    say, asked = boot.signal, [frozen, nets.student, nets.student]  # on the way, at the next time, at the boundary

    def signal(student: Denoiser, *rest: Any) -> Tensor:
        return say(asked.pop(0), *rest)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(boot, "signal", signal)
        return update_of(nets).losses[term].item()


def test_small_changes_of_the_signal_count_by_the_power(untrained: Callable[[str], Teacher]) -> None:
    teacher = untrained("flow")
    nets = Nets(Guided(teacher.denoiser, 1.0), teacher.trainable().extended("end_time"))
    by_power = [update_of(nets, weight_power=p).losses["bootstrap"].item() for p in (0, 1, 2)]
    assert by_power[0] < by_power[1] < by_power[2]


def test_it_needs_noise_alone_and_its_cost_is_the_evaluations_it_makes(untrained: Callable[[str], Teacher]) -> None:
    for settings in ({}, {"boundary_weight": 0.0}):
        s = Settings.model_validate(settings)
        assert METHOD.needs(s) == ()
        run = start(METHOD, s, Training(steps=2, batch_size=4, ema_decay=0), untrained("edm"), None, CPU)
        cost = 0

        def counted(net: object, given: tuple[Tensor, ...], made: object) -> None:
            nonlocal cost
            cost += len(given[0]) * (3 if torch.is_grad_enabled() else 1)

        run.student.register_forward_hook(counted)
        run.nets.teacher.register_forward_hook(counted)
        list(train(run))
        assert cost / 8 == METHOD.cost(s)


def test_one_step_is_told_that_it_ends_at_the_sample(untrained: Callable[[str], Teacher]) -> None:
    run = start(METHOD, Settings(), Training(steps=1, batch_size=4), untrained("edm"), None, CPU)
    assert run.sampler.nfe == 1
    assert METHOD.only_as_trained(Settings())
    assert run.student.inputs == run.average.inputs == ("end_time",) == METHOD.inputs(Settings())


@pytest.mark.long
def test_after_training_the_boundary_holds() -> None:
    _, run = begin("boot", load_proof("boot"), key_term=True, steps=1500)
    list(train(run))
    (first,) = run.sampler.levels
    start_state = initial(normal((512, 2), torch.Generator().manual_seed(1)), run.student.path, first)
    t, cond = times(first, start_state), Condition.none(512)
    with torch.no_grad():
        said = boot.signal(run.exported, start_state, first, t, cond)
        blur = run.nets.teacher(start_state, t, cond).x0
    assert float((said - blur).square().sum(1).mean().sqrt()) < 0.05
