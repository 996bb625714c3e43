"""The optimizers that methods share, and one of less memory that a recipe can put in its place."""

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING

from torch import nn
from torch.optim import Adafactor, Adam, Optimizer

from backend.contract.settings import Settings
from backend.pieces import in_one_piece

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def adam(net: nn.Module, rate: float, betas: tuple[float, float] = (0.9, 0.999)) -> Adam:
    """Adam over all that is trainable in `net`, as one tensor.

    Tensor by tensor, the optimizer of a small network takes a twentieth of its step; as one it takes a hundredth.
    """
    return Adam([flattened(net)], lr=rate, betas=betas, fused=True)


def adams(
    betas: tuple[float, float] = (0.9, 0.999), **rates: str
) -> Callable[["DataclassInstance", Settings], dict[str, Optimizer]]:
    """The optimizers of a method: an `adam` for each of its networks that its settings have a learning rate for.

    The student's is learning_rate, that of another network NET is NET_learning_rate, unless `rates` names its setting.
    """

    def of(nets: "DataclassInstance", s: Settings) -> dict[str, Optimizer]:
        known = {"student": "learning_rate", **rates}
        named = {f.name: known.get(f.name, f"{f.name}_learning_rate") for f in fields(nets)}
        has = type(s).model_fields
        return {name: adam(getattr(nets, name), getattr(s, rate), betas) for name, rate in named.items() if rate in has}

    return of


def flattened(net: nn.Module) -> nn.Parameter:
    """One parameter that holds all trainable ones of `net` end to end; they become views of it, and stay so."""
    return nn.Parameter(in_one_piece([p for p in net.parameters() if p.requires_grad]))


def factored(optimizer: Optimizer, net: nn.Module) -> Adafactor:
    """Adafactor (arXiv:1804.04235) in place of `optimizer`, whose learning rate it takes, for all trainable in `net`.

    The rate is absolute, as Adam's is, and not relative to the weights' size as in the paper, unless that is above 1.
    Parameters of more than two axes are held as matrices, because the moments are factored along the last two alone.
    """
    own = [p for p in net.parameters() if p.requires_grad]
    held = [nn.Parameter(p.detach().flatten(1) if p.ndim > 2 else p.detach()) for p in own]
    return Adafactor(held, lr=optimizer.param_groups[0]["lr"], eps=(None, 1.0))


def state_bytes(optimizer: Optimizer) -> int:
    """Bytes that an optimizer keeps beside the weights, once it has taken a step: two moments, Adafactor's factored."""
    held = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    if not isinstance(optimizer, Adafactor):
        return sum(2 * p.numel() * p.element_size() for p in held)
    sizes = (p.numel() // p.shape[-1] + p.numel() // p.shape[-2] if p.ndim > 1 else p.numel() for p in held)
    return sum(size * p.element_size() for size, p in zip(sizes, held, strict=True))
