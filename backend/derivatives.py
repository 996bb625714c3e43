"""Derivatives of a network's output along a direction, as continuous-time methods need them.

Two ways that must agree: forward-mode differentiation, exact, which some attention kernels lack; and central
differences, two more evaluations, which any network can take (sCM, arXiv:2410.11081; MeanFlow, arXiv:2505.13447).
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from backend.contract.recipe import RecipeError
from backend.networks import Condition, Denoiser, Prediction
from backend.noise import Path, per_sample

Way = Literal["forward mode", "differences"]
STEP = 1e-4
"""Of central differences. In float32 1e-3 would round less, but many networks are told a thousand times the time, in
waves of up to one radian: there 1e-3 errs by 20 %, this by 0.2 %."""


class _OrderedGroups(TorchFunctionMode):
    """Inside, group normalisation is of a copy in plain order.

    Its forward-mode rule views the derivative as if it lay in memory like the values; after attention it does not.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (nn.functional.group_norm, torch.group_norm):
            args = (args[0].clone(memory_format=torch.contiguous_format), *args[1:])
        return func(*args, **(kwargs or {}))


def along(f: Callable[..., Tensor], at: tuple[Tensor, ...], direction: tuple[Tensor, ...], way: Way) -> Tensor:
    """d/dh f(at + h direction) at h = 0, of the shape of f's result and without gradient.

    at, direction: tensors of pairwise equal shapes. Raises `NotImplementedError` or `RuntimeError` where the network
    cannot be differentiated forward; `can_be_differentiated` asks beforehand.
    """
    if way == "forward mode":
        # fused attention has no forward-mode rule
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _OrderedGroups():
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
    except (NotImplementedError, RuntimeError):  # what torch raises, by the layer, where it has no forward-mode rule
        return False
    near = difference(f, at, direction)
    return bool((exact - near).norm() <= 0.02 * near.norm() + 1e-6)


def time_rate(path: Path, t: Tensor) -> Tensor:
    """dt/ds, (B,): how fast a path's time passes by its natural clock s (`Path.velocity_weights`), at times t (B,)."""
    alpha_rate, sigma_rate = (torch.func.jvp(f, (t,), (torch.ones_like(t),))[1] for f in (path.alpha, path.sigma))
    a, b = path.velocity_weights(t)  # (dalpha/ds, dsigma/ds)
    rate: Tensor = (a * alpha_rate + b * sigma_rate) / (alpha_rate**2 + sigma_rate**2)
    return rate


def along_trajectory(
    net: Denoiser,
    view: Callable[[Prediction], Tensor],
    noised: Tensor,
    t: Tensor,
    cond: Condition,
    velocity: Tensor,
    weight: Tensor,
    way: Way,
) -> Tensor:
    """weight d/ds view(net(x, t, cond)) along the trajectory through `noised` at times t, (B, ...), without gradient.

    s is the path's natural clock, dx/ds is `velocity` (B, ...) and dt/ds follows from the path. weight: (B,), under the
    derivative's direction, so that differences take a step in proportion to it. Computed in float32 whatever the run's
    number format, which is too coarse for a derivative.
    """
    kept, net.precision = net.precision, torch.float32
    try:
        return along(
            lambda x, time: view(net(x, time, cond)),
            (noised, t),
            (per_sample(weight, noised) * velocity, weight * time_rate(net.path, t)),
            way,
        )
    finally:
        net.precision = kept


def require(net: Denoiser, cond: Condition, way: Way) -> None:
    """Raises `RecipeError` unless `net` can be differentiated in this way, tried with the conditions of one sample."""
    if way == "differences":
        return
    x = torch.linspace(-1, 1, math.prod(net.shape)).reshape(1, *net.shape)
    at, direction = (x, torch.full((1,), 0.5, dtype=torch.float64)), (x.flip(-1), torch.ones(1, dtype=torch.float64))
    if not can_be_differentiated(lambda noised, t: net(noised, t, cond).output, at, direction):
        raise RecipeError("This teacher's network has no exact forward derivative; set derivative to differences.")
