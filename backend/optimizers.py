"""The optimizer that methods share."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Adam


def adam(net: nn.Module, rate: float, betas: tuple[float, float] = (0.9, 0.999)) -> Adam:
    """Adam over all that is trainable in `net`, as one tensor.

    Tensor by tensor, the optimizer of a small network takes a twentieth of its step; as one it takes a hundredth.
    """
    return Adam([flattened(net)], lr=rate, betas=betas, fused=True)


def flattened(net: nn.Module) -> nn.Parameter:
    """One parameter that holds all trainable ones of `net` end to end; they become views of it, and stay so."""
    own = [p for p in net.parameters() if p.requires_grad]
    flat = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in own]))
    for parameter, part in zip(own, flat.detach().split([p.numel() for p in own]), strict=True):
        parameter.data = part.view_as(parameter)
    return flat


def end_to_end(gradients: Sequence[Tensor | None], parameters: Sequence[nn.Parameter]) -> Tensor:
    """Gradients of `parameters` in the order of `flattened`, (n,); 0 for those that had none."""
    pairs = zip(gradients, parameters, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in pairs])
