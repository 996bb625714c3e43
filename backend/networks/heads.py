"""Discriminator heads: from a network's feature maps to one logit per sample."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from backend.networks.condition import Condition
from backend.networks.denoiser import Denoiser

_LAYERS: tuple[Callable[..., nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class _Head(nn.Module):
    """One feature map, (B, C, ...) with up to three axes of places, to (B,) logits; two layers that see neighbours."""

    def __init__(self, channels: int, axes: int) -> None:
        super().__init__()
        groups = next(g for g in (8, 4, 2, 1) if channels % g == 0)
        layers: list[nn.Module] = []
        for _ in range(2):
            # A convolution over a single place is many times slower than the matrix product that it is.
            neighbours = {"kernel_size": 3, "padding": 1} if axes else {}
            layers += [_LAYERS[axes](channels, channels, **neighbours), nn.GroupNorm(groups, channels), nn.SiLU()]
        self.layers, self.out = nn.Sequential(*layers), nn.Linear(channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        h = self.layers(features)
        return self.out(h.flatten(2).mean(2) if h.ndim > 2 else h).squeeze(1)  # type: ignore[no-any-return]


class Heads(nn.Module):
    """One head per feature map; the logit is their mean (H-multi, after the discriminator of arXiv:2405.14867)."""

    def __init__(self, features: Sequence[Tensor]) -> None:
        """`features`: an example of what it will be given, for the numbers of channels and axes alone."""
        super().__init__()
        self.heads = nn.ModuleList(_Head(f.shape[1], f.ndim - 2) for f in features)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """(B,) logits, high for real."""
        return torch.stack([head(f) for head, f in zip(self.heads, features, strict=True)]).mean(0)


@torch.no_grad()
def example_features(net: Denoiser, cond: Condition) -> list[Tensor]:
    """Feature maps of `net` for an empty batch of the size of `cond`: what `Heads` are built for."""
    t = torch.full((len(cond),), 0.5, dtype=torch.float64)
    return net.features(torch.zeros(len(cond), *net.shape), t, cond)
