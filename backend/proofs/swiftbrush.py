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
    training={"steps": 3000, "batch_size": 512, "gradient_clip": 10.0},
    expected="0.221 after 1,200 steps with a constant weight and a full fake score network; this weight is slower",
)
