"""ArcFlow: the rates bend the student's velocity over its step; without them it is constant, a straight line."""

from backend.networks.momentum import Momentum
from backend.proofs import Proof
from backend.train import Run


def straighten(run: Run) -> None:
    """The stub: every rate is 0, so that the mixture is one velocity for the whole step."""
    for net in (run.student, run.average):
        assert isinstance(net.network, Momentum)
        net.network.most_rate = 0.0


PROOF = Proof(
    claim="The rates let one evaluation follow the teacher's velocity over a whole step, where a line cannot.",
    bench="ring8:flow",
    figure="velocity_error",
    good=0.0041,
    bad=0.0082,  # at least twice as far
    change=straighten,
    settings={"components": 4, "learning_rate": 1e-3},
    training={"steps": 1200, "batch_size": 256, "gradient_clip": 10.0},
    expected="0.0041 with rates and 0.0179 without; coupling errors of 0.106 and 0.099, which do not tell them apart",
)
