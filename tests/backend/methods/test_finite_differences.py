"""The gradient of a step's losses against finite differences, of methods whose losses are not checked so on their own.

The student (or discriminator) is moved a little and the whole step taken again with the same random numbers: a path of
the gradient that is missing, or one too many, shows. In float64, but for logits, which losses take as float32.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backend.methods import Batch, load_method, twinflow
from backend.networks import Condition
from backend.teachers import Teacher

CPU = torch.device("cpu")
CASES: dict[str, dict[str, Any]] = {
    "gdd": {"penalty_weight": 0.1},
    "nitrofusion": {"pool_size": 48, "active_heads": 4, "teacher_steps": 2},
    "progressive": {"start_steps": 4, "student_steps": 2},
    "scott": {"discretisation": 6},
    "acd": {"discretisation": 6, "skip": 100},
    "ladd": {"data_share": 1.0, "shift": 0.0},
}


@pytest.fixture(autouse=True)
def _in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def batch(n: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(4)
    real, cond = torch.randn(n, 2, generator=generator), Condition.none(n)
    return Batch(0, 8, cond, (2,), generator, CPU, real, cond)


def built(name: str, settings: dict[str, Any], teacher: Teacher) -> tuple[Any, Any]:
    """Networks that are not the teacher any more, in float64, and their settings."""
    method = load_method(name)
    s = method.settings.model_validate(settings)
    torch.manual_seed(0)
    nets = method.build(teacher, s)
    for net in vars(nets).values():
        net.double()
    with torch.no_grad():
        for parameter in nets.student.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return nets, s


def agree(loss: Callable[[], Tensor], net: nn.Module) -> None:
    """Whether the slope of `loss` along its gradient, and along any way with it, is the gradient's."""
    moved = [p for p in net.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss(), moved, allow_unused=True)
    gradient = [torch.zeros_like(p) if g is None else g for p, g in zip(moved, found, strict=True)]
    size = torch.nn.utils.parameters_to_vector(gradient).norm()
    assert size > 1e-4
    noise = [torch.randn(p.shape, generator=torch.Generator().manual_seed(k)) for k, p in enumerate(moved)]
    length = torch.nn.utils.parameters_to_vector(noise).norm()
    way = [g / size + 0.5 * n / length for g, n in zip(gradient, noise, strict=True)]
    ends = []
    for step in (STEP, -2 * STEP):
        with torch.no_grad():
            for parameter, direction in zip(moved, way, strict=True):
                parameter.add_(step * direction)
        ends.append(float(loss().detach()))
    with torch.no_grad():
        for parameter, direction in zip(moved, way, strict=True):
            parameter.add_(STEP * direction)
    expected = sum(float((g * w).sum()) for g, w in zip(gradient, way, strict=True))
    assert (ends[0] - ends[1]) / (2 * STEP) == pytest.approx(expected, rel=1e-2)


STEP = 3e-4


@pytest.mark.parametrize("name", CASES)
def test_every_update_of_a_step_has_the_gradient_of_its_losses(name: str, untrained: Callable[[str], Teacher]) -> None:
    nets, s = built(name, CASES[name], untrained("flow"))
    step = load_method(name).step
    updates = list(islice(step(nets, batch(), s), 2))  # what follows the last would move an average
    assert len(updates) == (1 if name == "progressive" else 2)
    for place, update in enumerate(updates):

        def loss(place: int = place) -> Tensor:
            taken = list(islice(step(nets, batch(), s), place + 1))[place]
            return torch.stack([term.double() for term in taken.losses.values()]).sum()

        (net,) = update.nets
        agree(loss, net)


def test_twinflows_branches_and_any_step_have_the_gradient_of_their_losses(
    untrained: Callable[[str], Teacher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the losses take as given, the student's own sample and where any step should lead, is held."""
    nets, s = built("twinflow", {}, untrained("flow"))
    of = batch()
    with torch.no_grad():
        sample = twinflow.start(nets.student, of.noise(), of.cond, s)
    agree(lambda: twinflow.own_samples(nets.student, sample, batch(), s)[0]["fake_velocity"], nets.student)

    residual, answers = twinflow.residual, list[Tensor]()

    def held(target: Any, made: Tensor, *more: Any) -> Tensor:
        if not answers:
            answers.append((made - residual(target, made, *more).clamp(-s.clamp, s.clamp)).detach())
        return made - answers[0]

    expected = torch.autograd.grad(twinflow.any_step(nets, 6, batch(), s), next(nets.student.parameters()))
    monkeypatch.setattr(twinflow, "residual", held)
    wide = s.model_copy(update={"clamp": 1e6})
    twinflow.any_step(nets, 6, batch(), s)  # holds its answers
    found = torch.autograd.grad(twinflow.any_step(nets, 6, batch(), wide), next(nets.student.parameters()))
    torch.testing.assert_close(found, expected)
    agree(lambda: twinflow.any_step(nets, 6, batch(), wide), nets.student)
