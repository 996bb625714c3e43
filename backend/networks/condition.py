"""Condition: what a batch is generated for. Only a network's wrapper looks inside.

Parts in use, each with the batch in front:

| name         | shape     | what it is                                                             |
|--------------|-----------|------------------------------------------------------------------------|
| `labels`     | (B,)      | class numbers                                                          |
| `text`       | (B, L, D) | a text encoder's tokens                                                |
| `text_mask`  | (B, L)    | 1 where a token counts, 0 where it only fills up                       |
| `pooled`     | (B, P)    | one vector for a whole prompt                                          |
| `time_ids`   | (B, 6)    | SDXL's sizes: original height and width, crop top and left, target's   |
| `picture`    | (B, C, H, W) | a picture of the same size, to which the sample belongs: translation     |
| `guidance`   | (B,)      | guidance scale, for networks that are told it                          |
| `end_time`   | (B,)      | time t to which a step leads, for networks that are told it            |
| `away`       | (B,)      | how strongly a network is steered away from its negative prompt        |
| `sub_path`   | (B,)      | where between a step's ends, 0 at one, for networks that are told it   |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Condition:
    """Named tensors, each (B, ...), for a batch of B samples; no names at all for an unconditional batch."""

    size: int
    parts: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, part in self.parts.items():
            if len(part) != self.size:
                raise ValueError(f"Condition part {name} has {len(part)} rows for a batch of {self.size}.")

    @classmethod
    def none(cls, size: int) -> "Condition":
        """An unconditional batch of `size` samples."""
        return cls(size)

    @classmethod
    def of_labels(cls, labels: Tensor) -> "Condition":
        """Class labels, (B,) integers."""
        return cls(len(labels), {"labels": labels})

    @classmethod
    def join(cls, conditions: Sequence["Condition"]) -> "Condition":
        """One batch after the other; all must have the same names."""
        names = conditions[0].parts
        if any(c.parts.keys() != names.keys() for c in conditions):
            raise ValueError("Only conditions with the same parts can be joined into one batch.")
        return cls(sum(len(c) for c in conditions), {n: torch.cat([c.parts[n] for c in conditions]) for n in names})

    def part(self, name: str) -> Tensor:
        """The part of that name, (B, ...). Raises ValueError where this batch has none."""
        if name not in self.parts:
            raise ValueError(f"This network needs the condition's part {name}, which the batch does not have.")
        return self.parts[name]

    @property
    def labels(self) -> Tensor | None:
        """Class labels (B,), or None where the batch has none."""
        return self.parts.get("labels")

    def with_part(self, name: str, value: Tensor) -> "Condition":
        """The same batch with one more part, or another in its place."""
        return Condition(self.size, {**self.parts, name: value})

    def replaced(self, rows: Tensor, by: "Condition") -> "Condition":
        """The same batch with some rows, (B,) bool, taken from another of the same parts."""
        if self.parts.keys() != by.parts.keys() or self.size != by.size:
            raise ValueError("Only rows of a batch of the same size and parts can take a condition's place.")

        def mixed(mine: Tensor, theirs: Tensor) -> Tensor:
            return torch.where(rows.reshape(-1, *[1] * (mine.ndim - 1)), theirs, mine)

        return Condition(self.size, {name: mixed(part, by.parts[name]) for name, part in self.parts.items()})

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, rows: slice | Tensor) -> "Condition":
        parts = {name: part[rows] for name, part in self.parts.items()}
        any_part = next(iter(parts.values()), None)  # else the rows must be counted, for which a device is waited for
        if any_part is None:
            any_part = torch.arange(self.size)[rows if isinstance(rows, slice) else rows.cpu()]
        return Condition(len(any_part), parts)

    def to(self, device: torch.device | str) -> "Condition":
        """The same batch on `device`."""
        return Condition(self.size, {name: part.to(device) for name, part in self.parts.items()})
