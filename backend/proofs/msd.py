"""MSD: the classes must be shared out; where the router sends every class to one student, the others are in vain."""

from backend.networks.routed import RoutedDenoiser
from backend.proofs import Proof
from backend.train import Run


def send_all_to_one(run: Run) -> None:
    """The stub: one student, with one fake score, for all classes; batches and steps are the same."""
    for net in (run.nets.student, run.average, run.nets.fake_score):
        assert isinstance(net, RoutedDenoiser)
        assert net.network.partition.table is not None
        net.network.partition.table.zero_()


PROOF = Proof(
    claim="Of students too small for all classes, several come nearer to the teacher than one, at the same cost.",
    bench="small",
    figure="weights_tv",
    good=0.23,
    bad=0.25,
    change=send_all_to_one,
    settings={"students": 8, "learning_rate": 5e-4, "fake_score_learning_rate": 1e-3},
    training={"steps": 1500, "batch_size": 512, "gradient_clip": 10.0},
    expected="the union of more students is nearer; no gap for students that are large enough",
)
