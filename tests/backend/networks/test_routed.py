"""Networks for parts of the conditions, against answers known without the router: who answers whom, and who learns."""

import pytest
import torch
from torch import nn

from backend.contract.recipe import RecipeError
from backend.networks import Condition, Denoiser
from backend.networks.adapters import with_adapters
from backend.networks.mlp import MLP
from backend.networks.routed import Partition, RoutedDenoiser, clusters, prompt_vectors
from backend.networks.smaller import narrower
from backend.noise import FlowMatching, VarianceExploding

from ..exports.students import student, unet_of

PATH = VarianceExploding(0.01, 10.0)


def moved(net: nn.Module, by: float) -> nn.Module:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(by)
    return net


def denoisers(count: int) -> list[Denoiser]:
    torch.manual_seed(0)
    return [Denoiser(moved(MLP(2, 16, classes=6), 0.1 * k), PATH, "edm") for k in range(count)]


def labels(*numbers: int) -> Condition:
    return Condition.of_labels(torch.tensor(numbers))


def test_each_class_is_answered_by_its_own_network() -> None:
    alone = denoisers(3)
    net = RoutedDenoiser(alone, Partition(3, table=torch.tensor([0, 0, 1, 1, 2, 2])))
    cond, own = labels(5, 0, 2, 3, 1, 4), [2, 0, 1, 1, 0, 2]
    x, t = torch.randn(6, 2), torch.linspace(0.1, 0.9, 6).double()
    answer, maps = net(x, t, cond).output, net.features(x, t, cond)
    both = net.with_features(x, t, cond)
    assert all(torch.equal(one, other) for one, other in zip([both[0].output, *both[1]], [answer, *maps], strict=True))
    for i, k in enumerate(own):
        row = slice(i, i + 1)
        torch.testing.assert_close(answer[row], alone[k](x[row], t[row], cond[row]).output)
        for mine, theirs in zip(maps, alone[k].features(x[row], t[row], cond[row]), strict=True):
            torch.testing.assert_close(mine[row], theirs)
        assert torch.equal(net.one(k)(x, t, cond).output, alone[k](x, t, cond).output)


def test_a_sample_moves_the_network_of_its_part_alone() -> None:
    net = RoutedDenoiser(denoisers(2), Partition(2, table=torch.tensor([0, 0, 0, 1, 1, 1])))
    net(torch.randn(3, 2), torch.full((3,), 0.5).double(), labels(4, 3, 4)).output.sum().backward()
    assert all(p.grad is None for p in net.network.students[0].parameters())
    assert any(p.grad is not None for p in net.network.students[1].parameters())


def test_who_is_for_what_is_among_the_weights() -> None:
    net = RoutedDenoiser(denoisers(2), Partition(2, table=torch.tensor([0, 1, 0, 1, 0, 1])))
    again = RoutedDenoiser(denoisers(2), Partition(2, table=torch.zeros(6, dtype=torch.long)))
    again.load_state_dict(net.state_dict())
    x, t, cond = torch.randn(6, 2), torch.full((6,), 0.5).double(), labels(*range(6))
    assert torch.equal(again(x, t, cond).output, net(x, t, cond).output)


@pytest.mark.parametrize("cond", [labels(0, 6), labels(-1, 2), Condition.none(2)])
def test_what_no_student_is_for_is_refused(cond: Condition) -> None:
    net = RoutedDenoiser(denoisers(2), Partition(2, table=torch.tensor([0, 0, 0, 1, 1, 1])))
    assert net.null(cond) is None
    with pytest.raises(ValueError, match="student"):
        net(torch.randn(2, 2), torch.full((2,), 0.5).double(), cond)


def test_prompts_fall_into_the_clusters_that_are_there_and_go_to_the_nearest() -> None:
    corners = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    vectors = corners.repeat(5, 1) + torch.rand(15, 2, generator=torch.Generator().manual_seed(0))
    partition = Partition(3, centres=clusters(vectors, 3))
    own = partition(Condition(15, {"text": vectors[:, None]})).reshape(5, 3)
    assert torch.equal(own, own[:1].expand(5, 3))
    assert sorted(own[0].tolist()) == [0, 1, 2]
    assert torch.equal(clusters(vectors, 3), clusters(vectors, 3))


def test_what_fills_a_prompt_up_does_not_count() -> None:
    text = torch.tensor([[[2.0], [4.0], [99.0]]])
    masked = Condition(1, {"text": text, "text_mask": torch.tensor([[1, 1, 0]])})
    assert prompt_vectors(masked).item() == 3
    assert prompt_vectors(Condition(1, {"text": text})).item() == 35


# Narrower networks


def test_a_narrower_network_is_of_the_same_kind_and_untrained() -> None:
    net = narrower(Denoiser(MLP(2, 16, classes=6, scale=3.0), PATH, "edm", 0.7), 0.5)
    assert isinstance(net.network, MLP)
    assert (net.network.head.in_features, net.network.null_label, net.network.scale) == (8, 6, 3.0)
    assert (net.path, net.prediction_type, net.sigma_data) == (PATH, "edm", 0.7)
    pictures = student("flow")
    small = narrower(pictures, 0.5)
    assert list(unet_of(small).config.block_out_channels) == [8, 16]
    t = torch.full((2,), 0.5)
    assert small(torch.randn(2, *small.shape), t, labels(0, 9)).output.shape == (2, *pictures.shape)


def test_what_cannot_be_narrowed_is_refused() -> None:
    with pytest.raises(RecipeError, match="set width to 1"):
        narrower(student("flow"), 0.99)  # its channels come in eights
    with pytest.raises(RecipeError, match="Adapters"):
        narrower(with_adapters(student("flow"), 4), 0.5)
    stranger = Denoiser(nn.Linear(2, 2), FlowMatching(), "flow")
    with pytest.raises(RecipeError, match="cannot be narrowed"):
        narrower(stranger, 0.5)
