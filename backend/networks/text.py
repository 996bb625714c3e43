"""What networks that are told a prompt have in common: the null condition, and the parts of a batch they take."""

from collections.abc import Mapping

import torch
from torch import Tensor

from backend.networks.condition import Condition
from backend.networks.told import ToldNetwork


class PromptedNetwork(ToldNetwork):
    """A network whose condition is a prompt's embedding.

    null: each part of the condition, without the batch, as it is for the empty prompt. The parts are buffers, so that
    they follow the network to its device, and no part of its state, because they are the text encoder's. steerable:
    whether it can be steered (`steering.steer`), and then away_text what from.
    """

    null_label = None
    null_parts: tuple[str, ...]
    steerable = False
    away_text: Tensor

    def __init__(self, null: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.null_parts = tuple(null)
        for name, part in null.items():
            self.register_buffer(f"null_{name}", part.detach().clone(), persistent=False)

    def null(self, cond: Condition) -> Condition:
        """The same batch with the empty prompt; what it is told besides (a scale, a time, sizes) stays."""
        if "text" not in cond.parts:
            return cond  # it stands for the empty prompt already
        return self._prompted(Condition(cond.size, {n: p for n, p in cond.parts.items() if n not in self.null_parts}))

    def _prompted(self, cond: Condition) -> Condition:
        """The batch itself, or where it names no prompt the one with the empty prompt."""
        if "text" in cond.parts:
            return cond
        parts = {name: getattr(self, f"null_{name}") for name in self.null_parts}
        empty = {name: part.expand(len(cond), *part.shape) for name, part in parts.items()}
        return Condition(cond.size, {**cond.parts, **empty})


def rows(value: Tensor | float | list[float], size: int, like: Tensor) -> Tensor:
    """A constant as (size, ...) for a batch, with the device and dtype of `like`."""
    part = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return part.expand(size, *part.shape)
