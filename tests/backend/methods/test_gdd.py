"""GDD: that a discriminator alone steers a network that already knows pictures, and what it may and may not touch."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from backend.contract.recipe import RecipeError, Training
from backend.datasets import ImageSet, load_data
from backend.evaluate import FeatureNetwork, image_figures, mixture_figures
from backend.methods import Batch, Update, gdd, load_method
from backend.networks import Condition, Denoiser
from backend.networks.freezing import freeze, frozen_share
from backend.networks.unet2d import UNet2D
from backend.noise import FlowMatching
from backend.samplers import sample
from backend.teachers import Teacher, load_teacher
from backend.teachers.mixture_2d import MIXTURE
from backend.train import Run, start, train

CPU = torch.device("cpu")


def u_net() -> UNet2D:
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return UNet2D(unet)


def u_net_teacher() -> Teacher:
    net = Denoiser(u_net(), FlowMatching(), "flow").frozen()
    return Teacher("tiny", "Tiny", net, net.copy, "0")


def batch(n: int, shape: tuple[int, ...], step: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(step)
    real, cond = torch.randn(n, *shape, generator=generator), Condition.none(n)
    return Batch(step, 100, cond, shape, generator, CPU, real, cond)


def updates(made: gdd.Nets, s: gdd.Settings, step: int = 0) -> list[Update]:
    return list(gdd.step(made, batch(4, made.student.shape, step), s))


def values(update: Update) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in update.losses.items()}


# Freezing


def test_frozen_are_the_convolutions_of_the_blocks_and_nothing_else() -> None:
    net = u_net()
    freeze(net, "block convolutions")
    kept = {name for name, module in net.unet.named_modules() for p in module.parameters(False) if p.requires_grad}
    gone = {name for name, module in net.unet.named_modules() for p in module.parameters(False) if not p.requires_grad}
    assert {"conv_in", "conv_out", "time_embedding.linear_1", "down_blocks.0.resnets.0.norm1"} <= kept
    assert {"down_blocks.1.attentions.0.to_q", "mid_block.resnets.0.time_emb_proj"} <= kept
    assert {"down_blocks.0.resnets.0.conv1", "down_blocks.1.resnets.0.conv_shortcut"} <= gone
    assert {"down_blocks.0.downsamplers.0.conv", "up_blocks.0.upsamplers.0.conv", "mid_block.resnets.1.conv2"} <= gone
    assert all(isinstance(net.unet.get_submodule(name), nn.Conv2d) for name in gone)
    assert not kept & gone


def test_frozen_share_is_counted_in_numbers() -> None:
    net = nn.Sequential(nn.Linear(3, 1), nn.ModuleList([nn.Conv2d(1, 1, 3)]))
    assert frozen_share(net) == 0
    freeze(net, "none")
    assert frozen_share(net) == 0
    freeze(net, "block convolutions")
    assert frozen_share(net) == pytest.approx(10 / 14)


def test_where_there_are_no_convolutions_to_freeze_it_is_said(untrained: Callable[[str], Teacher]) -> None:
    with pytest.raises(RecipeError, match="no convolutions to freeze; set frozen to none"):
        gdd.build(untrained("flow"), gdd.Settings(frozen="block convolutions"))


def test_frozen_convolutions_stay_the_teachers_while_the_rest_learns() -> None:
    teacher, data = u_net_teacher(), ImageSet.of(torch.rand(16, 1, 8, 8), torch.zeros(16))
    training = Training(steps=3, batch_size=4)
    run = start(load_method("gdd"), gdd.Settings(frozen="block convolutions"), training, teacher, data, CPU)
    list(train(run))
    pairs = zip(run.student.named_parameters(), teacher.denoiser.parameters(), strict=True)
    moved = {name: not torch.equal(a, b) for (name, a), b in pairs}
    frozen = {name for name, p in run.student.named_parameters() if not p.requires_grad}
    assert len(frozen) > 20
    assert not any(moved[name] for name in frozen)
    for part in ("conv_in.weight", "conv_out.weight", "conv_norm_out.weight", "time_embedding.linear_1.weight"):
        assert moved[f"network.unet.{part}"]


# The step


def test_losses_of_an_undecided_discriminator_are_logarithms_of_two() -> None:
    s = gdd.Settings(penalty_weight=0)
    made = gdd.build(u_net_teacher(), s)
    for heads in made.discriminator.modules():
        if isinstance(heads, nn.Linear) and heads.out_features == 1:
            nn.init.zeros_(heads.weight)
            nn.init.zeros_(heads.bias)
    student, discriminator = updates(made, s)
    assert values(student) == pytest.approx({"gan": math.log(2)})
    assert values(discriminator) == pytest.approx({"discriminator": 2 * math.log(2)})


def test_the_student_wants_higher_logits_and_the_discriminators_loss_never_reaches_it() -> None:
    s = gdd.Settings(penalty_weight=0)
    made = gdd.build(u_net_teacher(), s)
    student, discriminator = updates(made, s)
    last = next(m for m in made.discriminator.modules() if isinstance(m, nn.Linear) and m.out_features == 1)
    (up,) = torch.autograd.grad(student.losses["gan"], last.bias)
    assert up.item() < 0  # a higher logit would please the student
    parameters = list(made.student.parameters())
    reached = torch.autograd.grad(discriminator.losses["discriminator"], [last.bias, *parameters], allow_unused=True)
    assert reached[0] is not None
    assert all(gradient is None for gradient in reached[1:])


def test_the_penalty_comes_every_sixteen_steps_and_counts_for_all_of_them() -> None:
    s = gdd.Settings(penalty_weight=0.5)
    made = gdd.build(u_net_teacher(), s)
    assert [step for step in (0, 1, 15, 16, 17, 32) if "penalty" in updates(made, s, step)[1].losses] == [0, 16, 32]
    twice = values(updates(made, gdd.Settings(penalty_weight=1.0))[1])["penalty"]
    assert twice == pytest.approx(2 * values(updates(made, s)[1])["penalty"])
    assert twice > 0
    assert "penalty" not in updates(made, gdd.Settings(penalty_weight=0))[1].losses


def test_the_teacher_is_asked_for_features_at_the_chosen_levels_and_for_nothing_else() -> None:
    teacher = u_net_teacher()
    s = gdd.Settings(noise_levels=3, lowest_level=0.2, highest_level=0.6)
    made = gdd.build(teacher, s)
    assert made.features is teacher.denoiser
    forwards: list[object] = []
    teacher.denoiser.register_forward_hook(lambda *given: forwards.append(given))
    seen: list[float] = []
    asked = made.features.features

    def features(noised: Tensor, t: Tensor, cond: Condition) -> list[Tensor]:
        seen.append(round(float(t[0]), 6))
        return asked(noised, t, cond)

    object.__setattr__(made.features, "features", features)
    updates(made, s)
    assert not forwards
    assert seen == [0.2, 0.4, 0.6] * 3


def test_a_closed_form_teacher_gets_a_network_for_its_features(untrained: Callable[[str], Teacher]) -> None:
    made = gdd.build(untrained("edm"), gdd.Settings())
    assert not any(p.requires_grad for p in made.features.parameters())
    assert {id(p) for p in made.features.parameters()}.isdisjoint(id(p) for p in made.student.parameters())


# mixture-2d cannot carry the paper's claim, its teacher's one step being a blur: here GDD is the unsteady baseline


def ring_figures(run: Run) -> list[dict[str, float]]:
    """After each 300 steps."""
    found = []
    for progress in train(run):
        if progress.step % 300 == 0:
            noise = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(99))
            samples = sample(run.student, run.sampler, noise, Condition.none(20_000), torch.Generator())
            figures = mixture_figures(samples, MIXTURE.means, MIXTURE.std, MIXTURE.weights)
            found.append({name: float("nan") if value is None else value for name, value in figures.items()})
    return found


@pytest.mark.long
def test_on_the_ring_a_learning_discriminator_finds_the_modes_and_a_still_one_does_not() -> None:
    teacher, method = load_teacher("mixture-2d"), load_method("gdd")

    def begin(steps: int) -> Run:
        training = Training(steps=steps, batch_size=512, ema_decay=0, gradient_clip=10)
        return start(method, gdd.Settings(learning_rate=5e-4), training, teacher, teacher.draws, CPU)

    # Measured: recall 1.0 and TV .164, .118; without the penalty recall moves between .625 and 1.
    assert any(f["recall"] >= 0.875 and f["weights_tv"] < 0.25 for f in ring_figures(begin(600)))
    stub = begin(300)
    still = torch.optim.SGD(stub.nets.discriminator.parameters(), lr=0.0)
    stub.optimizers = {**stub.optimizers, "discriminator": still}
    (lost,) = ring_figures(stub)
    assert lost["recall"] <= 0.375  # measured: .125
    assert lost["weights_tv"] > 0.6  # measured: .907


# The digits, where the claim itself can be seen


def digits_run(steps: int, **settings: Any) -> Run:
    teacher = load_teacher("digits")
    data = load_data("digits", teacher.denoiser.shape)
    training = Training(steps=steps, batch_size=48, ema_decay=0.99, gradient_clip=10)
    return start(load_method("gdd"), gdd.Settings(**settings), training, teacher, data, CPU)


def forget(run: Run) -> None:
    """Gives the student random weights in place of the teacher's; the discriminator keeps the teacher's features."""
    torch.manual_seed(5)
    fresh = UNet2DModel.from_config(run.student.network.unet.config)  # type: ignore[union-attr]
    for net in (run.student, run.average):
        net.network.unet.load_state_dict(fresh.state_dict())  # type: ignore[union-attr]


def digits_figures(run: Run, *steps: int) -> Iterator[dict[str, float]]:
    features, reference = FeatureNetwork.load(), load_data("digits", run.student.shape)
    for progress in train(run):
        if progress.step not in steps:
            continue
        cond, generator = run.teacher.each_condition(1000), torch.Generator().manual_seed(1234)
        noise = torch.randn(1000, *run.student.shape, generator=generator)
        parts = [slice(i, i + 200) for i in range(0, 1000, 200)]
        made = torch.cat([sample(run.exported, run.sampler, noise[part], cond[part], generator) for part in parts])
        found = image_figures(made, cond.labels, reference, features)
        yield {name: float("nan") if value is None else value for name, value in found.items()}


@pytest.mark.long
def test_on_the_digits_the_teachers_weights_are_what_matters() -> None:
    at_200, at_400 = digits_figures(digits_run(400), 200, 400)
    # Measured: 0.75 and 0.49; a student that has taken one step has 13.05, the teacher's two steps 2.66, its four 0.94.
    assert at_200["frechet"] < 1.1
    assert at_400["frechet"] < 0.7
    assert at_400["class_std"] > 0.2  # measured: 0.260; after one step 0.037
    assert at_400["class_accuracy"] > 0.93  # measured: 0.953; a blur of its class is at 0.998 and no better for that
    random = digits_run(400)
    forget(random)
    (lost,) = digits_figures(random, 400)
    assert lost["frechet"] > 3 * at_400["frechet"]  # measured: 3.7, and a third of the spread
    assert lost["class_std"] < 0.7 * at_400["class_std"]


@pytest.mark.long
def test_on_the_digits_most_of_the_network_can_stay_the_teachers() -> None:
    run = digits_run(200, frozen="block convolutions", learning_rate=3e-4)
    assert frozen_share(run.student) > 0.8
    (found,) = digits_figures(run, 200)
    assert found["frechet"] < 1.3  # measured: 0.86; after one step 13.05
    assert found["class_std"] > 0.2  # measured: 0.285; after one step 0.037
