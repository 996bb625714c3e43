"""What is kept and what is computed, counted module by module; and that nothing is left behind."""

from collections import Counter
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from torch import Tensor, nn

from backend.acceleration import FASTER_DIFFUSION, Acceleration, Renoised, accelerated, kept_parts, unets_of
from backend.contract.errors import UserError
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.networks.experts import with_experts
from backend.networks.mlp import MLP
from backend.networks.momentum import with_momentum
from backend.networks.routed import Partition, RoutedDenoiser
from backend.networks.unet2d import UNet2D
from backend.noise import FlowMatching, Path, VarianceExploding
from backend.samplers import Sampler, sample, teacher_sampler

STEPS = 8


@pytest.fixture(scope="module")
def net() -> Denoiser:
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=2, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        num_class_embeds=3,
    )  # fmt: skip
    return Denoiser(UNet2D(unet, null_label=2), FlowMatching(), "flow").frozen()


def drawn(net: Any, how: Acceleration | None, steps: int = STEPS) -> Tensor:
    noise = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    cond = Condition.of_labels(torch.tensor([0, 1, 0]))
    with accelerated(net, how, teacher_sampler(steps)) as quick:
        return sample(quick, teacher_sampler(steps), noise, cond, torch.Generator())


def calls(net: Any, how: Acceleration, module: nn.Module) -> int:
    """How often a module computes: what it is made of is called."""
    counted = Counter[str]()
    inner = next(m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    hook = inner.register_forward_hook(lambda *_: counted.update("x"))
    drawn(net, how)
    hook.remove()
    return counted["x"]


HOWS = [Acceleration("deepcache", 1), Acceleration("encoder", 1), Acceleration("repeat", 1)]


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_an_interval_of_one_changes_no_bit(net: Denoiser, how: Acceleration) -> None:
    assert torch.equal(drawn(net, how), drawn(net, None))


def test_a_students_mixture_of_velocities_is_accelerated_as_its_network_is(net: Denoiser) -> None:
    student = with_momentum(net.copy(), components=2)
    with torch.no_grad():
        for parameter in student.network.profile.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    plain, how = momentum_samples(student, None), Acceleration("deepcache", 2)
    assert torch.equal(momentum_samples(student, Acceleration("deepcache", 1)), plain)
    assert not torch.equal(momentum_samples(student, how), plain)
    assert torch.equal(momentum_samples(student, None), plain)


def momentum_samples(student: Denoiser, how: Acceleration | None) -> Tensor:
    plan = Sampler("momentum", tuple(1 - k / 4 for k in range(4)))
    noise = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with accelerated(student, how, plan) as quick:
        return sample(quick, plan, noise, Condition.of_labels(torch.tensor([0, 1, 0])), torch.Generator())


@pytest.mark.parametrize("interval", [2, 3])
def test_deep_parts_compute_at_full_steps_alone(net: Denoiser, interval: int) -> None:
    unet, how = unets_of(net)[0], Acceleration("deepcache", interval)
    full = -(-STEPS // interval)
    assert calls(net, how, unet.mid_block) == full
    assert calls(net, how, unet.down_blocks[0]) == full
    assert calls(net, how, unet.up_blocks[-1].resnets[0]) == full
    assert calls(net, how, unet.up_blocks[-1].resnets[-1]) == STEPS
    assert calls(net, how, unet.conv_out) == STEPS


def test_a_branch_computes_more_of_the_outermost_blocks(net: Denoiser) -> None:
    unet, how = unets_of(net)[0], Acceleration("deepcache", 4, branch=1)
    assert calls(net, how, unet.down_blocks[0].resnets[0]) == STEPS
    assert calls(net, how, unet.down_blocks[0].resnets[1]) == 2
    assert calls(net, how, unet.up_blocks[-1].resnets[-2]) == STEPS


def test_the_encoder_computes_at_key_steps_and_the_decoder_always(net: Denoiser) -> None:
    unet, how = unets_of(net)[0], Acceleration("encoder", 3)
    for part in (unet.down_blocks[0], unet.down_blocks[1], unet.mid_block):
        assert calls(net, how, part) == 3
    assert calls(net, how, unet.up_blocks[0]) == 6  # three in full, and the two spans of two and the last of one
    assert calls(Guided(net, 2.0), how, unet.up_blocks[0]) == 6


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("how", ["encoder:3", "encoder:5:0.1", "encoder:keys"])
def test_steps_computed_at_once_are_those_computed_one_by_one(
    net: Denoiser, how: str, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    guided, asked = Guided(net, scale), Acceleration.of(how)
    at_once = drawn(guided, asked, 20)
    rows = 3 if scale == 1 else 6
    monkeypatch.setattr("backend.acceleration.ROWS_TOGETHER", 2 * rows - 1)  # one step and no room for a second
    one_by_one = drawn(guided, asked, 20)
    assert calls(guided, asked, unets_of(net)[0].conv_out) == STEPS
    torch.testing.assert_close(at_once, one_by_one, atol=1e-5, rtol=0)
    assert not torch.allclose(at_once, drawn(guided, None, 20), atol=1e-3)


def test_steps_computed_at_once_are_each_told_where_they_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16),
        norm_num_groups=4, num_class_embeds=3, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    )  # fmt: skip
    student = Denoiser(UNet2D(unet, null_label=2), FlowMatching(), "flow").extended("end_time", "guidance")
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    student.frozen()
    plan = Sampler("renoise", tuple(1 - k / STEPS for k in range(STEPS)), guidance=3.0)
    noise, cond = torch.randn(3, 1, 8, 8), Condition.of_labels(torch.tensor([0, 1, 0]))

    def made(how: Acceleration | None) -> Tensor:
        with accelerated(student, how, plan) as quick:
            return sample(quick, plan, noise, cond, torch.Generator().manual_seed(1))

    at_once = made(Acceleration("encoder", 4))
    monkeypatch.setattr("backend.acceleration.ROWS_TOGETHER", 1)
    torch.testing.assert_close(at_once, made(Acceleration("encoder", 4)), atol=1e-5, rtol=0)
    assert not torch.allclose(at_once, made(None), atol=1e-3)


@pytest.mark.parametrize("kind", ["deepcache", "encoder"])
def test_a_kept_step_still_sees_the_time(net: Denoiser, kind: Any) -> None:
    """It is not the last answer given again: the time embedding reaches what is computed."""
    x, cond = torch.randn(1, 1, 8, 8), Condition.of_labels(torch.tensor([0]))
    with accelerated(net, Acceleration(kind, 2), teacher_sampler(2)):
        outputs = [net(x, torch.tensor([t], dtype=torch.float64), cond).output for t in (0.9, 0.5)]
    assert not torch.equal(*outputs)


def test_a_repeat_takes_one_long_step_in_place_of_several(net: Denoiser) -> None:
    """With one noise prediction x0 is the same all along, and so is where it leads."""
    how, plan = Acceleration("repeat", 4), teacher_sampler(STEPS)
    assert calls(net, how, unets_of(net)[0].conv_out) == 2
    longer = Sampler("deterministic", (plan.levels[0], plan.levels[4]))
    noise = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    cond = Condition.of_labels(torch.tensor([0, 1, 0]))
    torch.testing.assert_close(drawn(net, how), sample(net, longer, noise, cond, torch.Generator()), atol=1e-5, rtol=0)


@pytest.mark.parametrize("path", [FlowMatching(), VarianceExploding(0.01, 10.0)], ids=["flow", "exploding"])
def test_from_half_of_the_way_on_a_share_of_the_first_noise_is_added(path: Path) -> None:
    class Seen:
        inputs = ()

        def __init__(self) -> None:
            self.path, self.states = path, list[Tensor]()

        def __call__(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction:
            self.states.append(noised)
            return Prediction(noised, torch.zeros_like(noised), t, path, "epsilon")

    seen, net = Seen(), Seen()
    noise, cond = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)), Condition.none(2)
    plan = teacher_sampler(4)
    sample(seen, plan, noise, cond, torch.Generator())
    sample(Renoised(net, 0.1, 2), plan, noise, cond, torch.Generator())
    first, second, third, fourth = net.states
    assert torch.equal(first, seen.states[0])
    assert torch.equal(second, seen.states[1])
    assert not torch.equal(fourth, seen.states[3])
    t = torch.tensor([plan.levels[0], plan.levels[2]], dtype=torch.float64)
    begun, here = (path.alpha(t) ** 2 + path.sigma(t) ** 2).sqrt().tolist()
    torch.testing.assert_close(third, seen.states[2] + 0.1 * here / begun * first)


def test_each_of_several_students_and_experts_keeps_its_own(net: Denoiser) -> None:
    """Its students' rows lie apart, and an expert's first call is in full wherever it comes."""

    def louder() -> Denoiser:
        twin = net.copy()
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.mul_(1.1)
        return twin

    def own(of: Denoiser, how: Acceleration | None, label: int) -> Tensor:
        with accelerated(of, how, teacher_sampler(STEPS)) as quick:
            cond = Condition.of_labels(torch.tensor([label, label]))
            return sample(quick, teacher_sampler(STEPS), noise, cond, torch.Generator())

    noise, how = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)), Acceleration("deepcache", 3)
    second = louder()
    students = RoutedDenoiser([net, second], Partition(2, table=torch.tensor([0, 1, 1])))
    for label, alone in ((0, net), (1, second)):
        torch.testing.assert_close(own(students, how, label), own(alone, how, label))
    experts = with_experts([net.copy(), second], [0.55])
    assert torch.equal(own(experts, Acceleration("encoder", 1), 0), own(experts, None, 0))
    middle = unets_of(experts)[1].mid_block
    assert calls(experts, how, middle) == 2  # at the first and fourth of its own four
    assert not torch.equal(own(experts, how, 0), own(experts, None, 0))


def test_nothing_is_left_behind_by_a_fault(net: Denoiser) -> None:
    def fault() -> None:
        with accelerated(net, Acceleration("deepcache", 2), teacher_sampler(2)):
            raise KeyboardInterrupt

    before = drawn(net, None)
    with pytest.raises(KeyboardInterrupt):
        fault()
    assert torch.equal(drawn(net, None), before)
    assert not any("forward" in module.__dict__ for module in net.modules())


def test_each_generation_starts_anew(net: Denoiser) -> None:
    how = Acceleration("encoder", 3)
    assert torch.equal(drawn(net, how), drawn(net, how))
    assert torch.equal(drawn(Guided(net, 2.0), how), drawn(Guided(net, 2.0), how))


def test_a_conditional_u_net_has_the_same_parts() -> None:
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=8, norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=4,
    )  # fmt: skip
    kept = kept_parts(unet, Acceleration("deepcache", 2))
    last = unet.up_blocks[-1]
    assert last.resnets[-1] not in kept
    assert last.attentions[-1] not in kept
    assert {last.resnets[0], last.attentions[0], unet.mid_block} <= set(kept)


@pytest.mark.parametrize("kind", ["deepcache", "encoder"])
def test_key_steps_are_dense_at_first_and_scale_with_the_number_of_steps(net: Denoiser, kind: Any) -> None:
    how = Acceleration.of(f"{kind}:keys")
    assert sorted(how.full_steps(50)) == list(FASTER_DIFFUSION)
    assert sorted(how.full_steps(20)) == [0, 1, 2, 4, 6, 10, 14]
    assert calls(net, how, unets_of(net)[0].mid_block) == len(how.full_steps(STEPS)) < STEPS


def test_a_branch_is_asked_for_behind_the_interval() -> None:
    how = Acceleration.of("deepcache:3:1")
    assert how == Acceleration("deepcache", 3, branch=1)
    assert str(how) == "DeepCache every 3, branch 1"


BAD = [
    "",
    "deepcache",
    "deepcache:0",
    "deepcache:x",
    "cache:2",
    "encoder:51",
    "encoder:-1",
    "encoder:2:1",
    "encoder:2:",
    "encoder:2:1.5",
    "repeat:2:1",
    "repeat:2:0.1",
    "deepcache:2:0.1",
]


@pytest.mark.parametrize("text", [*BAD, "encoder:2:", "deepcache:keys:x", "deepcache:²"])
def test_what_is_no_acceleration_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="write deepcache:N, encoder:N or repeat:N"):
        Acceleration.of(text)


def test_what_cannot_be_accelerated_is_refused(net: Denoiser) -> None:
    mlp = Denoiser(MLP(), FlowMatching(), "flow")
    with pytest.raises(UserError, match="Only a U-Net"):
        drawn(mlp, Acceleration("encoder", 2))
    with accelerated(mlp, Acceleration("repeat", 2), teacher_sampler(4)) as quick:
        made = sample(quick, teacher_sampler(4), torch.randn(3, 2), Condition.none(3), torch.Generator())
    assert made.shape == (3, 2)
    student = with_momentum(net.copy(), components=2)
    for how in (Acceleration("repeat", 2), Acceleration("encoder", 2, noise=0.003)):
        with pytest.raises(UserError, match="gives a velocity for a whole step"):
            momentum_samples(student, how)
    with pytest.raises(UserError, match="choose 0 to 2"):
        drawn(net, Acceleration("deepcache", 2, branch=3))
