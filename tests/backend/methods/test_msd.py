"""MSD against answers known without it: one student is DMD2, parts do not touch, small students first learn."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.contract.recipe import RecipeError, Training
from backend.methods import Batch, load_method, msd
from backend.methods.msd import Settings
from backend.networks import Condition, Guided
from backend.networks.mlp import MLP
from backend.networks.routed import RoutedDenoiser
from backend.teachers import Teacher
from backend.train import Run, start, train

CPU = torch.device("cpu")


def run_of(name: str, teacher: Teacher, steps: int = 6, **settings: Any) -> Run:
    method = load_method(name)
    training = Training(steps=steps, batch_size=16, ema_decay=0.9)
    return start(method, method.settings.model_validate(settings), training, teacher, teacher.draws, CPU)


def batch_of(*labels: int, step: int = 0, total: int = 8) -> Batch:
    cond = Condition.of_labels(torch.tensor(labels))
    return Batch(step, total, cond, (2,), torch.Generator().manual_seed(0), CPU)


def losses_of(run: Run) -> list[dict[str, float]]:
    return [{name: float(value) for name, value in p.metrics.items()} for p in train(run)]  # type: ignore[arg-type]


@pytest.mark.parametrize("gan_weight", [0.0, 0.1])
def test_one_student_is_dmd2(gan_weight: float, untrained: Callable[..., Teacher]) -> None:
    teacher = untrained("edm", classes=True)
    one, plain = (
        run_of("msd", teacher, students=1, gan_weight=gan_weight),
        run_of("dmd2", teacher, gan_weight=gan_weight),
    )
    assert losses_of(one) == losses_of(plain)
    mine, theirs = one.nets.student.network.students[0].state_dict(), plain.student.network.state_dict()
    assert all(torch.equal(mine[name], tensor) for name, tensor in theirs.items())


def test_a_part_learns_from_its_own_conditions_alone(untrained: Callable[..., Teacher]) -> None:
    nets = msd.build(untrained("flow", classes=True), Settings(students=2))
    for update in msd.step(nets, batch_of(0, 1, 2, 3), Settings(students=2)):
        assert isinstance(update.net, RoutedDenoiser)
        first, second = update.net.network.students
        total = sum(update.losses.values())
        assert isinstance(total, Tensor)
        found = torch.autograd.grad(total, [*first.parameters(), *second.parameters()], allow_unused=True)
        count = len(list(first.parameters()))
        assert any(g is not None and g.any() for g in found[:count])
        assert all(g is None for g in found[count:])


def test_all_students_learn_from_all_pairs() -> None:
    noise = torch.arange(128.0).reshape(64, 2)
    batch = replace(
        batch_of(*[0] * 64), drawn_pairs=(noise, -noise, Condition.of_labels(torch.zeros(64, dtype=torch.long)))
    )
    mine, samples, cond = msd.for_any_student(batch, Settings(students=4))
    assert torch.equal(mine, noise)
    assert torch.equal(samples, -noise)
    assert set(cond.part("student").tolist()) == {0, 1, 2, 3}


def test_small_students_first_learn_to_denoise_and_then_begin_anew(untrained: Callable[..., Teacher]) -> None:
    run = run_of("msd", untrained("edm", classes=True), steps=5, width=0.5, pretraining_share=0.4)
    for student in run.nets.student.network.students:
        assert isinstance(student, MLP)
        assert student.head.in_features == 16
    assert isinstance(run.settings, Settings)
    found = losses_of(run)
    assert ["pretraining" in one for one in found] == [True, True, False, False, False]
    assert ["matching" in one for one in found] == [False, False, True, True, True]
    fresh = [u.fresh for step in range(5) for u in msd.step(run.nets, with_data(run, step), run.settings)]
    assert fresh == [False, False, True, True, False, False, False, False]


def with_data(run: Run, step: int) -> Batch:
    assert run.teacher.draws is not None
    x, labels = run.teacher.draws.draw(4, torch.Generator().manual_seed(step))
    batch = batch_of(0, 3, 5, 7, step=step, total=5)
    return replace(batch, real_samples=x, real_cond=Condition.of_labels(labels))


def test_a_student_that_denoises_as_the_teacher_has_nothing_to_learn_first(untrained: Callable[..., Teacher]) -> None:
    run = run_of("msd", untrained("v_prediction", classes=True))
    nets, batch = run.nets, with_data(run, 0)
    assert msd.pretraining(nets, batch) > 0.01
    same = replace(nets, teacher=Guided(nets.student, 1.0))
    assert msd.pretraining(same, batch) < 1e-10


def test_no_first_stage_where_the_students_start_as_the_teacher() -> None:
    assert msd.pretraining_steps(100, Settings()) == 0
    assert msd.pretraining_steps(100, Settings(width=0.5, pretraining_share=0.3)) == 30
    assert msd.needs(Settings()) == ()
    assert msd.needs(Settings(width=0.5)) == ("real data",)
    assert msd.needs(Settings(width=0.5, gan_weight=0.1)) == ("real data",)


def test_a_teacher_with_nothing_to_share_out_is_refused(untrained: Callable[..., Teacher]) -> None:
    with pytest.raises(RecipeError, match="neither; choose a teacher"):
        msd.build(untrained("edm"), Settings())
    few = replace(untrained("edm", classes=True), labels=("a", "b", "c"))
    with pytest.raises(RecipeError, match="3 classes, too few for 4 students"):
        msd.build(few, Settings(students=4))
