"""LCM: a student that is told its guidance makes that guidance's samples; one told another's makes the mean of all."""

from collections.abc import Iterator

import torch

from backend.methods import Batch, Update
from backend.methods.lcm import Nets, Settings
from backend.methods.lcm import step as whole_step
from backend.networks import Condition, Denoiser, Prediction
from backend.proofs import Proof


class Misled(Denoiser):
    """The student, told each time the guidance of the sample before."""

    def __init__(self, net: Denoiser) -> None:
        torch.nn.Module.__init__(self)
        self.net, self.path = net, net.path
        self.prediction_type, self.sigma_data = net.prediction_type, net.sigma_data

    def forward(self, noised: torch.Tensor, t: torch.Tensor, cond: Condition) -> Prediction:
        return self.net(noised, t, cond.with_part("guidance", cond.part("guidance").roll(1)))  # type: ignore[no-any-return]


def told_anothers(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    """The stub: the number says nothing about the teacher's guidance, and the student learns to leave it unheard."""
    misled = Nets(nets.teacher, Misled(nets.student), Misled(nets.target))
    for update in whole_step(misled, batch, s.model_copy(update={"target_ema": 0.0})):
        yield Update(nets.student, update.losses)


PROOF = Proof(
    claim="The guidance that the student is told is that of its samples: they are where the guided flow leads.",
    bench="wide",
    figure="coupling_rmse",
    good=0.15,
    without=told_anothers,
    settings={
        "student_steps": 1,
        "guidance_scale": 5.0,
        "guidance_low": 1.0,
        "guidance_high": 5.0,
        "learning_rate": 1e-3,
    },
    training={"steps": 2500, "batch_size": 512},
    expected="no figure; where the number is not heard, every guidance gives the same samples",
)
