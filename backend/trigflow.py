"""TrigFlow's coordinates, for every path (sCM, arXiv:2410.11081, sec. 3 and app. B).

There a sample turns by an angle from 0 to pi/2 into noise of its own spread: cos(angle) x0 + sin(angle) spread noise. A
point of any path is one of these at the same noise level, but for a factor. Nothing here knows a method.
"""

import torch
from torch import Tensor

from backend.networks import Denoiser, Prediction
from backend.noise import per_sample

_SMALLEST = 1e-12  # a cosine, at pi/2


def spread(net: Denoiser) -> float:
    """Spread of the data in these coordinates: an EDM network's own, with which F is what it returns; else 1."""
    return net.sigma_data if net.prediction_type == "edm" else 1.0


def angle(net: Denoiser, t: Tensor) -> Tensor:
    """The angle at the same noise level, atan(sigma / (alpha spread)), (B,) from 0 to pi/2 (app. B)."""
    alpha, sigma = net.path.level(t)
    return torch.atan2(sigma, spread(net) * alpha)


def t_of_angle(net: Denoiser, angle: Tensor) -> Tensor:
    """Inverse of `angle`, (B,)."""
    return net.path.t_of_ratio(spread(net) * angle.sin() / angle.cos().clamp(min=_SMALLEST))


def state(net: Denoiser, noised: Tensor, t: Tensor) -> Tensor:
    """`noised` (B, ...) in these coordinates."""
    (alpha, sigma), size = net.path.level(t), spread(net)
    return per_sample(size / ((size * alpha) ** 2 + sigma**2).sqrt(), noised) * noised


def turn(x0: Tensor, noise: Tensor, angle: Tensor, spread: float) -> Tensor:
    """F = cos(angle) noise - sin(angle) x0 / spread, (B, ...): the state's change by the angle, over the spread."""
    return per_sample(angle.cos(), noise) * noise - per_sample(angle.sin() / spread, x0) * x0


def turn_of(prediction: Prediction, spread: float) -> Tensor:
    """What a TrigFlow network would have returned, F (B, ...) (eq. 4)."""
    angle = torch.atan2(prediction.sigma, spread * prediction.alpha)
    return turn(prediction.x0, prediction.noise, angle, spread)
