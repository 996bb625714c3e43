"""Codecs: from pixels to the space in which diffusion lives and back; and from pixels to bytes and back.

Pixels are (B, C, H, W) floats in [-1, 1], as diffusers has them. Nothing here knows noise or a network's prediction.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Codec(Protocol):
    """Data to samples and back. Both directions keep the batch axis and may change every other one."""

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels (B, C, H, W) in [-1, 1] to samples (B, ...) in the units in which the network is trained."""
        ...

    def decode(self, samples: Tensor) -> Tensor:
        """Samples (B, ...) to pixels (B, C, H, W); about [-1, 1], not clamped, so that a loss may pass through."""
        ...


@dataclass(frozen=True)
class Identity:
    """Diffusion on the data themselves: pixels, vectors, anything (B, ...)."""

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels

    def decode(self, samples: Tensor) -> Tensor:
        return samples


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
