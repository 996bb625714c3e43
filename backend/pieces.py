"""Parameters that lie end to end in memory, so that one operation serves them all.

Tensor by tensor, what a step does to a small network's weights takes several times as long.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


def in_one_piece(parameters: Sequence[nn.Parameter]) -> Tensor:
    """One tensor (n,) that holds all of them end to end; they become views of it, and stay so."""
    whole = torch.cat([p.detach().reshape(-1) for p in parameters])
    for parameter, part in zip(parameters, whole.split([p.numel() for p in parameters]), strict=True):
        parameter.data = part.view_as(parameter)
    return whole


def put_end_to_end(nets: Iterable[nn.Module], teacher: nn.Module) -> None:
    """Have what no optimizer trains, and neither the teacher nor another of these holds, lie in one piece in each."""
    held = [list(net.parameters()) for net in nets]
    holders = Counter(id(p) for parameters in (*held, list(teacher.parameters())) for p in parameters)
    for parameters in held:
        own = [p for p in parameters if holders[id(p)] == 1 and not p.requires_grad]
        if own:
            in_one_piece(own)


class Stretches:
    """Two lists of tensors, pair by pair of one shape, in as few flat views as both lie end to end in.

    first, second: the views of each list.
    """

    def __init__(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> None:
        groups: list[list[int]] = []
        for i in range(len(first)):
            if groups and all(_follows(tensors[i - 1], tensors[i]) for tensors in (first, second)):
                groups[-1].append(i)
            else:
                groups.append([i])
        self.first, self.second = ([_joined([of[i] for i in group]) for group in groups] for of in (first, second))
        joined = [group for group in groups if len(group) > 1]
        ends = [of[i] for group in joined for i in (group[0], group[-1]) for of in (first, second)]
        self._ends = [(tensor, tensor.data_ptr()) for tensor in ends]

    @property
    def are_up_to_date(self) -> bool:
        """Whether the tensors still lie where they did, as a network does that was not moved as a whole."""
        return all(tensor.data_ptr() == place for tensor, place in self._ends)


def _follows(before: Tensor, after: Tensor) -> bool:
    """Whether one begins in the same memory where the other ends."""
    one_storage = before.untyped_storage().data_ptr() == after.untyped_storage().data_ptr()
    flat = before.is_contiguous() and after.is_contiguous() and before.dtype == after.dtype
    return one_storage and flat and before.data_ptr() + before.nbytes == after.data_ptr()


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """All of `parts`, which lie end to end, (n,); a single one as it is."""
    if len(parts) == 1:
        return parts[0]
    return parts[0].detach().as_strided((sum(part.numel() for part in parts),), (1,))
