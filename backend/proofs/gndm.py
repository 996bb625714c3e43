"""GNDM: a divisor that samples share leaves the divergence's own gradient; one for each holds the far ones back."""

from backend.methods.gndm import Settings
from backend.proofs import Proof
from backend.proofs.benches import MIDDLE
from backend.train import Run


def normalise_one_by_one(run: Run) -> None:
    """The stub: groups of one, in which every sample has its own divisor, as in DMD2."""
    assert isinstance(run.settings, Settings)
    run.settings = run.settings.model_copy(update={"group_size": 1})


# With one noise for all samples a common divisor only sets the step's size, and the student must settle where the
# reverse divergence is least. A share of 1 / group_size of each divisor is still the sample's own.
PROOF = Proof(
    claim="Normalised in groups, the student settles where the reverse Kullback-Leibler divergence is least.",
    bench="skew",
    figure="from_least",
    good=0.1,
    bad=0.25,
    change=normalise_one_by_one,
    settings={
        "group_size": 16,
        "lowest_time": MIDDLE,
        "highest_time": MIDDLE,
        "learning_rate": 5e-3,
        "fake_score_learning_rate": 1e-2,
    },
    training={"steps": 2000, "batch_size": 512, "learning_rate_schedule": "cosine"},
    expected="no figure; with divisors of their own the mean push vanishes about 0.33 away from there",
)
