"""MeanFlow: the derivative along the trajectory is what makes an average of the velocity."""

from collections.abc import Iterator

from backend.methods import Batch, Update
from backend.methods.meanflow import Nets, Settings
from backend.methods.meanflow import step as whole_step
from backend.proofs import Proof


def without_the_derivative(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    """The stub: every target is the velocity at the point itself, as in flow matching."""
    yield from whole_step(nets, batch, s.model_copy(update={"instantaneous_share": 1.0}))


PROOF = Proof(
    claim="The derivative of the student along the trajectory makes its velocity the average over the whole step.",
    bench="ring8:flow",
    figure="coupling_rmse",
    good=0.141,
    bad=0.6,
    without=without_the_derivative,
    settings={"learning_rate": 1e-3},
    training={"steps": 3000, "batch_size": 512},
    expected="0.141 from data and 0.143 with the teacher's velocity after 6,000 steps; 0.70 without",
)
