"""Progressive distillation: each stage's target is where two steps of its teacher lead, not what that says at once."""

from collections.abc import Iterator

import torch

from backend.losses import truncated_snr
from backend.methods import Batch, Update
from backend.methods.progressive import Nets, Settings, first_level, stage_at
from backend.noise import per_sample
from backend.proofs import Proof
from backend.samplers import times


def with_one_step_of_the_teacher(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    """The stub: at every stage the student learns the teacher's own answer at the same point."""
    stage = stage_at(batch.step, batch.total, s)
    x0, cond = batch.real
    t = (batch.indices(stage.steps) + 1) * times(first_level(s, nets.student) / stage.steps, x0)
    noised = nets.student.path.noised(x0, batch.noise(), t)
    with torch.no_grad():
        answer = nets.teacher(noised, t, cond).x0
    prediction = nets.student(noised, t, cond)
    weight = per_sample(truncated_snr(prediction.alpha, prediction.sigma), x0)
    yield Update(nets.student, {"one_step": (weight * (prediction.x0 - answer).square()).mean()}, fresh=stage.starts)


PROOF = Proof(
    claim="Each stage's student goes in one step where its teacher goes in two, so that one step is left of 64.",
    bench="ring8",
    figure="coupling_rmse",
    good=0.117,
    bad=0.6,
    without=with_one_step_of_the_teacher,
    settings={"student_steps": 1, "start_steps": 64, "learning_rate": 1e-3},
    training={"steps": 7 * 450, "batch_size": 512},
    expected="0.117 from 64 steps to 1, 900 training steps a stage; 0.70 for the teacher's one step",
)
