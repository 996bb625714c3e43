"""Feature maps of a network's blocks, with what follows the last of them or without running it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import torch
from torch import Tensor, nn

MOST_MAPS = 4


class _ReachedError(Exception):
    """The last block that was asked for has run."""


def outputs_of(blocks: Sequence[nn.Module], run: Callable[[], object], place: int = 0) -> list[Tensor]:
    """What each of `blocks`, given in the order in which they run, makes during `run()`, which ends after the last.

    place: which of a block's outputs, where it has several.
    """

    def end() -> None:
        raise _ReachedError

    with _watched(blocks, place, end) as found, suppress(_ReachedError):
        run()
    return found


def outputs_and_result(
    blocks: Sequence[nn.Module], run: Callable[[], Tensor], place: int = 0, *, result_in_graph: bool = True
) -> tuple[list[Tensor], Tensor]:
    """`outputs_of`, and what `run()` comes to: without gradient, and the memory for it, where that is not wanted."""

    def leave_the_graph() -> None:
        if not result_in_graph:
            torch.set_grad_enabled(False)

    with torch.set_grad_enabled(torch.is_grad_enabled()), _watched(blocks, place, leave_the_graph) as found:
        result = run()
    return found, result if result_in_graph else result.detach()


@contextmanager
def _watched(blocks: Sequence[nn.Module], place: int, after_last: Callable[[], None]) -> Iterator[list[Tensor]]:
    """A list that the blocks' outputs are put in while inside. after_last: called when the last of them has run."""
    found: list[Tensor] = []

    def keep(module: nn.Module, given: object, made: Tensor | tuple[Tensor, ...]) -> None:
        found.append(made if isinstance(made, Tensor) else made[place])
        if module is blocks[-1]:
            after_last()

    hooks = [block.register_forward_hook(keep) for block in blocks]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def first_half(blocks: Sequence[nn.Module]) -> list[nn.Module]:
    """At most `MOST_MAPS` of the blocks of a transformer, evenly up to its middle."""
    half = (len(blocks) + 1) // 2
    count = min(half, MOST_MAPS)
    return [blocks[(i + 1) * half // count - 1] for i in range(count)]


def as_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """Tokens (B, height width, C), row by row, as a map (B, C, height, width)."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, height, width)
