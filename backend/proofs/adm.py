"""ADM: the discriminator must see the teacher's steps; shown the fake score's alone, it moves the student nowhere."""

from backend.networks import Guided
from backend.proofs import Proof
from backend.train import Run


def forget_teacher(run: Run) -> None:
    """The stub: what counts as the teacher's step is the fake score's own."""
    run.nets.teacher = Guided(run.nets.fake_score, 1.0)


PROOF = Proof(
    claim="A discriminator that tells the teacher's step from the fake score's leads the student to the teacher.",
    bench="ring",
    figure="weights_tv",
    good=0.446,
    change=forget_teacher,
    settings={"learning_rate": 2e-4, "fake_score_learning_rate": 1e-3},
    training={"steps": 600, "batch_size": 128, "gradient_clip": 10.0},
    expected="0.45 and recall 0.625 after 1,500 steps from a blurry start; the student unchanged in the stub",
)
