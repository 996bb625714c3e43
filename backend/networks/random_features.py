"""Networks that nobody trained, as a way to look at samples: new ones every time, all of them different.

Their mean features tell two distributions apart (arXiv:2604.22379; random features of dataset distillation,
arXiv:2110.04181). Nothing is kept of them: the weights come from a generator and are forgotten.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

_CONVOLUTIONS: tuple[Callable[..., Tensor], ...] = (functional.conv1d, functional.conv2d, functional.conv3d)
_POOLS: tuple[Callable[..., Tensor], ...] = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)
_DEPTH = 3


def random_features(shape: tuple[int, ...], width: int, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """A new network for samples of `shape`, from (B, ...) to features (B, F), and the gradient passes through it.

    (C, ...) with up to three axes of places: three blocks of a convolution, normalisation, ReLU and a pool where there
    is room. (D,): as many layers, with random places at which each unit bends. The weights have He's size
    (arXiv:1502.01852).
    """
    return _of_vectors(shape[0], width, generator) if len(shape) == 1 else _of_maps(shape, width, generator)


def _drawn(shape: tuple[int, ...], std: float, generator: torch.Generator) -> Tensor:
    return std * torch.randn(shape, generator=generator, device=generator.device)


def _of_vectors(size: int, width: int, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    sizes = [size] + [width] * _DEPTH
    layers = [(_drawn((b, a), math.sqrt(2 / a), generator), _drawn((b,), 1.0, generator)) for a, b in pairwise(sizes)]

    def features(x: Tensor) -> Tensor:
        for weight, bias in layers:
            x = functional.linear(x, weight.to(x), bias.to(x)).relu()
        return x

    return features


def _of_maps(shape: tuple[int, ...], width: int, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    axes = len(shape) - 1
    channels = [shape[0]] + [width] * _DEPTH
    kernels = [_drawn((b, a, *[3] * axes), math.sqrt(2 / (a * 3**axes)), generator) for a, b in pairwise(channels)]

    def features(x: Tensor) -> Tensor:
        for kernel in kernels:
            x = _CONVOLUTIONS[axes - 1](x, kernel.to(x), padding=1)
            if min(x.shape[2:]) >= 2:
                x = _POOLS[axes - 1](functional.instance_norm(x).relu(), 2)
        return x.flatten(1)

    return features
