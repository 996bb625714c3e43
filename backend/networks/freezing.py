"""Parts of a network that a student keeps as the teacher had them, found by the kind of module and never by name."""

from typing import Literal

from torch import nn
from torch.nn.modules.conv import _ConvNd

Frozen = Literal["none", "block convolutions"]


def freeze(net: nn.Module, part: Frozen) -> None:
    """Takes `part` of `net` out of training, in place.

    "block convolutions": the convolutions of its repeated parts, which U-Nets keep in module lists, 1x1 shortcuts and
    resampling included; what is left are the first and last layer, normalisations, embeddings and attention
    (GDD-I, arXiv:2405.20750, 4). Nothing at all in a network without them.
    """
    if part == "none":
        return
    for blocks in [module for module in net.modules() if isinstance(module, nn.ModuleList)]:
        for module in blocks.modules():
            if isinstance(module, _ConvNd):
                module.requires_grad_(False)


def frozen_share(net: nn.Module) -> float:
    """Share of the numbers in `net` that are not trained, in [0, 1]."""
    sizes = [(p.numel(), p.requires_grad) for p in net.parameters()]
    return sum(size for size, trained in sizes if not trained) / max(sum(size for size, _ in sizes), 1)
