"""SNOOPI: guided at random, a student settles where the middle of the range leads; at its top alone, elsewhere.

The push is linear in the scale: that of the condition, and scale - 1 times its excess over the one without condition. A
student that can be right is right at every scale, and so this one cannot be: in the bench `two` each class is two modes
on the first axis, among those of the other class, and the student has one normal for each. Where these settle depends
on the scale and is known. A fixed scale of the middle leads there too: that the scale is drawn shows in the spread of
the push, and not in where it leads.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor, nn

from backend.methods.snoopi import Settings
from backend.networks import Condition, Denoiser, Prediction
from backend.networks.denoiser import output_weights
from backend.noise import per_sample
from backend.proofs import Proof
from backend.proofs.benches import MIDDLE, NODES, Bench, minimum
from backend.samplers import Denoises, Sampler
from backend.teachers import Teacher
from backend.teachers.mixture_2d import ClosedFormDenoiser, Mixture, paths
from backend.train import Run

LOWEST, HIGHEST = 0.5, 4.0
SCALE = (LOWEST + HIGHEST) / 2
"""By which scale's answer a student is judged."""


class Normals(nn.Module):
    """The weights: a normal for each class, as one linear layer's answer to the class, so that adapters can be put on.

    mean, std: (C, D) where they start; C at most 2 D. Adapters of rank C reach every other C normals.
    """

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        start = torch.cat([mean, std.log()], 1).T  # (2 D, C)
        self.normals = nn.Linear(len(start), len(start), bias=False)
        with torch.no_grad():
            self.normals.weight.zero_()[:, : len(mean)] = start
        self.shape, self.null_label = (mean.shape[1],), len(mean)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and std of every class, (C, D) float64 each, with gradient."""
        every = torch.eye(self.null_label, 2 * self.shape[0])
        mean, log_std = self.normals(every).double().chunk(2, 1)
        return mean, log_std.exp()

    def fixed(self) -> list[nn.Parameter]:
        """Parameters that no student may change: none."""
        return []


class NormalsDenoiser(Denoiser, ABC):
    """A denoiser whose weights are `Normals`, on the EDM path. mean, std: (C, D) where it starts."""

    network: Normals

    def __init__(self, mean: Tensor, std: Tensor, sigma_data: float) -> None:
        super().__init__(Normals(mean, std), *paths()["edm"], sigma_data)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and std of every class, (C, D) float64 each, with gradient."""
        return self.network.moments()

    @abstractmethod
    def _x0(self, noised: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """The clean sample (B, D) it sees in `noised`, float64."""

    def forward(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction:
        alpha, sigma = self.path.alpha(t).double(), self.path.sigma(t).double()
        x0 = self._x0(noised.double(), t, cond.part("labels"))
        noise = (noised.double() - per_sample(alpha, x0) * x0) / per_sample(sigma, x0)
        a, b = output_weights(self.prediction_type, alpha, sigma, self.sigma_data)
        return self._prediction(noised, (per_sample(a, x0) * x0 + per_sample(b, x0) * noise).to(noised.dtype), t)


class NormalsStudent(NormalsDenoiser):
    """From noise to samples of the class's normal, of whatever time it is asked."""

    def _x0(self, noised: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        mean, std = self.moments()
        return mean[labels] + std[labels] * (noised / per_sample(self.path.start_scale(t), noised))


class NormalsScore(NormalsDenoiser):
    """The exact denoiser of each class's normal; without condition, of all of them in equal parts."""

    def _x0(self, noised: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        mean, std = self.moments()
        alpha, sigma = (level(t).double()[:, None, None] for level in (self.path.alpha, self.path.sigma))
        variance = alpha**2 * std**2 + sigma**2  # (B, C, D)
        rest = noised[:, None] - alpha * mean
        fit = -(rest.square() / variance + variance.log()).sum(-1) / 2
        classes = torch.arange(len(mean))
        other = (labels[:, None] != classes) & (labels[:, None] < len(mean))
        share = fit.masked_fill(other, -torch.inf).softmax(1)
        return (share[..., None] * (mean + alpha * std**2 / variance * rest)).sum(1)


@dataclass(frozen=True)
class Normally(Teacher):
    """A teacher whose student's normals are what its own feature network, the base of the fake score, knows."""

    def feature_network(self) -> Denoiser:
        assert self.auxiliary is not None
        return self.auxiliary().frozen()


class Two(Bench):
    """The bench `two`, whose students have one normal for each class."""

    def figures(self, net: Denoises, sampler: Sampler, guidance_scale: float = 1.0) -> dict[str, float]:
        found = super().figures(net, sampler, guidance_scale)
        return found | ({"from_root": self.from_root(net)} if isinstance(net, NormalsDenoiser) else {})

    def from_root(self, net: NormalsDenoiser, scale: float = SCALE) -> float:
        """2-Wasserstein distance of the student's normals from those of the `root`, root mean square over classes."""
        (mean, std), (own_mean, own_std) = self.root(scale), net.moments()
        squares = (own_mean - mean).square() + (own_std - std).square()
        return float(squares.sum(1).mean().sqrt().detach())

    @cache  # noqa: B019
    def root(self, scale: float) -> tuple[Tensor, Tensor]:
        """Mean and std (C, D) of the normals whose mean push at `MIDDLE` under this guidance is 0, as a student starts.

        The push goes down scale E KL(q_t(x|c) | p_t(x|c)) + (1 - scale) KL(q_t | p_t), E over the classes: the first
        divergence and scale - 1 times one of the classes' posteriors, so that from 1 up it has a minimum. It is sought
        from where students start. Means under q_t are sums over even nodes.
        """
        path, mixture = self.exact.path, self.mixture
        alpha, sigma = (level(torch.tensor([MIDDLE]).double()) for level in (path.alpha, path.sigma))
        nodes = torch.cartesian_prod(NODES, NODES)
        weights = (-nodes.square().sum(1) / 2).softmax(0)
        parts = [self.part(label) for label in range(mixture.classes)]

        def divergence(at: Tensor) -> Tensor:
            spread = (alpha**2 * (2 * at[1]).exp() + sigma**2).sqrt()
            found = at.new_zeros(())
            for k, part in enumerate(parts):
                points = alpha * at[0, k] + spread[k] * nodes
                level = alpha.expand(len(points)), sigma.expand(len(points))
                own = torch.distributions.Normal(alpha * at[0], spread).log_prob(points[:, None]).sum(-1)  # (N, C)
                given = own[:, k] - part.log_density(points, *level)
                free = own.logsumexp(1) - torch.tensor(len(parts)).log() - mixture.log_density(points, *level)
                found = found + (weights * (scale * given + (1 - scale) * free)).sum() / len(parts)
            return found

        mean, log_std = minimum(divergence, torch.zeros(2, len(parts), 2, dtype=torch.float64))
        return mean, log_std.exp()

    def part(self, label: int) -> Mixture:
        """The class of that number alone."""
        of = self.mixture.class_of_mode == label
        weights = self.mixture.weights[of]
        return Mixture(self.mixture.means[of], weights / weights.sum(), self.mixture.std)

    def __hash__(self) -> int:
        return id(self)


@cache
def two() -> Two:
    """Modes at 2.2 and -1 of weights 0.6 and 0.4, and at 0 and -2 of weights 0.65 and 0.35.

    Student and fake score start from mean 0 and std 1 in both classes. From there one minimum is reached at every scale
    of the range. Of classes that are mirror images it would not be: at the scales above 2 their symmetric answer is a
    saddle, and either class may become the narrow one.
    """
    means = torch.tensor([[2.2, 0.0], [-1.0, 0.0], [0.0, 0.0], [-2.0, 0.0]], dtype=torch.float64)
    weights = torch.tensor([0.3, 0.2, 0.325, 0.175], dtype=torch.float64)
    mixture = Mixture(means, weights, 0.3, groups=(0, 0, 1, 1))
    exact = ClosedFormDenoiser(mixture, *paths()["edm"], conditional=True)
    given = torch.zeros(2, 2), torch.ones(2, 2), exact.sigma_data
    student, score = partial(NormalsStudent, *given), partial(NormalsScore, *given)
    frozen, digest = exact.frozen(), mixture.digest
    teacher = Normally("two", "two", frozen, student, digest, labels=("0", "1"), draws=mixture, auxiliary=score)
    return Two(teacher, exact, mixture)


def guide_at_the_top(run: Run) -> None:
    """The stub: the most guidance of the range at every step, as SwiftBrush has one scale."""
    assert isinstance(run.settings, Settings)
    run.settings = run.settings.model_copy(update={"lowest_guidance": HIGHEST})


PROOF = Proof(
    claim="Guided at random from 0.5 to 4, the student settles where the middle of the range leads.",
    bench="two",
    own=two,
    figure="from_root",
    good=0.1,
    bad=0.2,
    change=guide_at_the_top,
    settings={
        "lowest_guidance": LOWEST,
        "highest_guidance": HIGHEST,
        "lowest_time": MIDDLE,
        "highest_time": MIDDLE,
        "rank": 2,  # one for each class: the adapters then reach any two normals
        "learning_rate": 5e-3,
        "fake_score_learning_rate": 1e-2,
    },
    training={"steps": 2000, "batch_size": 512, "learning_rate_schedule": "cosine"},
    expected="no figure; a fixed 4 settles 0.44 away, and is narrower",
)
