"""Reflow: lines between ends that belong together do not cross, and so straighten the flow."""

from collections.abc import Iterator
from dataclasses import replace

from backend.methods import Batch, Update
from backend.methods.reflow import Nets, Settings, step
from backend.proofs import Proof


def with_other_noise(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    """The stub: lines between samples and noises that do not belong together, as in the teacher's own training."""
    _, samples, cond = batch.pairs
    yield from step(nets, replace(batch, drawn_pairs=(batch.noise(), samples, cond)), s)


PROOF = Proof(
    claim="Lines join each noise to the sample that the teacher makes of it, so that they can be followed in one step.",
    bench="ring8:flow",
    figure="coupling_rmse",
    good=0.091,
    bad=0.6,
    without=with_other_noise,
    settings={"learning_rate": 1e-3, "distilled_share": 0.0},
    training={"steps": 5000, "batch_size": 512, "learning_rate_schedule": "cosine"},
    expected="0.091 after 5,000 steps without distillation; 0.70 for Euler's one step of the teacher",
)
