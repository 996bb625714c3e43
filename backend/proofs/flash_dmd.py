"""Flash-DMD: the noisy steps must learn from the scores; real data alone does not lay the modes out."""

from collections.abc import Iterator

from backend.methods import Batch, Update, flash_dmd
from backend.methods.flash_dmd import Nets, Settings
from backend.proofs import Proof


def without_scores(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    """The stub: every step learns from real data alone, as the clean ones do."""
    return flash_dmd.step(nets, batch, s.model_copy(update={"clean_steps": s.student_steps}))


PROOF = Proof(
    claim="Scores lay the modes out at the noisy steps, so that real data need only finish samples at the clean ones.",
    bench="ring",
    figure="weights_tv",
    good=0.092,
    bad=0.2,
    without=without_scores,
    settings={
        "fake_score_updates": 2,
        "learning_rate": 5e-4,
        "fake_score_learning_rate": 1e-3,
        "discriminator_learning_rate": 1e-3,
    },
    training={"steps": 2000, "batch_size": 512, "gradient_clip": 10.0, "learning_rate_schedule": "cosine"},
    expected="within 0.02 of four steps of DMD2 throughout, 0.072",
)
