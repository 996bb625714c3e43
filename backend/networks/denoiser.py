"""Denoiser: a network with its path and prediction type, behind one call.

`net(noised, t, cond)` gives a `Prediction` with exact views `.x0`, `.noise`, `.velocity`, `.score`; what the network
itself predicts is converted here and nowhere else.
"""

import copy
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from backend.networks.condition import Condition
from backend.noise import Path, VarianceExploding, per_sample

PredictionType = Literal["epsilon", "v_prediction", "sample", "flow", "edm"]

_SMALLEST = 1e-6  # no conversion divides by a smaller alpha or sigma


def output_weights(kind: PredictionType, alpha: Tensor, sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:
    """(a, b) such that an ideal network of this kind returns a x0 + b noise.

    epsilon: noise; sample: x0; v_prediction: alpha noise - sigma x0 (arXiv:2202.00512); flow: noise - x0;
    edm: (sigma/sigma_data x0 - sigma_data noise) / sqrt(sigma² + sigma_data²), which is what EDM's c_skip and c_out
    make the raw network predict (arXiv:2206.00364, eq. 7 and 8, alpha = 1).
    """
    match kind:
        case "epsilon":
            return torch.zeros_like(alpha), torch.ones_like(alpha)
        case "sample":
            return torch.ones_like(alpha), torch.zeros_like(alpha)
        case "v_prediction":
            return -sigma, alpha
        case "flow":
            return torch.full_like(alpha, -1), torch.ones_like(alpha)
        case "edm":
            root = (sigma**2 + sigma_data**2).sqrt()
            return sigma / (sigma_data * root), -sigma_data / root


class Prediction:
    """What a network made of `noised`: its raw `output`, and the same statement in every other form.

    noised, output and every view: (B, ...). The views keep the gradient through output and noised.
    """

    def __init__(
        self,
        noised: Tensor,
        output: Tensor,
        t: Tensor,
        path: Path,
        kind: PredictionType,
        sigma_data: float = 0.5,
    ) -> None:
        self.noised, self.output, self.kind = noised, output, kind
        self.alpha, self.sigma = path.level(t)  # (B,)
        self._a, self._b = output_weights(kind, self.alpha, self.sigma, sigma_data)
        self._t, self._path = t, path
        self._views: dict[tuple[str, bool], Tensor] = {}

    @cached_property
    def _determinant(self) -> Tensor:
        # Of the two equations noised = alpha x0 + sigma noise, output = a x0 + b noise. For v, flow and edm it never
        # comes near 0; epsilon's is alpha and that of sample -sigma.
        determinant = self.alpha * self._b - self.sigma * self._a
        if self.kind not in ("epsilon", "sample"):
            return determinant
        sign = determinant.sign().masked_fill(determinant == 0, 1)
        return torch.where(determinant.abs() < _SMALLEST, sign * _SMALLEST, determinant)

    def _mix(self, name: str, from_noised: Tensor, from_output: Tensor) -> Tensor:
        """A view, computed once; and once more with its gradient where it was first asked for without."""
        key, noised, output = (name, torch.is_grad_enabled()), self.noised, self.output
        if key not in self._views:
            self._views[key] = per_sample(from_noised, noised) * noised + per_sample(from_output, output) * output
        return self._views[key]

    @property
    def x0(self) -> Tensor:
        """The clean sample."""
        if self.kind == "sample":
            return self.output
        return self._mix("x0", self._b / self._determinant, -self.sigma / self._determinant)

    @property
    def noise(self) -> Tensor:
        """The unit normal noise in `noised`."""
        if self.kind == "epsilon":
            return self.output
        return self._mix("noise", -self._a / self._determinant, self.alpha / self._determinant)

    @property
    def velocity(self) -> Tensor:
        """dx_t/ds in the path's natural clock (`Path.velocity_weights`)."""
        return self._path.velocity(self.x0, self.noise, self._t)

    @property
    def flow_velocity(self) -> Tensor:
        """noise - x0: rectified flow's velocity, whatever the network predicts and on any path.

        Every path is a rectified flow in another clock and scale, x_t/(alpha + sigma) being its state at time
        sigma/(alpha + sigma).
        """
        if self.kind in ("epsilon", "sample"):  # one of the two is the output itself, at every level
            return self.noise - self.x0
        determinant = self._determinant
        from_noised, from_output = -(self._a + self._b) / determinant, (self.alpha + self.sigma) / determinant
        return self._mix("flow_velocity", from_noised, from_output)

    @property
    def score(self) -> Tensor:
        """Gradient of the log density of `noised`: -noise / sigma."""
        return -self.noise / per_sample(self.sigma.clamp(min=_SMALLEST), self.noised)

    def with_sigma(self, sigma: Tensor) -> "Prediction":
        """The same output as of a `noised` that is alpha x0 + sigma noise, sigma (B,), in place of the path's."""
        twin = Prediction(self.noised, self.output, self._t, self._path, self.kind)
        twin.sigma, twin._a, twin._b = sigma, self._a, self._b
        return twin

    def error(self, x0: Tensor, noise: Tensor) -> Tensor:
        """The raw output minus what it should have been, (B, ...).

        Its square is the loss the network was trained with: noise, v, flow or x0 mean squared error, and for edm the
        x0 error weighted by (sigma² + sigma_data²)/(sigma sigma_data)² (arXiv:2206.00364, eq. 8).
        """
        return self.output - per_sample(self._a, x0) * x0 - per_sample(self._b, x0) * noise


class Network(Protocol):
    """One architecture. `time` is the path's `network_time`, (B,) float; `x` and the result are (B, ...).

    A network whose condition is more than a class label also has `null(cond)`: the batch without its condition.
    """

    shape: tuple[int, ...]
    null_label: int | None

    def __call__(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor: ...

    def features(self, x: Tensor, time: Tensor, cond: Condition) -> list[Tensor]:
        """Feature maps (B, C, ...) of the encoding half, finest first, without running the rest."""

    def with_features(
        self, x: Tensor, time: Tensor, cond: Condition, *, result_in_graph: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """What a call makes, without gradient where that is not wanted, and the feature maps on the way to it."""

    def fixed(self) -> list[nn.Parameter]:
        """Parameters that no student may change."""


class Denoiser(nn.Module):
    """A network, the path it was trained on and what it predicts.

    precision: the number format of the network's own sums and products (`computing_in`).
    """

    network: nn.Module
    precision = torch.float32

    def __init__(
        self, network: nn.Module, path: Path, prediction_type: PredictionType, sigma_data: float = 0.5
    ) -> None:
        super().__init__()
        if (prediction_type == "edm") != isinstance(path, VarianceExploding):
            raise ValueError("EDM preconditioning and the variance exploding path go together.")
        self.network, self.path = network, path
        self.prediction_type: PredictionType = prediction_type
        self.sigma_data = sigma_data

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.network.shape)  # type: ignore[arg-type]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The numbers it takes beside the time, parts of the condition (`inputs.INPUTS`)."""
        return getattr(self.network, "inputs", ())

    def extended(self, *names: str) -> "Denoiser":
        """Itself, from now on taking these numbers too; until trained it ignores them.

        Raises ValueError where its network has no place for them.
        """
        if not hasattr(self.network, "extend"):
            raise ValueError(f"A {type(self.network).__name__} cannot be told more than the time.")
        self.network.extend(names)  # type: ignore[operator]
        return self

    def _precision(self, x: Tensor) -> AbstractContextManager[object]:
        """The number format inside the network. Its weights keep theirs."""
        if self.precision == torch.float32:
            return nullcontext()
        return mixed_precision(x.device, self.precision)

    def _widened(self, x: Tensor) -> Tensor:
        """What came out of the network, in float32 where it computed in less: every loss is in float32."""
        return x if self.precision == torch.float32 else x.float()

    def _input(self, noised: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        if self.prediction_type == "edm":
            scale = (self.path.level(t)[1] ** 2 + self.sigma_data**2).rsqrt()
            noised = per_sample(scale, noised) * noised
        return noised, self.path.network_time(t)

    def forward(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction:
        """noised: (B, ...) at times t: (B,), float64 for exact conversions."""
        x, time = self._input(noised, t)
        with self._precision(x):
            output = self.network(x, time, cond)
        return self._prediction(noised, output, t)

    def _prediction(self, noised: Tensor, output: Tensor, t: Tensor) -> Prediction:
        return Prediction(noised, self._widened(output), t, self.path, self.prediction_type, self.sigma_data)

    def features(self, noised: Tensor, t: Tensor, cond: Condition) -> list[Tensor]:
        """Feature maps (B, C, ...) of the encoding half of the network, finest first."""
        x, time = self._input(noised, t)
        with self._precision(x):
            maps = self.network.features(x, time, cond)  # type: ignore[operator]
        return [self._widened(h) for h in maps]

    def with_features(
        self, noised: Tensor, t: Tensor, cond: Condition, *, prediction_in_graph: bool = True
    ) -> tuple[Prediction, list[Tensor]]:
        """The prediction and `features` from one pass.

        prediction_in_graph: whether the prediction has a gradient; without it, only what the maps need is kept.
        """
        x, time = self._input(noised, t)
        with self._precision(x):
            output, maps = self.network.with_features(x, time, cond, result_in_graph=prediction_in_graph)  # type: ignore[operator]
        whole = noised if prediction_in_graph else noised.detach()
        return self._prediction(whole, output, t), [self._widened(h) for h in maps]

    def null(self, cond: Condition) -> Condition | None:
        """The same batch without its condition, or None where the network has no such mode."""
        null = getattr(self.network, "null", None)
        if null is not None:
            return null(cond)  # type: ignore[no-any-return]
        label: int | None = self.network.null_label  # type: ignore[assignment]
        if label is None:
            return None
        if cond.labels is None:
            return cond
        return cond.with_part("labels", torch.full_like(cond.labels, label))

    def unconditional(self, cond: Condition) -> Condition:
        """`null`, for guidance. Raises ValueError where the network has no such mode."""
        null = self.null(cond)
        if null is None:
            raise ValueError("This teacher has no unconditional mode, so its guidance scale must stay 1.")
        return null

    def copy(self) -> "Denoiser":
        """A deep copy that can be trained, apart from what the network keeps fixed."""
        twin = copy.deepcopy(self).requires_grad_(True)
        for parameter in twin.network.fixed():  # type: ignore[operator]
            parameter.requires_grad_(False)
        return twin

    def frozen(self) -> "Denoiser":
        """Itself, with no gradient for any parameter."""
        return self.requires_grad_(False).eval()


@contextmanager
def mixed_precision(device: torch.device, precision: torch.dtype) -> Iterator[None]:
    """While inside, sums and products on `device` are computed in `precision`."""
    # The backward pass of processors' fused attention in bfloat16 takes far longer than that of plain products.
    attention = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
    with attention, torch.autocast(device.type, precision):
        yield


@contextmanager
def computing_in(precision: torch.dtype, nets: Iterable[Denoiser]) -> Iterator[None]:
    """While inside, these networks compute in another number format."""
    nets = list(nets)
    for net in nets:
        net.precision = precision
    try:
        yield
    finally:
        for net in nets:
            net.precision = torch.float32


class Guided(nn.Module):
    """A denoiser under classifier-free guidance (arXiv:2207.12598), with the same call.

    x0 = x0_null + scale (x0_cond - x0_null), scale 1 being none. Both halves are evaluated in one batched call.
    scale: None for each sample's own, which it is then told as the condition's part `guidance`.
    Raises ValueError where the denoiser cannot be asked without its condition.
    """

    def __init__(self, denoiser: Denoiser, scale: float | None) -> None:
        super().__init__()
        self.denoiser, self.scale = denoiser, scale

    @property
    def path(self) -> Path:
        return self.denoiser.path

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.denoiser.inputs if self.scale is not None else ("guidance",)

    def forward(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction:
        if self.scale == 1:
            return self.denoiser(noised, t, cond)  # type: ignore[no-any-return]
        scale = per_sample(cond.part("guidance"), noised) if self.scale is None else self.scale
        null = self.denoiser.unconditional(cond)
        both = self.denoiser(torch.cat([noised] * 2), torch.cat([t] * 2), Condition.join([cond, null]))
        with_cond, without = both.output.chunk(2)
        # The output is linear in x0 at fixed noised, so guiding it guides every view.
        output = torch.lerp(without, with_cond, scale)
        net = self.denoiser
        return Prediction(noised, output, t, net.path, net.prediction_type, net.sigma_data)
