"""The samples of a run put in order: rounds of previews by step, the teacher's pictures, views by noise level.

No widgets: rows in, what there is to show out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from backend.contract.rows import VIEWS, Attempt, Checkpoint, Sample

PREVIEW = "preview"
REFERENCES = ("teacher", "teacher_at_student_nfe")
RANKED_BY = ("frechet", "sliced_wasserstein")
"""The figures by which checkpoints are ranked, the smaller the better; the first that a round has counts."""


@dataclass(frozen=True)
class Round:
    """The pictures that were made at one step of one attempt, by their place. superseded: a later attempt began
    before this step."""

    step: int
    attempt: int | None
    pictures: Mapping[int, Sample]
    superseded: bool = False

    @property
    def scores(self) -> Mapping[str, float]:
        """What the round scored."""
        return next((sample.scores for sample in self.pictures.values()), {})

    @property
    def figure(self) -> tuple[str, float] | None:
        """The figure by which the round is ranked, and its name."""
        name = next((name for name in (*RANKED_BY, *self.scores) if name in self.scores), None)
        return None if name is None else (name, self.scores[name])


class Rounds:
    """The samples of a run as they come."""

    def __init__(self) -> None:
        self._pictures: dict[str, dict[tuple[int, int | None], dict[int, Sample]]] = {}
        self._begins: list[tuple[int, int]] = []

    def add(self, samples: Iterable[Sample]) -> None:
        """Take in new samples; one that was made again at the same step replaces the older."""
        for sample in samples:
            by_step = self._pictures.setdefault(sample.kind, {})
            by_step.setdefault((sample.step, sample.attempt), {})[sample.position] = sample

    def set_attempts(self, attempts: Sequence[Attempt]) -> None:
        """From which step on a later attempt replaces the earlier ones."""
        self._begins = [(attempt.id, attempt.first_step) for attempt in attempts if attempt.first_step is not None]

    def has(self, kind: str) -> bool:
        """Whether there is any sample of a kind."""
        return bool(self._pictures.get(kind))

    def rounds(self, kind: str = PREVIEW, superseded: bool = False) -> list[Round]:
        """By step; those that a later attempt replaced only on request."""
        found = [
            Round(step, attempt, pictures, self._is_superseded(step, attempt))
            for (step, attempt), pictures in self._pictures.get(kind, {}).items()
        ]
        found = [one for one in found if superseded or not one.superseded]
        return sorted(found, key=lambda one: (one.step, one.attempt or 0))

    def _is_superseded(self, step: int, attempt: int | None) -> bool:
        return attempt is not None and any(later > attempt and step >= begin for later, begin in self._begins)

    def reference(self, kind: str) -> Mapping[int, Sample]:
        """The newest pictures of a kind that does not change while the run goes on, by their place."""
        rounds = self.rounds(kind)
        return rounds[-1].pictures if rounds else {}

    def views(self, superseded: bool = False) -> list[tuple[int, int | None]]:
        """Step and attempt of each round of views at noise levels, by step."""
        keys = {(one.step, one.attempt) for kind in VIEWS for one in self.rounds(kind, superseded)}
        return sorted(keys, key=lambda key: (key[0], key[1] or 0))

    def view(self, kind: str, key: tuple[int, int | None]) -> Mapping[int, Sample]:
        """The views of a kind at a step of an attempt, by the index of the noise level."""
        return self._pictures.get(kind, {}).get(key, {})

    def levels(self, key: tuple[int, int | None]) -> dict[int, float]:
        """The noise levels that were recorded there: index -> t."""
        found: dict[int, float] = {}
        for kind in VIEWS:
            for position, sample in self.view(kind, key).items():
                level = sample.sampler.get("t")
                if isinstance(level, int | float):
                    found[position] = float(level)
        return dict(sorted(found.items(), key=lambda item: item[1]))


def spread(rounds: Sequence[Round], most: int) -> list[Round]:
    """At most so many of the rounds, evenly over their order, the first and the last among them."""
    count = min(most, len(rounds))
    if count < 2:
        return list(rounds[-count:]) if count else []
    return [rounds[round(place * (len(rounds) - 1) / (count - 1))] for place in range(count)]


def one_of_each(pictures: Mapping[int, Sample], most: int) -> list[int]:
    """The first place of each prompt or class, at most so many; where all have one or none, the first places."""
    first: dict[str, int] = {}
    for place in sorted(pictures):
        first.setdefault(pictures[place].label, place)
    return (list(first.values()) if len(first) > 1 else sorted(pictures))[:most]


def best_of(rounds: Sequence[Round], checkpoints: Sequence[Checkpoint] = ()) -> int | None:
    """Index of the best round: at the step of the best checkpoint where that is known, else the best scored."""
    for checkpoint in checkpoints:
        if checkpoint.is_best and checkpoint.meta.get("score") is not None:
            for index, one in enumerate(rounds):
                if (one.step, one.attempt) == (checkpoint.step, checkpoint.attempt):
                    return index
    scored = [
        (one.figure[1], index)
        for index, one in enumerate(rounds)
        if one.figure is not None and one.figure[0] in RANKED_BY and one.figure[1] == one.figure[1]
    ]
    return min(scored)[1] if len(scored) > 1 else None


def period(labels: Sequence[str]) -> int:
    """After how many pictures the labels begin again; 0 when they never do."""
    for length in range(1, len(labels) // 2 + 1):
        if labels[length:] == labels[:-length] and any(labels):
            return length
    return 0


def columns(width: float, least: float, count: int, repeats: int) -> int:
    """How many pictures stand side by side: as many as fit, so that equal labels stand below each other."""
    fit = max(1, min(int(width // least), count)) if count else 1
    if repeats > 1 and fit >= repeats:
        return fit - fit % repeats
    if repeats > 1:
        return max(divisor for divisor in range(1, fit + 1) if repeats % divisor == 0)
    return fit


def nearest(steps: Sequence[int], step: int) -> int:
    """Index of the step that is closest to one; of two, the earlier."""
    return min(range(len(steps)), key=lambda index: abs(steps[index] - step)) if steps else -1
