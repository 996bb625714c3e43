"""Adapter guidance distillation: the adapters must be taught by a teacher that is guided by the scale they are told."""

from backend.proofs import Proof
from backend.train import Run


def leave_the_teacher_unguided(run: Run) -> None:
    """The stub: the teacher answers with its condition alone, whatever scale the adapters are told."""
    run.nets.teacher.scale = 1.0


PROOF = Proof(
    claim="Adapters of 5 % of a frozen network learn what guidance adds, at the scale that they are told.",
    bench="wide",
    figure="unexplained_guidance",
    good=0.009,
    bad=0.9,
    change=leave_the_teacher_unguided,
    settings={"learning_rate": 2e-3, "student_steps": 16, "adapter_share": 5.0, "guidance_scale": 2.0},
    training={"steps": 500, "batch_size": 256, "learning_rate_schedule": "cosine", "gradient_clip": 10.0},
    expected="0.009 at scale 2 and 0.006 at 5, with adapters of 31 %; 1 at the start",
)
