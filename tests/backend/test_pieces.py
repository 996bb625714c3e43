import copy

import torch
from torch import Tensor, nn

from backend import losses
from backend.optimizers import flattened
from backend.pieces import Stretches, in_one_piece, put_end_to_end


def net(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def numbers(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()]).clone()


def test_parameters_become_views_of_one_tensor_with_the_same_numbers() -> None:
    module = net(0)
    before, shapes = numbers(module), [p.shape for p in module.parameters()]
    whole = in_one_piece(list(module.parameters()))
    assert torch.equal(whole, before)
    assert [p.shape for p in module.parameters()] == shapes
    whole.fill_(2)
    assert all((p == 2).all() for p in module.parameters())


def test_only_what_is_not_trained_and_held_by_one_alone_is_moved() -> None:
    teacher, student = net(0).requires_grad_(False), net(1)
    average = copy.deepcopy(student).requires_grad_(False)
    average[0] = teacher[0]  # a base in common
    places = {name: [p.data_ptr() for p in n.parameters()] for name, n in {"t": teacher, "s": student}.items()}
    before = numbers(average)
    put_end_to_end([student, average, nn.Sequential(teacher)], teacher)
    assert [p.data_ptr() for p in teacher.parameters()] == places["t"]
    assert [p.data_ptr() for p in student.parameters()] == places["s"]
    weight, bias = average[1].parameters()
    assert bias.data_ptr() == weight.data_ptr() + weight.nbytes
    assert torch.equal(numbers(average), before)


def test_tensors_are_joined_where_both_lists_lie_end_to_end() -> None:
    first, second = torch.arange(12.0), torch.arange(20.0)
    cut = [first[:4].view(2, 2), first[4:6], first[6:7], first[8:12]]
    other = [second[:4].view(2, 2), second[4:6], second[7:8], second[8:12]]
    found = Stretches(cut, other)
    assert [view.flatten().tolist() for view in found.first] == [[0, 1, 2, 3, 4, 5], [6], [8, 9, 10, 11]]
    assert [view.flatten().tolist() for view in found.second] == [[0, 1, 2, 3, 4, 5], [7], [8, 9, 10, 11]]
    swapped = Stretches([first[2:4], first[:2]], [first[2:4], first[:2]])
    assert [len(view) for view in swapped.first] == [2, 2]
    assert [len(view) for view in Stretches([first[::2]], [first[1::2]]).first] == [6]


def test_an_average_follows_a_network_that_was_put_elsewhere_since() -> None:
    average, followed = net(0).requires_grad_(False), net(1)
    put_end_to_end([average], net(2))
    for move in (
        lambda: None,
        lambda: flattened(followed),
        lambda: flattened(followed),
        lambda: in_one_piece(list(average.parameters())),
    ):
        move()
        with torch.no_grad():
            for p in followed.parameters():
                p.add_(1)
        expected = 0.75 * numbers(average) + 0.25 * numbers(followed)
        losses.ema_update(average, followed, 0.75)
        torch.testing.assert_close(numbers(average), expected)


def test_an_average_follows_one_network_and_then_another() -> None:
    average, first, second = net(0).requires_grad_(False), net(1), net(2)
    for followed in (first, second, first):
        expected = 0.5 * numbers(average) + 0.5 * numbers(followed)
        losses.ema_update(average, followed, 0.5)
        torch.testing.assert_close(numbers(average), expected)
