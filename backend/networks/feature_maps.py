"""Feature maps of a network's blocks, without running what follows the last of them."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

MOST_MAPS = 4


class _ReachedError(Exception):
    """The last block that was asked for has run."""


def outputs_of(blocks: Sequence[nn.Module], run: Callable[[], object], place: int = 0) -> list[Tensor]:
    """What each of `blocks`, given in the order in which they run, makes during `run()`, which ends after the last.

    place: which of a block's outputs, where it has several.
    """
    found: list[Tensor] = []

    def keep(module: nn.Module, given: object, made: Tensor | tuple[Tensor, ...]) -> None:
        found.append(made if isinstance(made, Tensor) else made[place])
        if module is blocks[-1]:
            raise _ReachedError

    hooks = [block.register_forward_hook(keep) for block in blocks]
    try:
        run()
    except _ReachedError:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return found


def first_half(blocks: Sequence[nn.Module]) -> list[nn.Module]:
    """At most `MOST_MAPS` of the blocks of a transformer, evenly up to its middle."""
    half = (len(blocks) + 1) // 2
    count = min(half, MOST_MAPS)
    return [blocks[(i + 1) * half // count - 1] for i in range(count)]


def as_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """Tokens (B, height width, C), row by row, as a map (B, C, height, width)."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, height, width)
