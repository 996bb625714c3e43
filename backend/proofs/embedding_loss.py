"""Embedding Loss: mean features of real data show the student a mode that the noise of the scores does not reach."""

from backend.methods.embedding_loss import Settings
from backend.proofs import Proof
from backend.train import Run


def leave_the_embedding_out(run: Run) -> None:
    """The stub: distribution matching alone, which is DMD2."""
    assert isinstance(run.settings, Settings)
    run.settings = run.settings.model_copy(update={"embedding_weight": 0.0})


# No figure of it is known in the plane: where noise reaches every mode, the specification finds no change. Here it does
# not, the score difference of a student on one mode is 0, and only the data's mean tells of the other.
PROOF = Proof(
    claim="Mean features of real data lead the student to a mode of which its scores' noise shows it nothing.",
    bench="apart",
    figure="sliced_wasserstein",
    good=1.0,
    bad=2.0,
    change=leave_the_embedding_out,
    settings={
        "embedding_weight": 0.3,
        "highest_time": 0.5,
        "learning_rate": 2e-3,
        "fake_score_learning_rate": 1e-2,
    },
    training={"steps": 2000, "batch_size": 256},
    expected="no figure; 2.2 where the student sits on one mode, 0.7 where a normal covers both",
)
