"""Accumulated batches: of every method an update is the mean over them, and what a step does by itself it does once."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from backend import train as loop
from backend.contract.recipe import RecipeError
from backend.contract.settings import problems
from backend.methods import Batch, load_method, method_names
from backend.teachers import Teacher
from backend.train import Run

from .test_every_method import begin, mixture

STEPS, BATCHES = 8, 2


def cases() -> Iterator[Any]:
    """Every method as it is, with each preset that computes something else, and with and without each optional term."""
    for name in method_names():
        method, seen = load_method(name), set[object]()
        chosen: dict[str, dict[str, Any]] = {"default": {}}
        for term in ("embedding_weight", "gan_weight", "warm_up_steps", "pretraining_share"):
            chosen |= {f"no-{term}": {term: 0}, f"with-{term}": {term: 2 if term.endswith("steps") else 0.25}}
        chosen |= {key: dict(preset.settings) for key, preset in method.presets.items()}
        # Heads that start anew are drawn from the first batch's random sequence, as what else a step does by itself.
        few = {"pool_size": 48, "refresh": 0.0, "teacher_steps": 2, "discretisation": 8, "rank": 2, "student_steps": 2}
        for key, values in chosen.items():
            asked = {**few, **values} if key in ("default", *method.presets) else {**values, "rank": 2}
            asked = {k: v for k, v in asked.items() if k in method.settings.model_fields}
            unknown = values.keys() - method.settings.model_fields.keys()
            if unknown or problems(method.settings, asked) or asked.get("width", 1) < 1:
                continue
            s = method.settings.model_validate(asked)
            same = (method.cost(s), method.needs(s), method.accumulates(s))
            if same not in seen or not method.accumulates(s):
                seen.add(same)
                yield pytest.param(name, asked, id=f"{name}-{key}")


def prepared(name: str, asked: dict[str, Any], untrained: Callable[..., Teacher], batches: int) -> Run:
    """A run of so many batches to a step, whose optimizers hold still.

    No network of it is like another, so that averages of any two are seen.
    """
    teacher = mixture(name, "flow", untrained)
    if asked.get("guidance", "long-short") != "long-short" or asked.get("guidance_scale", 1.0) != 1.0:
        teacher = untrained("flow", classes=True)
    training = {"batch_size": 4, "ema_decay": 0.0, "gradient_clip": 0.0, "accumulation": batches}
    run = begin(name, teacher, STEPS, asked, **training)
    generator = torch.Generator().manual_seed(5)
    taught = {id(p) for p in run.teacher.denoiser.parameters()}
    with torch.no_grad():
        for key, net in run.modules().items():
            for parameter in net.parameters():
                if id(parameter) not in taught and key != "average":
                    parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.01)
    run.optimizers = {
        key: torch.optim.SGD([p for group in old.param_groups for p in group["params"]], lr=0.0)
        for key, old in run.optimizers.items()
    }
    return run


def taken(run: Run, number: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[list[dict[str, Tensor]]], list[Tensor]]:
    """The gradients of each update of each step by network and place, and all networks' weights after each step.

    number: of the first of the step's batches, whose content depends on step and number alone.
    """
    draw, apply = loop._batch, loop._apply
    updates, states, drawn = [list[dict[str, Tensor]]() for _ in range(STEPS)], list[Tensor](), 0

    def batch(run: Run, needs: Any) -> Batch:
        nonlocal drawn
        seed = 1000 * run.step + number + drawn % run.training.accumulation
        drawn += 1
        run.generator.manual_seed(seed)
        made = draw(run, needs)
        return replace(made, generator=torch.Generator().manual_seed(seed + 500))

    def applied(run: Run, update: Any, looked_at: bool) -> dict[str, object]:
        found = {f"{net.name} {place}": p.grad for net in update.nets for place, p in enumerate(net.parameters)}
        updates[run.step].append({key: g.clone() for key, g in found.items() if g is not None})
        return apply(run, update, looked_at)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_batch", batch)
        patch.setattr(loop, "_apply", applied)
        for _ in loop.train(run):
            tensors = [
                t.detach().flatten().float() for net in run.modules().values() for t in net.state_dict().values()
            ]
            states.append(torch.cat(tensors))
    return updates, states


@pytest.mark.parametrize(("name", "asked"), cases())
def test_an_update_is_the_mean_over_its_batches_or_is_refused(
    name: str, asked: dict[str, Any], untrained: Callable[..., Teacher], monkeypatch: pytest.MonkeyPatch
) -> None:
    method = load_method(name)
    if not method.accumulates(method.settings.model_validate(asked)):
        with pytest.raises(RecipeError, match="needs its whole batch at once with these settings; set accumulation"):
            prepared(name, asked, untrained, BATCHES)
        return
    both, states = taken(prepared(name, asked, untrained, BATCHES), 0, monkeypatch)
    apart = [taken(prepared(name, asked, untrained, 1), k, monkeypatch) for k in range(BATCHES)]
    for step in range(STEPS):
        assert len(both[step]) == len(apart[0][0][step]) == len(apart[1][0][step])
        for place, found in enumerate(both[step]):
            one, other = (updates[step][place] for updates, _ in apart)
            assert found.keys() == one.keys() | other.keys()
            zero = {key: torch.zeros_like(gradient) for key, gradient in found.items()}
            mean = {key: (one.get(key, zero[key]) + other.get(key, zero[key])) / 2 for key in found}
            torch.testing.assert_close(found, mean, rtol=1e-3, atol=1e-6)
        # What a step does to a network by itself it does once, whatever the batches.
        torch.testing.assert_close(states[step], apart[0][1][step], rtol=0, atol=0)
