"""Training-free acceleration of sampling: parts of a U-Net keep what they gave at an earlier step.

Between neighbouring steps the deep parts change little. DeepCache (arXiv:2312.00858) keeps them and computes only the
shallowest layers anew; Faster Diffusion (arXiv:2312.09608) keeps the whole encoder and runs the decoder alone. Neither
touches weights or sampler, and both need a U-Net of diffusers' layout and many steps.
"""

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from backend.contract.errors import UserError
from backend.networks import Denoiser, Guided
from backend.networks.momentum import Momentum

Kind = Literal["deepcache", "encoder"]
FASTER_DIFFUSION = (0, 1, 2, 3, 5, 10, 15, 25, 35)
"""The steps of 50 at which the authors' recipe computes all: dense at first, where pictures take their shape."""
_FORM = re.compile(r"(?P<kind>deepcache|encoder):(?P<interval>[0-9]+|keys)(:(?P<branch>[0-9]+))?")


@dataclass(frozen=True)
class Acceleration:
    """interval: every so many steps all is computed; 1 changes nothing; None for the key steps of `FASTER_DIFFUSION`.

    branch: of DeepCache, how many of the first down layers and, with one more, of the last up layers are always
    computed; the larger the better and the slower.
    """

    kind: Kind
    interval: int | None
    branch: int = 0

    def __str__(self) -> str:
        name = "DeepCache" if self.kind == "deepcache" else "Faster Diffusion"
        when = "at key steps" if self.interval is None else f"every {self.interval}"
        return f"{name} {when}, branch {self.branch}" if self.branch else f"{name} {when}"

    @classmethod
    def of(cls, text: str) -> "Acceleration":
        """`deepcache:3`, with a branch `deepcache:3:1`, or `encoder:2`; `keys` in place of the interval for key steps.

        Raises `UserError` with what is wrong.
        """
        found = _FORM.fullmatch(text)
        kind, interval, branch = found.group("kind", "interval", "branch") if found else ("", "", "")
        is_valid = found and (interval == "keys" or 1 <= int(interval) <= 50) and (kind == "deepcache" or not branch)
        if not is_valid:
            raise UserError(
                f"{text!r} is no acceleration; write deepcache:N or encoder:N: all is computed every N steps, 1 to 50, "
                "or with `keys` for N more often at first. DeepCache takes a branch too, deepcache:N:BRANCH."
            )
        return cls(kind, None if interval == "keys" else int(interval), int(branch or 0))  # type: ignore[arg-type]

    def full_steps(self, nfe: int) -> frozenset[int]:
        """The steps, counted from 0, of a generation of `nfe` at which all is computed; the first always is."""
        if self.interval is not None:
            return frozenset(range(0, nfe, self.interval))
        return frozenset(step * nfe // 50 for step in FASTER_DIFFUSION)


@contextmanager
def accelerated(net: Any, how: Acceleration | None, nfe: int) -> Iterator[None]:
    """While inside, for one generation of `nfe` calls, the U-Net of `net` computes in full at `full_steps` alone.

    Calls are counted, not timesteps, which solvers of higher order repeat; the batch may not change in between. The
    network is as it was on the way out, whatever happened. Raises `UserError` where there is no such U-Net.
    """
    if how is None:
        yield
        return
    unet = unet_of(net)
    held = Held(how.full_steps(nfe))
    parts = kept_parts(unet, how)
    counted = unet.register_forward_pre_hook(held.begin_call)
    try:
        for module in parts:
            held.patch(module)
        yield
    finally:
        counted.remove()
        for module in parts:
            module.__dict__.pop("forward", None)


class Held:
    """What patched modules gave at the last full call, given again at the others."""

    def __init__(self, full: Collection[int]) -> None:
        self._full, self._calls, self._is_full = full, 0, True

    def begin_call(self, module: nn.Module, given: Any) -> None:
        """One more evaluation of the network begins."""
        self._is_full = self._calls in self._full
        self._calls += 1

    def patch(self, module: nn.Module) -> None:
        """Have `module` compute at full calls alone."""
        compute: Callable[..., Any] = module.forward
        kept: list[Any] = [None]

        def forward(*values: Any, **named: Any) -> Any:
            if self._is_full:
                kept[0] = compute(*values, **named)
            return kept[0]

        module.forward = forward


def unet_of(net: Any) -> Any:
    """The diffusers U-Net inside a denoiser, guided or not. Raises `UserError` where it is none."""
    denoiser = net.denoiser if isinstance(net, Guided) else net
    network = denoiser.network if isinstance(denoiser, Denoiser) else None
    unet = getattr(network.base if isinstance(network, Momentum) else network, "unet", None)
    if unet is None or not hasattr(unet, "up_blocks"):
        raise UserError("Only a U-Net can be accelerated by keeping parts of it; leave the acceleration out.")
    return unet


def kept_parts(unet: Any, how: Acceleration) -> list[nn.Module]:
    """The modules whose results are kept, in the order in which they compute.

    Raises `UserError` for a DeepCache branch that does not lie within the outermost blocks.
    """
    if how.kind == "encoder":
        return [unet.conv_in, *unet.down_blocks, *([unet.mid_block] if unet.mid_block is not None else [])]
    first, last = unet.down_blocks[0], unet.up_blocks[-1]
    if not 0 <= how.branch < len(last.resnets):
        raise UserError(f"The branch {how.branch} is not in the outermost block; choose 0 to {len(last.resnets) - 1}.")
    middle = [*unet.down_blocks[1:], *([unet.mid_block] if unet.mid_block is not None else []), *unet.up_blocks[:-1]]
    shrinking = list(getattr(first, "downsamplers", None) or [])
    return [*flat(layers(first)[how.branch :]), *shrinking, *middle, *flat(layers(last)[: -how.branch - 1])]


def layers(block: Any) -> list[tuple[nn.Module, ...]]:
    """The layers of a block: a resnet, with the attention that follows it where there is any."""
    attentions = getattr(block, "attentions", None)
    return list(zip(block.resnets, attentions, strict=True)) if attentions else [(one,) for one in block.resnets]


def flat(layers: list[tuple[nn.Module, ...]]) -> list[nn.Module]:
    """The modules of several layers."""
    return [module for layer in layers for module in layer]
