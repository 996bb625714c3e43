"""Discriminators besides the plain `Heads`: a pool of heads of which a few look at a time, heads that are told a level,
one that sees data, and that one beside heads."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from backend.networks.codec import Codec
from backend.networks.heads import Heads

_LAYERS: tuple[Callable[..., nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
WIDTH = 64
KINDS = ("global", "local", "local without condition")


class PoolHead(nn.Module):
    """A feature map (B, C, ...), to one logit for each place, (B, places), or for the whole map, (B, 1)."""

    def __init__(self, channels: int, axes: int, kind: str) -> None:
        super().__init__()
        neighbours = {"kernel_size": 3, "padding": 1} if axes else {}
        single = {"kernel_size": 1} if axes else {}
        width, self.kind = min(WIDTH, max(channels, 8)), kind
        self.layers = nn.Sequential(
            _LAYERS[axes](channels, width, **single), nn.SiLU(),
            _LAYERS[axes](width, width, **neighbours), nn.GroupNorm(1, width), nn.SiLU(),
        )  # fmt: skip
        self.out = nn.Linear(width, 1)

    def forward(self, features: Tensor) -> Tensor:
        places = self.layers(features).flatten(2) if features.ndim > 2 else self.layers(features)[..., None]
        if self.kind == "global":
            places = places.mean(2, keepdim=True)
        return self.out(places.transpose(1, 2)).squeeze(2)  # type: ignore[no-any-return]

    @torch.no_grad()
    def forget(self, generator: torch.Generator) -> None:
        """Start anew from random weights of He's size."""
        for module in self.modules():
            if isinstance(module, nn.GroupNorm):
                module.weight.fill_(1)
                module.bias.zero_()
            elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
                drawn = torch.randn(module.weight.shape, generator=generator, device=generator.device)
                module.weight.copy_(drawn * math.sqrt(1 / module.weight[0].numel()))
                if module.bias is not None:
                    module.bias.zero_()


class HeadPool(nn.Module):
    """Heads of every kind for every feature map at every noise level, in turn (NitroFusion, arXiv:2412.02030, 3.2).

    Heads that are not asked get no gradient, so that an optimizer that holds every head apart leaves them as they are.
    """

    def __init__(self, features: Sequence[Tensor], size: int, levels: int) -> None:
        """`features`: an example of what it will be given, for the numbers of channels and axes alone."""
        super().__init__()
        self.levels, self.maps = levels, len(features)
        shapes = [(f.shape[1], f.ndim - 2) for f in features]
        self.heads = nn.ModuleList(
            PoolHead(*shapes[i // levels // len(KINDS) % self.maps], KINDS[i // levels % len(KINDS)])
            for i in range(size)
        )

    def of_level(self, level: int) -> list[int]:
        """The numbers of the heads that look at samples of this noise level."""
        return list(range(level, len(self.heads), self.levels))

    def drawn(self, level: int, count: int, generator: torch.Generator) -> list[int]:
        """`count` different heads of a level at random."""
        heads = self.of_level(level)
        order = torch.randperm(len(heads), generator=generator, device=generator.device)
        return [heads[int(i)] for i in order[:count]]

    def forward(self, chosen: Sequence[int], features: Sequence[Tensor], without: Sequence[Tensor]) -> list[Tensor]:
        """Logits of each chosen head, (B, n). features: the maps; without: those of the same samples, no condition."""
        logits = []
        for i in chosen:
            seen = without if self.heads[i].kind == KINDS[2] else features
            logits.append(self.heads[i](seen[i // self.levels // len(KINDS) % self.maps]))
        return logits

    def refresh(self, share: float, generator: torch.Generator) -> list[nn.Module]:
        """Let a share of the pool start anew, on average exactly `share`; these heads. Draws nothing where it is 0."""
        if share == 0:
            return []
        wanted = share * len(self.heads)
        more = torch.rand((), generator=generator, device=generator.device) < wanted - math.floor(wanted)
        order = torch.randperm(len(self.heads), generator=generator, device=generator.device)
        gone = [self.heads[int(i)] for i in order[: math.floor(wanted) + int(more)]]
        for head in gone:
            assert isinstance(head, PoolHead)
            head.forget(generator)
        return gone


class LevelHeads(nn.Module):
    """A head for each feature map, told for each sample at which of a few levels its student started.

    By a scale and a shift of the map's channels for each level (FiLM, arXiv:1709.07871).
    """

    def __init__(self, features: Sequence[Tensor], levels: int) -> None:
        """`features`: an example of what it will be given, for the numbers of channels and axes alone."""
        super().__init__()
        self.heads = nn.ModuleList(Heads([f]) for f in features)
        self.scales = nn.ModuleList(nn.Embedding(levels, f.shape[1]) for f in features)
        self.shifts = nn.ModuleList(nn.Embedding(levels, f.shape[1]) for f in features)

    def forward(self, features: Sequence[Tensor], level: Tensor) -> list[Tensor]:
        """Logits of each head, (B,). level: (B,) integers."""
        logits = []
        for heads, scales, shifts, h in zip(self.heads, self.scales, self.shifts, features, strict=True):
            scale, shift = (of(level).reshape(len(h), -1, *[1] * (h.ndim - 2)) for of in (scales, shifts))
            logits.append(heads([h * (1 + scale) + shift]))
        return logits


class DataDiscriminator(nn.Module):
    """Sees samples decoded, as pictures (B, C, H, W) or vectors (B, D), and gives one logit for each."""

    def __init__(self, codec: Codec, shape: tuple[int, ...]) -> None:
        """shape: of one datum, decoded."""
        super().__init__()
        self.codec, axes = codec, len(shape) - 1
        layers: list[nn.Module] = []
        channels = shape[0]
        for _ in range(3):
            stride = {"kernel_size": 3, "padding": 1, "stride": 2} if axes else {}
            layers += [_LAYERS[axes](channels, WIDTH, **stride), nn.GroupNorm(8, WIDTH), nn.SiLU()]
            channels = WIDTH
        self.layers, self.out = nn.Sequential(*layers), nn.Linear(WIDTH, 1)

    def forward(self, samples: Tensor) -> Tensor:
        """(B,) logits, high for real, of samples in the space of diffusion; the gradient passes through the decoder."""
        h = self.layers(self.codec.decode(samples).float())
        return self.out(h.flatten(2).mean(2) if h.ndim > 2 else h).squeeze(1)  # type: ignore[no-any-return]


class LatentAndPixel(nn.Module):
    """Two discriminators of the same samples that learn side by side: on feature maps, and on the decoded data."""

    def __init__(self, latent: Heads, pixel: DataDiscriminator) -> None:
        super().__init__()
        self.latent, self.pixel = latent, pixel

    def forward(self, features: Sequence[Tensor], samples: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) logits of each, high for real. features: maps of the samples, noised; samples: (B, ...), clean."""
        return self.latent(features), self.pixel(samples)
