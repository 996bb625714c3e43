"""Training-free acceleration of sampling: a network computes in full at some steps, and less at those between.

Between neighbouring steps the deep parts of a U-Net change little. DeepCache (arXiv:2312.00858) keeps what they gave
and computes the shallowest layers alone; Faster Diffusion (arXiv:2312.09608) keeps the whole encoder and runs the
decoder, which sees no state, so that small batches have several steps computed at once. Both need U-Nets of
diffusers' layout. Beside them stands what every network allows, under samplers that draw
no noise anew: to repeat the last noise prediction. None touches weights or sampler, and all need many steps.
"""

import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from backend.contract.errors import UserError
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.networks.momentum import MomentumDenoiser
from backend.noise import Path, per_sample
from backend.samplers import Denoises, Sampler, times, told

Kind = Literal["deepcache", "encoder", "repeat"]
NAMES = {"deepcache": "DeepCache", "encoder": "Faster Diffusion", "repeat": "Last noise again, new"}
FASTER_DIFFUSION = (0, 1, 2, 3, 5, 10, 15, 25, 35)
"""The steps of 50 at which the authors' recipe computes all: dense at first, where pictures take their shape."""
FASTER_DIFFUSION_NOISE = 0.003
"""What the authors' recipe adds at every step of the second half: this share of the first noise, for fine texture."""
ROWS_TOGETHER = 64
"""Up to so many rows Faster Diffusion's decoder computes several steps at once; of more there is little to gain."""
_FORM = re.compile(
    r"(?P<kind>deepcache|encoder|repeat):(?P<interval>[0-9]+|keys)(:((?P<branch>[0-9]+)|(?P<noise>0\.[0-9]+)))?"
)


@dataclass(frozen=True)
class Acceleration:
    """interval: every so many steps all is computed; 1 changes nothing; None for the key steps of `FASTER_DIFFUSION`.

    branch: of DeepCache, how many of the first down layers and, with one more, of the last up layers are always
    computed; the larger the better and the slower. noise: of Faster Diffusion, see `FASTER_DIFFUSION_NOISE`; 0 for
    none.
    """

    kind: Kind
    interval: int | None
    branch: int = 0
    noise: float = 0.0

    def __str__(self) -> str:
        when = "at key steps" if self.interval is None else f"every {self.interval}"
        more = f", branch {self.branch}" if self.branch else ""
        more += f", noise {self.noise:g}" if self.noise else ""
        return f"{NAMES[self.kind]} {when}{more}"

    @classmethod
    def of(cls, text: str) -> "Acceleration":
        """`deepcache:3`, with a branch `deepcache:3:1`; `encoder:2`, with noise `encoder:keys:0.003`; `repeat:2`.
        `keys` in place of the interval is for key steps.

        Raises `UserError` with what is wrong.
        """
        found = _FORM.fullmatch(text)
        kind, interval, branch, noise = found.group("kind", "interval", "branch", "noise") if found else [""] * 4
        is_valid = found and (interval == "keys" or 1 <= int(interval) <= 50)
        is_valid = is_valid and (kind == "deepcache" or not branch) and (kind == "encoder" or not noise)
        if not is_valid:
            raise UserError(
                f"{text!r} is no acceleration; write deepcache:N, encoder:N or repeat:N: all is computed every N "
                "steps, 1 to 50, or with `keys` for N more often at first. DeepCache takes a branch too, "
                f"deepcache:N:BRANCH, and Faster Diffusion noise that it adds, encoder:N:{FASTER_DIFFUSION_NOISE:g}."
            )
        steps = None if interval == "keys" else int(interval)
        return cls(kind, steps, int(branch or 0), float(noise or 0))  # type: ignore[arg-type]

    def suits(self, sampler: Sampler) -> bool:
        """Whether it can be of use: of several evaluations, and for a repeat none after which noise is drawn anew."""
        return sampler.nfe > 1 and not (self.kind == "repeat" and sampler.kind == "renoise")

    def full_steps(self, nfe: int) -> frozenset[int]:
        """The steps, counted from 0, of a generation of `nfe` at which all is computed; the first always is."""
        if self.interval is not None:
            return frozenset(range(0, nfe, self.interval))
        return frozenset(step * nfe // 50 for step in FASTER_DIFFUSION)


def refuse(net: Any, how: Acceleration) -> None:
    """Raises `UserError` where `net` cannot be accelerated so."""
    if (how.kind == "repeat" or how.noise) and isinstance(net, MomentumDenoiser):
        raise UserError(
            "This student gives a velocity for a whole step and no noise that could be repeated or added to; choose "
            "deepcache:N or encoder:N."
        )
    if how.kind != "repeat":
        for unet in unets_of(net):
            kept_parts(unet, how)


@contextmanager
def accelerated(net: Denoises, how: Acceleration | None, sampler: Sampler) -> Iterator[Denoises]:
    """What to give to `sample` for one generation by `sampler`, which computes in full at `full_steps` alone.

    Calls are counted, not timesteps, which solvers of higher order repeat, and each U-Net's by themselves where there
    are several; the batch may not change in between. The network is as it was on the way out, whatever happened.
    Raises `UserError` like `refuse`.
    """
    if how is None:
        yield net
        return
    refuse(net, how)
    full = how.full_steps(sampler.nfe)
    if how.kind == "repeat":
        yield Repeated(net, full)
        return
    with ExitStack() as patches:
        unets, held = unets_of(net), Held(full)
        for unet in unets:
            patches.enter_context((held := Held(full)).patched(unet, kept_parts(unet, how)))
        denoiser = net.denoiser if isinstance(net, Guided) else net
        if how.kind == "encoder" and len(unets) == 1 and type(denoiser) is Denoiser:
            patches.enter_context(together(denoiser, sampler, held))
        yield Renoised(net, how.noise, sampler.nfe // 2) if how.noise else net


@contextmanager
def together(net: Denoiser, sampler: Sampler, held: "Held") -> Iterator[None]:
    """While inside, of steps between two full ones several are computed in one batch of `ROWS_TOGETHER` at most.

    net: of one U-Net, whose encoder is held.
    """
    compute: Callable[..., Tensor] = net.network.forward
    answers = deque[Tensor]()

    def forward(x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        if answers:
            return answers.popleft()
        steps = held.until_full(ROWS_TOGETHER // len(x), sampler.nfe)
        if len(steps) < 2:
            return compute(x, time, cond)
        at = torch.cat([net.path.network_time(times(sampler.levels[k], x)) for k in steps])
        conds = Condition.join([told(net, sampler, k, cond, x) for k in steps])
        with held.copied(len(steps)):
            answers.extend(compute(torch.cat([x] * len(steps)), at, conds).chunk(len(steps)))
        return answers.popleft()

    net.network.forward = forward
    try:
        yield
    finally:
        net.network.__dict__.pop("forward")


class Held:
    """What parts of one network gave at its last full call, given again at the others."""

    def __init__(self, full: Collection[int]) -> None:
        self._full, self._calls, self._is_full, self._copies = full, 0, True, 1

    def until_full(self, most: int, nfe: int) -> range:
        """The calls, from the next on and `most` of them, that come before one in full or the end; empty if it is."""
        end = min((k for k in (*self._full, nfe) if k >= self._calls), default=self._calls)
        return range(self._calls, min(end, self._calls + most))

    @contextmanager
    def copied(self, count: int) -> Iterator[None]:
        """While inside, one call of the network stands for `count`, whose batches lie one behind the other."""
        self._copies = count
        try:
            yield
        finally:
            self._copies = 1

    @contextmanager
    def patched(self, network: nn.Module, parts: Sequence[nn.Module]) -> Iterator[None]:
        """While inside, the parts compute at full calls of the network alone."""
        counted = network.register_forward_pre_hook(self._begin_call)
        try:
            for module in parts:
                self._patch(module)
            yield
        finally:
            counted.remove()
            for module in parts:
                module.__dict__.pop("forward", None)

    def _begin_call(self, module: nn.Module, given: Any) -> None:
        self._is_full = self._calls in self._full
        self._calls += self._copies

    def _patch(self, module: nn.Module) -> None:
        compute: Callable[..., Any] = module.forward
        kept: list[Any] = [None]

        def forward(*values: Any, **named: Any) -> Any:
            if self._is_full:
                kept[0] = compute(*values, **named)
            return copies(kept[0], self._copies)

        module.forward = forward


def copies(kept: Any, count: int) -> Any:
    """A tensor (B, ...), or each of a tuple of them however deep, as often one behind the other."""
    if count == 1:
        return kept
    return torch.cat([kept] * count) if isinstance(kept, Tensor) else tuple(copies(part, count) for part in kept)


class _Around:
    """A network with something of its own around its calls, which are counted from 0."""

    def __init__(self, net: Denoises) -> None:
        self._net, self._calls = net, -1

    @property
    def path(self) -> Path:
        return self._net.path

    @property
    def inputs(self) -> tuple[str, ...]:
        return self._net.inputs


class Repeated(_Around):
    """Answers with the noise that it predicted at the last full call."""

    def __init__(self, net: Denoises, full: Collection[int]) -> None:
        super().__init__(net)
        self._full = full

    def __call__(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction:
        self._calls += 1
        if self._calls in self._full:
            found = self._net(noised, t, cond)
            self._noise = found.noise
            return found
        return Prediction(noised, self._noise, t, self.path, "epsilon")


class Renoised(_Around):
    """Sees, from call `begin` on, its state with a share of the first noise added, (B, ...).

    That is where the samplers' next step starts from, since they mix what is predicted of it anew. The share is of unit
    noise on a path of constant variance, and in proportion to the state's size on others.
    """

    def __init__(self, net: Denoises, share: float, begin: int) -> None:
        super().__init__(net)
        self._share, self._begin = share, begin

    def __call__(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction:
        self._calls += 1
        alpha, sigma = self.path.level(t)
        size = per_sample((alpha**2 + sigma**2).sqrt(), noised)
        if not self._calls:
            self._first = noised / size
        if self._calls >= self._begin:
            noised = noised + (self._share * size * self._first).to(noised.dtype)
        return self._net(noised, t, cond)


def unets_of(net: Any) -> list[Any]:
    """The U-Nets of diffusers inside a denoiser, guided or not: one, or those of several students or experts.

    Raises `UserError` where there is none.
    """
    denoiser = net.denoiser if isinstance(net, Guided) else net
    modules = denoiser.network.modules() if isinstance(denoiser, Denoiser) else ()
    found = [module for module in modules if hasattr(module, "up_blocks") and hasattr(module, "down_blocks")]
    if not found:
        raise UserError(
            "Only a U-Net can be accelerated by keeping parts of it; leave the acceleration out, or choose repeat:N."
        )
    return found


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
