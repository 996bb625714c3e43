"""SiD against answers known without it: where the loss is still, its slope, who is guided how, who is asked when."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from backend import losses
from backend.contract.recipe import RecipeError
from backend.contract.settings import problems
from backend.methods import Batch, load_method, sid
from backend.networks import Condition, Denoiser, Guided
from backend.noise import VarianceExploding
from backend.samplers import times
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, Mixture, paths

CPU = torch.device("cpu")
KINDS = tuple(paths())


def line(means: tuple[float, ...], std: float) -> ClosedFormDenoiser:
    """Equal Gaussians on a line."""
    weights = torch.full((len(means),), 1 / len(means), dtype=torch.float64)
    mixture = Mixture(torch.tensor([[mean] for mean in means], dtype=torch.float64), weights, std)
    return ClosedFormDenoiser(mixture, VarianceExploding(0.01, 10.0), "edm")


def drawn(n: int, size: int, seed: int) -> Tensor:
    return torch.randn(n, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def loss(teacher: Denoiser, fake: Denoiser, x: Tensor, t: Tensor, alpha: float = 1.0) -> Tensor:
    noised, cond = teacher.path.noised(x, drawn(len(x), x.shape[1], 7), t), Condition.none(len(x))
    real, made = teacher(noised, t, cond).x0, fake(noised, t, cond).x0
    return losses.score_identity(x, real, made, alpha, torch.ones(len(x), dtype=torch.float64))


def batch(n: int, cond: Condition | None = None, step: int = 0) -> Batch:
    return Batch(step, 1, cond or Condition.none(n), (2,), torch.Generator().manual_seed(step), CPU)


# The loss


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.2])
def test_it_is_still_while_the_fake_score_is_the_teacher(kind: str, alpha: float) -> None:
    net = ClosedFormDenoiser(MIXTURE, *paths()[kind])
    x = drawn(64, 2, 1).requires_grad_()
    value = loss(net, net, x, times(0.4, x), alpha)
    (gradient,) = torch.autograd.grad(value, x)
    assert value == 0
    assert gradient.abs().max() < 1e-15  # all but rounding


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_the_slope_between_two_gaussians_is_the_one_computed_by_hand(alpha: float) -> None:
    std, shift = 0.5, 0.7
    teacher, fake = line((0.0,), std), line((shift,), std)
    x = (shift + std * drawn(256, 1, 1)).requires_grad_()
    for level in (0.2, 0.5, 0.9):
        t = times(level, x)
        (gradient,) = torch.autograd.grad(loss(teacher, fake, x, t, alpha), x)
        noise = teacher.path.sigma(t[0]) ** 2
        share = noise / (std**2 + noise)  # the difference is -share shift, whatever x: alpha changes nothing
        torch.testing.assert_close(gradient * len(x), torch.full_like(x, float(share**2 * shift)))


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.2])
def test_the_gradient_of_an_affine_student_goes_through_both_networks(alpha: float) -> None:
    teacher, fake = line((-1.0, 1.0), 0.2), line((-0.4, 0.9), 0.5)
    z, t = drawn(256, 1, 2), torch.linspace(0.3, 0.9, 256, dtype=torch.float64)

    def value(parameters: Tensor) -> Tensor:
        return loss(teacher, fake, parameters[0] + parameters[1].exp() * z, t, alpha)

    at = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(value(at), at)
    h = 1e-5
    for i, direction in enumerate(torch.eye(2, dtype=torch.float64)):
        difference = (value(at + h * direction) - value(at - h * direction)).item() / (2 * h)
        assert gradient[i].item() == pytest.approx(difference, rel=1e-5)


# The step


def nets(teacher: Denoiser, fake: Denoiser, student: Denoiser) -> sid.Nets:
    return sid.Nets(Guided(teacher, 1.0), student, fake)


def test_the_fake_score_has_its_turn_first_on_samples_of_its_own(untrained: Callable[[str], Teacher]) -> None:
    s = sid.Settings(student_steps=3)
    made = sid.build(untrained("flow"), s)
    asked: list[tuple[float, bool, Tensor]] = []
    made.student.register_forward_hook(
        lambda net, given, out: asked.append((float(given[1][0]), torch.is_grad_enabled(), given[0]))
    )
    lengths = set()
    for seed in range(12):
        asked.clear()
        updates = [update.net for update in sid.step(made, batch(4, step=seed), s)]
        assert updates[0] is made.fake_score
        assert updates[1] is made.student
        half = len(asked) // 2
        for turn in (asked[:half], asked[half:]):
            assert [level for level, *_ in turn] == pytest.approx([1, 2 / 3, 1 / 3][:half])
        assert [grad for _, grad, _ in asked] == [False] * (2 * half - 1) + [True]
        assert not torch.equal(asked[0][2], asked[half][2])
        lengths.add(half)
    assert lengths == {1, 2, 3}


def test_both_turns_can_have_the_samples_of_one_rollout(untrained: Callable[[str], Teacher]) -> None:
    made, s = sid.build(untrained("flow"), sid.Settings(student_steps=3)), sid.Settings(student_steps=3)
    asked, learnt = list[int](), list[Tensor]()
    made.student.register_forward_hook(lambda *given: asked.append(1))
    counts = list[int]()
    for shared in (False, True):
        asked.clear()
        update = sid.step(made, batch(4, step=2), s.model_copy(update={"shared_rollout": shared}))
        fake, student = update
        assert (fake.net, student.net) == (made.fake_score, made.student)
        counts.append(len(asked))
        assert all(g is None for g in gradients(fake.losses["fake_score"], made.student))
        assert any(
            g is not None and g.abs().max() > 0 for g in gradients(student.losses["score_identity"], made.student)
        )
        learnt.append(fake.losses["fake_score"].detach())
    assert counts[0] == 2 * counts[1]
    assert torch.equal(*learnt)  # the fake score's turn is the same


def gradients(loss: Tensor, net: Denoiser) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(loss, list(net.parameters()), allow_unused=True, retain_graph=True)


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_where_noise_is_two_and_a_half_times_data(kind: str, untrained: Callable[[str], Teacher]) -> None:
    net = untrained(kind).trainable()
    level = sid.sampler(sid.Settings(), net).levels[0]
    ratio = float(net.path.ratio(torch.tensor(level, dtype=torch.float64)))
    assert (level == 1) if kind == "flow" else ratio == pytest.approx(2.5, rel=0.01)
    assert sid.sampler(sid.Settings(first_level=0.5), net).levels[0] == pytest.approx(0.5, abs=1e-3)


def test_noise_over_data_is_log_normal(untrained: Callable[[str], Teacher]) -> None:
    made = sid.build(untrained("trigonometric"), sid.Settings())
    t = sid.compared_times(made, batch(20_000), sid.Settings(noise_mean=-0.5, noise_spread=0.8))
    logarithm = made.teacher.path.ratio(t).log()
    assert logarithm.mean() == pytest.approx(-0.5, abs=0.02)
    assert logarithm.std() == pytest.approx(0.8, abs=0.02)


# Guidance


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [({}, 1.0), ({"guidance_scale": 3.0}, 3.0), ({"guidance": "zero"}, 0.0), ({"guidance": "anti"}, -1.0)],
)
def test_the_fake_score_is_guided_as_the_policy_says(settings: dict[str, object], wanted: float) -> None:
    net = ClosedFormDenoiser(MIXTURE, *paths()["edm"], conditional=True)
    x, modes = MIXTURE.draw(32, torch.Generator().manual_seed(0))
    cond, t = Condition.of_labels(modes), times(0.5, x)
    null = net.null(cond)
    assert null is not None
    with_cond, without = net(x, t, cond).x0, net(x, t, null).x0
    s = sid.Settings.model_validate(settings)
    found = sid.guided_fake(nets(net, net, net), x, t, cond, s).x0
    torch.testing.assert_close(found, without + wanted * (with_cond - without), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("settings", "least", "most"), [({}, 0, 0), ({"guidance_scale": 2.0}, 0.05, 0.15)])
def test_one_condition_of_ten_is_left_out_while_a_guided_fake_score_learns(
    settings: dict[str, object], least: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = ClosedFormDenoiser(MIXTURE, *paths()["edm"], conditional=True)
    x, modes = MIXTURE.draw(2000, torch.Generator().manual_seed(0))
    seen: list[Tensor] = []
    s = sid.Settings.model_validate(settings)

    def watch(nets: sid.Nets, noised: Tensor, t: Tensor, cond: Condition, s: sid.Settings) -> object:
        seen.append(cond.part("labels"))
        return net(noised, t, cond)

    monkeypatch.setattr(sid, "guided_fake", watch)
    sid.fake_score_update(nets(net, net, net), x, batch(2000, Condition.of_labels(modes)), s)
    share = float((seen[0] == len(MIXTURE.means)).float().mean())
    assert least <= share <= most
    assert torch.equal(seen[0][seen[0] < len(MIXTURE.means)], modes[seen[0] < len(MIXTURE.means)])


def test_a_scale_that_the_policy_does_not_use_is_refused() -> None:
    (words,) = problems(sid.Settings, {"guidance": "zero", "guidance_scale": 3})
    assert "guidance_scale is 3, which guidance zero does not use; set it to 1" in words


def test_a_policy_that_leaves_conditions_out_needs_a_teacher_that_can(untrained: Callable[[str], Teacher]) -> None:
    with pytest.raises(RecipeError, match="no unconditional mode"):
        sid.build(untrained("edm"), sid.Settings(guidance="anti"))


# The adversarial term


def test_the_discriminator_is_the_mean_of_the_encoders_channels(untrained: Callable[[str], Teacher]) -> None:
    net = untrained("edm").trainable()
    x, t, cond = torch.randn(5, 2), torch.full((5,), 0.4, dtype=torch.float64), Condition.none(5)
    made = sid.logits(nets(net, net, net), x, t, cond)
    torch.testing.assert_close(made, net.features(x, t, cond)[-1].mean(1, keepdim=True))


def test_the_adversarial_term_is_there_only_when_weighed(untrained: Callable[[str], Teacher]) -> None:
    def curves(weight: float) -> list[set[str]]:
        s = sid.Settings(gan_weight=weight)
        made = sid.build(untrained("edm"), s)
        real, _ = MIXTURE.draw(4, torch.Generator().manual_seed(0))
        given = replace(batch(4), real_samples=real, real_cond=Condition.none(4))
        return [set(update.losses) for update in sid.step(made, given, s)]

    assert curves(0) == [{"fake_score"}, {"score_identity"}]
    assert curves(0.5) == [{"fake_score", "discriminator"}, {"score_identity", "gan"}]
    assert load_method("sid").needs(sid.Settings(gan_weight=0.5)) == ("real data",)


@pytest.mark.parametrize(
    ("settings", "evaluations"),
    [
        ({}, 1 + 3 + 2 + 2 + 3),
        ({"student_steps": 4}, 2.5 + (1.5 + 3) + 2 + 2 + 3),
        ({"guidance_scale": 2.0}, 1 + 3 + 4 + 4 + 6),
        ({"guidance": "zero"}, 1 + 3 + 2 + 2 + 3),
        ({"shared_rollout": True}, 3 + 2 + 2 + 3),
        ({"student_steps": 4, "shared_rollout": True}, (1.5 + 3) + 2 + 2 + 3),
        ({"guidance": "anti"}, 1 + 3 + 2 + 4 + 6),
        ({"gan_weight": 0.5}, 1 + 3 + 2 + 2 + 1 + 3 + 3),
    ],
)
def test_its_cost_is_counted(settings: dict[str, object], evaluations: float) -> None:
    assert sid.cost(sid.Settings.model_validate(settings)) == evaluations
