"""SNOOPI: one scale a step for both scores, that a student which is right stays, and what it is steered away from."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from backend.contract.recipe import RecipeError, Training
from backend.contract.settings import problems
from backend.methods import Batch, Update, snoopi, swiftbrush
from backend.methods.snoopi import METHOD, Nets, Settings
from backend.networks import Condition, Denoiser, Guided
from backend.networks.steering import negative_prompt
from backend.samplers import Sampler, sample
from backend.teachers import Teacher, load_teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, Mixture, paths
from backend.train import start, train

from ..teachers import tiny

CPU = torch.device("cpu")
KINDS = tuple(paths())


def exact(kind: str, mixture: Mixture = MIXTURE) -> ClosedFormDenoiser:
    return ClosedFormDenoiser(mixture, *paths()[kind], conditional=True)


class Fixed(nn.Module):
    """A student that makes the same samples whatever its noise."""

    def __init__(self, like: Denoiser, x: Tensor) -> None:
        super().__init__()
        self.path, self.prediction_type, self.inputs = like.path, like.prediction_type, ()
        self.x = nn.Parameter(x)

    def forward(self, noised: Tensor, t: Tensor, cond: Condition) -> "Fixed":
        return self

    @property
    def x0(self) -> Tensor:
        return self.x


def first(teacher: Denoiser, fake: Denoiser, n: int = 64, **settings: float) -> tuple[Update, Tensor]:
    """The student's turn, and where it pushes each of its samples (B, 2)."""
    x, modes = MIXTURE.draw(n, torch.Generator().manual_seed(0))
    student = Fixed(teacher, x.double())
    drawn = Batch(0, 1, Condition.of_labels(modes), (2,), torch.Generator().manual_seed(2), CPU)
    nets = Nets(Guided(teacher, None), student, fake)  # type: ignore[arg-type]
    update = next(iter(snoopi.step(nets, drawn, Settings.model_validate(settings))))
    (gradient,) = torch.autograd.grad(update.losses["matching"], student.x)
    return update, gradient * x.numel()


@pytest.mark.parametrize("kind", KINDS)
def test_the_student_stays_while_the_fake_score_is_the_teacher(kind: str) -> None:
    net = exact(kind)
    assert first(net, net)[1].abs().max() == 0


@pytest.mark.parametrize("kind", ["edm", "epsilon", "flow"])
def test_with_one_scale_it_is_swiftbrush(kind: str) -> None:
    teacher, fake = exact(kind), exact(kind, Mixture(MIXTURE.means * 0.8, MIXTURE.weights, 0.1))
    _, found = first(teacher, fake, lowest_guidance=3, highest_guidance=3)
    x, modes = MIXTURE.draw(64, torch.Generator().manual_seed(0))
    student = Fixed(teacher, x.double())
    drawn = Batch(0, 1, Condition.of_labels(modes), (2,), torch.Generator().manual_seed(2), CPU)
    nets = swiftbrush.Nets(Guided(teacher, 3.0), student, fake)  # type: ignore[arg-type]
    update = next(iter(swiftbrush.step(nets, drawn, swiftbrush.Settings(guidance_scale=3.0))))
    (gradient,) = torch.autograd.grad(update.losses["matching"], student.x)
    torch.testing.assert_close(found, gradient * x.numel(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["edm", "flow"])
def test_on_average_the_push_is_that_of_the_middle_of_the_range(kind: str) -> None:
    """So drawing changes how the student gets there, and not where: at no scale is a student that is right pushed."""
    teacher, fake = exact(kind), exact(kind, Mixture(MIXTURE.means * 0.8, MIXTURE.weights, 0.1))
    low, middle, high = (
        first(teacher, fake, lowest_guidance=scale, highest_guidance=scale)[1] for scale in (0.5, 2.25, 4.0)
    )
    torch.testing.assert_close((low + high) / 2, middle, rtol=1e-5, atol=1e-7)
    assert (high - low).abs().max() > 0.01  # the scale does count


def test_both_scores_are_told_one_scale_which_is_another_at_the_next_step(untrained: Callable[..., Teacher]) -> None:
    teacher = untrained("flow", classes=True)
    run = start(METHOD, Settings(), Training(steps=60, batch_size=3), teacher, None, CPU)
    told: list[Tensor] = []
    run.nets.teacher.register_forward_pre_hook(lambda net, given: told.append(given[2].part("guidance")))
    shown = [float(p.metrics["guidance_scale"]) for p in train(run)]  # type: ignore[arg-type]
    assert all((scale == scale[0]).all() for scale in told)
    assert [float(scale[0]) for scale in told] == shown
    assert 0.5 <= min(shown) < 1
    assert 3.5 < max(shown) <= 4
    assert sum(shown) / 60 == pytest.approx(2.25, abs=0.4)


def test_its_cost_is_what_it_does(untrained: Callable[..., Teacher]) -> None:
    teacher = untrained("edm", classes=True)
    run = start(METHOD, Settings(), Training(steps=3, batch_size=4), teacher, None, CPU)
    rows = {"student": 0, "teacher": 0, "fake_score": 0, "learning": 0}

    def count(name: str) -> Callable[..., None]:
        def add(net: nn.Module, given: tuple[Tensor, ...], made: object) -> None:
            learns = name == "fake_score" and torch.is_grad_enabled()
            rows["learning" if learns else name] += len(given[0])

        return add

    for name, net in (("student", run.student), ("teacher", teacher.denoiser), ("fake_score", run.nets.fake_score)):
        net.register_forward_hook(count(name))
    list(train(run))
    # The fake score's adapters are updated through the network under them, whose own weights take no gradient.
    assert (3 * rows["student"] + rows["teacher"] + rows["fake_score"] + 2 * rows["learning"]) / 12 == 9
    assert METHOD.cost(Settings()) == 9


def test_it_learns_as_it_is_and_is_steered_when_it_is_used(tiny_model: Callable[[str], Path]) -> None:
    teacher = load_teacher(str(tiny_model("sd")), prompts=tiny.PROMPTS)
    s = Settings(negative_prompt=tiny.PROMPTS[1], away=0.5)
    run = start(METHOD, s, Training(steps=1, batch_size=2), teacher, None, CPU)
    assert run.sampler.away == 0.5
    assert negative_prompt(run.average) == negative_prompt(METHOD.new_student(teacher, s)) == tiny.PROMPTS[1]
    torch.testing.assert_close(run.student.network.away_text, teacher.condition_of(torch.tensor([1])).part("text")[0])
    seen: list[bool] = []
    run.student.register_forward_pre_hook(lambda net, given: seen.append("away" in given[2].parts))
    list(train(run))
    assert seen == [False]
    noise, cond = torch.randn(2, *run.student.shape), teacher.each_condition(2)
    plain = Sampler("renoise", run.sampler.levels)
    made = [sample(run.exported, how, noise, cond, torch.Generator()) for how in (run.sampler, plain)]
    assert (made[0] - made[1]).abs().max() > 1e-4


def test_without_a_negative_prompt_nothing_is_steered(untrained: Callable[..., Teacher]) -> None:
    teacher = untrained("edm", classes=True)
    assert METHOD.sampler(Settings(away=1.0), teacher.denoiser).away == 0


@pytest.mark.parametrize(
    ("settings", "classes", "words"),
    [
        ({}, False, "takes neither classes nor prompts"),
        ({"negative_prompt": "rain"}, True, "no cross-attention that a negative prompt"),
    ],
)
def test_teachers_that_it_cannot_use_are_refused(
    settings: dict[str, str], classes: bool, words: str, untrained: Callable[..., Teacher]
) -> None:
    with pytest.raises(RecipeError, match=words):
        METHOD.new_student(untrained("edm", classes=classes), Settings.model_validate(settings))


def test_a_negative_prompt_that_is_too_long_is_refused(tiny_model: Callable[[str], Path]) -> None:
    teacher = load_teacher(str(tiny_model("sd")), prompts=tiny.PROMPTS)
    with pytest.raises(RecipeError, match="longer than the teacher's text encoder"):
        METHOD.new_student(teacher, Settings(negative_prompt="no " * 200))


def test_a_range_is_given_the_lowest_first() -> None:
    (found,) = problems(Settings, {"lowest_guidance": 5.0})
    assert found.startswith("lowest_guidance is 5 and highest_guidance 4; give a range")
