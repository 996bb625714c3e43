"""Networks that answer with a curved velocity for a whole step: a mixture of momentum velocities (arXiv:2602.09014).

In flow matching's coordinates, x = (1 - s) x0 + s noise, one evaluation at s0 gives K velocities u, their shares w and
their rates r, and along the step the velocity is v(s) = sum_k w_k u_k exp(r_k (s0 - s)). Its integral is known, so that
a step of any length needs no further evaluation. Every path is flow matching's up to the scale alpha + sigma.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from backend.contract.recipe import RecipeError
from backend.flow import flow_scale, flow_time
from backend.networks.condition import Condition
from backend.networks.denoiser import Denoiser, Prediction
from backend.networks.told import module_of
from backend.noise import Level, per_sample

MOST_RATE = 6.0
"""No velocity grows or falls faster than by exp(6) over all of the noise."""
SLOWNESS = 0.1
"""Of the rates, by which their exponentials stay in hand: under Adam the same as a tenth of the learning rate."""
_FIRST_RATES = (math.log(0.2), math.log(4.0))
_LAST_LAYERS = ("head", "conv_out", "proj_out_2", "proj_out")
_SERIES_BELOW = 1e-3


@dataclass(frozen=True)
class Profile:
    """A velocity for every s of a step. start: s0, (B,). velocities: (B, K, ...). logits: of the shares, (B, K, ...).

    rates: (B, K, ...), 0 for the first. Shares and rates are one for all channels of a place.
    """

    start: Tensor
    velocities: Tensor
    logits: Tensor
    rates: Tensor

    def velocity(self, s: Tensor) -> Tensor:
        """dx/ds at s (B,), (B, ...)."""
        return self.average(s, s)

    def average(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean velocity from a down to b, (B,) each, which may be the same, (B, ...)."""
        grown = (self.rates * per_sample(self.start - a, self.rates)).exp()
        weights = self.logits.softmax(1) * grown * mean_growth(self.rates * per_sample(a - b, self.rates))
        return (weights * self.velocities).sum(1)

    def displacement(self, a: Tensor, b: Tensor) -> Tensor:
        """What a state at a loses on its way down to b, (B, ...): the integral of the velocity, in closed form."""
        mean = self.average(a, b)
        return per_sample(a - b, mean) * mean

    def detached(self) -> "Profile":
        """The same without gradient."""
        parts = self.start, self.velocities.detach(), self.logits.detach(), self.rates.detach()
        return Profile(*parts)

    def without(self, dropped: Tensor) -> "Profile":
        """Some components left out, (B, K) bool, the others' shares grown; none of a sample that would lose all."""
        dropped = dropped & ~dropped.all(1, keepdim=True)
        mask = dropped.reshape(*dropped.shape, *[1] * (self.logits.ndim - 2))
        return replace(self, logits=self.logits.masked_fill(mask, -math.inf))


def mean_growth(z: Tensor) -> Tensor:
    """(exp(z) - 1) / z, the mean of exp over [0, z], elementwise; 1 at 0, where its series is taken."""
    near = z.abs() < _SERIES_BELOW
    safe = z.masked_fill(near, 1)
    return torch.where(near, 1 + z / 2 + z**2 / 6, safe.expm1() / safe)


def last_layer_name(network: nn.Module) -> str:
    """What a network's layer is called that makes its output. Raises `RecipeError` for one without a known one."""
    inner = module_of(network)
    found = next((name for name in _LAST_LAYERS if getattr(inner, name, None) is not None), None)
    if found is None:
        raise RecipeError(
            f"A {type(network).__name__} has no output layer to which a mixture of velocities could be added."
        )
    return found


def last_layer(network: nn.Module) -> nn.Module:
    """That layer. Raises `RecipeError` as `last_layer_name`."""
    return getattr(module_of(network), last_layer_name(network))  # type: ignore[no-any-return]


class Momentum(nn.Module):
    """A network with K - 1 more sets of what its last layer makes, and shares and rates of all K, from its features.

    Called as any network it gives the velocities' mean where the step starts, and until trained what `base` gives.
    """

    def __init__(self, base: nn.Module, components: int) -> None:
        super().__init__()
        self.base, self.components, self.most_rate = base, components, MOST_RATE
        self.shape: tuple[int, ...] = tuple(base.shape)  # type: ignore[arg-type]
        self.null_label: int | None = getattr(base, "null_label", None)
        layer = last_layer(base)
        layer = getattr(layer, "base_layer", layer)  # under an adapter
        channels, places = _per_place(layer, self.shape)
        sizes = {"velocities": components * channels * places, "logits": components * places}
        sizes["rates"] = (components - 1) * places
        self.profile = nn.ModuleDict({name: _silent(layer, size) for name, size in sizes.items()})
        self.first_rates: Tensor
        first = torch.linspace(*_FIRST_RATES, components - 1) / MOST_RATE
        self.register_buffer("first_rates", first.atanh())

    @property
    def inputs(self) -> tuple[str, ...]:
        """The numbers it takes beside the time."""
        return getattr(self.base, "inputs", ())

    def mixture(self, x: Tensor, time: Tensor, cond: Condition) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs (B, K, ...), each of the network's own kind, logits and rates (B, K, 1, ...)."""
        seen: list[Tensor] = []
        hook = last_layer(self.base).register_forward_hook(lambda layer, given, made: seen.append(given[0]))
        try:
            output: Tensor = self.base(x, time, cond)
        finally:
            hook.remove()
        added, logits, raw = (
            _as_samples(self.profile[name](seen[-1]), count, self.shape).to(output.dtype)
            for name, count in (
                ("velocities", self.components),
                ("logits", self.components),
                ("rates", self.components - 1),
            )
        )
        first = self.first_rates.to(raw).reshape(1, -1, *[1] * (raw.ndim - 2))
        rates = self.most_rate * (first + SLOWNESS / MOST_RATE * raw).tanh()
        return output[:, None] + added, logits, torch.cat([torch.zeros_like(logits[:, :1]), rates], 1)

    def forward(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        outputs, logits, _ = self.mixture(x, time, cond)
        # Written as a departure from one of them, so that alike outputs give exactly that one.
        return outputs[:, 0] + (logits.softmax(1) * (outputs - outputs[:, :1])).sum(1)

    def fixed(self) -> list[nn.Parameter]:
        return self.base.fixed()  # type: ignore[operator, no-any-return]


def _per_place(layer: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """Channels of a sample, and how many of its places the layer makes at once: a patch of a transformer's, else 1."""
    if isinstance(layer, nn.Linear) and len(shape) == 3:
        made = layer.out_features // shape[0]
        return shape[0], made if math.isqrt(made) ** 2 == made else made // 2  # else it predicts a variance too
    return shape[0], 1


def _silent(layer: nn.Module, size: int) -> nn.Module:
    """A new layer like `layer`, of another number of outputs, all 0 until trained."""
    made: nn.Module
    if isinstance(layer, nn.Conv2d):
        made = nn.Conv2d(layer.in_channels, size, layer.kernel_size, padding=layer.padding)  # type: ignore[arg-type]
    elif isinstance(layer, nn.Linear):
        made = nn.Linear(layer.in_features, size)
    else:
        raise RecipeError(f"The output layer is a {type(layer).__name__}, of which there is no mixture of velocities.")
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
    return made


def _as_samples(made: Tensor, count: int, shape: tuple[int, ...]) -> Tensor:
    """What a layer made for `count` components, of vectors, maps or tokens (patches), as (B, count, C, ...)."""
    if len(shape) != 3 or made.ndim == 4:
        return made.reshape(len(made), count, -1, *shape[1:])
    height, width = shape[1:]
    side = math.isqrt(height * width // made.shape[1])
    patches = made.reshape(len(made), height // side, width // side, side, side, count, -1)
    return patches.permute(0, 5, 6, 1, 3, 2, 4).reshape(len(made), count, -1, height, width)


class MomentumDenoiser(Denoiser):
    """A denoiser that also says how the velocity goes on. As a plain denoiser it speaks of the step's start alone."""

    network: Momentum

    def profile(self, noised: Tensor, t: Tensor, cond: Condition) -> Profile:
        """The velocity from times t (B,) on, of states `noised` (B, ...), which are of the path, not of the flow."""
        x, time = self._input(noised, t)
        with self._precision(x):
            outputs, logits, rates = map(self._widened, self.network.mixture(x, time, cond))
        count = outputs.shape[1]
        states = noised[:, None].expand_as(outputs).flatten(0, 1)
        each = Prediction(
            states, outputs.flatten(0, 1), t.repeat_interleave(count), self.path, self.prediction_type, self.sigma_data
        )
        velocities = (each.noise - each.x0).reshape(outputs.shape)
        return Profile(flow_time(self.path.level(t)), velocities, logits, rates)

    def step(self, noised: Tensor, t: Tensor, end: Level, cond: Condition) -> Tensor:
        """The state at the level `end` from `noised` (B, ...) at times t (B,): one evaluation, exactly integrated."""
        profile, scale = self.profile(noised, t, cond), flow_scale(self.path.level(t))
        moved = noised / per_sample(scale, noised) - profile.displacement(profile.start, flow_time(end))
        return per_sample(flow_scale(end), moved) * moved


def with_momentum(net: Denoiser, components: int) -> MomentumDenoiser:
    """`net` as one that says how its velocity goes on; its weights become the new one's own."""
    return MomentumDenoiser(Momentum(net.network, components), net.path, net.prediction_type, net.sigma_data)
