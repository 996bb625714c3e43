"""TCM: what the first stage says at the boundary is all that leads the student; without it the student stands still."""

from dataclasses import replace
from functools import cache

import torch

from backend import proofs
from backend.contract.recipe import Training
from backend.methods import consistency
from backend.methods.tcm import Settings
from backend.proofs import Proof
from backend.proofs.benches import Bench
from backend.train import Run, start, train

FIRST_STAGE = Training(steps=600, batch_size=512, ema_decay=0.99)


def after_consistency() -> Bench:
    """`ring8`, whose students start from a short run of consistency distillation."""
    benches = proofs.BENCHES  # type: ignore[attr-defined]  # by this name a short proof is given quick ones
    return _after_consistency(benches["ring8"]())


@cache
def _after_consistency(bench: Bench) -> Bench:
    settings, teacher = consistency.Settings(learning_rate=1e-3), bench.teacher
    run = start(consistency.METHOD, settings, FIRST_STAGE, teacher, teacher.draws, torch.device("cpu"))
    for _ in train(run):
        pass
    return replace(bench, teacher=replace(teacher, trainable=run.exported.copy))


def leave_the_boundary_out(run: Run) -> None:
    """The stub: nothing of the batch sits on the boundary, and the run goes on from its first stage all the same."""
    assert isinstance(run.settings, Settings)
    run.settings = run.settings.model_copy(update={"boundary_share": 0.0})


PROOF = Proof(
    claim="What the first stage says at the boundary spreads to where sampling starts, as good as it is there.",
    bench="ring8 after consistency",
    own=after_consistency,
    figure="coupling_rmse",
    good=0.087,
    bad=0.15,
    change=leave_the_boundary_out,
    settings={"learning_rate": 1e-3},
    training={"steps": 1000, "batch_size": 512},
    expected="no figure, so that of the first stage's own answers at the boundary, 0.086, while its one step is at "
    "0.23; consistency distillation reaches 0.079 after 6,000 steps",
)
