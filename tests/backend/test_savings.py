"""What is said to lower a run's memory: its order, what each leaves, and that the run can then be started."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from backend.assembly import method_of, start_run
from backend.contract.recipe import Recipe
from backend.contract.settings import Settings
from backend.methods import load_method, method_names
from backend.networks.adapters import adapted
from backend.optimizers import state_bytes
from backend.savings import Footprint, TrainedSize, at_least, less_memory
from backend.train import train

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LARGE = Footprint(
    fixed=1000,
    nets={
        "student": TrainedSize(weights=1000, moments=2000, factored=20, copies=2, adapters=10),
        "fake_score": TrainedSize(weights=1000, moments=2000, factored=20, adapters=10),
    },
    activations=4000,
)
"""Needed: 1000, 4000 of the student and its average, 3000 of the fake score, 5000 of a step."""


def changed(asked: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    found = {part: dict(value) if isinstance(value, dict) else value for part, value in asked.items()}
    for name, value in change.items():
        part, key = name.split(".")
        found[part] = {**found.get(part, {}), key: value}
    return found


def suggested(
    asked: dict[str, Any], now: Footprint = LARGE, device: torch.device = CPU, room: int = 0
) -> dict[str, int]:
    """By what would change, the bytes that are left, in the order in which it is said."""
    recipe = Recipe.from_values(asked)
    found = less_memory(recipe, *method_of(recipe), now, device, room)
    return {" ".join(f"{name.split('.')[1]}={value}" for name, value in s.change.items()): s.memory for s in found}


def test_what_helps_most_comes_first_with_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    asked = {"teacher": "digits", "method": "dmd2", "settings": {"student_steps": 2, "gan_weight": 0.1}}
    assert LARGE.needed == 13000
    assert suggested(asked, device=CUDA) == {
        "optimizer=adafactor": 13000 - 2 * (2000 - 20),
        "kind=lora": 13000 - 2 * 990 - (2000 - 20),
        "batch_size=16": 13000 - 3000,
        "fake_score=lora": 13000 - 990 - (2000 - 20),
        "gradient_checkpointing=True": 13000 - 2400,
        "batch_size=8 accumulation=8": 13000 - 3500,
        "batch_size=32": 13000 - 2000,
        "precision=bfloat16": 13000 - 1800,
        "gan_weight=0.0": 13000 - 1200,
        "student_steps=1": 13000 - 400,
    }


def test_of_many_parts_the_fewest_that_fit_are_said() -> None:
    asked = {"teacher": "digits", "method": "dmd2"}
    assert "batch_size=32 accumulation=2" in suggested(asked, room=11000)
    assert "batch_size=16 accumulation=4" in suggested(asked, room=10999)
    assert "batch_size=8 accumulation=8" in suggested(asked, room=1)
    more = changed(asked, {"training.batch_size": 12, "training.accumulation": 3})
    assert "batch_size=3 accumulation=12" in suggested(more)


def test_what_is_on_or_cannot_be_is_not_said() -> None:
    on = {"gradient_checkpointing": True, "precision": "bfloat16", "optimizer": "adafactor", "batch_size": 1}
    asked = {"teacher": "digits", "method": "dmd2", "training": on, "student": {"kind": "lora", "fake_score": "lora"}}
    nets = {name: replace(net, adapters=0) for name, net in LARGE.nets.items()}
    assert suggested(asked, replace(LARGE, nets=nets)) == {}
    plain = {"teacher": "digits", "method": "consistency", "student": {"start": "run:1@best"}}
    found = suggested(plain, replace(LARGE, computes_again=False, nets={"student": LARGE.nets["student"]}))
    assert set(found) == {"batch_size=8 accumulation=8", "batch_size=16", "batch_size=32", "optimizer=adafactor"}
    assert not any("accumulation" in words for words in suggested({"teacher": "digits", "method": "embedding_loss"}))


def test_where_a_preview_needs_most_the_batch_does_not_help() -> None:
    drawing = replace(LARGE, drawing=9000)
    assert drawing.needed == 17000
    found = suggested({"teacher": "digits", "method": "dmd2"}, drawing)
    assert found == {
        "optimizer=adafactor": 17000 - 2 * 1980,
        "kind=lora": 17000 - 3960,
        "fake_score=lora": 17000 - 2970,
    }


@pytest.mark.parametrize(("method", "said"), [("dmd2", True), ("acd", False), ("scott", False)])
def test_only_where_the_adversarial_loss_alone_needs_it_real_data_is_saved(method: str, said: bool) -> None:
    card = load_method(method)
    chosen: Settings = card.settings(gan_weight=0.4)
    found = less_memory(Recipe(teacher="digits", method=method), card, chosen, LARGE, CPU)
    (words,) = (one.words for one in found if "settings.gan_weight" in one.change)
    assert ("no real data" in words) == said
    without = card.needs(card.settings(gan_weight=0))
    assert ("real data" not in without) == said


def test_sizes_are_those_of_the_run_that_is_proposed(lab) -> None:
    asked = lab.recipe()
    now = Footprint.of(start_run(Recipe.from_values(asked)), 16, 2**30, 2**31, 2**31)
    assert now.needed == 2**31
    for name, setting in (("student", "student.kind"), ("fake_score", "student.fake_score")):
        then = start_run(Recipe.from_values(changed(asked, {setting: "lora"})))
        own = now.with_adapters(name).nets[name]
        assert own.weights == 4 * sum(p.numel() for p in getattr(then.nets, name).parameters() if p.requires_grad)
        assert own.moments == pytest.approx(state_bytes(then.optimizers[name]), abs=1)
    then = start_run(Recipe.from_values(changed(asked, {"training.optimizer": "adafactor"})))
    for name, net in now.factored().nets.items():
        assert net.moments == state_bytes(then.optimizers[name])


@pytest.mark.parametrize("method", method_names())
def test_what_is_proposed_can_be_started(method: str, lab) -> None:
    asked = {**lab.recipe(method, steps=1, batch_size=2), "pairs": {"count": 5, "steps": 3}}
    card, recipe = load_method(method), Recipe.from_values(asked)
    run = start_run(recipe)
    change: dict[str, Any] = {}
    for of in (run, None):
        found = less_memory(recipe, card, run.settings, at_least(recipe, card, run.settings, of, 2**40), CPU)
        for one in found:
            change |= one.change
    assert change.keys() >= {"training.optimizer", "training.gradient_checkpointing"}
    full = {
        name for name in ("student", "fake_score") if name in run.optimizers and not adapted(getattr(run.nets, name))
    }
    refuses = method == "flash_dmd"  # which draws networks towards each other
    assert ("student.kind" in change) == ("student" in full and not refuses)
    assert ("student.fake_score" in change) == ("fake_score" in full and not refuses)
    then = start_run(Recipe.from_values(changed(asked, change)))
    assert [progress.step for progress in train(then)] == [1]


@pytest.mark.parametrize(("method", "least"), [("flash_dmd", 2), ("phased_dmd", 2)])
def test_no_value_is_proposed_that_the_method_refuses(method: str, least: int) -> None:
    card = load_method(method)
    assert card.settings().student_steps >= least
    assert not any("student_steps" in words for words in suggested({"teacher": "digits", "method": method}))
    assert not any("gan_weight" in words for words in suggested({"teacher": "digits", "method": "uni_dad"}))
