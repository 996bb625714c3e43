"""The way of a gradient: what the optimizer sees is what autograd says, wherever it was added up."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from backend.optimizers import adam, factored
from backend.trained import Trained, Trainees


def pair() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"student": nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), "critic": nn.Linear(2, 1)}


def loss_of(nets: dict[str, nn.Module], seed: int) -> Tensor:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))
    return nets["critic"](nets["student"](x)).square().mean()  # type: ignore[no-any-return]


def passed(trainees: Trainees, nets: Sequence[nn.Module], *losses: Tensor) -> list[Trained]:
    trained = trainees.of(nets)
    trainees.begin_gradients(trained)
    for loss in losses:
        torch.autograd.backward(loss, inputs=[p for one in trained for p in one.parameters])
    return trained


def end_to_end(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


@pytest.mark.parametrize("kind", ["flat", "factored", "own"])
def test_whichever_networks_an_update_names_their_gradients_are_autograds(kind: str) -> None:
    nets = pair()
    makes = {
        "flat": lambda net: adam(net, 0.1),
        "factored": lambda net: factored(adam(net, 0.1), net),
        "own": lambda net: SGD(net.parameters(), lr=0.1),
    }
    trainees = Trainees(nets, {name: makes[kind](net) for name, net in nets.items()})
    student, critic = nets.values()
    for seed, named in enumerate([[student], [critic, student], [critic], [student, critic], [student]]):
        expected = [
            end_to_end(torch.autograd.grad(loss_of(nets, seed) + loss_of(nets, 9), list(net.parameters())))
            for net in named
        ]
        trained = passed(trainees, named, loss_of(nets, seed), loss_of(nets, 9))
        for one, gradient in zip(trained, expected, strict=True):
            torch.testing.assert_close(end_to_end(one.gradient()), gradient)
            torch.testing.assert_close(end_to_end([p.grad for p in one.parameters if p.grad is not None]), gradient)


def test_what_no_loss_meets_is_zero_in_one_piece_and_nothing_by_itself() -> None:
    for make, expected in ((lambda net: adam(net, 0.1), [0.0] * 3), (lambda net: SGD(net.parameters(), lr=0.1), [])):
        nets: dict[str, nn.Module] = {"net": nn.ModuleList([nn.Linear(1, 1), nn.Linear(2, 1)])}
        met, unmet = nets["net"]  # type: ignore[misc]
        trainees = Trainees(nets, {"net": make(nets["net"])})
        (one,) = passed(trainees, [nets["net"]], met(torch.ones(1, 1)).sum())  # type: ignore[has-type]
        assert end_to_end(one.gradient()).tolist() == [1.0, 1.0, *expected]
        assert sum(p.numel() for p in unmet.parameters()) == 3  # type: ignore[has-type]


def test_one_memory_serves_updates_of_either_network() -> None:
    """As large as what one update names: of large networks every gradient more is gigabytes."""
    nets = pair()
    trainees = Trainees(nets, {name: adam(net, 0.1) for name, net in nets.items()})
    places = []
    for net in (*nets.values(), *nets.values()):
        (one,) = passed(trainees, [net], loss_of(nets, 0))
        places.append(one.gradient()[0].data_ptr())
        storage = one.gradient()[0].untyped_storage()
        assert storage.nbytes() == 4 * sum(p.numel() for p in nets["student"].parameters())
    assert len(set(places)) == 1


def test_nothing_is_held_once_it_is_forgotten() -> None:
    nets = pair()
    trainees = Trainees(nets, {name: adam(net, 0.1) for name, net in nets.items()})
    trained = passed(trainees, list(nets.values()), loss_of(nets, 0))
    trainees.forget_gradients()
    assert all(p.grad is None for one in trained for p in (*one.parameters, *one.held))
    (again,) = passed(trainees, [nets["critic"]], loss_of(nets, 0))
    assert end_to_end(again.gradient()).abs().min() > 0
