"""`mixture-2d`: a ring of eight Gaussians whose score is known in closed form at every noise level of every path.

Whatever a method claims can be checked here against the exact answer. The students' network is a small MLP that is
first fitted to the exact denoiser, as a student of a real teacher starts as a copy of it.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from backend.networks import Condition, Denoiser, Prediction, PredictionType
from backend.networks.denoiser import output_weights
from backend.networks.mlp import MLP
from backend.noise import (
    FlowMatching,
    Path,
    Trigonometric,
    VarianceExploding,
    VariancePreserving,
    linear_betas,
    per_sample,
)
from backend.teachers import Teacher, TeacherError


@dataclass(frozen=True, eq=False)
class Mixture:
    """sum_k weights_k N(means_k, std² I). means: (K, D); weights: (K,), sum 1; float64.

    groups: of each mode its class, from 0; by default every mode is a class of its own.
    """

    means: Tensor
    weights: Tensor
    std: float
    groups: tuple[int, ...] = ()
    encoded = True

    @property
    def digest(self) -> str:
        """SHA-256 of the numbers that define it."""
        grouped = (self.groups,) if self.groups else ()
        numbers = (self.means.tolist(), self.weights.tolist(), self.std, *grouped)
        return hashlib.sha256(repr(numbers).encode()).hexdigest()

    @cached_property
    def class_of_mode(self) -> Tensor:
        """The class of each mode, (K,)."""
        return torch.tensor(self.groups or range(len(self.means)))

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.class_of_mode.max()) + 1

    @cached_property
    def sigma_data(self) -> float:
        """Root mean square of one coordinate about 0."""
        second = (self.weights[:, None] * self.means**2).sum() / self.means.shape[1] + self.std**2
        return float(second.sqrt())

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """n exact samples (n, D) float32 and the class of each, (n,)."""
        device = generator.device
        modes = torch.multinomial(self.weights.to(device), n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], generator=generator, device=device)
        return self.means.to(device).float()[modes] + self.std * noise, self.class_of_mode.to(device)[modes]

    def _squares(self, noised: Tensor, alpha: Tensor) -> Tensor:
        return (noised[:, None] - alpha[:, None, None] * self.means.to(noised)).square().sum(-1)  # (B, K)

    def log_density(self, noised: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """log p(noised) (B,) of the mixture noised to alpha, sigma (B,); all float64."""
        variance = (alpha**2 * self.std**2 + sigma**2)[:, None]
        dimensions = self.means.shape[1]
        exponents = -self._squares(noised, alpha) / (2 * variance) - dimensions / 2 * (2 * math.pi * variance).log()
        return torch.logsumexp(exponents + self.weights.to(noised).log(), 1)

    def posterior(
        self, noised: Tensor, alpha: Tensor, sigma: Tensor, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Posterior means of the clean sample and of the noise, (B, D) each, in closed form at every alpha and sigma.

        alpha, sigma: (B,). `labels` (B,) restricts each row to one class, the number after the last to none. The noise
        is not the difference noised - alpha x0 over sigma, which loses its digits as sigma falls.
        """
        variance = (alpha**2 * self.std**2 + sigma**2)[:, None]
        logits = -self._squares(noised, alpha) / (2 * variance) + self.weights.to(noised).log()
        if labels is not None:
            classes = self.class_of_mode.to(noised.device)
            other = (labels[:, None] != classes) & (labels[:, None] < self.classes)
            logits = logits.masked_fill(other, -math.inf)
        mean = logits.softmax(1) @ self.means.to(noised)
        rest = (noised - alpha[:, None] * mean) / variance
        return mean + (alpha * self.std**2)[:, None] * rest, sigma[:, None] * rest

    def x0(self, noised: Tensor, alpha: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Posterior mean of the clean sample, (B, D); see `posterior`."""
        return self.posterior(noised, alpha, sigma, labels)[0]


class ClosedForm(nn.Module):
    """The ideal network of a mixture: returns exactly what a network of `prediction_type` would converge to."""

    def __init__(
        self, mixture: Mixture, path: Path, prediction_type: PredictionType, sigma_data: float, conditional: bool
    ) -> None:
        super().__init__()
        self.mixture, self.path, self.prediction_type, self.sigma_data = mixture, path, prediction_type, sigma_data
        self.shape = (mixture.means.shape[1],)
        self.null_label = mixture.classes if conditional else None

    def answer(self, noised: Tensor, t: Tensor, cond: Condition) -> Tensor:
        """The ideal output, computed in float64 and returned in the dtype of `noised`."""
        alpha, sigma = self.path.alpha(t).double(), self.path.sigma(t).double()
        x = noised.double()
        x0, noise = self.mixture.posterior(x, alpha, sigma, cond.labels if self.null_label is not None else None)
        a, b = output_weights(self.prediction_type, alpha, sigma, self.sigma_data)
        return (per_sample(a, x) * x0 + per_sample(b, x) * noise).to(noised.dtype)


class ClosedFormDenoiser(Denoiser):
    """The exact denoiser of a mixture on any path, in any parameterisation."""

    network: ClosedForm

    def __init__(
        self, mixture: Mixture, path: Path, prediction_type: PredictionType, *, conditional: bool = False
    ) -> None:
        sigma_data = mixture.sigma_data
        super().__init__(
            ClosedForm(mixture, path, prediction_type, sigma_data, conditional), path, prediction_type, sigma_data
        )

    def forward(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction:
        output = self.network.answer(noised, t, cond)
        return Prediction(noised, output, t, self.path, self.prediction_type, self.sigma_data)


def ring(radius: float, std: float, weights: tuple[float, ...]) -> Mixture:
    """Gaussians of one width evenly on a circle, the first at angle 0."""
    angles = torch.arange(len(weights), dtype=torch.float64) * (2 * math.pi / len(weights))
    means = radius * torch.stack([angles.cos(), angles.sin()], 1)
    return Mixture(means, torch.tensor(weights, dtype=torch.float64), std)


MIXTURE = ring(1.0, 0.06, (0.28, 0.20, 0.15, 0.12, 0.09, 0.07, 0.05, 0.04))


def paths() -> dict[str, tuple[Path, PredictionType]]:
    """The parameterisations in which the mixture is offered, by what follows `mixture-2d:`."""
    variance_preserving = VariancePreserving.of_betas(linear_betas())
    return {
        "edm": (VarianceExploding(sigma_min=0.01, sigma_max=10.0), "edm"),
        "epsilon": (variance_preserving, "epsilon"),
        "v_prediction": (variance_preserving, "v_prediction"),
        "sample": (variance_preserving, "sample"),
        "flow": (FlowMatching(), "flow"),
        "trigonometric": (Trigonometric(), "v_prediction"),
    }


def fit(exact: ClosedFormDenoiser, seed: int, steps: int = 2000, batch: int = 512, width: int = 128) -> Denoiser:
    """An MLP fitted to the exact denoiser over all of the path, (B, D) vectors; the same for the same seed.

    Mean squared error against the exact output: the limit of denoising training with infinite data.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        conditional = exact.network.null_label
        scale = float(exact.path.network_time(torch.tensor([0.0, 1.0], dtype=torch.float64)).abs().max())
        network = MLP(exact.shape[0], width, classes=conditional or 0, scale=scale)
    net = Denoiser(network, exact.path, exact.prediction_type, exact.sigma_data)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x0, modes = exact.network.mixture.draw(batch, generator)
        cond = Condition.none(batch)
        if conditional is not None:
            dropped = torch.rand(batch, generator=generator) < 0.1
            cond = Condition.of_labels(modes.masked_fill(dropped, conditional))
        t = torch.rand(batch, generator=generator, dtype=torch.float64)
        noised = net.path.noised(x0, torch.randn(x0.shape, generator=generator), t)
        loss = (net(noised, t, cond).output - exact.network.answer(noised, t, cond)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net


def load(where: str, seed: int) -> Teacher:
    """`mixture-2d` (the EDM parameterisation) or `mixture-2d:KIND` for one of `paths`."""
    kind = where.partition(":")[2] or "edm"
    offered = paths()
    if kind not in offered:
        raise TeacherError(f"mixture-2d has no kind {kind!r}; choose one of {', '.join(offered)}.")
    exact = ClosedFormDenoiser(MIXTURE, *offered[kind])
    fitted: list[Denoiser] = []

    def trainable() -> Denoiser:
        if not fitted:
            fitted.append(fit(exact, seed))
        return fitted[0].copy()

    return Teacher(
        key=where,
        title=f"Ring of eight Gaussians, closed form ({kind})",
        denoiser=exact.frozen(),
        trainable=trainable,
        digest=hashlib.sha256(f"{MIXTURE.digest} {kind}".encode()).hexdigest(),
        data=where,
        licence="none needed: mathematics",
        draws=MIXTURE,
    )
