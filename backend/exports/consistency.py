"""An EDM student for diffusers' ConsistencyModelPipeline: its clock and its grid of noise levels.

The pipeline differs from EDM in three ways, and each is met exactly:

- Its scheduler tells the network 1000 * 0.25 ln sigma where EDM tells 0.25 ln sigma. A sinusoidal time embedding has
  geometric frequencies, so a clock 1,000 times faster is the same embedding some columns further down. A network that
  uses only fast frequencies has room for its weights there (`consistency_time`).
- It shifts c_skip and c_out by sigma_min (arXiv:2303.01469, appendix C). With sigma_min 0 they are EDM's own.
- It takes levels from an integer grid, sigma = sigma_max (1 - k / (N-1))^rho where sigma_min is 0. N and the k are
  chosen so that they hit the student's levels to float32 accuracy (`integer_grid`).
"""

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from diffusers import UNet2DModel

CLOCK = 1000.0  # the consistency scheduler's time over EDM's
_MAX_PERIOD = 10000.0  # of diffusers' sinusoidal embedding
_LARGEST_GRID = 100_000
_ACCURACY = 3e-8  # relative, of sigma: half a float32 step, which no scheduler can tell from exact
_ENOUGH = 3e-7  # a few float32 steps, still far below what a picture shows


class ClockError(ValueError):
    """The network's time embedding cannot take the faster clock; the message says why."""


def consistency_time(unet: UNet2DModel) -> UNet2DModel:
    """A copy of `unet` that computes at time 1000 c what `unet` computes at time c.

    Raises `ClockError` where the frequencies do not fit: the shift in columns, ln(1000) over the logarithm of the
    ratio of neighbouring frequencies, must be whole, and the columns shifted past the slowest must be unused.
    """
    config = unet.config
    if config.time_embedding_type != "positional" or config.block_out_channels[0] % 2:
        raise ClockError("its time embedding is not the even sinusoidal one")
    half = config.block_out_channels[0] // 2
    shift = (half - config.freq_shift) * math.log(CLOCK) / math.log(_MAX_PERIOD)
    columns = round(shift)
    if abs(shift - columns) > 1e-6:
        raise ClockError(f"a clock {CLOCK:g} times faster is {shift:.2f} of its frequencies away, which is not whole")
    weight = unet.time_embedding.linear_1.weight.detach()
    # Sine and cosine halves, in whichever order: each is shifted within itself.
    halves = weight.unflatten(1, (2, half))
    if bool((halves[..., max(half - columns, 0) :] != 0).any()):
        raise ClockError(f"it uses more than the {max(half - columns, 0)} fastest frequencies of its time embedding")
    moved = torch.zeros_like(halves)
    moved[..., columns:] = halves[..., : half - columns]
    twin = copy.deepcopy(unet)
    with torch.no_grad():
        twin.time_embedding.linear_1.weight.copy_(moved.flatten(1))
    return twin


def integer_grid(sigmas: Sequence[float], rho: float) -> tuple[int, list[int]] | None:
    """(N, k) with sigmas[0] (1 - k_i / (N-1))^rho equal to sigmas[i] to float32 accuracy, for falling sigmas > 0.

    The smallest grid that is exact in float32, else the best. None where no grid of reasonable size has all of them,
    which happens to several unrelated levels: those of even steps are multiples of one number, and one number always
    has a close fraction.
    """
    if len(sigmas) == 1:
        return 2, [0]
    wanted = np.asarray(sigmas, dtype=np.float64) / sigmas[0]
    places = 1 - wanted ** (1 / rho)
    intervals = np.arange(1, _LARGEST_GRID, dtype=np.float64)[:, None]
    whole = np.round(places * intervals)
    # At most sigma's own error, and never sigma = 0: the last k stays below N-1.
    error = np.abs((1 - whole / intervals).clip(min=0) ** rho / wanted - 1).max(1)
    error[(np.diff(whole, axis=1) <= 0).any(1)] = np.inf
    exact = np.flatnonzero(error < _ACCURACY)
    best = int(exact[0] if len(exact) else error.argmin())
    return (best + 2, [int(k) for k in whole[best]]) if error[best] < _ENOUGH else None
