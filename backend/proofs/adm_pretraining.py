"""Adversarial pre-training: the discriminators must learn; still ones lead the student astray."""

import torch

from backend.proofs import Proof
from backend.train import Run


def stop_discriminators(run: Run) -> None:
    """The stub: their updates are computed and change nothing."""
    still = torch.optim.SGD(run.nets.discriminator.parameters(), lr=0.0)
    run.optimizers = {**run.optimizers, "discriminator": still}


PROOF = Proof(
    claim="Two discriminators that learn the teacher's pairs give a one-step start in which most modes are found.",
    bench="ring",
    figure="weights_tv",
    good=0.3,
    bad=0.45,
    change=stop_discriminators,
    settings={"learning_rate": 5e-4},
    training={"steps": 150, "batch_size": 128, "gradient_clip": 10.0},
    expected="none published; adversarial distribution matching alone has 0.45 from a blurry start",
)
