"""From noise to samples: how a few-step student, or a teacher in a given number of evaluations, is used.

A `Sampler` is data. It travels with a student into previews, comparisons and exports, because a student used with
another sampler than it was trained for is a different, worse model.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from backend.networks.condition import Condition
from backend.networks.denoiser import Denoiser, Prediction
from backend.networks.momentum import MomentumDenoiser
from backend.noise import Level, Path, per_sample

LEAST_ALPHA = 0.4
"""Where a student of an epsilon teacher starts that is trained from its own noise. On `digits-eps` DMD2 had, after 400
steps from alpha 0.04, 0.16, 0.28, 0.44, 0.63, 0.80, a Frechet distance of 12.8, 1.36, 0.69, 0.38, 0.42, 1.05.
"""


class Denoises(Protocol):
    """What a sampler needs of a network, guided or not."""

    @property
    def path(self) -> Path: ...

    @property
    def inputs(self) -> tuple[str, ...]: ...

    def __call__(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction: ...


@dataclass(frozen=True)
class Sampler:
    """Levels are times t, falling, the first the start; after the last the clean sample is returned.

    renoise: x0 is noised anew to the next level (multistep consistency sampling, arXiv:2303.01469, alg. 1).
    deterministic: x0 and noise as predicted are mixed anew (DDIM, arXiv:2010.02502; Euler's method in EDM's and
    the flow's coordinates).
    momentum: the velocity that the student gives for the whole step is integrated (ArcFlow, arXiv:2602.09014), which
    takes a network of its own kind (`networks.momentum`).
    guidance: the scale that the student is told, where it takes one.
    away: how strongly its cross-attention is steered away from a negative prompt (`networks.steering`); 0 is not.
    """

    kind: Literal["renoise", "deterministic", "momentum"]
    levels: tuple[float, ...]
    guidance: float | None = None
    away: float = 0.0

    def __post_init__(self) -> None:
        falling = all(a > b for a, b in zip(self.levels, self.levels[1:], strict=False))
        if not self.levels or not falling or not 0 <= self.levels[-1] <= self.levels[0] <= 1:
            raise ValueError("A sampler's levels must fall, from at most 1 to at least 0.")

    @property
    def nfe(self) -> int:
        """Network evaluations per sample, guidance not counted."""
        return len(self.levels)

    def to_json(self) -> dict[str, Any]:
        told = {} if self.guidance is None else {"guidance": self.guidance}
        told |= {"away": self.away} if self.away else {}
        return {"kind": self.kind, "levels": list(self.levels), **told}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Sampler":
        return cls(data["kind"], tuple(data["levels"]), data.get("guidance"), data.get("away", 0.0))


def even_levels(steps: int) -> tuple[float, ...]:
    """1, 1 - 1/steps, ..., 1/steps: trailing spacing, which starts at pure noise (arXiv:2305.08891, 3.4)."""
    return tuple(1 - i / steps for i in range(steps))


def start_level(net: Denoiser, asked: float = 0.0, least_alpha: float = LEAST_ALPHA) -> float:
    """The time t at which a student starts: the one asked for, or where that is 0 the highest that suits `net`.

    The clean sample of an epsilon network is (x - sigma epsilon) / alpha, which multiplies its errors by 1/alpha: near
    pure noise no student learns one step from that, and the start is where alpha is `least_alpha`.
    """
    if asked or net.prediction_type != "epsilon":
        return asked or 1.0
    t = torch.linspace(0, 1, 1001, dtype=torch.float64)
    return net.path.on_grid(float(t[net.path.alpha(t) >= least_alpha][-1]))


def student_levels(path: Path, steps: int, first_level: float = 1.0) -> tuple[float, ...]:
    """Levels of a few-step student, even from `first_level` down, each where diffusers' scheduler can be set to."""
    return tuple(path.on_grid(first_level * level) for level in even_levels(steps))


def teacher_sampler(nfe: int, path: Path | None = None) -> Sampler:
    """The deterministic sampler by which a teacher is judged at `nfe` evaluations.

    Of a path, on the very levels of its diffusers scheduler; even levels lie up to one index off a table's.
    """
    return Sampler("deterministic", even_levels(nfe) if path is None else path.grid(nfe))


def initial(noise: Tensor, path: Path, level: float) -> Tensor:
    """The state at the start level from unit normal noise (B, ...), scaled as diffusers' schedulers scale it."""
    return noise * float(path.start_scale(torch.tensor(level, dtype=torch.float64)))


def times(level: float, like: Tensor) -> Tensor:
    """One level as (B,) float64 times for the batch `like`."""
    dtype = torch.float32 if like.device.type == "mps" else torch.float64
    return torch.full((len(like),), level, dtype=dtype, device=like.device)


def jump(prediction: Prediction, path: Path, s: Tensor) -> Tensor:
    """alpha(s) x0 + sigma(s) noise: the state at times s (B,) on the predicted straight trajectory (DDIM = Euler)."""
    return jump_to(prediction, path.level(s))


def jump_to(prediction: Prediction, level: Level) -> Tensor:
    """As `jump`, to a level that is given as alpha and sigma, each (B,)."""
    x0, noise = prediction.x0, prediction.noise
    return per_sample(level[0], x0) * x0 + per_sample(level[1], x0) * noise


def stochastic_jump(prediction: Prediction, path: Path, t: Tensor, s: Tensor, eta: float, fresh: Tensor) -> Tensor:
    """The state at times s (B,) <= t with a share of new unit normal noise, (B, ...): ancestral sampling.

    eta from 0, which is `jump`, to 1, the posterior of the noising chain (DDPM; DDIM, arXiv:2010.02502, eq. 16).
    Written in sigma/alpha it holds on every path; where alpha(t) is 0, all the noise is new at eta 1.
    """
    ratio = (path.sigma(s) * path.alpha(t)) / (path.alpha(s) * path.sigma(t)).clamp(min=1e-12)
    share = eta * (1 - ratio.clamp(0, 1) ** 2).sqrt()
    x0 = prediction.x0
    noise = per_sample((1 - share**2).sqrt(), x0) * prediction.noise + per_sample(share, x0) * fresh
    return per_sample(path.alpha(s), x0) * x0 + per_sample(path.sigma(s), x0) * noise


def heun(net: Denoises, noised: Tensor, t: Tensor, s: Tensor, cond: Condition) -> Tensor:
    """The state at times s (B,) < t by Heun's method, two evaluations; second order on every path.

    With straight trajectories of constant speed, as in EDM's and the flow's coordinates, exactly Heun's mean of two
    slopes (arXiv:2206.00364, alg. 1): following the second slope back from s misses the start by step (slope at s -
    slope at t), and half of that miss is the correction. Written so, it divides by neither alpha nor sigma.
    """
    reached = jump(net(noised, t, cond), net.path, s)
    return reached + (noised - jump(net(reached, s, cond), net.path, t)) / 2


def dpm_solver_pp_2m(
    noised: Tensor, x0: Tensor, path: Path, t: Tensor, s: Tensor, earlier: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """The state at times s (B,) < t by DPM-Solver++(2M), one evaluation, second order (arXiv:2211.01095, alg. 2).

    noised: (B, ...) at times t (B,), x0 what the network makes of it. earlier: the times and x0 of the evaluation
    before; without it, as at the first step, the same as `jump`. Needs sigma(s) > 0; alpha(t) may be 0.
    """
    h = (path.log_snr(s) - path.log_snr(t)) / 2
    if earlier is not None:
        before, x0_before = earlier
        share = h / (path.log_snr(t) - path.log_snr(before))  # 1/(2r), r the ratio of the last step to this one
        x0 = x0 + per_sample(share, x0) * (x0 - x0_before)
    kept = path.sigma(s) / path.sigma(t)
    return per_sample(kept, x0) * noised - per_sample(path.alpha(s) * torch.expm1(-h), x0) * x0


def inverse_jump(noised: Tensor, level: Level, reached: Tensor, reached_level: Level) -> Tensor:
    """The x0 whose one deterministic step leads from `noised` to `reached`, both (B, ...) (arXiv:2202.00512, app. G).

    Levels are (alpha, sigma), each (B,), and differ in sigma/alpha. No alpha or sigma is divided by, so each may be 0.
    """
    (alpha, sigma), (alpha_s, sigma_s) = level, reached_level
    determinant = alpha_s * sigma - sigma_s * alpha
    return per_sample(sigma / determinant, noised) * reached - per_sample(sigma_s / determinant, noised) * noised


def told(net: Denoises, sampler: Sampler, k: int, cond: Condition, like: Tensor) -> Condition:
    """The condition with the numbers that `net` takes at level k: where the step ends (0 at the last), guidance; and
    how strongly it is steered."""
    values = {"end_time": (*sampler.levels, 0.0)[k + 1], "guidance": sampler.guidance, "sign": 1.0, "sub_path": 0.0}
    for name in net.inputs:
        value = values[name]
        if value is not None:
            cond = cond.with_part(name, times(value, like))
    return cond.with_part("away", times(sampler.away, like)) if sampler.away else cond


def step(net: Denoises, sampler: Sampler, k: int, state: Tensor, cond: Condition, generator: torch.Generator) -> Tensor:
    """One evaluation: the state (B, ...) at level k to that at level k+1, or to the clean sample after the last."""
    t, cond = times(sampler.levels[k], state), told(net, sampler, k, cond, state)
    s = times((*sampler.levels, 0.0)[k + 1], state)
    if sampler.kind == "momentum":
        if not isinstance(net, MomentumDenoiser):
            raise ValueError("This network gives no velocity for a whole step; sample it in another way.")
        return net.step(state, t, end_of_step(net.path, s), cond)
    prediction = net(state, t, cond)
    if k + 1 == sampler.nfe:
        return prediction.x0
    if sampler.kind == "deterministic":
        return jump(prediction, net.path, s)
    return net.path.noised(prediction.x0, normal(tuple(state.shape), generator, state.device), s)


@torch.no_grad()
def sample(net: Denoises, sampler: Sampler, noise: Tensor, cond: Condition, generator: torch.Generator) -> Tensor:
    """Clean samples (B, ...) from unit normal noise (B, ...); renoising draws from `generator`."""
    state = initial(noise, net.path, sampler.levels[0])
    for k in range(sampler.nfe):
        state = step(net, sampler, k, state, cond, generator)
    return state


@torch.no_grad()
def sample_heun(net: Denoises, levels: tuple[float, ...], noise: Tensor, cond: Condition) -> Tensor:
    """Clean samples (B, ...) from unit normal noise by `heun`; 2 len(levels) - 1 evaluations.

    The last step, to no noise at all, is one evaluation's x0, as in arXiv:2206.00364, alg. 1.
    """
    state = initial(noise, net.path, levels[0])
    for t, s in pairwise(times(level, noise) for level in levels):
        state = heun(net, state, t, s, cond)
    return net(state, times(levels[-1], noise), cond).x0


@torch.no_grad()
def sample_dpm_solver_pp_2m(net: Denoises, levels: tuple[float, ...], noise: Tensor, cond: Condition) -> Tensor:
    """Clean samples (B, ...) from unit normal noise by `dpm_solver_pp_2m`; len(levels) evaluations.

    The last step, to no noise at all, is of first order: one evaluation's x0.
    """
    state = initial(noise, net.path, levels[0])
    earlier: tuple[Tensor, Tensor] | None = None
    for t, s in pairwise(times(level, noise) for level in levels):
        x0 = net(state, t, cond).x0
        state, earlier = dpm_solver_pp_2m(state, x0, net.path, t, s, earlier), (t, x0)
    return net(state, times(levels[-1], noise), cond).x0


def rollout(
    net: Denoises, sampler: Sampler, last: int, noise: Tensor, cond: Condition, generator: torch.Generator
) -> Tensor:
    """The student's clean sample at level `last` of its own trajectory, (B, ...), as training needs it.

    The levels before are run without gradient; the gradient is of the last evaluation alone (backward simulation,
    arXiv:2405.14867, 4.5).
    """
    state = initial(noise, net.path, sampler.levels[0])
    with torch.no_grad():
        for k in range(last):
            state = step(net, sampler, k, state, cond, generator)
    return net(state, times(sampler.levels[last], state), told(net, sampler, last, cond, state)).x0


def normal(shape: tuple[int, ...], generator: torch.Generator, device: torch.device | str = "cpu") -> Tensor:
    """Unit normal float32 noise, drawn where the generator lives so that it does not depend on the device."""
    return torch.randn(shape, generator=generator, device=generator.device).to(device)


def end_of_step(path: Path, s: Tensor) -> Level:
    """alpha and sigma where a step to times s (B,) ends: at 0, to which a last step leads, those of a clean sample."""
    (alpha, sigma), last = path.level(s), s == 0
    return alpha.masked_fill(last, 1), sigma.masked_fill(last, 0)


def trajectory(net: Denoises, sampler: Sampler, noise: Tensor, cond: Condition, generator: torch.Generator) -> Tensor:
    """The states at every level of the student's own trajectory, (levels, B, ...), without gradient.

    One evaluation fewer than there are levels. noise: (B, ...) unit normal; renoising draws from `generator`.
    """
    states = [initial(noise, net.path, sampler.levels[0])]
    with torch.no_grad():
        for k in range(sampler.nfe - 1):
            states.append(step(net, sampler, k, states[-1], cond, generator))
    return torch.stack(states)
