"""TCM: what the first stage says at the boundary is all that tells the student where trajectories start."""

from dataclasses import replace
from functools import cache

import torch

from backend import losses, proofs
from backend.contract.recipe import Training
from backend.methods import consistency
from backend.proofs import Proof
from backend.proofs.benches import Bench
from backend.train import Run, start, train

FIRST_STAGE = Training(steps=600, batch_size=512, ema_decay=0.99)


def after_consistency() -> Bench:
    """`ring8`, whose students start from a short run of consistency distillation."""
    return _after_consistency(proofs.BENCHES["ring8"]())


@cache
def _after_consistency(bench: Bench) -> Bench:
    settings, teacher = consistency.Settings(learning_rate=1e-3), bench.teacher
    run = start(consistency.METHOD, settings, FIRST_STAGE, teacher, teacher.draws, torch.device("cpu"))
    for _ in train(run):
        pass
    return replace(bench, teacher=replace(teacher, trainable=run.exported.copy))


def forget_the_first_stage(run: Run) -> None:
    """The stub: the run starts from the teacher, whose one evaluation is then what is said at the boundary."""
    teacher = proofs.BENCHES["ring8"]().teacher.trainable()
    for net in (run.nets.student, run.nets.target, run.nets.first_stage, run.average):
        losses.copy_weights(net, teacher)


PROOF = Proof(
    claim="The student learns at high noise where trajectories start, from what the first stage says at the boundary.",
    bench="ring8 after consistency",
    own=after_consistency,
    figure="coupling_rmse",
    good=0.12,
    bad=0.3,
    change=forget_the_first_stage,
    settings={"learning_rate": 1e-3},
    training={"steps": 1000, "batch_size": 512},
    expected="",
)
