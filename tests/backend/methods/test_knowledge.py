"""Knowledge distillation: a regression from noise to where the teacher leads, whose least loss is known."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from backend import students
from backend.assembly import Student
from backend.contract.errors import UserError
from backend.contract.recipe import Recipe, Training
from backend.methods import Batch, knowledge, load_method
from backend.methods.knowledge import HELD_OUT_EVERY, METHOD, Nets, Settings
from backend.networks import Condition, Denoiser
from backend.networks.mlp import MLP
from backend.noise import FlowMatching, VarianceExploding
from backend.samplers import initial, times
from backend.stores import PairStore
from backend.teachers import Teacher
from backend.teachers.mixture_2d import ClosedFormDenoiser, Mixture, paths
from backend.train import start, train

CPU = torch.device("cpu")
KINDS = tuple(paths())


def batch(pairs: tuple[Tensor, Tensor, Condition], step: int = 0, held_out: bool = False) -> Batch:
    store = PairStore(*pairs, "") if held_out else None
    lot = (lambda: store.held_out_lot(4, step, CPU)) if store is not None else (lambda: None)
    some = tuple(part[:4] for part in pairs)
    return Batch(step, 100, some[2], (2,), torch.Generator(), CPU, drawn_pairs=some, held_out=lot)  # type: ignore[arg-type]


def loss_of(net: Denoiser, pairs: tuple[Tensor, Tensor, Condition], **settings: object) -> Tensor:
    (update,) = knowledge.step(Nets(net), batch(pairs), Settings.model_validate(settings))
    return update.losses["regression"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distance", ["l2", "l1"])
def test_a_student_that_says_what_the_pairs_say_has_no_loss_and_is_still(
    kind: str, distance: str, untrained: Callable[[str], Teacher]
) -> None:
    net = untrained(kind).trainable().double()
    noise, cond = torch.randn(4, 2, dtype=torch.float64), Condition.none(4)
    level = knowledge.sampler(Settings(), net).levels[0]
    with torch.no_grad():
        said = net(initial(noise, net.path, level), times(level, noise), cond).x0
    loss = loss_of(net, (noise, said, cond), distance=distance)
    assert loss.item() == 0
    assert all(bool((g == 0).all()) for g in torch.autograd.grad(loss, list(net.parameters())))
    for off, expected in ((3.0, {"l2": 9.0, "l1": 3.0}), (-0.5, {"l2": 0.25, "l1": 0.5})):
        found = loss_of(net, (noise, said + off, cond), distance=distance).item()
        assert found == pytest.approx(expected[distance])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distance", ["l2", "l1"])
def test_the_gradient_is_that_of_differences(kind: str, distance: str, untrained: Callable[[str], Teacher]) -> None:
    net = untrained(kind).trainable().double()
    noise, samples = torch.randn(2, 4, 2, dtype=torch.float64)
    pairs = (noise, samples, Condition.none(4))
    assert isinstance(net.network, MLP)
    weight = net.network.head.weight
    (gradient,) = torch.autograd.grad(loss_of(net, pairs, distance=distance), weight)
    step = 1e-6
    for i, j in ((0, 0), (1, 5)):
        with torch.no_grad():
            values = []
            for sign in (1, -1):
                weight[i, j] += sign * step
                values.append(loss_of(net, pairs, distance=distance).item())
                weight[i, j] -= sign * step
        assert float(gradient[i, j]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("path", [VarianceExploding(1e-4, 1e4), FlowMatching()])
def test_on_one_point_of_data_the_teacher_is_a_perfect_student(path: VarianceExploding | FlowMatching) -> None:
    point = Mixture(torch.tensor([[0.3, -0.7]]).double(), torch.ones(1).double(), std=1e-6)
    net = ClosedFormDenoiser(point, path, "edm" if isinstance(path, VarianceExploding) else "flow")
    noise = torch.randn(4, 2, dtype=torch.float64)
    assert float(loss_of(net, (noise, point.means.expand(4, 2), Condition.none(4)))) < 1e-9


def test_the_held_out_loss_is_of_pairs_that_are_never_drawn_and_comes_now_and_then(
    untrained: Callable[[str], Teacher],
) -> None:
    net = untrained("flow").trainable()
    torch.manual_seed(0)
    noise, cond = torch.randn(200, 2), Condition.none(200)  # of 200, the last 4 are held out
    with torch.no_grad():
        said = net(noise, times(1.0, noise), cond).x0
    said[-4:] += 2.0
    for step in range(2 * HELD_OUT_EVERY):
        (update,) = knowledge.step(Nets(net), batch((noise, said, cond), step, held_out=True), Settings())
        assert update.losses["regression"].item() < 1e-12
        if step % HELD_OUT_EVERY == 0:
            assert float(update.metrics["held_out"]) == pytest.approx(4.0)
        else:
            assert not update.metrics


def test_too_few_pairs_to_hold_any_out_give_no_such_metric(untrained: Callable[[str], Teacher]) -> None:
    net, noise = untrained("flow").trainable(), torch.randn(8, 2)
    (update,) = knowledge.step(Nets(net), batch((noise, noise, Condition.none(8)), held_out=True), Settings())
    assert not update.metrics


def test_its_cost_is_the_evaluations_it_makes(untrained: Callable[[str], Teacher]) -> None:
    teacher, steps = untrained("edm"), 2 * HELD_OUT_EVERY
    noise = torch.randn(400, 2)
    training = Training(steps=steps, batch_size=4, ema_decay=0)
    store = PairStore(noise, noise, Condition.none(400), "")
    run = start(METHOD, Settings(), training, teacher, None, CPU, store)
    rows = {True: 0, False: 0}

    def counted(net: object, given: tuple[Tensor, ...], made: object) -> None:
        rows[torch.is_grad_enabled()] += len(given[0])

    run.student.register_forward_hook(counted)
    list(train(run))
    assert (3 * rows[True] + rows[False]) / (steps * training.batch_size) == pytest.approx(METHOD.cost(Settings()))


def test_an_epsilon_student_starts_where_its_clean_sample_is_not_a_difference_of_large_numbers(
    untrained: Callable[[str], Teacher],
) -> None:
    net = untrained("epsilon").denoiser
    (level,) = knowledge.sampler(Settings(), net).levels
    assert float(net.path.alpha(torch.tensor(level))) == pytest.approx(0.4, abs=0.01)
    assert float(net.path.alpha(torch.tensor(METHOD.pair_level(Settings(), net)))) == pytest.approx(0.04, abs=0.001)
    flow = untrained("flow").denoiser
    assert knowledge.sampler(Settings(), flow).levels == (1.0,)
    assert METHOD.pair_level(Settings(first_level=0.8), flow) == 1.0


def test_no_other_number_of_evaluations_is_offered(untrained: Callable[[str], Teacher]) -> None:
    teacher = untrained("flow")
    recipe = Recipe(teacher="mixture-2d:flow", method="knowledge")
    sampler = knowledge.sampler(Settings(), teacher.denoiser)
    student = Student(teacher.denoiser, sampler, teacher, METHOD, Settings(), recipe, run=1, step=1)
    with pytest.raises(UserError, match="Knowledge distillation is made for 1 network evaluation alone and ruined by"):
        students._at_nfe(student, 4)
    other = load_method("consistency")
    several = students._at_nfe(replace(student, method=other, settings=other.settings()), 4)
    assert several.levels == (1.0, 0.75, 0.5, 0.25)


def test_settings_of_the_pairs_are_what_the_store_is_made_with(untrained: Callable[[str], Teacher]) -> None:
    s = Settings(guidance_scale=3.0, first_level=0.8)
    assert s.guidance_scale == 3.0  # by this name a run asks for guided pairs
    assert replace(METHOD).sampler(s, untrained("flow").denoiser).levels == (0.8,)
