"""What optimizers keep in memory, counted; and activations that are computed again, which change nothing."""

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from backend.contract.recipe import RecipeError, Training
from backend.contract.settings import Settings, setting
from backend.networks import Condition, Denoiser
from backend.networks.mlp import MLP
from backend.networks.unet2d import UNet2D
from backend.noise import FlowMatching, Trigonometric
from backend.optimizers import adam, adams, factored, state_bytes
from backend.train import _keep_few_activations
from backend.trained import Trainees


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(), nn.Linear(16 * 36, 24))


def step(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    loss = module(torch.ones(2, 3, 8, 8)).square().sum()
    trainees = Trainees({"student": module}, {"student": optimizer})
    (student,) = trainees.of([module])
    trainees.begin_gradients([student])
    loss.backward()
    assert student.gradient()
    optimizer.step()
    trainees.forget_gradients()


def kept(optimizer: torch.optim.Optimizer) -> int:
    """Numbers in the state, but for how many steps were taken."""
    return sum(
        value.numel()
        for state in optimizer.state.values()
        for key, value in state.items()
        if isinstance(value, Tensor) and key != "step"
    )


def test_adafactor_keeps_rows_and_columns_where_adam_keeps_two_of_each_weight() -> None:
    first = net()
    plain = adam(first, 1e-3)
    step(first, plain)
    weights = sum(p.numel() for p in first.parameters())
    assert kept(plain) == 2 * weights
    assert state_bytes(plain) == 4 * 2 * weights
    second = net()
    small = factored(adam(second, 1e-3), second)
    step(second, small)
    # the convolution as 16 x 27, the linear layer as 24 x 576, and each bias whole
    assert kept(small) == (16 + 27) + 16 + (24 + 576) + 24
    assert state_bytes(small) == 4 * kept(small)
    assert kept(small) < kept(plain) / 40
    assert small.param_groups[0]["lr"] == 1e-3


def test_adafactor_trains_the_networks_own_weights() -> None:
    module = net()
    before = [p.detach().clone() for p in module.parameters()]
    optimizer = factored(adam(module, 1e-3), module)
    step(module, optimizer)
    assert all(not torch.equal(p, old) for p, old in zip(module.parameters(), before, strict=True))


def small_unet() -> Denoiser:
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return Denoiser(UNet2D(unet), FlowMatching(), "flow")


class Saved:
    """Counts the numbers kept for the backward pass."""

    def __init__(self) -> None:
        self.numbers = 0

    def pack(self, tensor: Tensor) -> Tensor:
        self.numbers += tensor.numel()
        return tensor


def gradients(module: Denoiser, features: bool) -> tuple[list[Tensor | None], int]:
    x, t = torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8), torch.tensor([0.3, 0.7])
    saved = Saved()
    with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda tensor: tensor):
        maps = module.features(x, t, Condition.none(2)) if features else [module(x, t, Condition.none(2)).output]
        loss = torch.stack([one.square().mean() for one in maps]).sum()
    return list(torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)), saved.numbers


@pytest.mark.parametrize("features", [False, True], ids=["output", "features"])
def test_gradients_of_activations_that_are_computed_again_are_the_same_bits(features: bool) -> None:
    from dataclasses import make_dataclass

    plain, again = small_unet(), small_unet()
    nets: Any = make_dataclass("Nets", ["student"])(again)
    _keep_few_activations(nets)
    expected, most = gradients(plain, features)
    found, few = gradients(again, features)
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        assert one is None or other is None or torch.equal(one, other)
    assert few < most
    copy.deepcopy(again)  # as the average is made


def test_a_network_that_cannot_compute_them_again_is_refused() -> None:
    from dataclasses import make_dataclass

    student = Denoiser(MLP(2, width=8), Trigonometric(), "v_prediction")
    with pytest.raises(RecipeError, match="keeps all its activations; set gradient_checkpointing to false"):
        _keep_few_activations(make_dataclass("Nets", ["student"])(student))
    assert Training(batch_size=4, accumulation=3).samples_per_step == 12


@dataclass
class Nets:
    teacher: nn.Module
    student: nn.Module
    fake_score: nn.Module
    discriminator: nn.Module


class Rates(Settings):
    learning_rate: float = setting(1e-3, "The student's")
    fake_score_learning_rate: float = setting(2e-3, "The fake score's")


def test_each_network_that_has_a_rate_has_its_own_optimizer() -> None:
    nets = Nets(*(nn.Linear(2, 2) for _ in range(4)))
    found = adams((0.0, 0.999))(nets, Rates())
    assert {name: o.param_groups[0]["lr"] for name, o in found.items()} == {"student": 1e-3, "fake_score": 2e-3}
    assert found["student"].param_groups[0]["betas"] == (0.0, 0.999)
    others = adams(discriminator="fake_score_learning_rate")(nets, Rates())
    assert others.keys() == {"student", "fake_score", "discriminator"}
    assert others["discriminator"].param_groups[0]["lr"] == 2e-3
