"""What a step computes, counted: every method's card promises a number of network evaluations, and that is the number.

The teacher is a network whose encoding half is exactly half of it, and discriminators count for nothing, because cards
count half networks and no heads: what is left is the promise.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from backend.contract.recipe import Pairs, Training
from backend.contract.settings import problems
from backend.datasets import ImageSet
from backend.methods import Batch, load_method, method_names
from backend.networks import Condition, Denoiser
from backend.networks.discriminators import DataDiscriminator, PoolHead
from backend.networks.heads import Heads
from backend.networks.inputs import NumberEmbeddings
from backend.noise import FlowMatching
from backend.stores import Source, make
from backend.teachers import Teacher
from backend.train import start, train

METHODS = method_names()
WIDTH, SIZE, BATCH, CLASSES = 32, 8, 4, 2
HALF = 3
"""Layers of the encoding half, and of the other."""


class Counter(TorchDispatchMode):
    """Counts as torch's own FlopCounterMode, by its formulas, and takes a third of its time: no sums by module."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=made)
        return made


class Stack(nn.Module):
    """A pixel network of equal convolutions; what stands at its ends is little of it."""

    shape, null_label = (1, SIZE, SIZE), CLASSES

    def __init__(self) -> None:
        super().__init__()
        self.first, self.conv_out = nn.Conv2d(1, WIDTH, 1), nn.Conv2d(WIDTH, 1, 1)
        self.layers = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(2 * HALF))
        self.embed = nn.Embedding(CLASSES + 1, WIDTH)
        self.extend(())

    def extend(self, names: tuple[str, ...]) -> None:
        self.inputs, self.numbers = names, NumberEmbeddings(names, WIDTH)

    def features(self, x: Tensor, time: Tensor, cond: Condition) -> list[Tensor]:
        added = self.embed(cond.labels) * time.to(x.dtype)[:, None]
        if len(self.numbers):
            added = added + self.numbers.added(cond.parts)
        h = self.first(x) + added[:, :, None, None]
        for layer in self.layers[:HALF]:
            h = h + nn.functional.silu(layer(h))
        return [h]

    def with_features(
        self, x: Tensor, time: Tensor, cond: Condition, *, result_in_graph: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        maps = self.features(x, time, cond)
        with torch.set_grad_enabled(result_in_graph and torch.is_grad_enabled()):
            h = maps[-1]
            for layer in self.layers[HALF:]:
                h = h + nn.functional.silu(layer(h))
            return self.conv_out(h), maps

    def forward(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        return self.with_features(x, time, cond)[0]

    def fixed(self) -> list[nn.Parameter]:
        return []


@cache
def teacher() -> Teacher:
    torch.manual_seed(0)
    net = Denoiser(Stack(), FlowMatching(), "flow").frozen()
    data = ImageSet.of(torch.rand(16, *Stack.shape) * 2 - 1, torch.arange(16) % CLASSES, ("a", "b"))
    return Teacher("stack", "Stack", net, net.copy, "0", labels=("a", "b"), draws=data)


@pytest.fixture(autouse=True)
def _no_price_for_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Discriminators that multiply no matrices, and yet pass a gradient to what they see and to their parameters.

    Nor do random features, which cards leave out too.
    """

    def weighed(net: nn.Module, x: Tensor) -> Tensor:
        return x.flatten(1).mean(1) * next(net.parameters()).mean()

    monkeypatch.setattr("backend.losses.embedding", lambda x, *others: x.square().mean())
    monkeypatch.setattr(Heads, "forward", lambda net, maps: torch.stack([weighed(net, h) for h in maps]).mean(0))
    monkeypatch.setattr(PoolHead, "forward", lambda net, h: weighed(net, h)[:, None])
    monkeypatch.setattr(DataDiscriminator, "forward", weighed)


@pytest.fixture(autouse=True)
def _no_closer_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards leave out what curves of one step in twenty cost."""
    monkeypatch.setattr("backend.train._on_sample", lambda update: {})


@pytest.fixture(autouse=True)
def _every_index_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a batch draws for all of its samples takes 1, 2 or 4 values equally often, whosever turn it is."""
    monkeypatch.setattr(Batch, "index", lambda batch, count: batch.step // (batch.total // 4) % count)


def cases() -> Iterator[Any]:
    """Every method as it is, with each preset that costs something else, and guided where its teacher may be."""
    for method_name in METHODS:
        method = load_method(method_name)
        chosen: dict[str, dict[str, Any]] = {"default": {}}
        chosen |= {key: dict(preset.settings) for key, preset in method.presets.items()}
        if "guidance_scale" in method.settings.model_fields and not method.inputs(method.settings()):
            chosen["guided"] = {"guidance_scale": 1.5}
        # In forward mode torch also multiplies by the derivative of a convolution's weights, which is nothing, and so
        # takes 3 where a network of matrix products takes 2.
        # Adapters cost what their rank says, which cards leave out: here next to nothing.
        least = {"derivative": "differences", "rank": 1}
        both = {name: value for name, value in least.items() if name in method.settings.model_fields}
        if "shared_rollout" in method.settings.model_fields:
            shared = method.settings.model_fields["shared_rollout"].default
            chosen["other-rollouts"] = {"shared_rollout": not shared, "student_steps": 4}
        costs = set[float]()
        for key, values in chosen.items():
            asked = {**values, **both}
            if problems(method.settings, asked) or asked.get("width", 1) < 1:  # this teacher cannot be narrowed
                continue
            if (cost := method.cost(method.settings(**asked))) not in costs:
                costs.add(cost)
                yield pytest.param(method_name, asked, id=f"{method_name}-{key}")


def steps_of(s: Any) -> int:
    """So many that each turn and each level has its share: four rounds of all turns, or eight where steps are alike."""
    rounds = max(4, getattr(s, "fake_score_updates", 1))
    return 4 * rounds if getattr(s, "student_steps", 1) > 1 or hasattr(s, "fake_score_updates") else 8


def counted(name: str, settings: dict[str, Any]) -> tuple[float, float]:
    """Evaluations a sample and step: counted, and as the card says."""
    method = load_method(name)
    s = method.settings.model_validate(settings)
    steps = steps_of(s)
    asked = Training(steps=steps, batch_size=BATCH)
    pairs = None
    if "pairs" in method.needs(s):
        level = method.sampler(s, teacher().denoiser).levels[0]
        pairs = make(Source(teacher().denoiser, teacher(), "0", level), Pairs(count=50, steps=2), torch.device("cpu"))
    run = start(method, s, asked, teacher(), teacher().draws, torch.device("cpu"), pairs)
    counter = Counter()
    with counter:
        for _ in train(run):
            pass
    return counter.flops / (forward_flops() * steps * BATCH), method.cost(s)


@cache
def forward_flops() -> float:
    """Of the teacher on one sample."""
    cond = teacher().each_condition(1)
    counter = Counter()
    with counter, torch.no_grad():
        teacher().denoiser(torch.zeros(1, *Stack.shape), torch.zeros(1), cond)
    return counter.flops


@pytest.mark.parametrize(("name", "settings"), cases())
def test_a_step_computes_what_its_card_says(name: str, settings: dict[str, Any]) -> None:
    found, promised = counted(name, settings)
    assert found == pytest.approx(promised, rel=0.03)


def test_the_count_is_that_of_a_forward_and_backward() -> None:
    """Forward 1, with the gradient of the input 2, with that of the parameters 3; half a network half of it."""
    net, x = teacher().denoiser.copy(), torch.zeros(1, *Stack.shape)
    cond, t = teacher().each_condition(1), torch.full((1,), 0.5)

    def evaluations(trained: bool, half: bool) -> float:
        net.requires_grad_(trained)
        counter = Counter()
        with counter:
            seen = x.clone().requires_grad_(not trained)
            made = net.features(seen, t, cond)[0] if half else net(seen, t, cond).output
            made.sum().backward()
        return counter.flops / forward_flops()

    assert evaluations(trained=True, half=False) == pytest.approx(3, rel=0.01)
    assert evaluations(trained=False, half=False) == pytest.approx(2, rel=0.01)
    assert evaluations(trained=True, half=True) == pytest.approx(1.5, rel=0.01)
