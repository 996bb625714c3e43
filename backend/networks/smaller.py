"""Networks narrower than another of the same architecture, with random weights."""

import math
from typing import Any

from torch import nn

from backend.contract.recipe import RecipeError
from backend.networks.adapters import adapted
from backend.networks.denoiser import Denoiser
from backend.networks.mlp import MLP


def narrower(net: Denoiser, width: float) -> Denoiser:
    """A denoiser of the same kind whose layers have about `width` of the channels, 0 < width < 1, untrained.

    Raises `RecipeError` where its network cannot be narrowed, or has adapters, which mean nothing without its weights.
    """
    if adapted(net):
        raise RecipeError("Adapters need the teacher's own network; train students in full, or set width to 1.")
    network = _narrower(net.network, width)
    if network is None or _size(network) >= _size(net.network):
        raise RecipeError(
            f"This teacher's network cannot be narrowed to {width:g} of its width; set width to 1, or choose a teacher "
            "whose network is a U-Net with more channels."
        )
    return Denoiser(network, net.path, net.prediction_type, net.sigma_data)


def _narrower(network: nn.Module, width: float) -> nn.Module | None:
    """The narrower network; None where it is of a kind that has no single width."""
    if isinstance(network, MLP):
        first = network.head.in_features
        classes = network.null_label or 0
        return MLP(network.shape[0], max(1, round(width * first)), len(network.layers), classes, network.scale)
    # Imported here because diffusers takes seconds, and who only says what a method is needs none of it.
    from backend.networks.unet2d import UNet2D  # noqa: PLC0415
    from backend.networks.unet2d_condition import UNet2DCondition  # noqa: PLC0415

    match network:
        case UNet2D():
            return UNet2D(_narrower_unet(network.unet, width), network.null_label)
        case UNet2DCondition():
            null = {name: getattr(network, f"null_{name}") for name in network.null_parts}
            picture = tuple(int(side) for side in network.time_ids[:2])
            return UNet2DCondition(_narrower_unet(network.unet, width), network.shape, null, picture)  # type: ignore[arg-type]
    return None


def _narrower_unet(unet: Any, width: float) -> Any:
    """Channels are whole numbers of the groups of its normalisations, and of its attention's heads."""
    config = dict(unet.config)
    channels: list[int] = list(config["block_out_channels"])
    heads = config.get("attention_head_dim") or 1
    each = list(heads) if isinstance(heads, list | tuple) else [heads] * len(channels)
    units = [math.lcm(config["norm_num_groups"] or 1, head) for head in each]
    narrow = [min(c, max(1, round(width * c / unit)) * unit) for c, unit in zip(channels, units, strict=True)]
    return type(unet).from_config({**config, "block_out_channels": narrow})


def _size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
