"""Benches: teachers in the plane whose every answer is known in closed form, and the figures of a student of them.

`ring` is mixture-2d itself, unequal modes, for methods that match distributions. `ring8` has eight equal narrow modes,
`wide` eight broad ones with their numbers as classes: there the exact probability flow says where each noise leads,
with or without guidance, and a trajectory method's figure is its distance from that. In `quadrants` two modes make a
class; in `small` there are sixteen modes, two of each class with one of another between, and students that are too
small for all of them. `NAME:KIND` puts one on another path.

In `apart` and `skew` the student is a normal distribution and so is what its fake score knows, and there is little
noise: two modes that it does not connect, or of unequal weight. Where a normal must settle is known.

In `shots` the teacher is `ring`, but the real data are ten samples of three modes that lie between its modes, and it is
these modes by which a student is judged.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from backend import losses
from backend.contract.recipe import Pairs
from backend.evaluate import mixture_figures
from backend.flow import flow_time
from backend.methods import Method
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.networks.momentum import MomentumDenoiser
from backend.networks.normal import NormalDenoiser, NormalScore, NormalStudent
from backend.noise import Trigonometric, VarianceExploding
from backend.samplers import Denoises, Sampler, end_of_step, heun, initial, sample, times
from backend.stores import PairStore, Source, make
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, Mixture, fit, paths, ring

SAMPLES = 4096
EXACT_STEPS = 500  # 1,000 move no answer on ring8 and wide by 1e-8
KNEE = 0.02  # radians below which the steps of the exact flow are even, and above which they grow with the angle
MOMENTS = 64  # of a step at which a student's velocity is compared with the exact one
PAIRS = Pairs(count=20_000, steps=40)
MIDDLE = 0.5  # the one time that may be both the least and the most at which scores are compared
NODES = torch.linspace(-7, 7, 141, dtype=torch.float64)
"""Of means under a normal, in its standard deviations. Half as many move the answer on `skew` by less than 1e-5; 64
Gauss-Hermite nodes are wrong by 1e-2, because the log density bends sharply between modes.
"""


@dataclass
class Bench:
    """A teacher in the plane. exact: its denoiser in closed form; mixture: what it is the denoiser of."""

    teacher: Teacher
    exact: ClosedFormDenoiser
    mixture: Mixture

    def noise(self) -> tuple[Tensor, Condition]:
        """The noises that are always judged, (4096, 2), and their conditions."""
        generator = torch.Generator().manual_seed(99)
        return torch.randn(SAMPLES, 2, generator=generator), self.teacher.each_condition(SAMPLES)

    @cache  # noqa: B019  (benches live as long as the process)
    def reached(self, guidance_scale: float = 1.0) -> Tensor:
        """Where the exact probability flow leads from these noises, (4096, 2) float64."""
        noise, cond = self.noise()
        return flow(self.exact, guidance_scale, noise, cond)

    def figures(self, net: Denoises, sampler: Sampler, guidance_scale: float = 1.0) -> dict[str, float]:
        """Every figure of a student's samples from these noises; see `evaluate.mixture_figures`.

        coupling_rmse and same_mode compare with the flow under `guidance_scale`.
        """
        noise, cond = self.noise()
        samples = sample(net, sampler, noise, cond, torch.Generator().manual_seed(0))
        mixture, aim = self.mixture, self.reached(guidance_scale)
        if not samples.isfinite().all():
            return {}
        found = mixture_figures(samples, mixture.means, mixture.std, mixture.weights, aim)
        if net.inputs == ("guidance",) and self.exact.null(cond) is not None:
            found["unexplained_guidance"] = self.unexplained(net, guidance_scale)
        if isinstance(net, MomentumDenoiser):
            found["velocity_error"] = self.velocity_error(net, sampler, guidance_scale)
        if isinstance(net, NormalDenoiser):
            found["from_least"] = self.from_least(net)
        return {name: float("nan") if value is None else value for name, value in found.items()}

    @torch.no_grad()
    def velocity_error(self, net: MomentumDenoiser, sampler: Sampler, guidance_scale: float) -> float:
        """Mean square of what the velocity given for the first step is wrong by, along the exact flow over that step.

        In flow matching's coordinates, over the numbers of a sample and `MOMENTS` times even in t.
        """
        noise, cond = self.noise()
        guided = Guided(self.exact, guidance_scale)
        begin, end = (*sampler.levels, 0.0)[:2]
        state = initial(noise.double(), net.path, begin)
        profile = net.profile(state.float(), times(begin, state), cond)
        errors = []
        for k in range(MOMENTS):
            t, s = (times(begin + (end - begin) * part / MOMENTS, state) for part in (k, k + 1))
            found = profile.velocity(flow_time(end_of_step(net.path, t)))
            errors.append((found - losses.flow_velocity(guided(state, t, cond))).square().mean())
            state = heun(guided, state, t, s, cond)
        return float(torch.stack(errors).mean())

    def from_least(self, net: NormalDenoiser) -> float:
        """2-Wasserstein distance of the student's normal from the one of the least reverse divergence (`least`)."""
        mean, std = self.least()
        return float(((net.mean - mean).square() + (net.std - std).square()).sum().detach().sqrt())

    @cache  # noqa: B019
    def least(self) -> tuple[Tensor, Tensor]:
        """Mean and std (2,) of the normal q that makes KL(q_t | p_t) least at `MIDDLE`, sought from the data's moments.

        Means under q_t are sums over even nodes. Where noise does not connect the modes it is one of several.
        """
        path, mixture = self.exact.path, self.mixture
        alpha, sigma = path.alpha(torch.tensor([MIDDLE]).double()), path.sigma(torch.tensor([MIDDLE]).double())
        nodes = torch.cartesian_prod(NODES, NODES)
        weights = (-nodes.square().sum(1) / 2).softmax(0)
        center = mixture.weights @ mixture.means
        spread = (mixture.weights @ (mixture.means - center).square() + mixture.std**2).sqrt()

        def divergence(at: Tensor) -> Tensor:
            scale = (alpha**2 * (2 * at[1]).exp() + sigma**2).sqrt()
            points = alpha * at[0] + scale * nodes
            density = mixture.log_density(points, alpha.expand(len(points)), sigma.expand(len(points)))
            return -(weights * density).sum() - scale.log().sum()

        mean, log_std = minimum(divergence, torch.stack([center, spread.log()]))
        return mean, log_std.exp()

    @torch.no_grad()
    def unexplained(self, net: Denoises, guidance_scale: float) -> float:
        """What a student that is told the scale misses of guidance's effect on x0 over all of the path, as a share.

        E|x0 - guided x0|² / E|x0 with the condition - guided x0|²: 1 for a student that is deaf to the scale.
        """
        generator = torch.Generator().manual_seed(98)
        x0, modes = self.mixture.draw(SAMPLES, generator)
        noise, t = torch.randn(x0.shape, generator=generator), torch.rand(SAMPLES, generator=generator).double()
        noised, cond = self.exact.path.noised(x0, noise, t), Condition.of_labels(modes)
        scale = torch.full((SAMPLES,), guidance_scale)
        guided = Guided(self.exact, guidance_scale)(noised, t, cond).x0
        found = net(noised, t, cond.with_part("guidance", scale)).x0
        plain = self.exact(noised, t, cond).x0
        return float((found - guided).square().sum() / (plain - guided).square().sum())

    def pairs(self, method: Method[Any, Any], settings: Any) -> PairStore:
        """Noise/sample pairs of the exact denoiser from the level at which the method's student starts."""
        scale = getattr(settings, "guidance_scale", 1.0)
        level = method.pair_level(settings, self.teacher.denoiser)
        return _pairs(self, scale, level)

    def __hash__(self) -> int:
        return id(self)


def minimum(of: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Where the gradient of a smooth function is 0, sought downhill from `start`, of whose shape and float64 it is."""
    at = start.detach().clone().requires_grad_()
    # To the gradient alone: that the value hardly changes any more is true long before, and where depends on rounding.
    ends: dict[str, Any] = {"max_iter": 200, "tolerance_grad": 1e-10, "tolerance_change": 0}
    search = torch.optim.LBFGS([at], line_search_fn="strong_wolfe", **ends)

    def value() -> Tensor:
        search.zero_grad()
        found = of(at)
        found.backward()
        return found

    search.step(value)
    return at.detach()


@cache
def _pairs(bench: Bench, scale: float, level: float) -> PairStore:
    source = Source(Guided(bench.exact, scale), bench.teacher, bench.teacher.digest, level, scale)
    return make(source, PAIRS, torch.device("cpu"))


@torch.no_grad()
def flow(
    exact: ClosedFormDenoiser, guidance_scale: float, noise: Tensor, cond: Condition, steps: int = EXACT_STEPS
) -> Tensor:
    """Where the probability flow leads from unit normal noise (B, D) at the path's least noise, (B, D) float64.

    By `steps` Runge-Kutta steps of fourth order in the angle whose tangent is sigma/alpha, which is smooth on every
    path: over the length of (alpha, sigma) the state x moves by dx/d(angle) = cos(angle) noise - sin(angle) x0
    (arXiv:2410.11081, eq. 3).
    """
    known = exact.network
    net = Guided(
        ClosedFormDenoiser(known.mixture, Trigonometric(), "v_prediction", conditional=known.null_label is not None),
        guidance_scale,
    )
    alpha, sigma = exact.path.level(torch.tensor([1.0, 0.0], dtype=torch.float64))
    length, ends = (alpha**2 + sigma**2).sqrt(), (torch.atan2(sigma, alpha) / KNEE).log1p()
    u, h = ends[0], (ends[1] - ends[0]) / steps

    def slope(u: Tensor, state: Tensor) -> Tensor:
        angle = u.expm1() * KNEE
        found: Prediction = net(state, (angle * 2 / math.pi).expand(len(state)), cond)
        return u.exp() * KNEE * (angle.cos() * found.noise - angle.sin() * found.x0)

    state = initial(noise.double(), exact.path, 1.0) / length[0]
    for _ in range(steps):
        first = slope(u, state)
        second = slope(u + h / 2, state + h / 2 * first)
        third = slope(u + h / 2, state + h / 2 * second)
        fourth = slope(u + h, state + h * third)
        u, state = u + h, state + h / 6 * (first + 2 * second + 2 * third + fourth)
    return length[1] * state


def _bench(name: str, mixture: Mixture, kind: str, conditional: bool, width: int) -> Bench:
    path, prediction_type = paths()[kind]
    if kind == "edm" and name != "ring":
        path = VarianceExploding()  # from 80 to 0.002, as every published figure of this bench
    exact = ClosedFormDenoiser(mixture, path, prediction_type, conditional=conditional)
    fitted: list[Denoiser] = []

    def trainable() -> Denoiser:
        if not fitted:
            fitted.append(fit(exact, seed=0, steps=2500, width=width))
        return fitted[0].copy()

    labels = tuple(str(k) for k in range(mixture.classes)) if conditional else ()
    teacher = Teacher(f"{name}:{kind}", name, exact.frozen(), trainable, mixture.digest, labels=labels, draws=mixture)
    return Bench(teacher, exact, mixture)


def _mixtures() -> dict[str, tuple[Mixture, bool, int]]:
    """Mixture, whether its modes are classes, and the width of the students."""
    equal, among = (1 / 8,) * 8, tuple(k // 4 * 2 + k % 2 for k in range(16))
    return {
        "ring": (MIXTURE, False, 128),
        "ring8": (ring(0.7, 0.04, equal), False, 192),
        "wide": (ring(0.7, 0.25, equal), True, 192),
        "quadrants": (replace(ring(0.7, 0.04, equal), groups=(0, 0, 1, 1, 2, 2, 3, 3)), True, 192),
        "small": (replace(ring(1.0, 0.04, (1 / 16,) * 16), groups=among), True, 16),
    }


@dataclass(frozen=True)
class Shots:
    """A few real samples (N, D), drawn again and again."""

    samples: Tensor
    digest: str
    encoded = True

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """n of them and their classes, (n, D) and (n,)."""
        return self.samples[torch.randint(len(self.samples), (n,), generator=generator)], torch.zeros(n).long()


def _shots() -> Bench:
    source = _bench("ring", MIXTURE, "edm", conditional=False, width=128)
    angles = (2 * math.pi / 8) * (torch.tensor([0.0, 3.0, 5.0]).double() + 0.5)
    target = Mixture(torch.stack([angles.cos(), angles.sin()], 1), torch.full((3,), 1 / 3).double(), MIXTURE.std)
    shots = Shots(target.draw(10, torch.Generator().manual_seed(5))[0], target.digest)
    return Bench(replace(source.teacher, draws=shots), ClosedFormDenoiser(target, *paths()["edm"]), target)


@dataclass(frozen=True)
class _Fitted(Teacher):
    """A teacher whose students have no feature maps to lend. fitted: a network that is the teacher's own and has."""

    fitted: Callable[[], Denoiser] | None = None

    def feature_network(self) -> Denoiser:
        assert self.fitted is not None
        return self.fitted()


def _normal(name: str, mixture: Mixture, mean: float, std: float) -> Bench:
    """A bench whose students are normals: they start at (mean, 0) with `std` along both axes, and so do fake scores."""
    path, kind = paths()["edm"]
    exact = ClosedFormDenoiser(mixture, path, kind)
    given = torch.tensor([mean, 0.0]), torch.full((2,), std), path, kind, exact.sigma_data
    student, score = partial(NormalStudent, *given), partial(NormalScore, *given)
    fitted = cache(lambda: fit(exact, seed=0, steps=2500, width=128).frozen())
    frozen, digest = exact.frozen(), mixture.digest
    teacher = _Fitted(name, name, frozen, student, digest, draws=mixture, auxiliary=score, fitted=fitted)
    return Bench(teacher, exact, mixture)


def _pair(left: float, right: float, std: float, weight: float) -> Mixture:
    """Two modes on the first axis, the left one of that weight."""
    means = torch.tensor([[left, 0.0], [right, 0.0]], dtype=torch.float64)
    return Mixture(means, torch.tensor([weight, 1 - weight], dtype=torch.float64), std)


def _all() -> Mapping[str, Callable[[], Bench]]:
    found = {}
    for name, (mixture, conditional, width) in _mixtures().items():
        for kind in paths():
            found[f"{name}:{kind}"] = cache(partial(_bench, name, mixture, kind, conditional, width))
        found[name] = found[f"{name}:edm"]
    found["apart"] = cache(partial(_normal, "apart", _pair(-2.4, 2.4, 0.48, 0.5), 1.2, 1.2))
    found["skew"] = cache(partial(_normal, "skew", _pair(-1.0, 2.0, 0.3, 0.7), 0.0, 1.0))
    return {**found, "shots": cache(_shots)}


BENCHES = _all()
"""By name: a function that makes the bench, once in a process."""
