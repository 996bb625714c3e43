import math

import pytest
import torch

from backend import losses
from backend.networks.log_variance import LogVariance


def test_the_learned_weight_settles_at_the_log_of_the_error() -> None:
    weight, angle = LogVariance(), torch.full((64,), 0.7, dtype=torch.float64)
    assert torch.equal(weight(angle), torch.zeros(64))
    optimizer = torch.optim.Adam(weight.parameters(), lr=1e-2)
    for _ in range(300):
        loss = losses.uncertainty(torch.tensor(0.25), weight(angle))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(weight(angle).mean().detach()) == pytest.approx(math.log(0.25), abs=0.02)
