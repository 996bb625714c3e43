"""Guidance distillation: the student that is told the scale must be taught by a teacher that is guided by it."""

from backend.proofs import Proof
from backend.train import Run


def leave_the_teacher_unguided(run: Run) -> None:
    """The stub: the teacher answers with its condition alone, whatever scale the student is told."""
    run.nets.teacher.scale = 1.0


PROOF = Proof(
    claim="The teacher's answer under the scale that the student is told makes guidance an input of the student.",
    bench="wide",
    figure="unexplained_guidance",
    good=0.006,
    bad=0.9,
    change=leave_the_teacher_unguided,
    settings={"learning_rate": 1e-3, "student_steps": 32, "guidance_scale": 2.0},
    training={"steps": 4000, "batch_size": 512, "learning_rate_schedule": "cosine"},
    expected="0.006 at scale 2 and 0.005 at 5 after 4,000 steps; 1 for a student that is deaf to the scale",
)
