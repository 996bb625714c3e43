"""sCM: the derivative of the student's answer, with its right sign, is what spreads the start along the trajectory."""

from collections.abc import Iterator

import torch

from backend import losses, trigflow
from backend.methods import Batch, Update, scm
from backend.methods.scm import Nets, Settings
from backend.noise import per_sample
from backend.proofs import Proof


def without_the_derivative(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    """The stub: the tangent is its first term alone, which holds the student at the teacher's velocity."""
    x0, cond = batch.real
    t = scm.drawn_times(batch, nets.student, s)
    noised = nets.student.path.noised(x0, batch.noise(), t)
    with torch.no_grad():
        there = nets.teacher(noised, t, cond)
        spread, angle = trigflow.spread(nets.student), trigflow.angle(nets.student, t)
    own = trigflow.turn_of(nets.student(noised, t, cond), spread)
    difference = per_sample(angle.cos() ** 2, own) * (own.detach() - trigflow.turn_of(there, spread))
    g, _ = losses.normalised(-difference, s.tangent_offset)
    yield Update(nets.student, {"tangent_loss": (own - own.detach() - g).square().mean()})


PROOF = Proof(
    claim="The derivative of the student's answer along the trajectory makes that answer the trajectory's start.",
    bench="ring8",
    figure="coupling_rmse",
    good=0.21,
    bad=0.6,
    without=without_the_derivative,
    settings={"learning_rate": 3e-4},
    training={"steps": 1500, "batch_size": 512},
    expected="0.21 (sCD) and 0.09 (sCT) after 6,000 steps; 0.70 at the start, above 6 with the sign turned",
)
