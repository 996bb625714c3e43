"""What consistency methods share: where their students start, the function that leads to a trajectory's start, and the
grids of times between which it must agree. It knows no settings."""

import math

import torch
from torch import Tensor

from backend.methods import Batch
from backend.networks import Condition, Denoiser, Guided
from backend.noise import per_sample
from backend.samplers import jump, start_level, times

# Of the start with an epsilon teacher. Less than where a student is trained from its own noise: these learn from
# noised data, whose share is missing when they start from pure noise. On digits-eps, 600 steps of consistency
# distillation from alpha 0.04, 0.16, 0.44 gave a Frechet distance of 6.5, 3.6, 9.4.
LEAST_ALPHA = 0.16
TIMES = 1000  # of a full path, by which grid and skip are counted whatever the teacher's own number
FEWEST_POINTS = 2  # of a growing grid, at the start
GAP_STAGES = 8  # of shrinking steps: the gap halves from one to the next


def first_level(asked: float, net: Denoiser) -> float:
    """The time t at which the student starts; 0 asks for the highest that suits it."""
    return start_level(net, asked, LEAST_ALPHA)


# The function from a point to its trajectory's start


def led_to_start(net: Denoiser, noised: Tensor, t: Tensor, cond: Condition) -> Tensor:
    """The consistency function f(noised, t), (B, ...): the network's own jump to the least noise of its path.

    There the jump is the identity whatever the network says, on every path and for every prediction type, and the
    student starts as exactly the teacher. c_skip and c_out (arXiv:2303.01469, sec. 3) have the first property alone.
    """
    return jump(net(noised, t, cond), net.path, times(0.0, noised))


def start_of(x0: Tensor, noised: Tensor, t: Tensor) -> Tensor:
    """The consistency function c_skip noised + c_out x0, (B, ...): at t = 0 the point itself, above it all but x0.

    c_skip = 0.25 / (u² + 0.25), c_out = u / sqrt(u² + 0.25) with u ten times the time of 1000 (arXiv:2310.04378,
    app. C; the scaling of the published code).
    """
    u = 10 * TIMES * t
    skip, out = 0.25 / (u**2 + 0.25), u / (u**2 + 0.25).sqrt()
    return per_sample(skip, noised) * noised + per_sample(out, x0) * x0


def distance(x: Tensor, y: Tensor, kind: str, offset: float) -> Tensor:
    """Scalar: mean of the squared difference, or of sqrt(difference² + offset²) - offset, element by element."""
    difference = (x - y).square()
    return difference.mean() if kind == "l2" else ((difference + offset**2).sqrt() - offset).mean()


# What leads from one point to the other


def euler(teacher: Guided | Denoiser, noised: Tensor, t: Tensor, s: Tensor, cond: Condition) -> Tensor:
    """The teacher's trajectory through `noised` at times t, followed to s < t in one evaluation."""
    return jump(teacher(noised, t, cond), teacher.path, s)


# The times at which two points must lead to the same start


def neighbours(batch: Batch, points: int, first: float) -> tuple[Tensor, Tensor]:
    """Times of two neighbours, (B,) each, the noisier first, of a grid from 0 to `first`, where sampling starts.

    It is even in t, which on the variance exploding path is the Karras grid.
    """
    n = batch.indices(points - 1) + 1
    spacing = times(first / (points - 1), n)
    return n * spacing, (n - 1) * spacing


def step_ends(batch: Batch, points: int, skip: int, first: float) -> tuple[Tensor, Tensor]:
    """Times of a point of the grid and of where the teacher's step from it leads, (B,) each; the last is 0."""
    n = batch.indices(points) + 1
    t = n * times(first / points, n)
    return t, (t - skip / TIMES).clamp(min=0)


def growing(step: int, total: int, points: int) -> int:
    """Points of a growing grid at `step` (from 0) of `total` (arXiv:2303.01469, app. C; s0 is `FEWEST_POINTS`)."""
    low, high = FEWEST_POINTS**2, points**2
    return math.ceil(math.sqrt(step / total * (high - low) + low) - 1) + 1


def nearer(ratio: Tensor, step: int, total: int) -> Tensor:
    """The noise level sigma/alpha of the nearer neighbour of `ratio`, (B,) (Easy Consistency Tuning, arXiv:2406.14548).

    At first it is half the level or less, and 0 where there is little noise; each stage halves the gap.
    """
    stage = step * GAP_STAGES // total
    gap = 2.0 ** -(stage + 1) * (1 + 8 * torch.sigmoid(-ratio))
    return ratio * (1 - gap).clamp(min=0)
