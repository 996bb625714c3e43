"""Numbers that a student is told beside the time: its guidance scale, the time its step ends at, the sign of time, its
step's length, where between a step's two ends it is asked.

They are parts of the `Condition` by these names. A network that takes one adds an embedding of it to its time
embedding; the embedding starts as exactly 0, so that the student starts as the teacher.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

INPUTS: Mapping[str, float] = {"guidance": 8.0, "end_time": 1.0, "sign": 1.0, "step_length": 1.0, "sub_path": 1.0}
"""Every such number, and about its largest size."""
_FREQUENCIES = (0.5, 1.0, 2.0, 4.0, 8.0)


class NumberEmbedding(nn.Module):
    """One number per sample, (B,), as an addition (B, width) to an embedding; 0 whatever the number until trained.

    Few and low frequencies: a derivative along the number, as MeanFlow takes it, grows with them.
    """

    def __init__(self, width: int, size: float) -> None:
        super().__init__()
        self.size = size
        self.frequencies: Tensor
        self.register_buffer("frequencies", torch.tensor(_FREQUENCIES), persistent=False)
        self.first, self.last = nn.Linear(1 + 2 * len(_FREQUENCIES), width), nn.Linear(width, width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, value: Tensor) -> Tensor:
        value = (value / self.size).to(self.first.weight.dtype)[:, None]
        angles = value * self.frequencies
        hidden = self.first(torch.cat([value, angles.sin(), angles.cos()], 1))
        return self.last(nn.functional.silu(hidden))  # type: ignore[no-any-return]


class NumberEmbeddings(nn.ModuleDict):
    """The embeddings of several named numbers, summed."""

    def __init__(self, names: Sequence[str], width: int) -> None:
        super().__init__({name: NumberEmbedding(width, INPUTS[name]) for name in names})

    def added(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The sum (B, width). Raises ValueError where a number is missing from `parts`."""
        missing = [name for name in self if name not in parts]
        if missing:
            raise ValueError(f"This network must be told {missing[0]} for each sample.")
        return torch.stack([embedding(parts[name]) for name, embedding in self.items()]).sum(0)
