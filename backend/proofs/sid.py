"""SiD: as with every matching of scores, a fake score that does not learn leaves most modes unfound."""

from backend.proofs import Proof, stop_fake_score

PROOF = Proof(
    claim="The score identity needs no derivative of the fake score's training, but a fake score that learns.",
    bench="ring",
    figure="weights_tv",
    good=0.2,
    bad=0.5,
    change=stop_fake_score,
    settings={"learning_rate": 5e-4, "fake_score_learning_rate": 1e-3, "first_level": 1.0},
    training={"steps": 1500, "batch_size": 512, "gradient_clip": 10.0},
    expected="0.205 after 1,500 updates of the student",
)
