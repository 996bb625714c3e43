"""The gradient of a step's losses against finite differences, of methods whose losses are not checked so on their own.

A network that an update names is moved a little and the whole step taken again with the same random numbers: a path of
the gradient that is missing, or one too many, shows. In float64, in which losses then take logits and weights too.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from backend.methods import Batch, Update, load_method, twinflow
from backend.networks import Condition
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE

CPU = torch.device("cpu")
TOTAL = 8


class Case(NamedTuple):
    """terms: the losses that are checked, together, in every network of the updates that have any of them.

    classes: whether the teacher's modes are classes. step: of `TOTAL`. held: whether what the student makes without
    gradient, its steps before the one that is trained, is to stay what it was.
    """

    method: str
    terms: tuple[str, ...]
    settings: dict[str, Any]
    classes: bool = False
    step: int = 0
    held: bool = False

    def __str__(self) -> str:
        return "-".join([self.method, *self.terms])


# Matching terms are left out: their value is not what they are the gradient of.
CASES = [
    Case("gdd", ("gan", "discriminator", "penalty"), {"penalty_weight": 0.1}),
    Case("nitrofusion", ("discriminator", "gan"), {"pool_size": 48, "active_heads": 4, "teacher_steps": 2}),
    Case("progressive", ("two_steps",), {"start_steps": 4, "student_steps": 2}),
    Case("scott", ("consistency", "gan", "discriminator"), {"discretisation": 6}),
    Case("acd", ("consistency", "gan", "discriminator"), {"discretisation": 6, "skip": 100}),
    Case("ladd", ("discriminator", "penalty", "gan"), {"data_share": 1.0, "shift": 0.0}),
    Case("adm_pretraining", ("latent_discriminator",), {}),
    Case("adm_pretraining", ("pixel_discriminator",), {}),
    Case("adm_pretraining", ("latent_gan",), {}),
    Case("adm_pretraining", ("pixel_gan",), {}),
    Case("dmd2", ("gan",), {"gan_weight": 1.0}),
    Case("dmd2", ("fake_score", "discriminator"), {"gan_weight": 1.0, "discriminator_weight": 1.0}),
    Case("f_distill", ("gan",), {"gan_weight": 1.0, "warm_up_steps": 0}),
    Case("f_distill", ("discriminator",), {}),
    # The weight of the residual is held, so that a step that moves the sample moves the value as well.
    Case("sid", ("score_identity",), {"weighting": "signal", "guidance_scale": 2.0, "alpha": 1.2}, classes=True),
    Case("sid", ("gan",), {"weighting": "signal", "gan_weight": 0.5}),
    Case("sid", ("fake_score", "discriminator"), {"gan_weight": 0.5, "guidance_scale": 2.0}, classes=True),
    Case("flash_dmd", ("gan",), {"gan_weight": 1.0, "student_steps": 3, "kept_share": 1.0}, held=True),
    Case("flash_dmd", ("fake_score", "discriminator"), {"kept_share": 1.0}),
    # Through the whole trajectory.
    Case("uni_dad", ("gan",), {"gan_weight": 1.0, "student_steps": 3}),
    Case("uni_dad", ("fake_score", "discriminator"), {"discriminator_weight": 1.0}),
    Case("uni_dad", ("target",), {}),
    Case("decoupled_dmd", ("discriminator",), {"shield": "adversarial"}),
    Case("decoupled_dmd", ("shield",), {"shield": "adversarial", "student_steps": 1}),
    Case("decoupled_dmd", ("shield",), {"shield": "mean and variance", "student_steps": 1}),
    Case("swiftbrush", ("fake_score",), {"rank": 2}),
    Case("snoopi", ("fake_score",), {"rank": 2}, classes=True),
    Case("phased_dmd", ("fake_score",), {}, step=1),  # of states that are noisy already
    Case("phased_dmd", ("fake_score",), {}, step=5),
    Case("msd", ("pretraining",), {"width": 0.5}, classes=True),
    Case("msd", ("gan",), {"gan_weight": 1.0}, classes=True),
    Case("msd", ("fake_score", "discriminator"), {"gan_weight": 1.0, "discriminator_weight": 1.0}, classes=True),
]


@pytest.fixture(autouse=True)
def _in_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def batch(n: int = 8, classes: bool = False, step: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(4)
    real, noise = torch.randn(2, n, 2, generator=generator)
    cond = Condition.of_labels(torch.arange(n) % len(MIXTURE.means)) if classes else Condition.none(n)
    return Batch(step, TOTAL, cond, (2,), generator, CPU, real, cond, (noise, real, cond))


def built(name: str, settings: dict[str, Any], teacher: Teacher) -> tuple[Any, Any]:
    """Networks of which none that learns is the teacher any more, in float64, and their settings."""
    method = load_method(name)
    s = method.settings.model_validate(settings)
    torch.manual_seed(0)
    nets = method.build(teacher, s)
    with torch.no_grad():
        for net in vars(nets).values():
            for parameter in net.double().parameters():
                if parameter.requires_grad:
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
    assert (ends[0] - ends[1]) / (2 * STEP) == pytest.approx(expected, rel=1e-4)


STEP = 1e-4


def taken(case: Case, nets: Any, s: Any) -> list[Update]:
    """The updates of a step that have terms of the case; what would follow the last of them is not done."""
    found, missing = [], set(case.terms)
    for update in load_method(case.method).step(nets, batch(classes=case.classes, step=case.step), s):
        if not missing.isdisjoint(update.losses):
            found.append(update)
            missing -= update.losses.keys()
        if not missing:
            return found
    raise AssertionError(f"There is no {missing} in a step.")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_update_of_a_step_has_the_gradient_of_its_losses(case: Case, untrained: Callable[..., Teacher]) -> None:
    nets, s = built(case.method, case.settings, untrained("flow", classes=case.classes))
    if case.held:
        was = nets.student.copy()
        nets.student.register_forward_hook(lambda net, given, made: made if torch.is_grad_enabled() else was(*given))
    for place, update in enumerate(taken(case, nets, s)):

        def loss(place: int = place) -> Tensor:
            terms = taken(case, nets, s)[place].losses
            return torch.stack([term.double() for name, term in terms.items() if name in case.terms]).sum()

        for net in update.nets:
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
