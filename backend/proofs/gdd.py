"""GDD: the discriminator must learn; a still one drives the student to whatever pleases its random heads."""

import torch

from backend.proofs import Proof
from backend.train import Run


def stop_discriminator(run: Run) -> None:
    """The stub: its updates are computed and change nothing."""
    still = torch.optim.SGD(run.nets.discriminator.parameters(), lr=0.0)
    run.optimizers = {**run.optimizers, "discriminator": still}


PROOF = Proof(
    claim="A learning discriminator on the teacher's features alone leads the student to every mode.",
    bench="ring",
    figure="weights_tv",
    good=0.25,
    bad=0.6,
    change=stop_discriminator,
    settings={"learning_rate": 5e-4},
    training={"steps": 600, "batch_size": 512, "gradient_clip": 10.0},
    expected="0.53 after 1,500 steps without the gradient penalty, the recall jumping between 0.25 and 0.875",
)
