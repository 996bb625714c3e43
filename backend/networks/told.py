"""Networks of diffusers that can be told numbers beside the time (`inputs`), whatever their architecture.

What a number's embedding adds goes into the output of the modules that embed the time, for the length of a call; the
modules themselves stay diffusers' own, under their own names.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from backend.networks.condition import Condition
from backend.networks.feature_maps import outputs_and_result, outputs_of
from backend.networks.inputs import NumberEmbeddings


def module_of(network: nn.Module) -> nn.Module:
    """What diffusers knows of one of our networks; the network itself where that is nothing."""
    found = getattr(network, "unet", None) or getattr(network, "transformer", None) or network
    return found


class ToldNetwork(nn.Module, ABC):
    """A wrapper that says which modules embed the time and how it is called; this adds the numbers.

    native: numbers that the architecture takes by itself. place: which of its blocks' outputs is the picture's.
    """

    shape: tuple[int, ...]
    null_label: int | None
    native: tuple[str, ...] = ()
    place = 0
    inputs: tuple[str, ...] = ()
    numbers: NumberEmbeddings | None

    def __init__(self) -> None:
        super().__init__()
        self.numbers = None

    def extend(self, names: Sequence[str]) -> None:
        """From now on the network takes these numbers too (`inputs.INPUTS`), and so far ignores them."""
        self.inputs = tuple(names)
        new = [name for name in names if name not in self.native]
        device = next(self.parameters()).device
        self.numbers = NumberEmbeddings(new, self._width()).to(device) if new else None

    @torch.no_grad()
    def folded_biases(self, values: Mapping[str, float]) -> dict[str, Tensor]:
        """What the time embeddings' last biases become, by their names in diffusers' module, with what these constants
        add put in.

        Raises ValueError where they do not end in a layer with a bias, or the architecture itself takes a number.
        """
        # What adds more to the time, such as the text, has the time's own embedding as a part.
        own = [getattr(module, "timestep_embedder", module) for module in self._time_embeddings()]
        ends = [getattr(module, "linear_2", None) for module in own]
        if any(name in self.native for name in self.inputs) or any(end is None or end.bias is None for end in ends):
            raise ValueError(f"A {type(self).__name__} has no place for what {', '.join(self.inputs)} add.")
        added: Tensor | float = 0.0
        if self.numbers is not None:
            told = {name: torch.full((1,), value, dtype=torch.float64) for name, value in values.items()}
            added = self.numbers.added(told)[0]
        biases = {id(end.bias) for end in ends}  # type: ignore[union-attr]
        return {name: p + added for name, p in module_of(self).named_parameters() if id(p) in biases}

    def without_numbers(self) -> None:
        """From now on the network takes no numbers, whose part `folded_biases` may have put into the biases."""
        self.numbers, self.inputs = None, ()

    def forward(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        return self._run(x, time, cond)

    def _run(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        if self.numbers is None:
            return self._output(x, time, cond)
        added = self.numbers.added(cond.parts)

        def add(module: nn.Module, given: object, made: Tensor) -> Tensor:
            return made + added.to(made.dtype)

        hooks = [module.register_forward_hook(add) for module in self._time_embeddings()]
        try:
            return self._output(x, time, cond)
        finally:
            for hook in hooks:
                hook.remove()

    @abstractmethod
    def _output(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        """What the architecture makes of the batch."""

    @abstractmethod
    def _time_embeddings(self) -> list[nn.Module]:
        """The modules that embed the time; each makes (B, `_width()`)."""

    @abstractmethod
    def _width(self) -> int:
        """How many numbers a time's embedding has."""

    def features(self, x: Tensor, time: Tensor, cond: Condition) -> list[Tensor]:
        """Feature maps (B, C, ...) of the encoding half, finest first, without running the rest."""
        maps = outputs_of(self._feature_blocks(), lambda: self._run(x, time, cond), self.place)
        return [self._map(h, x) for h in maps]

    def with_features(
        self, x: Tensor, time: Tensor, cond: Condition, *, result_in_graph: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """What a call makes, and the feature maps that it passes through."""
        maps, made = outputs_and_result(
            self._feature_blocks(), lambda: self._run(x, time, cond), self.place, result_in_graph=result_in_graph
        )
        return made, [self._map(h, x) for h in maps]

    @abstractmethod
    def _feature_blocks(self) -> list[nn.Module]:
        """The blocks whose outputs are the feature maps, in the order in which they run."""

    def _map(self, h: Tensor, x: Tensor) -> Tensor:
        """A block's output as a map (B, C, ...); x is the network's input."""
        return h

    def fixed(self) -> list[nn.Parameter]:
        """Parameters that no student may change: none."""
        return []
