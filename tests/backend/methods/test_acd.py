"""ACD against latent consistency, which it is without its discriminator, and what its discriminator is shown."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor

from backend.methods import Batch, Update, acd, load_method
from backend.networks import Condition, Denoiser
from backend.networks.unet2d import UNet2D
from backend.noise import VariancePreserving, linear_betas
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE

CPU = torch.device("cpu")


def batch(seed: int = 0, n: int = 64) -> Batch:
    real, _ = MIXTURE.draw(n, torch.Generator().manual_seed(5))
    cond = Condition.none(n)
    return Batch(0, 10, cond, (2,), torch.Generator().manual_seed(seed), CPU, real, cond)


def updates(name: str, teacher: Teacher, **settings: Any) -> list[Update]:
    method = load_method(name)
    s = method.settings(**settings)
    torch.manual_seed(3)
    return list(method.step(method.build(teacher, s), batch(), s))


@pytest.mark.parametrize("kind", ["edm", "flow", "v_prediction", "epsilon"])
def test_without_discriminator_it_is_latent_consistency(kind: str, untrained: Callable[[str], Teacher]) -> None:
    (theirs,) = updates("lcm", untrained(kind))
    (ours,) = updates("acd", untrained(kind), gan_weight=0.0)
    assert torch.equal(ours.losses["consistency"], theirs.losses["consistency"])


def test_the_student_learns_first_and_then_the_discriminator(untrained: Callable[[str], Teacher]) -> None:
    first, second = updates("acd", untrained("edm"))
    assert set(first.losses) == {"consistency", "gan"}
    assert set(second.losses) == {"discriminator"}
    assert first.net is not second.net


def test_the_adversarial_weight_is_the_weight(untrained: Callable[[str], Teacher]) -> None:
    once, twice = (updates("acd", untrained("edm"), gan_weight=w)[0].losses["gan"] for w in (0.4, 0.8))
    torch.testing.assert_close(2 * once, twice)


def test_a_discriminator_that_sees_no_difference_is_undecided(untrained: Callable[[str], Teacher]) -> None:
    s, of = acd.Settings(), batch()
    nets = acd.build(untrained("flow"), s)
    for parameter in nets.discriminator.parameters():
        parameter.data.zero_()
    first, second = list(acd.step(nets, of, s))
    log_2 = float(torch.tensor(2.0).log())
    assert first.losses["gan"].item() == pytest.approx(0.1 * log_2, rel=1e-5)
    assert second.losses["discriminator"].item() == pytest.approx(2 * log_2, rel=1e-5)


def test_the_discriminator_sees_each_sample_beside_what_it_came_from(untrained: Callable[[str], Teacher]) -> None:
    s, of = acd.Settings(highest_level=0.0), batch(n=8)
    nets = acd.build(untrained("edm"), s)
    shown: list[list[Tensor]] = []
    nets.discriminator.register_forward_hook(lambda net, given, made: shown.append(given[0]))
    list(acd.step(nets, of, s))
    widths = [h.shape[1] for h in nets.features.features(torch.zeros(2, 2), torch.zeros(2).double(), Condition.none(2))]
    student, real, fake = shown
    for maps in shown:
        assert [h.shape[1] for h in maps] == [2 * width for width in widths]
    for k, width in enumerate(widths):
        origins = [maps[k][:, :width] for maps in (student, real, fake)]
        assert torch.equal(origins[0], origins[1])
        assert torch.equal(origins[1], origins[2])
        assert not torch.equal(real[k][:, width:], fake[k][:, width:])
    # Real ones are the data themselves, here at the least noise.
    x0, cond = of.real
    expected = nets.features.features(x0, torch.zeros(8).double(), cond)[0]
    torch.testing.assert_close(real[0][:, widths[0] :], expected, rtol=0.1, atol=0.1)


def test_the_target_makes_what_counts_as_real_where_asked(untrained: Callable[[str], Teacher]) -> None:
    found = [
        updates("acd", untrained("edm"), real_samples=kind)[1].losses["discriminator"] for kind in ("data", "target")
    ]
    assert not torch.equal(*found)


def translating() -> Teacher:
    """A random U-Net that takes a picture of one channel beside a sample of two."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, in_channels=3, out_channels=2, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    path = VariancePreserving.of_betas(linear_betas())
    net = Denoiser(UNet2D(unet, picture_channels=1), path, "v_prediction").frozen()

    class Translating(Teacher):
        def condition_of(self, numbers: Tensor) -> Condition:
            return Condition.none(len(numbers)).with_part("picture", torch.zeros(len(numbers), 1, 8, 8))

    return Translating("t", "T", net, net.copy, "0")


def test_a_picture_as_condition_reaches_teacher_student_and_discriminator() -> None:
    teacher, s = translating(), acd.Settings()
    assert teacher.denoiser.shape == (2, 8, 8)
    torch.manual_seed(1)
    nets = acd.build(teacher, s)
    x0, picture = torch.randn(4, 2, 8, 8), torch.randn(4, 1, 8, 8)

    def losses(picture: Tensor) -> list[float]:
        cond = Condition.none(4).with_part("picture", picture)
        of = Batch(0, 9, cond, (2, 8, 8), torch.Generator().manual_seed(0), CPU, x0, cond)
        first, second = list(acd.step(nets, of, s))
        return [float(loss.detach()) for update in (first, second) for loss in update.losses.values()]

    ours, again, others = losses(picture), losses(picture), losses(picture.flip(0))
    assert ours == again
    assert all(one != other for one, other in zip(ours, others, strict=True))
    with pytest.raises(ValueError, match="needs the condition's part picture"):
        teacher.denoiser(x0, torch.rand(4).double(), Condition.none(4))


def test_the_cost_is_what_a_step_evaluates(untrained: Callable[[str], Teacher]) -> None:
    for weight, scale in itertools.product((0.0, 0.1), (1.0,)):
        s = acd.Settings(gan_weight=weight, guidance_scale=scale)
        nets = acd.build(untrained("edm"), s)
        counted = [0.0]

        def whole(net: object, given: object, made: object, counted: list[float] = counted) -> None:
            counted[0] += 3 if torch.is_grad_enabled() else 1

        for net in (nets.teacher, nets.student, nets.target):
            net.register_forward_hook(whole)
        features = nets.features.features

        def half(
            noised: Tensor,
            t: Tensor,
            cond: Condition,
            counted: list[float] = counted,
            features: Callable[..., list[Tensor]] = features,
        ) -> list[Tensor]:
            counted[0] += 1 if noised.requires_grad else 0.5
            return features(noised, t, cond)

        nets.features.features = half  # type: ignore[method-assign]
        list(acd.step(nets, batch(n=4), s))
        assert counted[0] == acd.cost(s)
