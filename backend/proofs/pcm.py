"""PCM: points of a phase agree at its edge; where they agree at the very end, going from edge to edge leads astray."""

from collections.abc import Iterator

import torch

from backend import losses
from backend.boundary import distance, euler, led_to_start
from backend.methods import Batch, Update
from backend.methods.pcm import Nets, Settings, points, sampler
from backend.proofs import Proof


def without_edges(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    """The stub: the same steps of the teacher, and their two ends must lead to the same start of the trajectory."""
    x0, cond = batch.real
    at = points(batch, (*sampler(s, nets.student).levels, 0.0), s.discretisation)
    noised = nets.student.path.noised(x0, batch.noise(), at.t)
    with torch.no_grad():
        reached = euler(nets.teacher, noised, at.t, at.t_next, cond)
        answer = led_to_start(nets.target, reached, at.t_next, cond)
    x = led_to_start(nets.student, noised, at.t, cond)
    yield Update(nets.student, {"consistency": distance(x, answer, s.distance, s.huber_offset)})
    losses.ema_update(nets.target, nets.student, s.target_ema)


PROOF = Proof(
    claim="Points of a phase agree at its edge, so that steps from edge to edge stay on the teacher's trajectory.",
    bench="ring8:trigonometric",
    figure="coupling_rmse",
    good=0.089,
    without=without_edges,
    settings={"learning_rate": 1e-3},
    training={"steps": 2500, "batch_size": 512},
    expected="0.089 after 5,000 steps, and 0.33 in one phase of one step",
)
