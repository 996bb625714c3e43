"""Phased DMD: each phase's fake score must learn where its states are; a still one loses the modes in the first."""

from backend.proofs import Proof, stop_fake_score

PROOF = Proof(
    claim="In both phases the fake score learns the states that a network leaves behind, so that every mode is found.",
    bench="ring",
    figure="weights_tv",
    good=0.072,
    bad=0.2,
    change=stop_fake_score,
    settings={"learning_rate": 5e-4, "fake_score_learning_rate": 1e-3, "fake_score_updates": 1},
    training={"steps": 800, "batch_size": 512, "gradient_clip": 10.0},
    expected="not above that of DMD2 in four steps, 0.072 after 1,000 updates of the student",
)
