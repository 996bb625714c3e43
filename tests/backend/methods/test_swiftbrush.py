"""SwiftBrush: what its weights are on every path, that the fake score is the teacher plus adapters, who learns when."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from backend.contract.recipe import RecipeError
from backend.methods import Batch, swiftbrush
from backend.networks import Condition, Denoiser, Guided
from backend.networks.adapters import adapted
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, Mixture, paths

CPU = torch.device("cpu")
KINDS = tuple(paths())


def batch(n: int, cond: Condition | None = None, seed: int = 0) -> Batch:
    return Batch(0, 1, cond or Condition.none(n), (2,), torch.Generator().manual_seed(seed), CPU)


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


def pushes(teacher: Denoiser, fake: Denoiser, x: Tensor, cond: Condition, **settings: float) -> Tensor:
    """Where the student's turn pushes each of its samples, (B, 2)."""
    s = swiftbrush.Settings.model_validate(settings)
    student = Fixed(teacher, x)
    nets = swiftbrush.Nets(Guided(teacher, s.guidance_scale), student, fake)  # type: ignore[arg-type]
    update = next(iter(swiftbrush.step(nets, batch(len(x), cond), s)))
    (gradient,) = torch.autograd.grad(update.losses["matching"], student.x)
    return gradient * x.numel()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1.0, 4.5])
def test_the_student_stays_while_the_fake_score_is_the_teacher_and_both_are_guided_alike(
    kind: str, scale: float
) -> None:
    net = ClosedFormDenoiser(MIXTURE, *paths()[kind], conditional=True)
    x, modes = MIXTURE.draw(64, torch.Generator().manual_seed(0))
    assert pushes(net, net, x, Condition.of_labels(modes), guidance_scale=scale).abs().max() == 0


def test_the_push_is_the_papers_on_the_path_of_the_paper() -> None:
    path, kind = paths()["epsilon"]
    moved = Mixture(MIXTURE.means * 0.8, MIXTURE.weights, 0.1)
    teacher, fake = (ClosedFormDenoiser(mixture, path, kind) for mixture in (MIXTURE, moved))
    x, cond = MIXTURE.draw(64, torch.Generator().manual_seed(0))[0].double(), Condition.none(64)
    found = pushes(teacher, fake, x, cond)
    drawn = batch(64)
    drawn.noise()  # the student's
    t = drawn.times(0.02, 0.98)
    noised = path.noised(x, drawn.noise(), t)
    sigma = path.sigma(t)[:, None]
    torch.testing.assert_close(found, sigma**2 * (teacher(noised, t, cond).noise - fake(noised, t, cond).noise))


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_level_counts_depends_on_its_noise_over_data_alone(kind: str) -> None:
    path = paths()[kind][0]
    ratio = torch.tensor([0.05, 1.0, 3.0], dtype=torch.float64)
    t = path.t_of_ratio(ratio)
    torch.testing.assert_close(swiftbrush.schedule(path.alpha(t), path.sigma(t)), ratio / (1 + ratio**2))


def test_the_fake_score_is_the_teachers_own_weights_and_adapters(untrained: Callable[[str], Teacher]) -> None:
    teacher = untrained("edm")
    base = teacher.trainable().frozen()
    made = swiftbrush.build(replace(teacher, denoiser=base), swiftbrush.Settings(rank=4))
    shared = {id(p) for p in base.parameters()}
    trained = [p for p in made.fake_score.parameters() if p.requires_grad]
    assert adapted(made.fake_score)
    assert all(id(p) in shared for p in made.fake_score.parameters() if not p.requires_grad)
    assert not any(id(p) in shared for p in trained)
    assert sum(p.numel() for p in trained) < 0.5 * sum(p.numel() for p in base.parameters())
    x, t = torch.randn(5, 2), torch.full((5,), 0.4, dtype=torch.float64)
    cond = Condition.none(5)
    assert torch.equal(made.fake_score(x, t, cond).output, base(x, t, cond).output)


def test_adapters_wider_than_every_layer_are_refused(untrained: Callable[[str], Teacher]) -> None:
    with pytest.raises(RecipeError, match="rank is 128, and no layer of this network is wider than that; lower it"):
        swiftbrush.build(untrained("edm"), swiftbrush.Settings(rank=128))


@pytest.mark.parametrize(("scale", "least", "most"), [(1.0, 0, 0), (2.0, 8, 35)])
def test_conditions_are_left_out_of_every_tenth_step_under_guidance(scale: float, least: int, most: int) -> None:
    net = ClosedFormDenoiser(MIXTURE, *paths()["edm"], conditional=True)
    x, modes = MIXTURE.draw(4, torch.Generator().manual_seed(0))
    fake = ClosedFormDenoiser(MIXTURE, *paths()["edm"], conditional=True)
    seen: list[Tensor] = []
    fake.register_forward_pre_hook(lambda net, given: seen.append(given[2].labels))
    nets = swiftbrush.Nets(Guided(net, scale), Fixed(net, x), fake)  # type: ignore[arg-type]
    left_out = 0
    for seed in range(200):
        list(
            swiftbrush.step(nets, batch(4, Condition.of_labels(modes), seed), swiftbrush.Settings(guidance_scale=scale))
        )
        left_out += bool((seen[-1] == len(MIXTURE.means)).all())
    assert least <= left_out <= most


def test_its_cost_is_counted() -> None:
    assert swiftbrush.cost(swiftbrush.Settings()) == 3 + 1 + 1 + 2
    assert swiftbrush.cost(swiftbrush.Settings(guidance_scale=4.5)) == 3 + 2 + 2 + 2
