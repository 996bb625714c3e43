"""NitroFusion: which heads look, which move and which forget; what counts as real; what a step costs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backend import losses
from backend.contract.settings import problems
from backend.methods import Batch, load_method, nitrofusion
from backend.networks import Condition, Denoiser, Prediction
from backend.networks.discriminators import KINDS, HeadPool, PoolHead
from backend.teachers import Teacher
from backend.train import Run, train

CPU = torch.device("cpu")
MAPS = [torch.zeros(2, 8, 4, 4), torch.zeros(2, 16, 2, 2)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(n: int = 4, seed: int = 0) -> Batch:
    return Batch(0, 10, Condition.none(n), (2,), generator(seed), CPU)


# The pool


def of(pool: HeadPool, i: int) -> tuple[str, int]:
    """A head's kind and the channels of its map."""
    head = pool.heads[i]
    assert isinstance(head, PoolHead)
    return head.kind, next(head.parameters()).shape[1]


def test_every_level_has_every_kind_of_head_for_every_map() -> None:
    pool = HeadPool(MAPS, 48, 4)
    for level in range(4):
        heads = pool.of_level(level)
        kinds = {of(pool, i) for i in heads}
        assert kinds == {(kind, channels) for kind in KINDS for channels in (8, 16)}
        assert len(heads) == 12
    assert sorted(i for level in range(4) for i in pool.of_level(level)) == list(range(48))


def test_drawn_are_different_heads_of_the_level_and_all_in_time() -> None:
    pool, source = HeadPool(MAPS, 48, 4), generator()
    seen: set[int] = set()
    for _ in range(60):
        chosen = pool.drawn(2, 5, source)
        assert len(set(chosen)) == 5
        assert set(chosen) <= set(pool.of_level(2))
        seen |= set(chosen)
    assert seen == set(pool.of_level(2))


def test_a_global_head_has_one_opinion_and_a_local_one_has_one_for_each_place() -> None:
    pool = HeadPool(MAPS, 48, 4)
    maps, without = ([torch.randn(3, *f.shape[1:], generator=generator(k)) for f in MAPS] for k in (1, 2))
    for i in range(48):
        (logits,) = pool([i], maps, without)
        kind, channels = of(pool, i)
        assert logits.shape == (3, 1 if kind == "global" else {8: 16, 16: 4}[channels])
        (other,) = pool([i], maps, maps)
        assert torch.equal(logits, other) == (kind != KINDS[2])


@pytest.mark.parametrize(("share", "size"), [(0.01, 100), (0.01, 150), (0.2, 48), (0.0, 48)])
def test_as_many_heads_start_anew_as_the_share_says_and_no_other_moves(share: float, size: int) -> None:
    pool, source = HeadPool([torch.zeros(2, 8)], size, 4), generator()
    counts = []
    for _ in range(40):
        before = [torch.nn.utils.parameters_to_vector(head.parameters()).detach().clone() for head in pool.heads]
        gone = pool.refresh(share, source)
        after = [torch.nn.utils.parameters_to_vector(head.parameters()) for head in pool.heads]
        moved = [head for head, old, new in zip(pool.heads, before, after, strict=True) if not torch.equal(old, new)]
        assert {id(head) for head in moved} == {id(head) for head in gone}
        counts.append(len(gone))
    assert set(counts) <= {int(share * size), int(share * size) + 1}
    assert sum(counts) / 40 == pytest.approx(share * size, abs=0.25)


# Hinge


def test_hinge_of_known_logits_and_of_heads_of_different_sizes() -> None:
    real, fake = (
        [torch.tensor([[2.0], [0.0]]), torch.tensor([[1.0, 1.0]])],
        [torch.tensor([[-2.0]]), torch.tensor([[3.0]])],
    )
    assert losses.discriminator_hinge(real, fake).item() == pytest.approx((0.5 + 0 + 0 + 4) / 2)
    assert losses.generator_hinge(fake).item() == pytest.approx(-0.5)


# The step


def start(untrained: Callable[[str], Teacher], begin: Callable[..., Run], **settings: Any) -> Run:
    return begin("nitrofusion", untrained("edm"), 3, 8, pool_size=48, **settings)


def vectors(pool: HeadPool) -> list[Tensor]:
    return [torch.nn.utils.parameters_to_vector(head.parameters()).detach().clone() for head in pool.heads]


def test_idle_heads_stay_bit_by_bit_as_they_are(untrained: Callable[[str], Teacher], begin: Callable[..., Run]) -> None:
    run = start(untrained, begin, refresh=0.0, active_heads=3)
    pool, chosen = run.nets.discriminator, list[list[int]]()
    drawn = pool.drawn

    def remembered(*given: Any) -> list[int]:
        chosen.append(drawn(*given))
        return chosen[-1]

    pool.drawn = remembered
    before = vectors(pool)
    for progress in train(run):
        after = vectors(pool)
        moved = {i for i in range(48) if not torch.equal(before[i], after[i])}
        assert moved == set(chosen[progress.step - 1])  # also in later steps, when others have moved before
        before = after


def test_of_heads_that_start_anew_the_optimizer_begins_anew_and_of_others_it_goes_on(
    untrained: Callable[[str], Teacher], begin: Callable[..., Run]
) -> None:
    run = start(untrained, begin, refresh=0.2, active_heads=12)
    pool, gone = run.nets.discriminator, list[set[int]]()
    refresh = pool.refresh

    def remembered(*given: Any) -> list[nn.Module]:
        renewed: list[nn.Module] = refresh(*given)
        gone.append({id(p) for head in renewed for p in head.parameters()})
        return renewed

    pool.refresh = remembered
    optimizer, steps, forgotten = run.optimizers["discriminator"], dict[int, int](), 0
    for _ in train(run):
        now = {id(p): int(optimizer.state[p]["step"]) if p in optimizer.state else 0 for p in pool.parameters()}
        for place, taken in now.items():
            before = 0 if place in gone[-1] else steps.get(place, 0)
            assert taken in (before, before + 1)
            forgotten += place in gone[-1] and steps.get(place, 0) > 0
        steps = now
    assert len(gone) == 3
    assert max(steps.values()) >= 1
    assert forgotten > 0


def test_real_are_the_teachers_samples_and_the_student_gets_one_evaluation(untrained: Callable[[str], Teacher]) -> None:
    s = nitrofusion.Settings(teacher_steps=5, pool_size=48)
    made = nitrofusion.build(untrained("edm"), s)
    asked: list[str] = []
    made.teacher.denoiser.register_forward_hook(lambda *given: asked.append("teacher"))
    made.student.register_forward_hook(lambda *given: asked.append("student"))
    names = [next(iter(update.losses)) for update in nitrofusion.step(made, batch(), s)]
    assert names == ["discriminator", "gan"]
    assert asked == ["student"] + 5 * ["teacher"]


def test_heads_are_asked_about_one_level_and_the_students_gradient_comes_from_them_alone(
    untrained: Callable[[str], Teacher],
) -> None:
    s = nitrofusion.Settings(pool_size=48, active_heads=12)
    made = nitrofusion.build(untrained("edm"), s)
    levels: list[float] = []
    asked = made.features.features

    def features(noised: Tensor, t: Tensor, cond: Condition) -> list[Tensor]:
        levels.append(float(t[0]))
        return asked(noised, t, cond)

    object.__setattr__(made.features, "features", features)
    for seed in range(6):
        levels.clear()
        discriminator, student = nitrofusion.step(made, batch(seed=seed), s)
        assert len(set(levels)) == 1
        assert levels[0] in nitrofusion.LEVELS
        parameters = list(made.student.parameters())
        reached = torch.autograd.grad(discriminator.losses["discriminator"], parameters, allow_unused=True)
        assert all(gradient is None for gradient in reached)
        assert any(g.abs().max() > 0 for g in torch.autograd.grad(student.losses["gan"], parameters))


def test_its_cost_is_what_it_asks_of_the_networks(untrained: Callable[[str], Teacher]) -> None:
    s = nitrofusion.Settings(pool_size=48, teacher_steps=4)
    made = nitrofusion.build(untrained("edm"), s)
    spent = 0.0

    def forward(net: Denoiser, given: tuple[Any, ...], out: Prediction) -> None:
        nonlocal spent
        spent += 3 if torch.is_grad_enabled() else 1

    for net in (made.student, made.teacher.denoiser):
        net.register_forward_hook(forward)
    asked = made.features.features

    def features(noised: Tensor, t: Tensor, cond: Condition) -> list[Tensor]:
        nonlocal spent
        spent += 0.5 * (2 if torch.is_grad_enabled() else 1)
        return asked(noised, t, cond)

    object.__setattr__(made.features, "features", features)
    list(nitrofusion.step(made, batch(), s))
    assert spent == nitrofusion.cost(s) - 2  # this teacher has no unconditional mode


def test_more_heads_than_a_level_has_are_refused_in_a_sentence() -> None:
    (wrong,) = problems(load_method("nitrofusion").settings, {"pool_size": 48, "active_heads": 13})
    assert wrong == (
        "active_heads is 13, and a pool of 48 has 12 for each noise level; choose 12 or fewer, or a larger pool_size."
    )


def test_a_resumed_pool_draws_and_forgets_as_it_would_have(
    untrained: Callable[[str], Teacher], begin: Callable[..., Run], continued: Callable[[Run], Run]
) -> None:
    run = start(untrained, begin, refresh=0.2)
    going = train(run)
    next(going)
    twin = continued(run)
    list(going)
    list(train(twin))
    assert all(
        torch.equal(a, b)
        for a, b in zip(vectors(run.nets.discriminator), vectors(twin.nets.discriminator), strict=True)
    )
