"""SwiftBrush: adapters on the teacher must learn the student's samples; still ones leave most modes unfound."""

from backend.proofs import Proof, stop_fake_score

PROOF = Proof(
    claim="Adapters on the frozen teacher are a fake score network that leads the student to every mode.",
    bench="ring",
    figure="weights_tv",
    good=0.22,
    bad=0.5,
    change=stop_fake_score,
    settings={"learning_rate": 5e-4, "fake_score_learning_rate": 1e-3},
    training={"steps": 1200, "batch_size": 512, "gradient_clip": 10.0},
    expected="0.102 after 3,000 steps with a full fake score network",
    missed="0.33, and 0.38 after 3,000 steps",
)
