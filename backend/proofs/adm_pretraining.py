"""Adversarial pre-training: the discriminators must learn; still ones lead the student astray."""

import torch

from backend.proofs import Proof
from backend.train import Run


def stop_discriminators(run: Run) -> None:
    """The stub: their updates are computed and change nothing."""
    names = ("latent_discriminator", "pixel_discriminator")
    still = {name: torch.optim.SGD(getattr(run.nets, name).parameters(), lr=0.0) for name in names}
    run.optimizers = {**run.optimizers, **still}


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
