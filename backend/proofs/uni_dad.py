"""Uni-DAD: a teacher must learn the few real samples; with the source alone the student stays at its modes."""

from collections.abc import Iterator

from backend.methods import Batch, Update, uni_dad
from backend.methods.uni_dad import Nets, Settings
from backend.proofs import Proof


def without_target(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    """The stub: the source's score in full, and of the real samples what the discriminator makes of them."""
    return uni_dad.step(nets, batch, s.model_copy(update={"target_weight": 0.0}))


PROOF = Proof(
    claim="A teacher that learns ten samples beside the run brings the student to their modes.",
    bench="shots",
    figure="precision",
    good=0.8,
    bad=0.5,
    more=True,
    without=without_target,
    settings={
        "target_weight": 0.75,
        "learning_rate": 5e-4,
        "fake_score_learning_rate": 1e-3,
        "target_learning_rate": 5e-4,
    },
    training={"steps": 1000, "batch_size": 256, "gradient_clip": 10.0},
    expected="above 0.8 of the samples at the target's modes",
)
