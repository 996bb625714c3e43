"""SCott against consistency distillation, which it is without its noise and its discriminator."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from backend.methods import Batch, Update, load_method
from backend.networks import Condition
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE

CPU = torch.device("cpu")


def batch(seed: int = 0) -> Batch:
    real, _ = MIXTURE.draw(64, torch.Generator().manual_seed(5))
    cond = Condition.none(64)
    return Batch(0, 10, cond, (2,), torch.Generator().manual_seed(seed), CPU, real, cond)


def updates(name: str, teacher: Teacher, **settings: Any) -> list[Update]:
    method = load_method(name)
    s = method.settings(**settings)
    torch.manual_seed(3)
    return list(method.step(method.build(teacher, s), batch(), s))


@pytest.mark.parametrize("kind", ["edm", "flow", "v_prediction"])
def test_without_noise_and_discriminator_it_is_consistency_distillation(
    kind: str, untrained: Callable[[str], Teacher]
) -> None:
    (theirs,) = updates("consistency", untrained(kind), solver="euler")
    (ours,) = updates("scott", untrained(kind), eta=0.0, teacher_steps=1, gan_weight=0.0)
    assert torch.equal(ours.losses["consistency"], theirs.losses["consistency"])


def test_the_teachers_noise_moves_the_answers(untrained: Callable[[str], Teacher]) -> None:
    quiet, loud = (
        updates("scott", untrained("edm"), eta=eta, gan_weight=0.0)[0].losses["consistency"] for eta in (0.0, 0.5)
    )
    assert loud > quiet


def test_the_discriminator_learns_from_real_samples_and_the_students(untrained: Callable[[str], Teacher]) -> None:
    first, second = updates("scott", untrained("edm"))
    assert set(first.losses) == {"consistency", "gan"}
    assert set(second.losses) == {"discriminator"}
    assert first.net is not second.net


def test_the_adversarial_weight_is_the_weight(untrained: Callable[[str], Teacher]) -> None:
    once, twice = (updates("scott", untrained("edm"), gan_weight=w)[0].losses["gan"] for w in (0.4, 0.8))
    torch.testing.assert_close(2 * once, twice)
