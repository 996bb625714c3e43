import copy
import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from backend.contract.events import Progress
from backend.contract.recipe import RecipeError, Training
from backend.contract.settings import Settings
from backend.methods import Batch, Method, Update
from backend.networks import Condition, Denoiser
from backend.networks.mlp import MLP
from backend.noise import Trigonometric
from backend.optimizers import flattened
from backend.samplers import Sampler
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE
from backend.train import NotFiniteError, Run, start, train

RATE = 0.5


@dataclass
class Nets:
    teacher: Denoiser
    student: Denoiser
    critic: nn.Module


Step = Callable[[Nets, Batch, Settings], Iterator[Update]]
Make = Callable[[nn.Module], Optimizer]


def sgd(net: nn.Module) -> Optimizer:
    return SGD(net.parameters(), lr=RATE)


def adam(net: nn.Module) -> Optimizer:
    return Adam(net.parameters(), lr=0.01)


def flat_adam(net: nn.Module) -> Optimizer:
    """One that holds one parameter in place of the network's."""
    return Adam([flattened(net)], lr=0.01)


def teacher() -> Teacher:
    torch.manual_seed(7)
    net = Denoiser(MLP(2, width=8), Trigonometric(), "v_prediction").frozen()
    return Teacher("tiny", "Tiny", net, net.copy, "0", draws=MIXTURE)


def begin(step: Step, make: Make = sgd, needs_data: bool = False, **training: Any) -> Run:
    """A run of a method that is this one step."""

    def build(teacher: Teacher, s: Settings) -> Nets:
        return Nets(teacher.denoiser, teacher.trainable(), nn.Linear(2, 1))

    def optimizers(nets: Nets, s: Settings) -> Mapping[str, Optimizer]:
        return {"student": make(nets.student), "critic": make(nets.critic)}

    method = Method(
        "Test", "none", "A test.", Settings, build, optimizers, step, lambda s, path: Sampler("renoise", (1.0,)),
        cost=lambda s: 2.5, needs=lambda s: ("real data",) if needs_data else (),
    )  # fmt: skip
    given = Training(**{"steps": 1, "batch_size": 4, "ema_decay": 0, "gradient_clip": 0, **training})
    source = teacher()
    return start(method, Settings(), given, source, source.draws, torch.device("cpu"))


def student_output(nets: Nets, batch: Batch) -> Tensor:
    return nets.student(batch.noise(), batch.times(), batch.cond).output  # type: ignore[no-any-return]


def squares(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    yield Update(nets.student, {"size": student_output(nets, batch).square().mean()})


def against_each_other(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    """Both updates' losses reach both networks."""
    yield Update(nets.student, {"gan": nets.critic(student_output(nets, batch)).mean()})
    yield Update(nets.critic, {"critic": -nets.critic(student_output(nets, batch)).mean()})


def weights(net: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in net.parameters()]


def moved(net: nn.Module, before: list[Tensor]) -> list[Tensor]:
    return [p.detach() - old for p, old in zip(net.parameters(), before, strict=True)]


def norm(tensors: list[Tensor]) -> float:
    return float(torch.cat([t.flatten() for t in tensors]).norm())


def numbers(progress: Progress) -> dict[str, float]:
    return {name: float(value) for name, value in progress.metrics.items()}  # type: ignore[arg-type]


def test_an_update_reaches_only_the_network_it_names() -> None:
    seen: list[tuple[bool, bool]] = []

    def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
        for update in against_each_other(nets, batch, s):
            before = weights(nets.student), weights(nets.critic)
            yield update
            seen.append((norm(moved(nets.student, before[0])) > 0, norm(moved(nets.critic, before[1])) > 0))

    run = begin(step)
    list(train(run))
    assert seen == [(True, False), (False, True)]
    assert all(p.grad is None for net in (run.nets.student, run.nets.critic) for p in net.parameters())


def test_an_update_may_name_several_networks() -> None:
    def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
        yield Update((nets.student, nets.critic), {"both": nets.critic(student_output(nets, batch)).square().mean()})

    run = begin(step)
    before = weights(run.nets.student), weights(run.nets.critic)
    list(train(run))
    assert norm(moved(run.nets.student, before[0])) > 0
    assert norm(moved(run.nets.critic, before[1])) > 0


def test_what_follows_an_update_sees_the_new_weights() -> None:
    biases: list[float] = []

    def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
        for _ in range(2):
            bias = nets.critic.bias
            assert isinstance(bias, Tensor)
            biases.append(bias.item())
            yield Update(nets.critic, {"bias": bias.sum()})

    list(train(begin(step)))
    assert biases[0] - biases[1] == pytest.approx(RATE)


def test_terms_are_summed_and_reported_apart() -> None:
    def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
        bias = nets.critic.bias
        assert isinstance(bias, Tensor)
        yield Update(nets.critic, {"one": 1 * bias.sum(), "three": 3 * bias.sum()}, {"seen": torch.tensor(8.0)})

    run = begin(step)
    before, size = run.nets.critic.bias.item(), norm([p.detach() for p in run.nets.critic.parameters()])
    (progress,) = train(run)
    assert before - run.nets.critic.bias.item() == pytest.approx(4 * RATE)
    expected = {
        "one": before,
        "three": 3 * before,
        "seen": 8,
        "critic_gradient_norm": 4,
        "critic_step": 4 * RATE / size,
    }
    assert numbers(progress) == pytest.approx(expected, rel=1e-4)


def test_long_gradients_are_cut_to_length_and_short_ones_left() -> None:
    def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
        yield Update(nets.student, {"size": 1000 * student_output(nets, batch).sum()})

    def length(clip: float) -> tuple[float, float]:
        run = begin(step, gradient_clip=clip)
        before = weights(run.student)
        (progress,) = train(run)
        return norm(moved(run.student, before)) / RATE, numbers(progress)["student_gradient_norm"]

    (free, reported), (cut, reported_too), (wide, _) = length(0), length(0.5), length(1e9)
    assert reported == reported_too == pytest.approx(free, rel=1e-4)
    assert free > 100
    assert cut == pytest.approx(0.5, rel=1e-4)
    assert wide == pytest.approx(free, rel=1e-5)


def test_the_learning_rate_rises_during_warm_up_even_when_interrupted() -> None:
    def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
        bias = nets.critic.bias
        assert isinstance(bias, Tensor)
        yield Update(nets.critic, {"bias": bias.sum()})

    run = begin(step, steps=6, warmup_steps=4)
    biases = [run.nets.critic.bias.item()]
    while run.step < 6:  # left after each step, as when a checkpoint is made
        next(train(run))
        biases.append(run.nets.critic.bias.item())
    steps = [(a - b) / RATE for a, b in itertools.pairwise(biases)]
    assert steps == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1], abs=1e-5)


def test_the_average_follows_the_student_by_its_decay() -> None:
    run = begin(squares, steps=30, ema_decay=0.7)
    expected = weights(run.student)
    rising = [(1 + k) / (4 + k) for k in range(6)] + [0.7] * 24  # (1 + 6)/(4 + 6) is 0.7
    for decay, _ in zip(rising, train(run), strict=True):
        expected = [decay * a + (1 - decay) * p for a, p in zip(expected, weights(run.student), strict=True)]
    for a, b in zip(run.average.parameters(), expected, strict=True):
        torch.testing.assert_close(a.data, b)
    assert run.exported is run.average


def test_the_average_moves_only_with_the_student() -> None:
    def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
        yield Update(nets.critic, {"size": nets.critic(batch.noise()).square().mean()})

    run = begin(step, steps=2, ema_decay=0.5)
    with torch.no_grad():
        next(run.student.parameters()).add_(1)
    before = weights(run.average)
    list(train(run))
    assert norm(moved(run.average, before)) == 0


def test_without_decay_the_student_itself_is_exported() -> None:
    assert (run := begin(squares)).exported is run.student


NOT_FINITE = {
    "loss": "The loss of student was not finite at step 3, first its size.",
    "gradient": "The gradient of student was not finite at step 3, first that of network.layers.0.weight of student.",
    "norm": "The gradient of student was not finite at step 3: its norm is too large to be held.",
}


@pytest.mark.parametrize("make", [adam, flat_adam])
@pytest.mark.parametrize("where", NOT_FINITE)
def test_what_is_not_finite_stops_the_run_before_the_step(where: str, make: Make) -> None:
    def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
        size = student_output(nets, batch).square().mean()
        # The square root of 0 is 0 and has an infinite slope.
        bad = {"loss": size * float("nan"), "gradient": (size - size.detach()).sqrt(), "norm": size * 1e30}[where]
        yield Update(nets.student, {"size": size if batch.step < 2 else bad})

    run = begin(step, make=make, steps=5, ema_decay=0.9)
    kept: list[Tensor] = []
    going = train(run)
    for _ in range(2):
        next(going)
        kept = weights(run.student) + weights(run.average)
    with pytest.raises(NotFiniteError, match=f"^{re.escape(NOT_FINITE[where])}$"):
        next(going)
    assert run.step == 2
    assert all(torch.equal(a, b) for a, b in zip(kept, weights(run.student) + weights(run.average), strict=True))


def test_fresh_forgets_the_moments_first() -> None:
    def once(fresh: bool) -> Tensor:
        def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
            bias = nets.critic.bias
            assert isinstance(bias, Tensor)
            sign = 1 if batch.step < 3 else -1
            yield Update(nets.critic, {"bias": sign * bias.sum()}, fresh=fresh and batch.step == 3)

        run = begin(step, make=adam, steps=4)
        biases = [run.nets.critic.bias.item()]
        biases += [run.nets.critic.bias.item() for _ in train(run)]
        return torch.tensor(biases).diff()

    # Adam's first step is the rate against the sign, whatever was before; with its moments kept it is another one.
    assert once(fresh=True).tolist() == pytest.approx([-0.01, -0.01, -0.01, 0.01], rel=1e-3)
    assert once(fresh=False)[3] != pytest.approx(0.01, rel=0.1)


def test_frozen_parameters_of_a_named_network_stay() -> None:
    run = begin(squares, steps=2)
    first = next(run.student.parameters()).requires_grad_(False)
    before = first.clone(), weights(run.student)
    list(train(run))
    assert torch.equal(first, before[0])
    assert norm(moved(run.student, before[1])) > 0


def test_same_seed_same_losses_and_another_seed_others() -> None:
    def losses(seed: int) -> list[float]:
        torch.rand(seed + 1)  # the global random state must not matter
        run = begin(against_each_other, steps=4, seed=seed)
        return [numbers(p)["gan"] for p in train(run)]

    assert losses(3) == losses(3) != losses(4)


def test_the_teacher_is_left_alone_and_not_among_the_changing_networks() -> None:
    run = begin(against_each_other, steps=2)
    before = weights(run.nets.teacher)
    list(train(run))
    assert norm(moved(run.nets.teacher, before)) == 0
    assert set(run.modules()) == {"student", "critic", "average"}


def test_progress_counts_samples_and_evaluations() -> None:
    run = begin(squares, steps=3)
    assert [(p.step, p.images, p.nfe) for p in train(run)] == [(1, 4, 10), (2, 8, 20), (3, 12, 30)]


def test_real_data_is_drawn_only_for_a_method_that_needs_it() -> None:
    def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
        real, cond = batch.real
        assert real.shape == (4, 2)
        assert len(cond) == 4
        yield Update(nets.student, {"size": student_output(nets, batch).square().mean()})

    list(train(begin(step, needs_data=True)))
    with pytest.raises(ValueError, match="needs real data"):
        list(train(begin(step)))


@pytest.mark.parametrize("stop", [1, 3])
def test_a_run_is_its_networks_optimizers_random_state_and_step(stop: int) -> None:
    def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
        real, _ = batch.real
        shift = batch.index(5) + batch.indices(3).sum()
        yield Update(nets.student, {"gan": nets.critic(student_output(nets, batch)).mean() + 0 * shift})
        fake = nets.critic(student_output(nets, batch).detach())
        yield Update(nets.critic, {"critic": (fake - nets.critic(real)).mean() + 0.01 * shift})

    def new() -> Run:
        return begin(step, make=adam, needs_data=True, steps=24, ema_decay=0.9, warmup_steps=5, gradient_clip=1)

    resumes_exactly(new, stop)


@pytest.mark.parametrize("training", [{"accumulation": 3}, {"precision": "bfloat16"}, {"optimizer": "adafactor"}])
def test_a_run_resumes_exactly_however_it_trains(training: dict[str, Any]) -> None:
    def new() -> Run:
        return begin(against_each_other, make=adam, steps=6, ema_decay=0.9, **training)

    resumes_exactly(new, 2)


def resumes_exactly(new: Callable[[], Run], stop: int) -> None:
    whole, first, second = new(), new(), new()
    expected = [numbers(p) for p in train(whole)]
    going = train(first)
    for _ in range(stop):
        next(going)
    torch.rand(17)
    for name, net in second.modules().items():
        net.load_state_dict(first.modules()[name].state_dict())
    for name, optimizer in second.optimizers.items():
        optimizer.load_state_dict(copy.deepcopy(first.optimizers[name].state_dict()))
    second.generator.set_state(first.generator.get_state())
    second.step = first.step
    resumed = [numbers(p) for p in train(second)]
    assert resumed == expected[stop:]
    for name, net in whole.modules().items():
        assert all(
            torch.equal(a, b) for a, b in zip(net.parameters(), second.modules()[name].parameters(), strict=True)
        )


def test_accumulated_batches_give_the_mean_gradient() -> None:
    noises: list[Tensor] = []

    def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
        noises.append(batch.noise())
        x, t = noises[-1], torch.full((4,), 0.5, dtype=torch.float64)
        size = nets.student(x, t, batch.cond).output.square().mean()
        yield Update(nets.student, {"size": size}, {"largest": x.max()})

    run = begin(step, accumulation=3)
    before = weights(run.student)
    twin = copy.deepcopy(run.student)
    (progress,) = train(run)
    x, t = torch.cat(noises), torch.full((12,), 0.5, dtype=torch.float64)
    loss = twin(x, t, Condition.none(12)).output.square().mean()
    expected = torch.autograd.grad(loss, list(twin.parameters()))
    for change, gradient in zip(moved(run.student, before), expected, strict=True):
        torch.testing.assert_close(change, -RATE * gradient)
    found = numbers(progress)
    assert found["size"] == pytest.approx(loss.item())
    assert found["largest"] == pytest.approx(sum(float(noise.max()) for noise in noises) / 3)
    assert (progress.images, progress.nfe) == (12, 30)


def test_every_batch_of_a_step_sees_the_weights_after_the_update_before() -> None:
    seen: list[float] = []

    def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
        for _ in range(2):
            bias = nets.critic.bias
            assert isinstance(bias, Tensor)
            seen.append(bias.item())
            yield Update(nets.critic, {"bias": bias.sum()})

    list(train(begin(step, accumulation=2)))
    first, second, third, fourth = seen
    assert first == second
    assert third == fourth == pytest.approx(first - RATE)


def test_one_graph_alone_is_in_memory_however_many_batches_are_accumulated() -> None:
    most = 0

    def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
        nonlocal most
        with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
            size = student_output(nets, batch).square().mean()
        most = max(most, Saved.count)
        yield Update(nets.student, {"size": size})

    list(train(begin(step)))
    one, most = most, 0
    list(train(begin(step, accumulation=4)))
    assert most == one > 0


class Saved:
    """A tensor kept for the backward pass. count: how many there are."""

    count = 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        Saved.count += 1

    def __del__(self) -> None:
        Saved.count -= 1


def test_what_a_method_cannot_accumulate_is_refused() -> None:
    def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
        yield Update(nets.student if batch.index(10) % 2 else nets.critic, {"none": student_output(nets, batch).sum()})

    run = begin(step, accumulation=20)
    with pytest.raises(ValueError, match="update the same networks in the same order"):
        list(train(run))
    whole = dataclasses.replace(run.method, accumulates=lambda s: False)
    with pytest.raises(RecipeError, match="Test needs its whole batch at once with these settings; set accum"):
        start(whole, Settings(), run.training, run.teacher, None, torch.device("cpu"))


def test_networks_compute_in_bfloat16_and_nothing_else_does() -> None:
    inside: list[torch.dtype] = []
    outside: list[torch.dtype] = []

    def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
        layer = next(m for m in nets.student.modules() if isinstance(m, nn.Linear))
        layer.register_forward_hook(lambda module, args, out: inside.append(out.dtype))
        prediction = nets.student(batch.noise(), batch.times(), batch.cond)
        outside.extend((prediction.output.dtype, prediction.x0.dtype, nets.critic(prediction.x0.float()).dtype))
        yield Update(nets.student, {"size": prediction.output.square().mean()})

    run = begin(step, precision="bfloat16", ema_decay=0.5)
    list(train(run))
    assert inside == [torch.bfloat16]
    assert not any(dtype == torch.bfloat16 for dtype in outside)
    assert all(p.dtype == torch.float32 for net in (run.student, run.average) for p in net.parameters())
    run.student(torch.ones(1, 2), torch.ones(1), Condition.none(1))  # as previews between two steps do
    assert inside == [torch.bfloat16, torch.float32]


def test_bfloat16_gives_nearly_the_gradient_of_float32() -> None:
    changes = []
    for precision in ("float32", "bfloat16"):
        run = begin(squares, precision=precision)
        before = weights(run.student)
        list(train(run))
        changes.append(torch.cat([change.flatten() for change in moved(run.student, before)]))
    exact, rounded = changes
    # bfloat16 keeps 8 bits of each number: some 1 % after three layers and back
    assert 0 < float((rounded - exact).norm() / exact.norm()) < 0.05


def test_adafactor_moves_every_weight_by_the_rate_at_first() -> None:
    """The moments of a gradient of rank one are exact, so that all that is left of it is its signs."""

    def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
        yield Update(nets.critic, {"line": nets.critic(torch.tensor([[1.0, -3.0]])).sum()})

    run = begin(step, optimizer="adafactor")
    before = weights(run.nets.critic)
    list(train(run))
    weight, bias = moved(run.nets.critic, before)
    torch.testing.assert_close(weight, torch.tensor([[-RATE, RATE]]), rtol=1e-4, atol=0)
    torch.testing.assert_close(bias, torch.tensor([-RATE]), rtol=1e-4, atol=0)
