"""ACD: consistency leads each noise to where the flow does; the discriminator alone leads it to any of the modes."""

from collections.abc import Iterator
from dataclasses import replace

from backend.methods import Batch, Update
from backend.methods.acd import Nets, Settings
from backend.methods.acd import step as whole_step
from backend.proofs import Proof


def adversarial_alone(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    """The stub: the student's update without its consistency term."""
    for update in whole_step(nets, batch, s):
        kept = {name: term for name, term in update.losses.items() if name != "consistency"}
        yield replace(update, losses=kept)


PROOF = Proof(
    claim="With a discriminator beside it, consistency still leads every noise to where the teacher's flow does.",
    bench="quadrants:v_prediction",
    figure="coupling_rmse",
    good=0.2,
    without=adversarial_alone,
    settings={"student_steps": 1, "skip": 40, "learning_rate": 1e-3},
    training={"steps": 600, "batch_size": 256, "gradient_clip": 10.0},
    expected="below 0.3 by consistency alone, and both modes of each condition kept with the discriminator",
)
