"""Several networks as one, each for a part of the noise: what a student is that was trained in phases."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backend.networks.condition import Condition
from backend.networks.denoiser import Denoiser


class Experts(nn.Module):
    """Networks of one architecture, the first for the most noise.

    starts: the least network time (`Path.network_time`) of each but the last, falling; held as a buffer, so that the
    weights say by themselves which network is for what.
    """

    def __init__(self, networks: Sequence[nn.Module], starts: Sequence[float]) -> None:
        super().__init__()
        if len(starts) != len(networks) - 1 or list(starts) != sorted(starts, reverse=True):
            raise ValueError("Every expert but the last needs its least time, and these fall.")
        self.experts = nn.ModuleList(networks)
        self.starts: Tensor
        self.register_buffer("starts", torch.tensor([float(start) for start in starts], dtype=torch.float64))
        self.shape: tuple[int, ...] = tuple(networks[0].shape)  # type: ignore[arg-type]
        self.null_label: int | None = getattr(networks[0], "null_label", None)

    def forward(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        """Each sample's own expert's answer; all samples of a step of a sampler have the same."""
        own = (time[:, None] < self.starts.to(time)).sum(1)
        asked = own.unique().tolist()
        answer: Tensor = self.experts[asked[0]](x, time, cond)
        for k in asked[1:]:
            mine = (own == k).reshape(-1, *[1] * (x.ndim - 1))
            answer = torch.where(mine, self.experts[k](x, time, cond), answer)
        return answer

    def fixed(self) -> list[nn.Parameter]:
        return [parameter for expert in self.experts for parameter in expert.fixed()]  # type: ignore[operator]


def with_experts(denoisers: Sequence[Denoiser], starts: Sequence[float]) -> Denoiser:
    """One denoiser of several alike, which become its own. starts: the least time t of each but the last, falling."""
    first = denoisers[0]
    edges = first.path.network_time(torch.tensor(list(starts), dtype=torch.float64)).tolist()
    network = Experts([denoiser.network for denoiser in denoisers], edges)
    return Denoiser(network, first.path, first.prediction_type, first.sigma_data)
