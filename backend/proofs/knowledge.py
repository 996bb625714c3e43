"""Knowledge distillation: each noise must be learnt with the sample that the teacher makes of it."""

from collections.abc import Iterator
from dataclasses import replace

from backend.methods import Batch, Update
from backend.methods.knowledge import Nets, Settings, step
from backend.proofs import Proof


def with_other_noise(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    """The stub: the same samples, each beside a noise that is not its own."""
    _, samples, cond = batch.pairs
    yield from step(nets, replace(batch, drawn_pairs=(batch.noise(), samples, cond)), s)


PROOF = Proof(
    claim="A sample is learnt with the very noise from which the teacher made it.",
    bench="ring8",
    figure="coupling_rmse",
    good=0.037,
    bad=0.6,
    without=with_other_noise,
    settings={"learning_rate": 1e-3},
    training={"steps": 5000, "batch_size": 512, "learning_rate_schedule": "cosine"},
    expected="0.037 after 5,000 steps; 0.70 where every noise leads to the mean of all samples",
)
