"""How far a student's samples are from the data and from the teacher's; figures that carry their recipe.

Everything here takes plain tensors and draws no random numbers but those of a seed it is given, so measuring
leaves a run as it was. It knows no project file, no method and no sampler. Distances are computed in float64.
"""

import hashlib
import itertools
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from backend.contract.errors import UserError
from backend.datasets import ImageSet
from backend.resources import RESOURCES

# Goes up when a definition below changes: a figure of another version is another figure.
VERSION = 1
AT_ONCE = 64  # pictures that are held in float64
ROWS_AT_ONCE = 1024  # of the (N, M) tables of pairs; keeps them small for any number of samples


class EvaluationError(UserError, ValueError):
    """These samples cannot be judged; the message says in one sentence why."""


@dataclass(frozen=True)
class Figures:
    """What was measured, and the recipe it was measured by.

    values: name to figure; None where a figure has no value, such as the width of modes that nothing hit.
    measured_in: the name of the feature network, or "plane" where samples were compared as they are.
    features_digest, reference_digest: of that network's file and of what the samples were compared with.
    count: how many samples; Frechet distances are biased up at small counts.
    seed: of the noise the samples came from. nfe: network evaluations per sample; it says what was judged,
    not how, and so does not decide whether two figures may be compared.
    """

    values: Mapping[str, float | None]
    measured_in: str
    features_digest: str
    reference_digest: str
    count: int
    seed: int
    nfe: int
    version: int = VERSION

    def comparable_with(self, other: "Figures") -> bool:
        """Whether the two were measured by the same recipe; only then may their values be compared."""
        return self._recipe() == other._recipe()

    def _recipe(self) -> tuple[object, ...]:
        return (self.measured_in, self.features_digest, self.reference_digest, self.count, self.seed, self.version)

    def to_json(self) -> str:
        """JSON that `from_json` reads, with keys in a fixed order."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Figures":
        """The figures that `to_json` wrote."""
        return cls(**json.loads(text))


class FeatureNetwork(nn.Module):
    """A small classifier of square pictures whose last hidden layer is the space distances are measured in.

    Each feature has mean 0 and variance 1 over the training images, so a Frechet distance reads in units of
    the data's own spread: samples that are all one picture are at least `width` away. size: pixels along a side.
    stages: channels of each convolution, after which the picture is half as large.
    """

    def __init__(
        self,
        classes: int = 10,
        width: int = 48,
        channels: int = 1,
        size: int = 16,
        stages: tuple[int, ...] = (16, 32, 64),
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((channels, *stages)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        places = (size >> len(stages)) ** 2
        layers += [nn.Flatten(), nn.Linear(stages[-1] * places, width), nn.BatchNorm1d(width, affine=False)]
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(width, classes)
        self.shape = (channels, size, size)
        self.name = "untrained"
        self.digest = ""

    @classmethod
    def load(cls, path: Path = RESOURCES / "features" / "digits.safetensors") -> "FeatureNetwork":
        """The network in a safetensors file, ready to measure; its name and digest are the file's."""
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["feature_network"])
            weights = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118  (no mapping)
        size, stages = about.get("size", 16), tuple(about.get("stages", (16, 32, 64)))
        net = cls(about["classes"], about["width"], about["channels"], size, stages)
        net.load_state_dict(weights)
        net.name, net.digest = about["name"], hashlib.sha256(path.read_bytes()).hexdigest()
        return net.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, width) and class logits (B, classes) of images (B, C, size, size) in [-1, 1]."""
        features = self.trunk(images)
        return features, self.head(features.relu())

    @torch.no_grad()
    def describe(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, width) in float64 and the classes seen, (N,) int64, of any number of images, on the CPU."""
        if tuple(images.shape[1:]) != self.shape:
            raise EvaluationError(f"{self.name} judges pictures of {self.shape}, not {tuple(images.shape[1:])}.")
        device = self.head.weight.device
        rows = max(1, ROWS_AT_ONCE * 16**2 // math.prod(self.shape[1:]))  # larger pictures, fewer at once
        parts = [self(some.to(device, torch.float32)) for some in images.split(rows)]
        return torch.cat([f for f, _ in parts]).double().cpu(), torch.cat([c for _, c in parts]).argmax(1).cpu()


# Two sets of features


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Squared 2-Wasserstein distance of the normal distributions fitted to a (N, d) and b (M, d).

    |mean_a - mean_b|² + tr(A + B - 2 (A^½ B A^½)^½), A and B the covariances (Heusel 2017, arXiv:1706.08500).
    The trace of the root is the sum of the singular values of A^½ B^½, which unlike the eigenvalues of A B are
    found to full precision where a covariance is singular (fewer samples than dimensions, a collapsed student).
    Raises `EvaluationError` for fewer than two samples.
    """
    a, b = _enough(a), _enough(b)
    cov_a, cov_b = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(b.shape[1], -1)
    overlap = torch.linalg.svdvals(_root(cov_a) @ _root(cov_b)).sum()
    distance = (a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * overlap
    return max(0.0, float(distance))  # rounding can take the distance of equal sets below 0


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Squared MMD of a (N, d) and b (M, d) under k(x, y) = (x·y / d + 1)³ (KID, arXiv:1801.01401).

    The unbiased estimate over all pairs, without subsets: 0 on average for samples of one distribution, and
    so at times a little negative. Its expectation does not depend on the counts, unlike the Frechet distance's.
    """
    a, b = _enough(a), _enough(b)
    n, m = len(a), len(b)
    within_a = (_kernel_sum(a, a) - _kernel(a, a, pairwise=True).sum()) / (n * (n - 1))
    within_b = (_kernel_sum(b, b) - _kernel(b, b, pairwise=True).sum()) / (m * (m - 1))
    return float(within_a + within_b - 2 * _kernel_sum(a, b) / (n * m))


def neighbour_figures(real: Tensor, fake: Tensor, k: int = 5) -> dict[str, float]:
    """Fidelity and variety from k-nearest-neighbour balls, real (N, d) and fake (M, d), each more than k.

    precision: share of fakes inside the ball of some real sample, which reaches to its k-th neighbour;
    recall: share of reals inside the ball of some fake (Kynkäänniemi 2019, arXiv:1904.06991).
    density: in how many real balls a fake lies, over k, so that 1 is expected of real samples;
    coverage: share of real balls with a fake inside (Naeem 2020, arXiv:2002.09797).
    """
    real, fake = _enough(real, more_than=k), _enough(fake, more_than=k)
    reach_real, reach_fake = _reach(real, k), _reach(fake, k)
    precise, balls, recalled, covered = [], 0.0, torch.zeros(len(real)).bool(), torch.zeros(len(real)).bool()
    for distances, start in _distances(fake, real):
        inside = distances <= reach_real
        precise.append(inside.any(1))
        balls += float(inside.sum())
        covered |= inside.any(0)
        recalled |= (distances <= reach_fake[start : start + len(distances), None]).any(0)
    return {
        "precision": _share(torch.cat(precise)),
        "recall": _share(recalled),
        "density": balls / (k * len(fake)),
        "coverage": _share(covered),
    }


def agreement(real: Tensor, fake: Tensor, labels: Tensor, asked: Tensor) -> float:
    """The share of fake (M, d) whose nearest of real (N, d) has the class asked for; labels (N,), asked (M,)."""
    nearest = torch.cat([distances.argmin(1) for distances, _ in _distances(_enough(fake), _enough(real))])
    return _share(labels.cpu()[nearest] == asked.cpu())


# Pictures


def rms_distance(a: Tensor, b: Tensor) -> float:
    """Root mean square difference per value of a and b, (N, ...) both, sample by sample."""
    return float((a.double() - b.double()).square().mean().sqrt())


def class_std(images: Tensor, labels: Tensor) -> float:
    """Diversity: the standard deviation of each pixel within a class, averaged over pixels and classes.

    images: (N, ...); labels: (N,). Classes with a single sample say nothing; 0 where all are such.
    """
    classes = [images[labels == label].double() for label in labels.unique()]
    spread = [samples.std(0).mean() for samples in classes if len(samples) > 1]
    return float(torch.stack(spread).mean()) if spread else 0.0


def nearest_distance(images: Tensor, training: Tensor) -> float:
    """Copying: the RMS difference per value to the nearest of `training`, averaged over `images`.

    Both (N, ...). 0 for samples that are training images; compare with the figure of held-out images.
    """
    flat = images.double().flatten(1)
    nearest = torch.full((len(flat),), math.inf, dtype=torch.float64)
    for known in training.split(AT_ONCE):
        for distances, start in _distances(flat, known.double().flatten(1)):
            mine = nearest[start : start + len(distances)]
            torch.minimum(mine, distances.amin(1), out=mine)
    return float(nearest.mean()) / math.sqrt(flat.shape[1])


def fine_detail(images: Tensor, reference: Tensor) -> float:
    """The energy of `images` above a quarter cycle per pixel, relative to that of `reference`, (N, C, H, W) both.

    Above 1 samples are noisy or over-sharpened, below 1 they are blurred; features see little of either.
    """
    return _high_energy(images) / _high_energy(reference)


def image_figures(
    samples: Tensor, labels: Tensor | None, reference: ImageSet, features: FeatureNetwork, teacher: Tensor | None = None
) -> dict[str, float | None]:
    """Every figure of `samples` (N, C, H, W), cut to [-1, 1] as a saved picture would be.

    labels: (N,) the classes asked for, or None of an unconditional student. reference: the data, preferably
    what the teacher was trained on. teacher: its samples from the same noise, in the same order, if compared.
    Raises `EvaluationError` for samples that are not finite, too few or of another size.
    """
    samples = _finite(samples).clamp(-1, 1)
    fake, seen = features.describe(samples)
    real, _ = features.describe(reference.images)
    asked = torch.zeros(len(samples)).long() if labels is None else labels.cpu()
    return {
        "frechet": frechet_distance(real, fake),
        "kernel": kernel_distance(real, fake),
        **neighbour_figures(real, fake),
        "class_accuracy": None if labels is None else _share(seen == asked),
        "agreement": None if labels is None else agreement(real, fake, reference.labels, asked),
        "class_std": class_std(samples, asked),
        "nearest_training": nearest_distance(samples, reference.images),
        "fine_detail": fine_detail(samples, reference.images),
        "teacher_rms": None if teacher is None else rms_distance(samples, _finite(teacher).clamp(-1, 1)),
    }


# Mixtures whose modes are known


def sliced_wasserstein(a: Tensor, b: Tensor, directions: int = 64) -> float:
    """2-Wasserstein distance of a and b, (N, d) both, root mean square over fixed directions (arXiv:1011.1867).

    In the plane the directions are evenly spaced over half a turn; in more dimensions they are normal vectors
    of a fixed seed, set to length 1.
    """
    if a.shape != b.shape:
        raise EvaluationError(f"Sliced distances need equally many samples, not {len(a)} and {len(b)}.")
    if a.shape[1] == 2:
        angles = torch.arange(directions, dtype=torch.float64) * (math.pi / directions)
        axes = torch.stack([angles.cos(), angles.sin()])
    else:
        seeded = torch.Generator().manual_seed(0)
        axes = torch.randn(a.shape[1], directions, generator=seeded, dtype=torch.float64)
        axes = axes / axes.norm(dim=0)
    sorted_a, sorted_b = ((samples.double() @ axes).sort(0).values for samples in (a, b))
    return float((sorted_a - sorted_b).square().mean().sqrt())


def mode_weights(samples: Tensor, means: Tensor, std: float, within: float = 3.0) -> Tensor:
    """The share of samples (N, d) within `within` standard deviations of each of means (K, d) and nearest to it.

    (K,) float64; what is missing to a sum of 1 are samples that belong to no mode.
    """
    nearest, distance = _nearest_mode(samples, means)
    return nearest[distance <= within * std].bincount(minlength=len(means)).double() / len(samples)


def mixture_figures(
    samples: Tensor, means: Tensor, std: float, weights: Tensor, teacher: Tensor | None = None, seed: int = 0
) -> dict[str, float | None]:
    """Every figure of samples (N, d) of the mixture sum_k weights_k N(means_k, std² I).

    recall: share of modes that hold at least a quarter of their weight; precision: share of samples within
    3 std of a mode; weights_tv: half the sum of |weight - share within 3 std|, so that misses count, and 1
    where there are only misses; width: in-mode std over `std`, 1 for exact samples; high_quality: share within
    4 std; modes: how many hold more than 2 % of the samples within 4 std; sliced_wasserstein: from as many exact
    samples, drawn with `seed`. With teacher (N, d), its samples from the same noise: coupling_rmse, root mean
    square of the distance, and same_mode, share within 4 std of the mode that the teacher's sample is nearest to.
    """
    samples, means, weights = _finite(samples), means.double().cpu(), weights.double().cpu()
    share = mode_weights(samples, means, std)
    nearest, distance = _nearest_mode(samples, means)
    close = mode_weights(samples, means, std, within=4.0)
    hits = distance <= 3 * std
    figures: dict[str, float | None] = {
        "recall": _share(share >= weights / 4),
        "precision": _share(hits),
        "weights_tv": float((share - weights).abs().sum() / 2) if hits.any() else 1.0,
        "width": _width(distance[hits] / std, samples.shape[1]),
        "high_quality": float(close.sum()),
        "modes": float((close > 0.02).sum()),
        "sliced_wasserstein": sliced_wasserstein(samples, _exact(len(samples), means, std, weights, seed)),
        "coupling_rmse": None,
        "same_mode": None,
    }
    if teacher is not None:
        teacher = _finite(teacher)
        theirs, _ = _nearest_mode(teacher, means)
        figures["coupling_rmse"] = rms_distance(samples, teacher) * math.sqrt(samples.shape[1])
        figures["same_mode"] = _share((nearest == theirs) & (distance <= 4 * std))
    return figures


# Time


def latency(
    make: Callable[[int], object],
    batch_sizes: Iterable[int],
    repeats: int = 5,
    warm_up: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[int, float]:
    """Seconds per image for each batch size: the median of `repeats` calls of `make(batch_size)`.

    The first `warm_up` calls are not counted: they load kernels and fill caches. Waits for the accelerator.
    """
    medians = {}
    for size in batch_sizes:
        seconds = [_seconds(make, size, clock) for _ in range(warm_up + repeats)]
        medians[size] = statistics.median(seconds[warm_up:]) / size
    return medians


def _seconds(make: Callable[[int], object], size: int, clock: Callable[[], float]) -> float:
    start = clock()
    make(size)
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return clock() - start


def _finite(samples: Tensor) -> Tensor:
    samples = samples.detach().cpu()
    broken = int((~samples.isfinite().flatten(1).all(1)).sum())
    if broken:
        raise EvaluationError(
            f"{broken} of {len(samples)} samples hold values that are not finite: the student has diverged; "
            "judge an earlier checkpoint."
        )
    return samples


def _enough(features: Tensor, more_than: int = 1) -> Tensor:
    if len(features) <= more_than:
        raise EvaluationError(f"{len(features)} samples are too few to judge; take more than {more_than}.")
    return features.double().cpu()


def _share(which: Tensor) -> float:
    return float(which.double().mean())


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a covariance; rounding can leave it eigenvalues just below 0."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root


def _kernel(a: Tensor, b: Tensor, pairwise: bool = False) -> Tensor:
    products = (a * b).sum(1) if pairwise else a @ b.T
    return (products / a.shape[1] + 1) ** 3


def _kernel_sum(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([_kernel(rows, b).sum() for rows in a.split(ROWS_AT_ONCE)]).sum()


def _distances(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Distances of some rows of a to all of b, and the first row's number, until all rows have come."""
    for start in range(0, len(a), ROWS_AT_ONCE):
        # Not through a·b: equal samples must be at distance 0, or a copy lies outside a ball of radius 0.
        yield torch.cdist(a[start : start + ROWS_AT_ONCE], b, compute_mode="donot_use_mm_for_euclid_dist"), start


def _reach(samples: Tensor, k: int) -> Tensor:
    """The distance (N,) from each sample to its k-th neighbour among the others."""
    # The k+1-th smallest, because the smallest is the sample itself.
    return torch.cat([distances.kthvalue(k + 1, dim=1).values for distances, _ in _distances(samples, samples)])


def _high_energy(images: Tensor) -> float:
    rows, columns = (torch.fft.fftfreq(n, dtype=torch.float64) for n in images.shape[-2:])
    high = (rows[:, None].square() + columns[None].square()).sqrt() > 0.25
    # All spectra at once would take more memory than a run of the bundled networks needs.
    parts = [torch.fft.fft2(some.double().cpu())[..., high].abs().square().sum() for some in images.split(AT_ONCE)]
    return float(torch.stack(parts).sum()) / (images[..., 0, 0].numel() * int(high.sum()))


def _nearest_mode(samples: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest of means (K, d) to each sample (N, d), and the distance to it; both (N,)."""
    distance, nearest = torch.cdist(samples.double().cpu(), means.double().cpu()).min(1)
    return nearest, distance


def _width(radii: Tensor, dimensions: int) -> float | None:
    """The std per coordinate of samples at these distances from their mean, given that all lie within 3.

    Cutting a normal at 3 std makes it narrower; the ratio of chi-square probabilities takes that out again.
    """
    if not len(radii):
        return None
    half, cut = torch.tensor(dimensions / 2, dtype=torch.float64), torch.tensor(4.5, dtype=torch.float64)
    left = torch.special.gammainc(half + 1, cut) / torch.special.gammainc(half, cut)
    return float((radii.square().mean() / dimensions / left).sqrt())


def _exact(n: int, means: Tensor, std: float, weights: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    modes = torch.multinomial(weights, n, replacement=True, generator=generator)
    return means[modes] + std * torch.randn(n, means.shape[1], generator=generator, dtype=torch.float64)
