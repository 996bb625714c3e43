"""A network in training: its parameters, and the way of its gradient from the backward pass to its optimizer."""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from backend.networks.adapters import adapted

SAMPLED_WEIGHTS = 16
"""Of each tensor of parameters, by which the size of a step is known."""


class Trained:
    """A network's name and parameters, gathered once: to walk through its modules takes milliseconds of every step.

    held: what its optimizer holds: these parameters, as many views of them (`optimizers.factored`), or one parameter
    in place of them all (`optimizers.flattened`).
    """

    def __init__(self, name: str, net: nn.Module, optimizer: Optimizer | None) -> None:
        self.name = name
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        held = [p for group in optimizer.param_groups for p in group["params"]] if optimizer else []
        own = {id(p) for p in self.parameters}
        self.held = self.parameters if any(id(p) in own for p in held) else held
        self.sizes = f"{name}_adapters_step" if adapted(net) else f"{name}_step"
        self.is_flat = len(self.held) == 1 and self.held[0].ndim == 1 and id(self.held[0]) not in own
        if self.is_flat:
            # Where the optimizer holds one tensor, so is the gradient, from the start: to put its parts end to end
            # afterwards takes longer than to add each, still in the processor's cache, in its place. Both are kept for
            # the whole run, for they take as long to make; their memory is not.
            self._whole = torch.zeros_like(self.held[0])
            parts = self._whole.split([p.numel() for p in self.parameters])
            self._parts = [part.view_as(p) for part, p in zip(parts, self.parameters, strict=True)]
            self.forget_gradient()

    def await_gradient(self) -> None:
        """Begin a gradient anew: backward passes from now on add theirs to it."""
        if not self.is_flat:
            self.forget_gradient()
            return
        self._whole.untyped_storage().resize_(self._whole.nbytes)
        self._whole.zero_()
        for parameter, part in zip(self.parameters, self._parts, strict=True):
            parameter.grad = part

    def gradient(self) -> list[Tensor]:
        """What the passes since `await_gradient` have left, as the optimizer holds it; without what no loss meets."""
        if self.is_flat:
            self.held[0].grad = self._whole
        else:
            for parameter, own in zip(self.held, self.parameters, strict=True):
                parameter.grad = None if own.grad is None else own.grad.reshape(parameter.shape)
        return [p.grad for p in self.held if p.grad is not None]

    def forget_gradient(self) -> None:
        """Give back the gradient's memory."""
        for parameter in (*self.held, *self.parameters):
            parameter.grad = None
        if self.is_flat:
            self._whole.untyped_storage().resize_(0)

    def some_weights(self) -> Tensor:
        """The first few of each tensor of parameters, (n,) float32."""
        return torch.cat([p.detach().flatten()[:SAMPLED_WEIGHTS].float() for p in self.parameters])
