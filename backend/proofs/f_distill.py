"""f-distill: weighed by the density ratio, the student covers both of two modes; unweighed it sits on one of them."""

from backend.methods.f_distill import Settings
from backend.proofs import Proof
from backend.train import Run


def weigh_all_alike(run: Run) -> None:
    """The stub: h(r) is 1, which is the reverse Kullback-Leibler divergence."""
    assert isinstance(run.settings, Settings)
    run.settings = run.settings.model_copy(update={"divergence": "reverse-kl"})


# The pair of modes and the range of noise are the specification's, in units in which that is the path's lower half. The
# start is nearer to one mode: from the specification's it is chance where the reverse divergence leads. The adversarial
# term is left out, as another reason to move. The student is slow, so that fake score and discriminator keep up.
PROOF = Proof(
    claim="Weighed by the ratio that the discriminator finds, the student covers both modes of a pair.",
    bench="apart",
    figure="sliced_wasserstein",
    good=1.0,
    bad=2.0,
    change=weigh_all_alike,
    settings={
        "gan_weight": 0.0,
        "warm_up_steps": 0,
        "highest_time": 0.5,
        "learning_rate": 2e-3,
        "fake_score_learning_rate": 1e-2,
    },
    training={"steps": 3000, "batch_size": 256, "gradient_clip": 10.0},
    expected="mean 0 and spread 1.00 of half the distance, against mean 1 and spread 0.20",
)
