"""Guidance distillation: the student is told the scale, and the teacher is guided by that very scale."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.contract.recipe import Training
from backend.contract.settings import problems
from backend.methods import Batch, guidance
from backend.methods.guidance import METHOD, Nets, Settings
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.networks.mlp import MLP
from backend.samplers import Sampler, sample
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, paths
from backend.train import start, train

CPU = torch.device("cpu")
KINDS = tuple(paths())


class Told(Denoiser):
    """The guided teacher as a student: it answers what the scale that it is told asks for."""

    def forward(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction:
        found: Prediction = Guided(
            ClosedFormDenoiser(MIXTURE, self.path, self.prediction_type, conditional=True), None
        )(noised, t, cond)
        return found


def exact(kind: str) -> ClosedFormDenoiser:
    return ClosedFormDenoiser(MIXTURE, *paths()[kind], conditional=True)


def batch(n: int = 64) -> Batch:
    generator = torch.Generator().manual_seed(1)
    x0, modes = MIXTURE.draw(n, generator)
    cond = Condition.of_labels(modes)
    return Batch(0, 1, cond, (2,), generator, CPU, real_samples=x0.double(), real_cond=cond)


def loss_of(nets: Nets, **settings: Any) -> Tensor:
    (update,) = guidance.step(nets, batch(), Settings.model_validate(settings))
    return update.losses["guidance"]


def points(net: Denoiser, n: int = 64) -> tuple[Tensor, Tensor, Condition]:
    drawn = batch(n)
    x0, cond = drawn.real
    t = torch.linspace(0.1, 0.9, n, dtype=torch.float64)
    return net.path.noised(x0, drawn.noise(), t), t, cond


@pytest.mark.parametrize("kind", KINDS)
def test_each_sample_is_guided_by_its_own_scale(kind: str) -> None:
    net = exact(kind)
    noised, t, cond = points(net, 3)
    scales = torch.tensor([1.0, 2.0, 5.0])
    found = Guided(net, None)(noised, t, cond.with_part("guidance", scales)).x0
    each = [Guided(net, float(scale))(noised, t, cond).x0[i] for i, scale in enumerate(scales)]
    torch.testing.assert_close(found, torch.stack(each))
    torch.testing.assert_close(found[0], net(noised, t, cond).x0[0])


def test_a_guided_teacher_can_be_sampled_at_the_samplers_scale() -> None:
    net, sampler = exact("flow"), Sampler("deterministic", (1.0, 0.5), 3.0)
    noise, cond = torch.randn(8, 2), Condition.of_labels(torch.arange(8))
    one, other = (sample(g, sampler, noise, cond, torch.Generator()) for g in (Guided(net, None), Guided(net, 3.0)))
    torch.testing.assert_close(one, other)
    assert Sampler.from_json(sampler.to_json()) == sampler


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighting", ["output", "truncated-snr"])
def test_a_student_that_answers_as_it_is_told_has_no_loss_and_a_deaf_one_has(kind: str, weighting: str) -> None:
    net = exact(kind)
    teacher = Guided(net, None)
    perfect = Told(net.network, net.path, net.prediction_type, net.sigma_data)
    assert loss_of(Nets(teacher, perfect), weighting=weighting).item() == 0
    assert loss_of(Nets(teacher, net), weighting=weighting).item() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_at_scale_one_there_is_nothing_to_learn(kind: str) -> None:
    net = exact(kind)
    assert loss_of(Nets(Guided(net, 1.0), net)).item() == 0


@pytest.mark.parametrize("kind", ["edm", "flow", "epsilon"])
@pytest.mark.parametrize("weighting", ["output", "truncated-snr"])
def test_the_gradient_is_that_of_differences(kind: str, weighting: str, untrained: Callable[..., Teacher]) -> None:
    teacher = untrained(kind, classes=True)
    student = teacher.trainable().extended("guidance").double()
    assert isinstance(student.network, MLP)
    weight, nets = student.network.head.weight, Nets(Guided(teacher.denoiser, None), student)
    (gradient,) = torch.autograd.grad(loss_of(nets, weighting=weighting), weight)
    step, values = 1e-6, []
    with torch.no_grad():
        for sign in (1, -1):
            weight[1, 3] += sign * step
            values.append(loss_of(nets, weighting=weighting).item())
            weight[1, 3] -= sign * step
    assert gradient[1, 3].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-7)


def test_scales_are_drawn_from_the_whole_range_and_told_to_both(untrained: Callable[..., Teacher]) -> None:
    teacher = untrained("flow", classes=True)
    s = Settings(lowest_guidance=2, highest_guidance=4)
    run = start(METHOD, s, Training(steps=1, batch_size=4000), teacher, teacher.draws, CPU)
    seen: list[Tensor] = []
    for net in (run.student, run.nets.teacher):
        net.register_forward_pre_hook(lambda module, given: seen.append(given[2].part("guidance")))
    list(train(run))
    assert torch.equal(*seen)
    assert (seen[0].min().item(), seen[0].max().item()) == pytest.approx((2, 4), abs=0.01)
    assert seen[0].double().mean().item() == pytest.approx(3, abs=0.05)


def test_the_student_is_asked_once_a_step_and_its_cost_is_what_it_does(untrained: Callable[..., Teacher]) -> None:
    teacher = untrained("edm", classes=True)
    run = start(METHOD, Settings(), Training(steps=2, batch_size=4), teacher, teacher.draws, CPU)
    rows = {"student": 0, "teacher": 0}

    def count(name: str) -> Callable[..., None]:
        return lambda net, given, made: rows.update({name: rows[name] + len(given[0])})

    run.student.register_forward_hook(count("student"))
    teacher.denoiser.register_forward_hook(count("teacher"))
    list(train(run))
    assert (3 * rows["student"] + rows["teacher"]) / 8 == METHOD.cost(Settings())
    rows["student"] = 0
    sample(run.student, run.sampler, torch.randn(5, 2), teacher.each_condition(5), torch.Generator())
    assert rows["student"] == 5 * run.sampler.nfe == 5 * 25
    assert run.sampler.guidance == 3.0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lowest_guidance": 5.0}, "lowest_guidance is 5 and highest_guidance 5; give a range"),
        ({"guidance_scale": 7.5}, "guidance_scale is 7.5, which the student does not learn; choose it from 1 to 5"),
    ],
)
def test_scales_that_do_not_fit_together_are_refused(settings: dict[str, float], words: str) -> None:
    (found,) = problems(Settings, settings)
    assert found.startswith(words)


def test_a_teacher_without_an_unconditional_mode_has_no_guidance(untrained: Callable[..., Teacher]) -> None:
    teacher = untrained("edm")
    run = start(METHOD, Settings(), Training(steps=1, batch_size=4), teacher, teacher.draws, CPU)
    with pytest.raises(ValueError, match="no unconditional mode"):
        list(train(run))
