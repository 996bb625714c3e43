"""Decoupled DMD: what guidance adds has no end of its own; without the shield the student's samples run away."""

from collections.abc import Iterator

from backend import losses
from backend.methods import Batch, Update
from backend.methods.decoupled_dmd import Nets, Settings, aims, sampler
from backend.proofs import Proof
from backend.samplers import rollout


def without_the_shield(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    """The stub: the student follows what guidance adds and nothing else."""
    plan = sampler(s, nets.student)
    last = batch.index(plan.nfe)
    x = rollout(nets.student, plan, last, batch.noise(), batch.cond, batch.generator)
    spear, real, _ = aims(nets, x.detach(), plan.levels[last], batch, s)
    yield Update(nets.student, {"matching": losses.distribution_matching(x, real, real - spear)})


PROOF = Proof(
    claim="Distribution matching is a shield: it holds the student where guidance alone would drive it away.",
    bench="wide",
    figure="weights_tv",
    good=0.15,
    bad=0.6,
    without=without_the_shield,
    settings={"guidance_scale": 2.0, "learning_rate": 5e-4, "fake_score_learning_rate": 1e-3, "fake_score_updates": 1},
    training={"steps": 400, "batch_size": 256, "gradient_clip": 10.0},
    expected="no figure in the plane; in one dimension guidance alone moves on without end and matching settles",
)
