"""LoRA-enhanced guidance distillation: what is learnt is in the adapters, which must be free to learn it."""

import torch

from backend.networks.adapters import own_parameters
from backend.proofs import Proof
from backend.train import Run


def hold_the_adapters(run: Run) -> None:
    """The stub: the adapters stay as they start, at nothing; what embeds the scale learns on."""
    for parameter in own_parameters(run.student):
        parameter.requires_grad_(False)
    rest = [p for p in run.student.parameters() if p.requires_grad]
    run.optimizers = {"student": torch.optim.Adam(rest, lr=1e-3)}


PROOF = Proof(
    claim="Low-rank adapters on the frozen teacher learn what guidance adds, at the scale that the student is told.",
    bench="wide",
    figure="unexplained_guidance",
    good=0.009,
    bad=0.9,
    change=hold_the_adapters,
    settings={"learning_rate": 2e-3, "student_steps": 16, "rank": 16, "guidance_scale": 2.0},
    training={"steps": 1500, "batch_size": 256, "learning_rate_schedule": "cosine"},
    expected="0.009 at scale 2 and 0.006 at 5, as of adapters that are told the scale; 1 at the start",
)
