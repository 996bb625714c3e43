"""Normal distributions as networks: a student that makes one and a fake score that knows one, in closed form.

Their weights are a mean and a spread, so that what a method leads them to can be compared with the exact answer.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from backend.networks.condition import Condition
from backend.networks.denoiser import Denoiser, Prediction, PredictionType, output_weights
from backend.noise import Path, per_sample


class Normal(nn.Module):
    """The weights: mean (D,) and the logarithm of the standard deviation (D,), a coordinate's own."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.mean, self.log_std = nn.Parameter(mean.float()), nn.Parameter(std.float().log())
        self.shape, self.null_label = (len(mean),), None

    def features(self, x: Tensor, time: Tensor, cond: Condition) -> list[Tensor]:
        """Feature maps: it has no layers, and so the sample (B, D) itself."""
        return [x]

    def fixed(self) -> list[nn.Parameter]:
        """Parameters that no student may change: none."""
        return []


class NormalDenoiser(Denoiser, ABC):
    """A denoiser whose weights are a `Normal`. mean, std: (D,) where it starts."""

    network: Normal

    def __init__(self, mean: Tensor, std: Tensor, path: Path, kind: PredictionType, sigma_data: float) -> None:
        super().__init__(Normal(mean, std), path, kind, sigma_data)

    @property
    def mean(self) -> Tensor:
        """(D,) float64, with gradient."""
        return self.network.mean.double()

    @property
    def std(self) -> Tensor:
        """(D,) float64, with gradient."""
        return self.network.log_std.double().exp()

    @abstractmethod
    def _x0(self, noised: Tensor, t: Tensor) -> Tensor:
        """The clean sample (B, D) it sees in `noised`, float64."""

    def forward(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction:
        alpha, sigma = self.path.alpha(t).double(), self.path.sigma(t).double()
        x0 = self._x0(noised.double(), t)
        noise = (noised.double() - per_sample(alpha, x0) * x0) / per_sample(sigma, x0)
        a, b = output_weights(self.prediction_type, alpha, sigma, self.sigma_data)
        output = (per_sample(a, x0) * x0 + per_sample(b, x0) * noise).to(noised.dtype)
        return self._prediction(noised, output, t)


class NormalStudent(NormalDenoiser):
    """From noise to samples of the normal: mean + std noise, of whatever time it is asked."""

    def _x0(self, noised: Tensor, t: Tensor) -> Tensor:
        return self.mean + self.std * (noised / per_sample(self.path.start_scale(t), noised))


class NormalScore(NormalDenoiser):
    """The exact denoiser of the normal: what a fake score learns of a `NormalStudent` is everything."""

    def _x0(self, noised: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (per_sample(level(t), noised) for level in (self.path.alpha, self.path.sigma))
        variance = self.std**2
        gain = alpha * variance / (alpha**2 * variance + sigma**2)
        return self.mean + gain * (noised - alpha * self.mean)
