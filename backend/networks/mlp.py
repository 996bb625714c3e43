"""A small fully connected network for vectors: the student and fake score of the closed-form teachers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backend.networks.condition import Condition
from backend.networks.inputs import NumberEmbeddings


class MLP(nn.Module):
    """(B, size) vectors with time and, where `classes` > 0, a class label; label `classes` means no class.

    `scale` divides the time so that its useful range is about [-1, 1].
    """

    def __init__(self, size: int = 2, width: int = 128, depth: int = 3, classes: int = 0, scale: float = 1.0) -> None:
        super().__init__()
        self.shape = (size,)
        self.null_label = classes if classes else None
        self.scale = scale
        self.frequencies: Tensor
        self.register_buffer("frequencies", torch.tensor([0.5, 1.0, 2.0, 4.0, 8.0]))
        self.embed = nn.Embedding(classes + 1, width) if classes else None
        inputs = size + 1 + 2 * len(self.frequencies)
        self.layers = nn.ModuleList(nn.Linear(inputs if i == 0 else width, width) for i in range(depth))
        self.head = nn.Linear(width, size)
        self.numbers = NumberEmbeddings((), width)
        self.inputs: tuple[str, ...] = ()

    def extend(self, names: Sequence[str]) -> None:
        """From now on the network takes these numbers too (`inputs.INPUTS`), and so far ignores them."""
        self.inputs = tuple(names)
        self.numbers = NumberEmbeddings(names, self.head.in_features).to(self.head.weight.device)

    def features(self, x: Tensor, time: Tensor, cond: Condition) -> list[Tensor]:
        """The activations of every hidden layer, (B, width)."""
        time = (time / self.scale).to(x.dtype)[:, None]
        angles = time * self.frequencies
        h = torch.cat([x, time, angles.sin(), angles.cos()], 1)
        maps: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            h = layer(h)
            if i == 0 and self.embed is not None:
                labels = cond.labels
                if labels is None:
                    labels = torch.full((len(x),), self.embed.num_embeddings - 1, device=x.device)
                h = h + self.embed(labels)
            if i == 0 and len(self.numbers):
                h = h + self.numbers.added(cond.parts)
            h = nn.functional.silu(h)
            maps.append(h)
        return maps

    def with_features(
        self, x: Tensor, time: Tensor, cond: Condition, *, result_in_graph: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """What a call makes, and the feature maps that it passes through."""
        maps = self.features(x, time, cond)
        with torch.set_grad_enabled(result_in_graph and torch.is_grad_enabled()):
            return self.head(maps[-1]), maps

    def forward(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        return self.with_features(x, time, cond)[0]

    def fixed(self) -> list[nn.Parameter]:
        return []
