"""Networks come cheaply: copies that share a frozen base and train low-rank adapters alone (LoRA, arXiv:2106.09685).

The layers are peft's. A copy has modules of its own whose base weights are the very tensors of the original, so any
number of them live beside the teacher at the cost of their adapters, and none must be switched on or off.
"""

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from backend.contract.recipe import RecipeError
from backend.networks.denoiser import Denoiser

if TYPE_CHECKING:
    from peft.tuners.lora import LoraLayer  # peft takes seconds to import: only a network that gets adapters needs it

ADAPTER = "default"
_ADAPTED = (nn.Linear, nn.Conv2d)
_OWN = (".lora_", ".numbers.", ".profile.")  # adapters, what embeds numbers, what makes a mixture of velocities


def with_adapters(base: Denoiser, rank: int, alpha: int | None = None) -> Denoiser:
    """A denoiser that starts as `base`, shares its weights and trains adapters of `rank` on all its layers.

    W' = W + (alpha / rank) B A, B starting at 0; alpha is by default the rank. Adapted are linear layers and
    convolutions of more inputs and outputs than the rank, but for what the network keeps fixed. Raises `RecipeError`
    where there is none.
    """
    from peft import LoraConfig, inject_adapter_in_model  # noqa: PLC0415

    twin = shared_copy(base)
    names = list(adaptable(twin, rank))
    if not names:
        raise RecipeError(f"The adapters' rank is {rank}, and no layer of this network is wider than that; lower it.")
    config = LoraConfig(r=rank, lora_alpha=alpha or rank, target_modules=names)
    inject_adapter_in_model(config, twin.network, ADAPTER)
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    for layer in adapted(twin):
        for name in ("lora_A", "lora_B"):
            getattr(layer, name).requires_grad_(True)
    return twin


def adaptable(net: Denoiser, rank: int) -> dict[str, Tensor]:
    """The weights of the layers that adapters of this rank are put on, by the layers' names in the network."""
    fixed = {id(p) for p in net.network.fixed()}  # type: ignore[operator]
    return {
        name: module.weight
        for name, module in net.network.named_modules()
        if isinstance(module, _ADAPTED) and min(module.weight.shape[:2]) > rank and id(module.weight) not in fixed
    }


def shared_copy(base: Denoiser) -> Denoiser:
    """A copy of the modules that holds the very parameters and buffers of `base`."""
    memo: dict[int, object] = {id(tensor): tensor for tensor in (*base.parameters(), *base.buffers())}
    return copy.deepcopy(base, memo)


def adapted(net: nn.Module) -> "list[LoraLayer]":
    """The layers of `net` that have adapters."""
    return [layer for _, layer in _adapted(net)]


def _adapted(net: nn.Module) -> "list[tuple[str, LoraLayer]]":
    return [(name, module) for name, module in net.named_modules() if hasattr(module, "lora_A")]


def own_parameters(net: nn.Module) -> list[nn.Parameter]:
    """What all adapters of `net` add to its layers."""
    parts = [part for layer in adapted(net) for part in (layer.lora_A[ADAPTER], layer.lora_B[ADAPTER])]
    return [p for part in parts for p in part.parameters()]


def size_in_words(net: nn.Module) -> str:
    """How large the adapters of `net` are beside the network under them; empty where it has none."""
    found = own_parameters(net)
    own = sum(p.numel() for p in found)
    whole = sum(p.numel() for p in net.parameters()) - own
    share = 100 * own / whole
    return f"adapters of {own:,} parameters, {share:.2g} % of the network's {whole:,}" if found else ""


def follower(net: Denoiser) -> Denoiser:
    """A copy of `net` without gradient, for an average of it; the base under adapters is shared with it."""
    base = [p for p in net.parameters() if not p.requires_grad] if adapted(net) else []
    return copy.deepcopy(net, {id(p): p for p in base}).requires_grad_(False)


def own_state(net: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint must hold of `net`: everything, but of a network with adapters not the shared base."""
    state = net.state_dict()
    if not adapted(net):
        return state
    return {name: tensor for name, tensor in state.items() if any(part in name for part in _OWN)}


def load_own_state(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put back what `own_state` gave. Raises RuntimeError unless it is of a network of this architecture."""
    expected = own_state(net)
    if expected.keys() != state.keys():
        raise RuntimeError("The state is of a network of another architecture.")
    net.load_state_dict(state, strict=not adapted(net))


@torch.no_grad()
def merged(net: Denoiser) -> Denoiser:
    """A denoiser without adapters, whose weights are W + (alpha / rank) B A.

    Raises ValueError for adapters that are told the guidance scale; `gates.settled` makes plain ones of them.
    """
    if any(hasattr(layer.lora_A[ADAPTER], "gate") for layer in adapted(net)):
        raise ValueError("Adapters that are told the guidance scale must be settled at one before they are merged.")
    twin = copy.deepcopy(net)
    for name, layer in _adapted(twin):
        layer.merge()
        parent, _, child = name.rpartition(".")
        setattr(twin.get_submodule(parent), child, layer.base_layer)
    return twin
