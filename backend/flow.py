"""Flow matching's coordinates, for every path: x = (1 - tau) x0 + tau noise, whose velocity is noise - x0.

A point of any path is one of these at the same noise level, but for a factor, alpha + sigma. Nothing here knows a
method.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from backend.noise import Level, Path, per_sample

if TYPE_CHECKING:  # networks that answer for a whole step are built on these coordinates
    from backend.networks import Condition, Denoiser
    from backend.samplers import Sampler


def flow_time(level: Level) -> Tensor:
    """tau = sigma / (alpha + sigma), (B,): the time of flow matching at which there is as much noise."""
    return level[1] / (level[0] + level[1])


def flow_scale(level: Level) -> Tensor:
    """alpha + sigma, (B,): what a state of flow matching is multiplied by to be one of the path."""
    return level[0] + level[1]


def in_flow(state: Tensor, path: Path, t: Tensor) -> Tensor:
    """A state (B, ...) of the path at times t (B,) in flow matching's coordinates."""
    return state / per_sample(flow_scale(path.level(t)), state)


def in_path(state: Tensor, path: Path, t: Tensor) -> Tensor:
    """A state (B, ...) of flow matching at times t (B,) as the path has it."""
    return per_sample(flow_scale(path.level(t)), state) * state


def mixed(x0: Tensor, noise: Tensor, tau: Tensor) -> Tensor:
    """The state (B, ...) of these x0 and noise at flow times tau (B,)."""
    return per_sample(1 - tau, x0) * x0 + per_sample(tau, x0) * noise


def reach(path: Path, sampler: "Sampler") -> tuple[float, float]:
    """Flow times of the path's least noise and of the level where a student starts."""
    low, high = path.flow_time(torch.tensor([0.0, sampler.levels[0]], dtype=torch.float64)).tolist()
    return low, high


def mean_velocity(net: "Denoiser", state: Tensor, tau: Tensor, end: Tensor, cond: "Condition") -> Tensor:
    """What a network that is told the end of its step predicts for the way from flow times tau to `end`, (B,) each.

    state: (B, ...) of flow matching, as the velocity is.
    """
    t = net.path.t_of_ratio(tau / (1 - tau))
    s = t if end is tau else net.path.t_of_ratio(end / (1 - end))
    return net(in_path(state, net.path, t), t, cond.with_part("end_time", s)).flow_velocity  # type: ignore[no-any-return]


def by_guidance(net: "Denoiser", state: Tensor, tau: Tensor, cond: "Condition", scale: float) -> Tensor | float:
    """What guidance adds to the velocity at flow times tau, (B, ...): scale - 1 times what the condition makes of it.

    Both halves are evaluated in one batched call, none at scale 1. Raises ValueError where `net` cannot be asked
    without its condition.
    """
    if scale == 1:
        return 0.0
    both = type(cond).join([cond, net.unconditional(cond)])
    state, tau = torch.cat([state] * 2), torch.cat([tau] * 2)
    with_cond, without = mean_velocity(net, state, tau, tau, both).chunk(2)
    return (scale - 1) * (with_cond - without)
