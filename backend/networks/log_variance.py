"""A small network that learns how large an error is to be expected at each time, by which the error is weighed."""

import torch
from torch import Tensor, nn


class LogVariance(nn.Module):
    """w(angle), (B,) -> (B,), 0 until trained: the log of the squared error to be expected at that angle.

    Trained with `losses.uncertainty` (sCM, arXiv:2410.11081, sec. 4.1). angle: from 0, no noise, to pi/2.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, width), nn.Linear(width, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, angle: Tensor) -> Tensor:
        angle = angle.to(self.first.weight.dtype)
        hidden = nn.functional.silu(self.first(torch.stack([angle, angle.sin(), angle.cos()], 1)))
        return self.last(hidden)[:, 0]  # type: ignore[no-any-return]
