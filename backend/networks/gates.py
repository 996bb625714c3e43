"""Adapters that are told the guidance scale, and at any one scale are plain adapters (LoRA, arXiv:2106.09685).

Between the two halves of an adapter each of its channels is multiplied by a learnt function of the scale w that is 0 at
w = 1, where there is no guidance: W' = W + (alpha / rank) B diag(g(w)) A. The base is never touched, so the same
adapters go onto any checkpoint of it.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from backend.contract.recipe import RecipeError
from backend.networks.adapters import ADAPTER, adaptable, adapted, own_parameters, with_adapters
from backend.networks.condition import Condition
from backend.networks.denoiser import Denoiser
from backend.networks.inputs import INPUTS

POWERS = 3
"""Of the scale's distance from 1, of which g(w) is a sum."""


class Gate(nn.Module):
    """The first half of an adapter, A, with the gate behind it; g(w) starts as (w - 1) / 8 in every channel.

    told: the powers (B, POWERS) of each sample's scale, for the length of a call and what is computed again after it.
    """

    told: Tensor | None = None

    def __init__(self, down: nn.Module, rank: int) -> None:
        super().__init__()
        self.down = down
        self.gate = nn.Linear(POWERS, rank, bias=False)
        with torch.no_grad():
            self.gate.weight.copy_(torch.eye(1, POWERS).expand(rank, POWERS))

    @property
    def weight(self) -> Tensor:
        """A; peft asks for its number format."""
        return self.down.weight  # type: ignore[return-value]

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.down(x)
        if self.told is None or len(self.told) != len(h):
            raise ValueError("These adapters must be told the guidance scale for each sample.")
        g: Tensor = self.gate(self.told.to(self.gate.weight.dtype))
        if isinstance(self.down, nn.Conv2d):
            return h * g[:, :, None, None]
        return h * g.reshape(len(g), *[1] * (h.ndim - 2), -1)

    @torch.no_grad()
    def settle(self, scale: float) -> nn.Module:
        """A alone, with the gate at this scale in its weights."""
        g = self.gate(powers(torch.tensor([scale], device=self.weight.device)))[0]
        self.weight.mul_(g.reshape(-1, *[1] * (self.weight.ndim - 1)))
        return self.down


def powers(scale: Tensor) -> Tensor:
    """What gates are told of guidance scales (B,): (B, POWERS) float32, all 0 at scale 1."""
    u = (scale.float() - 1) / INPUTS["guidance"]
    return torch.stack([u**k for k in range(1, POWERS + 1)], 1)


def with_gated_adapters(base: Denoiser, rank: int) -> Denoiser:
    """A denoiser that starts as `base`, shares its weights, and trains adapters that are told the guidance scale.

    Raises `RecipeError` where no layer is wider than the rank, or the network itself is told its scale.
    """
    if "guidance" in getattr(base.network, "native", ()):
        raise RecipeError("This teacher is told its guidance scale already; choose a method that makes fewer steps.")
    twin = with_adapters(base, rank)
    for layer in adapted(twin):
        layer.lora_A[ADAPTER] = Gate(layer.lora_A[ADAPTER], rank).to(next(base.parameters()).device)
    twin.network.inputs = ("guidance",)  # type: ignore[assignment]
    twin.network.register_forward_pre_hook(_tell)
    return twin


def _tell(network: nn.Module, given: tuple[Tensor, Tensor, Condition]) -> None:
    """Before each call: what its condition says of guidance, to every gate. No closure, so that copies tell their own.

    It stays there after the call, because what is computed again for gradients (checkpointing) asks for it again.
    """
    told = powers(given[2].part("guidance"))
    for gate in _gates(network).values():
        gate.told = told


def _gates(net: nn.Module) -> Mapping[str, Gate]:
    return {name: module for name, module in net.named_modules() if isinstance(module, Gate)}


def settled(net: Denoiser, scale: float | None) -> Denoiser:
    """The denoiser with plain adapters in place of those that are told the scale; itself where it has none.

    Raises ValueError where it has some and no scale is given.
    """
    if not _gates(net):
        return net
    if scale is None:
        raise ValueError("Adapters that are told the guidance scale need one to be settled at.")
    own = {id(p) for p in own_parameters(net)}
    twin = copy.deepcopy(net, {id(p): p for p in net.parameters() if id(p) not in own})
    for name, gate in _gates(twin).items():
        parent, _, child = name.rpartition(".")
        setattr(twin.get_submodule(parent), child, gate.settle(scale))
    twin.network.inputs = ()  # type: ignore[assignment]
    twin.network._forward_pre_hooks.clear()
    return twin


def rank_within(base: Denoiser, share: float) -> int:
    """The highest rank, and at least 1, whose gated adapters have at most this share of the base's parameters."""
    most = share * sum(p.numel() for p in base.parameters())
    rank = 1
    while adaptable(base, rank + 1) and _size(base, rank + 1) <= most:
        rank += 1
    return rank


def _size(base: Denoiser, rank: int) -> int:
    return rank * sum(len(weight) + weight[0].numel() + POWERS for weight in adaptable(base, rank).values())
