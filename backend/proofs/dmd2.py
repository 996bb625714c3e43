"""DMD2: the fake score must learn the student's distribution; a still one leaves the student in the heaviest mode."""

from backend.proofs import Proof, stop_fake_score

PROOF = Proof(
    claim="The fake score network learns the student's distribution, so that every mode is found.",
    bench="ring",
    figure="weights_tv",
    good=0.2,
    bad=0.6,
    change=stop_fake_score,
    settings={"learning_rate": 5e-4, "fake_score_learning_rate": 1e-3},
    training={"steps": 1200, "batch_size": 512, "gradient_clip": 10.0},
    expected="0.175 after 1,200 updates of the student, 0.80 with a still fake score",
)
