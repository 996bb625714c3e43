"""SNOOPI: guidance must be drawn anew at every step; one that stays makes the student's modes narrow."""

from collections.abc import Iterator

from backend.methods import Batch, Update, snoopi
from backend.methods.snoopi import Nets, Settings
from backend.proofs import Proof


def without_drawing(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    """The stub: the strongest guidance of the range at every step."""
    return snoopi.step(nets, batch, s.model_copy(update={"lowest_guidance": s.highest_guidance}))


PROOF = Proof(
    claim="A guidance scale drawn anew at every step keeps the modes as wide as they are.",
    bench="wide",
    figure="width",
    good=0.8,
    bad=0.8,
    more=True,
    without=without_drawing,
    settings={"learning_rate": 5e-4},
    training={"steps": 1200, "batch_size": 256},
    expected="wider than with scale 4 at every step",
)
