"""What a run reports while it trains; tensors and networks appear here only as `object`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """Metrics of the steps since the last report.

    step: the last of these steps, from 1. metrics: name -> number or 0-d tensor, averaged over them.
    images, nfe: training samples seen and network evaluations spent by the run so far.
    """

    step: int
    metrics: Mapping[str, object]
    images: int
    nfe: int


@dataclass(frozen=True)
class Sampled:
    """Samples were drawn from a network for a person to see.

    kind: "preview", "teacher", "rollout", ... images: (B, ...) samples, data units.
    labels, seeds: one for each sample. sampler: what it takes to draw them again, JSON-able.
    scores: name -> figure of this batch.
    """

    step: int
    kind: str
    images: object
    labels: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    sampler: Mapping[str, object] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved:
    """The loop reached a step whose whole state is to be kept.

    state: all a resumed run needs. is_best: the best-scored so far.
    meta: JSON-able facts to keep beside it, such as scores.
    """

    step: int
    state: object
    is_best: bool = False
    meta: Mapping[str, object] = field(default_factory=dict)


Event = Progress | Sampled | Saved
