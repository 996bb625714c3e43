"""TwinFlow: the sign must reach the network; hidden, the student's own samples spoil the velocities of the data."""

from torch import Tensor, nn

from backend.proofs import Proof
from backend.train import Run


def hide_sign(run: Run) -> None:
    """The stub: what the network makes of the sign of time is 0, and stays so."""

    def nothing(module: nn.Module, given: object, made: Tensor) -> Tensor:
        return 0 * made

    for net in (run.nets.student, run.nets.target):
        net.network.numbers["sign"].register_forward_hook(nothing)


PROOF = Proof(
    claim="The sign of time parts the student's own samples from the data, so that one network can be both scores.",
    bench="ring:flow",
    figure="weights_tv",
    good=0.28,
    change=hide_sign,
    settings={"learning_rate": 1e-3, "rectify_weight": 2.0},
    training={"steps": 800, "batch_size": 256, "gradient_clip": 10.0},
    expected="0.28 after 2,000 steps at weight 2; recall 0 in one step where the sign is hidden",
)
