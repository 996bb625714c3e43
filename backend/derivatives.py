"""Derivatives of a network's output along a direction, as continuous-time methods need them.

Two ways that must agree: forward-mode differentiation, exact, which some attention kernels lack; and central
differences, two more evaluations, which any network can take (sCM, arXiv:2410.11081; MeanFlow, arXiv:2505.13447).
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Way = Literal["forward mode", "differences"]
STEP = 1e-3
"""Of central differences: in float32 their error is least near here, about the cube root of its rounding error."""


def along(f: Callable[..., Tensor], at: tuple[Tensor, ...], direction: tuple[Tensor, ...], way: Way) -> Tensor:
    """d/dh f(at + h direction) at h = 0, of the shape of f's result and without gradient.

    at, direction: tensors of pairwise equal shapes. Raises `NotImplementedError` or `RuntimeError` where the network
    cannot be differentiated forward; `can_be_differentiated` asks beforehand.
    """
    if way == "forward mode":
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # fused attention has no forward-mode rule
            derivative: Tensor = torch.func.jvp(f, at, direction)[1]
        return derivative.detach()
    return difference(f, at, direction)


@torch.no_grad()
def difference(f: Callable[..., Tensor], at: tuple[Tensor, ...], direction: tuple[Tensor, ...]) -> Tensor:
    """(f(at + h direction) - f(at - h direction)) / 2h with h = `STEP`."""
    ahead = f(*(x + STEP * d for x, d in zip(at, direction, strict=True)))
    behind = f(*(x - STEP * d for x, d in zip(at, direction, strict=True)))
    return (ahead - behind) / (2 * STEP)


def can_be_differentiated(f: Callable[..., Tensor], at: tuple[Tensor, ...], direction: tuple[Tensor, ...]) -> bool:
    """Whether forward mode works for f and gives what differences give, to 2 % of the derivative's size."""
    try:
        exact = along(f, at, direction, "forward mode")
    except (NotImplementedError, RuntimeError):
        return False
    near = difference(f, at, direction)
    return bool((exact - near).norm() <= 0.02 * near.norm() + 1e-6)
