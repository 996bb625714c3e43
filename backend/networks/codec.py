"""Codecs: from pixels to the space in which diffusion lives and back; and from pixels to bytes and back.

Pixels are (B, C, H, W) floats in [-1, 1], as diffusers has them. Nothing here knows noise or a network's prediction.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

_PIXELS_AT_ONCE = 2**16
"""Of sixteen pictures of 64x64: a decoder takes 4 kB and more for each, and more pictures at once are no faster."""


class Codec(Protocol):
    """Data to samples and back. Both directions keep the batch axis and may change every other one."""

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels (B, C, H, W) in [-1, 1] to samples (B, ...) in the units in which the network is trained."""
        ...

    def decode(self, samples: Tensor) -> Tensor:
        """Samples (B, ...) to pixels (B, C, H, W); about [-1, 1], not clamped, so that a loss may pass through."""
        ...

    def data_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one datum whose sample has this shape, both without the batch."""
        ...


@dataclass(frozen=True)
class Identity:
    """Diffusion on the data themselves: pixels, vectors, anything (B, ...)."""

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels

    def decode(self, samples: Tensor) -> Tensor:
        return samples

    def data_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """Diffusion on what an autoencoder of diffusers makes of pictures: AutoencoderKL, AutoencoderDC.

    samples = (latents - shift) scale. module: frozen; it goes to the device of what it is given and stays there.
    factor: pixels along a side for one place of a latent. channels: of a picture.
    """

    module: nn.Module
    scale: float
    shift: float
    factor: int
    channels: int = 3

    def encode(self, pixels: Tensor) -> Tensor:
        """The likeliest latents, (B, C, H, W), rather than drawn ones, so that the same picture is the same sample."""
        made: Any = self.module.to(pixels.device).encode(pixels)  # type: ignore[operator]
        latents: Tensor = made.latent_dist.mode() if hasattr(made, "latent_dist") else made.latent
        return (latents - self.shift) * self.scale

    def decode(self, samples: Tensor) -> Tensor:
        module: Any = self.module.to(samples.device)
        latents = samples / self.scale + self.shift
        if torch.is_grad_enabled():
            return module.decode(latents, return_dict=False)[0]  # type: ignore[no-any-return]
        # A grid of pictures is decoded a few at a time.
        few = max(1, _PIXELS_AT_ONCE // (latents[0, 0].numel() * self.factor**2)) if len(latents) else 1
        return torch.cat([module.decode(part, return_dict=False)[0] for part in latents.split(few)])

    def data_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.channels, *(side * self.factor for side in shape[1:]))


def to_uint8(pixels: Tensor) -> Tensor:
    """Pixels (...) in [-1, 1] as bytes 0..255: clamped, rounded to the nearest, in float32 whatever came in.

    The same bytes as diffusers' `VaeImageProcessor` writes. NaN becomes 0, so that what went wrong is black rather than
    whatever the processor makes of it.
    """
    share = (pixels.detach().float() / 2 + 0.5).clamp(0, 1)
    return (share * 255).round().nan_to_num(nan=0.0).to(torch.uint8)


def from_uint8(pictures: Tensor) -> Tensor:
    """Bytes (...) 0..255 as float32 pixels in [-1, 1]; `to_uint8` gives the same bytes back."""
    return pictures.float() / 127.5 - 1
