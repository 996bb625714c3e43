"""Networks in training: their parameters, and the way of a gradient from the backward pass to the optimizer."""

from collections.abc import Iterable, Mapping, Sequence

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

    def add_up_in(self, whole: Tensor) -> None:
        """Have backward passes add each parameter's gradient in its place of `whole`, (n,), which the optimizer sees.

        To put the parts end to end afterwards takes longer than to add each while the processor's cache still has it.
        """
        held = self.held[0].grad
        if held is not None and held.data_ptr() == whole.data_ptr():
            return
        self.held[0].grad = whole
        for parameter, part in zip(self.parameters, whole.split([p.numel() for p in self.parameters]), strict=True):
            parameter.grad = part.view_as(parameter)

    def gradient(self) -> list[Tensor]:
        """What backward passes have left, as the optimizer holds it; without that of parameters that no loss meets."""
        if not self.is_flat:
            for parameter, own in zip(self.held, self.parameters, strict=True):
                parameter.grad = None if own.grad is None else own.grad.reshape(parameter.shape)
        return [p.grad for p in self.held if p.grad is not None]

    def held_of(self, parts: Sequence[nn.Module]) -> list[nn.Parameter]:
        """What the optimizer holds of these parts of the network, which it must not hold as one with the others."""
        wanted = {id(p) for part in parts for p in part.parameters()}
        if not wanted:
            return []
        return [held for held, own in zip(self.held, self.parameters, strict=True) if id(own) in wanted]

    def forget_gradient(self) -> None:
        """Let go of the gradient and its memory."""
        for parameter in (*self.held, *self.parameters):
            parameter.grad = None

    def some_weights(self) -> Tensor:
        """The first few of each tensor of parameters, (n,) float32."""
        return torch.cat([p.detach().flatten()[:SAMPLED_WEIGHTS].float() for p in self.parameters])


class Trainees:
    """The networks of a run, and the memory in which their gradients are added up.

    That is of one update at a time, whichever of the networks it trains. Gradients stay where they are between updates,
    since to tell every parameter its place takes longer than to add them.
    """

    def __init__(self, nets: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]) -> None:
        self._of = {id(net): Trained(name, net, optimizers.get(name)) for name, net in nets.items()}
        self._memory = torch.empty(0)

    def of(self, nets: Iterable[nn.Module]) -> list[Trained]:
        """What is known of these networks, in their order."""
        return [self._of[id(net)] for net in nets]

    def begin_gradients(self, nets: Sequence[Trained]) -> None:
        """Begin the gradients of these networks anew: backward passes from now on add theirs to nothing."""
        flat = [net for net in nets if net.is_flat]
        for net in nets:
            if not net.is_flat:
                net.forget_gradient()
        lengths = [net.held[0].numel() for net in flat]
        if self._memory.numel() < sum(lengths):
            self.forget_gradients()  # before there is more memory: nobody may hold the old
            self._memory = flat[0].held[0].detach().new_empty(sum(lengths))
        for net, whole in zip(flat, self._memory[: sum(lengths)].zero_().split(lengths), strict=True):
            net.add_up_in(whole)

    def forget_gradients(self) -> None:
        """Let go of every gradient and of the memory."""
        self._memory = torch.empty(0)
        for net in self._of.values():
            net.forget_gradient()
