"""Paths: how a sample turns into noise. `x_t = alpha(t) x0 + sigma(t) noise`, noise unit normal.

Time `t` is in [0, 1]: 0 is the least noise the path knows, 1 the most. Each path is a pair of smooth functions with an
exact inverse through the ratio sigma/alpha, and knows what number diffusers feeds a network at `t`. Nothing here knows
a network. All functions keep the dtype of `t`; pass float64, in which every conversion and its inverse agree to 1e-6.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self
from weakref import ReferenceType, ref

import torch
from torch import Tensor

Level = tuple[Tensor, Tensor]
"""alpha and sigma, each (B,)."""


def per_sample(weights: Tensor, like: Tensor) -> Tensor:
    """`weights` (B,) in the dtype of `like` (B, ...), shaped so that it multiplies each sample of `like`."""
    return weights.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))


_latest: tuple[ReferenceType[Tensor], int, "Path", Level] | None = None
"""The times a path was last asked for by `level`, how often they had been written to, and the answer."""


class Path(ABC):
    """Strictly increasing sigma/alpha over t in [0, 1]. Every tensor is float, of any shape, elementwise."""

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Factor of the data, in [0, 1]."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Factor of the unit normal noise, >= 0."""

    def __deepcopy__(self, _: dict[int, object]) -> Self:
        """Itself: it never changes, and all copies of a network are then asked for the level of the same path."""
        return self

    def level(self, t: Tensor) -> Level:
        """alpha(t) and sigma(t).

        It remembers the last answer: to noise a sample, every network that looks at it and every conversion ask for the
        level of the very same tensor.
        """
        global _latest  # noqa: PLW0603
        if t.requires_grad:  # then an answer belongs to one graph
            return self._level(t)
        if _latest is not None and _latest[0]() is t and _latest[1] == t._version and _latest[2] is self:
            return _latest[3]
        found = self._level(t)
        _latest = ref(t), t._version, self, found
        return found

    def _level(self, t: Tensor) -> Level:
        return self.alpha(t), self.sigma(t)

    @abstractmethod
    def t_of_ratio(self, ratio: Tensor) -> Tensor:
        """The t at which sigma/alpha is `ratio` (in [0, inf]); clamped to [0, 1] outside the path's range."""

    @abstractmethod
    def velocity_weights(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(a, b) with velocity = a x0 + b noise = dx_t/ds along the path's natural clock s.

        The clock is the angle atan2(sigma, alpha) for the variance preserving kinds, sigma for the others. On every
        path alpha b - sigma a is 1, so that d(sigma/alpha)/ds is 1/alpha².
        """

    @abstractmethod
    def network_time(self, t: Tensor) -> Tensor:
        """The number that diffusers feeds a network trained on this path."""

    @abstractmethod
    def t_of_network_time(self, time: Tensor) -> Tensor:
        """Inverse of `network_time`."""

    def start_scale(self, t: Tensor) -> Tensor:
        """Factor of unit noise that stands for the state at t when sampling starts there: 1 unless the state grows.

        Not sigma(t): diffusers starts from plain noise, and at alpha = 0.006 that difference is multiplied by 150.
        """
        return torch.ones_like(t)

    def grid(self, steps: int) -> tuple[float, ...]:
        """The times at which the path's diffusers scheduler evaluates the network for `steps` steps; the first is 1.

        Here 1, 1 - 1/steps, ..., 1/steps. Falling, in [0, 1].
        """
        return tuple(1 - i / steps for i in range(steps))

    def on_grid(self, t: float) -> float:
        """The time nearest to `t` that the path's diffusers scheduler can be set to; any time where it has no table."""
        return t

    def ratio(self, t: Tensor) -> Tensor:
        """sigma/alpha, the noise level in EDM's coordinates; infinite where alpha is 0."""
        alpha, sigma = self.level(t)
        return sigma / alpha

    def log_snr(self, t: Tensor) -> Tensor:
        """2 log(alpha/sigma)."""
        alpha, sigma = self.level(t)
        return 2 * (alpha.log() - sigma.log())

    def t_of_log_snr(self, log_snr: Tensor) -> Tensor:
        """Inverse of `log_snr`."""
        return self.t_of_ratio((-log_snr / 2).exp())

    def flow_time(self, t: Tensor) -> Tensor:
        """sigma / (alpha + sigma), the time of flow matching at which there is as much noise."""
        alpha, sigma = self.level(t)
        return sigma / (alpha + sigma)

    def noised(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """alpha(t) x0 + sigma(t) noise. x0, noise: (B, ...); t: (B,)."""
        alpha, sigma = self.level(t)
        return per_sample(alpha, x0) * x0 + per_sample(sigma, x0) * noise

    def velocity(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Its change by the natural clock at fixed x0 and noise, (B, ...); see `velocity_weights`."""
        a, b = self.velocity_weights(t)
        return per_sample(a, x0) * x0 + per_sample(b, x0) * noise


@dataclass(frozen=True, eq=False)
class VariancePreserving(Path):
    """alpha² + sigma² = 1 on a table of `alphas_cumprod`, as DDPM and Stable Diffusion are trained (arXiv:2006.11239).

    Index i of N is t = i/(N-1), where alpha and sigma are the table's exactly. Between two indices the angle
    atan2(sigma, alpha) is linear, which stays finite at zero terminal SNR (arXiv:2305.08891) where log SNR does not.
    """

    alphas_cumprod: Tensor = field(repr=False)
    angles: Tensor = field(init=False, repr=False)
    _sines_of: Tensor = field(init=False, repr=False)
    """(2, N), the angles whose sines alpha and sigma are. alpha is not the cosine of the other: near pi/2 it cancels,
    and at pi/2 it is 6e-17 instead of 0."""
    _moved: dict[tuple[torch.device, torch.dtype], Tensor] = field(init=False, repr=False, default_factory=dict)
    """`_sines_of` where and in the format that it was asked for, since to move it makes a device wait."""

    def __post_init__(self) -> None:
        table = self.alphas_cumprod.double().cpu()
        falls = table.ndim == 1 and len(table) >= 2 and bool((table[1:] < table[:-1]).all())
        if not falls or not 0 <= float(table[-1]) < float(table[0]) < 1:
            raise ValueError(
                "alphas_cumprod must be a falling table of at least two numbers from below 1 to 0 or more."
            )
        alpha, sigma = table.sqrt(), (1 - table).sqrt()
        object.__setattr__(self, "angles", torch.atan2(sigma, alpha))
        object.__setattr__(self, "_sines_of", torch.stack([torch.atan2(alpha, sigma), self.angles]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VariancePreserving) and torch.equal(self.angles, other.angles)

    def __hash__(self) -> int:
        return hash((self.steps, float(self.angles[0]), float(self.angles[-1])))

    @classmethod
    def of_betas(cls, betas: Tensor) -> "VariancePreserving":
        """From the per-step noise variances, (N,), each in (0, 1]."""
        return cls((1 - betas.double()).cumprod(0))

    @property
    def steps(self) -> int:
        """Length of the table, N."""
        return len(self.angles)

    def _level(self, t: Tensor) -> Level:
        table = self._moved.get((t.device, t.dtype))
        if table is None:
            table = self._moved[t.device, t.dtype] = self._sines_of.to(t.device, t.dtype)
        place = t.clamp(0, 1) * (self.steps - 1)
        left = place.floor().clamp(max=self.steps - 2)
        i = left.long()
        alpha, sigma = table[:, i].lerp(table[:, i + 1], place - left).sin()
        return alpha, sigma

    def alpha(self, t: Tensor) -> Tensor:
        return self.level(t)[0]

    def sigma(self, t: Tensor) -> Tensor:
        return self.level(t)[1]

    def on_grid(self, t: float) -> float:
        return round(t * (self.steps - 1)) / (self.steps - 1)

    def grid(self, steps: int) -> tuple[float, ...]:
        """Trailing spacing (arXiv:2305.08891, table 2): indices round(N - i N/steps) - 1."""
        indices = [round(self.steps - i * self.steps / steps) - 1 for i in range(steps)]
        return tuple(i / (self.steps - 1) for i in indices)

    def t_of_ratio(self, ratio: Tensor) -> Tensor:
        angles = self.angles.to(ratio.device, ratio.dtype)
        angle = ratio.atan().clamp(angles[0], angles[-1])
        right = torch.searchsorted(angles, angle.contiguous()).clamp(1, self.steps - 1)
        low, high = angles[right - 1], angles[right]
        return (right - 1 + (angle - low) / (high - low)) / (self.steps - 1)

    def velocity_weights(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.level(t)
        return -sigma, alpha

    def network_time(self, t: Tensor) -> Tensor:
        return t * (self.steps - 1)

    def t_of_network_time(self, time: Tensor) -> Tensor:
        return time / (self.steps - 1)


@dataclass(frozen=True)
class VarianceExploding(Path):
    """alpha = 1, sigma on the Karras grid: sigma^(1/rho) is linear in t (EDM, arXiv:2206.00364, eq. 5).

    An infinite rho is the limit in which log sigma is linear in t.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf or not self.rho > 0:
            raise ValueError("A variance exploding path needs 0 < sigma_min < sigma_max and rho > 0.")

    def _ends(self) -> tuple[float, float]:
        return self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        if math.isinf(self.rho):
            return self.sigma_min * (self.sigma_max / self.sigma_min) ** t
        low, high = self._ends()
        return (low + t * (high - low)) ** self.rho

    def grid(self, steps: int) -> tuple[float, ...]:
        """Both ends, evenly in t (arXiv:2206.00364, eq. 5); sigma_min is the last level before 0."""
        return tuple(1 - i / max(steps - 1, 1) for i in range(steps))

    def start_scale(self, t: Tensor) -> Tensor:
        return self.sigma(t)

    def t_of_ratio(self, ratio: Tensor) -> Tensor:
        if math.isinf(self.rho):
            return ((ratio / self.sigma_min).log() / math.log(self.sigma_max / self.sigma_min)).clamp(0, 1)
        low, high = self._ends()
        return ((ratio ** (1 / self.rho) - low) / (high - low)).clamp(0, 1)

    def velocity_weights(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(t), torch.ones_like(t)

    def network_time(self, t: Tensor) -> Tensor:
        return 0.25 * self.level(t)[1].log()

    def t_of_network_time(self, time: Tensor) -> Tensor:
        return self.t_of_ratio((4 * time).exp())


@dataclass(frozen=True)
class FlowMatching(Path):
    """alpha = 1 - sigma, sigma = shift t / (1 + (shift - 1) t) (rectified flow; shift: arXiv:2403.03206, eq. 23)."""

    shift: float = 1.0
    steps: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.shift < math.inf:
            raise ValueError("A flow matching path needs a shift above 0.")

    def sigma(self, t: Tensor) -> Tensor:
        return self.shift * t / (1 + (self.shift - 1) * t)

    def alpha(self, t: Tensor) -> Tensor:
        return (1 - t) / (1 + (self.shift - 1) * t)  # 1 - sigma without its cancellation near t = 1

    def t_of_ratio(self, ratio: Tensor) -> Tensor:
        return 1 / (1 + self.shift / ratio)  # ratio = shift t / (1 - t); also right at 0 and infinity

    def velocity_weights(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return -torch.ones_like(t), torch.ones_like(t)

    def network_time(self, t: Tensor) -> Tensor:
        return self.steps * self.level(t)[1]

    def t_of_network_time(self, time: Tensor) -> Tensor:
        sigma = time / self.steps
        return sigma / (self.shift - (self.shift - 1) * sigma)


@dataclass(frozen=True)
class Trigonometric(Path):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2) (TrigFlow with unit noise, arXiv:2410.11081)."""

    def alpha(self, t: Tensor) -> Tensor:
        return (math.pi / 2 * (1 - t)).sin()  # the cosine, exactly 0 at t = 1

    def sigma(self, t: Tensor) -> Tensor:
        return (math.pi / 2 * t).sin()

    def t_of_ratio(self, ratio: Tensor) -> Tensor:
        return ratio.atan() * (2 / math.pi)

    def velocity_weights(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.level(t)
        return -sigma, alpha

    def network_time(self, t: Tensor) -> Tensor:
        return math.pi / 2 * t

    def t_of_network_time(self, time: Tensor) -> Tensor:
        return time * (2 / math.pi)


# Beta schedules, in float64. Each takes the number of steps and, where it has them, the first and last beta.


def linear_betas(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """DDPM's schedule (arXiv:2006.11239)."""
    return torch.linspace(first, last, steps, dtype=torch.float64)


def scaled_linear_betas(steps: int = 1000, first: float = 0.00085, last: float = 0.012) -> Tensor:
    """Latent diffusion's schedule: sqrt(beta) is linear (arXiv:2112.10752)."""
    return torch.linspace(first**0.5, last**0.5, steps, dtype=torch.float64) ** 2


def sigmoid_betas(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """beta follows a sigmoid from -6 to 6 (GeoDiff, arXiv:2203.02923)."""
    return torch.linspace(-6, 6, steps, dtype=torch.float64).sigmoid() * (last - first) + first


def betas_of_alpha_bar(alpha_bar: Callable[[Tensor], Tensor], steps: int, largest: float = 0.999) -> Tensor:
    """beta_i = 1 - alpha_bar((i+1)/steps) / alpha_bar(i/steps), at most `largest`; alpha_bar: [0, 1] -> [0, 1]."""
    grid = torch.arange(steps + 1, dtype=torch.float64) / steps
    values = alpha_bar(grid)
    return (1 - values[1:] / values[:-1]).clamp(max=largest)


def cosine_betas(steps: int = 1000) -> Tensor:
    """Improved DDPM's cosine schedule (arXiv:2102.09672, eq. 17)."""
    return betas_of_alpha_bar(lambda u: ((u + 0.008) / 1.008 * math.pi / 2).cos() ** 2, steps)


def exponential_betas(steps: int = 1000) -> Tensor:
    """alpha_bar(u) = exp(-12 u), which diffusers' Heun scheduler calls "exp"."""
    return betas_of_alpha_bar(lambda u: (-12 * u).exp(), steps)


def laplace_betas(steps: int = 1000) -> Tensor:
    """The Laplace schedule (arXiv:2407.03297, table 1, with mean 0 and scale 0.5) as diffusers' DDPM scheduler has it.

    diffusers takes alpha = sqrt(snr/(1 + snr)) where its square is meant, and adds 1e-6 for finite ends; both are kept,
    because its networks were trained so.
    """

    def alpha_bar(u: Tensor) -> Tensor:
        side = torch.where(u > 0.5, -1.0, 1.0).double()
        snr = (-0.5 * side * (1 - 2 * (0.5 - u).abs() + 1e-6).log()).exp()
        return (snr / (1 + snr)).sqrt()

    return betas_of_alpha_bar(alpha_bar, steps)


def zero_terminal_snr(alphas_cumprod: Tensor) -> Tensor:
    """The table, its alphas shifted and scaled: the last exactly 0, the first unchanged (arXiv:2305.08891, alg. 1)."""
    alpha = alphas_cumprod.double().sqrt()
    return ((alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])) ** 2


def transition(s: Level, t: Level) -> Level:
    """(alpha_t|s, sigma_t|s): a state at level s times the one, plus unit noise times the other, is a state at level t.

    t has at least the noise of s, and alpha of s is above 0 (arXiv:2107.00630, app. A.1).
    """
    (alpha_s, sigma_s), (alpha_t, sigma_t) = s, t
    kept = alpha_t / alpha_s
    return kept, (sigma_t**2 - (kept * sigma_s) ** 2).clamp(min=0).sqrt()
