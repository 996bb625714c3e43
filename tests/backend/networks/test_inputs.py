from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DModel
from torch import nn

from backend.networks import Condition, Denoiser
from backend.networks.inputs import INPUTS, NumberEmbeddings
from backend.networks.mlp import MLP
from backend.networks.unet2d import UNet2D
from backend.noise import FlowMatching


def of_mlp(classes: int) -> nn.Module:
    return MLP(2, width=16, classes=classes)


def of_unet(classes: int) -> nn.Module:
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 8), norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
        num_class_embeds=classes + 1 if classes else None,
    )  # fmt: skip
    return UNet2D(unet, null_label=classes or None)


Make = Callable[[int], nn.Module]
each_network = pytest.mark.parametrize("make", [of_mlp, of_unet])


def denoiser(make: Make, classes: int = 3) -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(make(classes), FlowMatching(), "flow")


def batch(net: Denoiser, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor, Condition]:
    cond = Condition.of_labels(torch.arange(4) % 3) if classes else Condition.none(4)
    return torch.randn(4, *net.shape), torch.tensor([0.1, 0.4, 0.6, 0.9]), cond


def told(cond: Condition) -> Condition:
    for name, largest in INPUTS.items():
        cond = cond.with_part(name, largest * torch.rand(len(cond)))
    return cond


@each_network
@pytest.mark.parametrize("classes", [0, 3])
def test_an_extended_network_starts_as_it_was_whatever_it_is_told(make: Make, classes: int) -> None:
    net = denoiser(make, classes)
    x, t, cond = batch(net, classes)
    before = net(x, t, cond).output
    features = net.features(x, t, cond)
    assert net.inputs == ()
    net.extended(*INPUTS)
    assert net.inputs == tuple(INPUTS)
    assert torch.equal(net(x, t, told(cond)).output, before)
    for mine, theirs in zip(net.features(x, t, told(cond)), features, strict=True):
        assert torch.equal(mine, theirs)


@each_network
@pytest.mark.parametrize("name", INPUTS)
def test_a_trained_network_hears_each_number_and_takes_its_gradient(make: Make, name: str) -> None:
    net = denoiser(make).extended(name)
    x, t, cond = batch(net)
    numbers = [p for key, p in net.named_parameters() if ".numbers." in key]
    gradients = torch.autograd.grad(net(x, t, told(cond)).output.square().sum(), numbers, allow_unused=True)
    assert any(g is not None and bool((g != 0).any()) for g in gradients)
    with torch.no_grad():
        for parameter in numbers:
            parameter.normal_()
    low, high = (net(x, t, cond.with_part(name, torch.full((4,), value))).output for value in (0.2, 0.7))
    assert not torch.allclose(low, high, atol=1e-3)


@each_network
def test_copies_are_independent(make: Make) -> None:
    net = denoiser(make).extended("end_time")
    twin = net.copy()
    assert twin.inputs == ("end_time",)
    assert {p.data_ptr() for p in net.parameters()}.isdisjoint(p.data_ptr() for p in twin.parameters())
    x, t, cond = batch(net)
    before = net(x, t, told(cond)).output
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    assert torch.equal(net(x, t, told(cond)).output, before)


@each_network
def test_a_missing_number_is_refused_in_a_sentence(make: Make) -> None:
    net = denoiser(make).extended("guidance", "end_time")
    x, t, cond = batch(net)
    with pytest.raises(ValueError, match="must be told end_time"):
        net(x, t, cond.with_part("guidance", torch.ones(4)))


def test_a_network_without_a_place_for_numbers_says_so() -> None:
    with pytest.raises(ValueError, match="cannot be told more than the time"):
        Denoiser(nn.Linear(2, 2), FlowMatching(), "flow").extended("guidance")


def test_numbers_are_summed_and_their_names_kept() -> None:
    numbers = NumberEmbeddings(("guidance", "sign"), width=8)
    assert torch.equal(numbers.added({"guidance": torch.ones(3), "sign": torch.ones(3)}), torch.zeros(3, 8))
    with torch.no_grad():
        for name, parameter in numbers.named_parameters():
            parameter.add_(name.endswith("last.bias"))
    assert torch.equal(numbers.added({"guidance": torch.ones(3), "sign": torch.ones(3)}), torch.full((3, 8), 2.0))
