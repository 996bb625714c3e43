"""A second run of the same content: what text encoders and autoencoders made for the first is there, and they rest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from backend.assembly import start_run
from backend.contract.recipe import Recipe
from backend.networks.codec import Autoencoder
from backend.teachers import load_teacher, modules, prompts
from backend.teachers.layouts import layout
from backend.train import train

from .teachers import tiny

Models = Callable[[str], Path]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number, words in enumerate((*tiny.PROMPTS, "a honeybee")):
        Image.new("RGB", (16, 16), (60 * number, 90, 10)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(words)
    return folder


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was loaded, asked and read, in order, with a cache that begins empty."""
    monkeypatch.setenv("DISTILL_STUDIO_CACHE", str(tmp_path / "cache"))
    modules._file_digest.cache_clear()
    seen: list[str] = []

    def counted(owner: Any, name: str) -> None:
        call = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            seen.append(name)
            return call(*arguments, **named)

        monkeypatch.setattr(owner, name, wrapped)

    counted(prompts, "load_encoder")
    counted(prompts, "_call")
    counted(Autoencoder, "encode")
    return seen


def recipe(model: Path, data: Path | None, seed: int, method: str = "dmd2") -> Recipe:
    settings = {"gan_weight": 0.1} if data else {}
    training = {"steps": 1, "batch_size": 2, "seed": seed, "preview_every": 0}
    asked = {"teacher": str(model), "method": method, "settings": settings, "training": training}
    return Recipe.from_values({**asked, **({"data": str(data)} if data else {})})


def trained(asked: Recipe) -> None:
    assert [progress.step for progress in train(start_run(asked))] == [1]


@pytest.mark.parametrize("name", ["sd", "sdxl", "sana"])
def test_the_second_run_asks_no_encoder_and_loads_none(
    name: str, tiny_model: Models, photographs: Path, calls: list[str]
) -> None:
    trained(recipe(tiny_model(name), photographs, seed=0))
    assert {"load_encoder", "_call", "encode"} == set(calls)
    calls.clear()
    trained(recipe(tiny_model(name), photographs, seed=1))
    trained(recipe(tiny_model(name), None, seed=1))
    assert calls == []


def test_other_content_is_encoded_anew(tiny_model: Models, photographs: Path, calls: list[str]) -> None:
    trained(recipe(tiny_model("sd"), photographs, seed=0))
    calls.clear()
    (photographs / "1.txt").write_text("an ant")  # its words, and so its pictures' labels, are new
    trained(recipe(tiny_model("sd"), photographs, seed=0))
    assert "_call" in calls
    assert "encode" in calls


def test_an_added_caption_alone_is_encoded(
    tiny_model: Models, photographs: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    plain = prompts._call
    trained(recipe(tiny_model("sd"), photographs, seed=0))

    def call(family: str, pipe: Any, some: list[str], empty: bool, device: torch.device) -> prompts.Parts:
        asked.extend(some)
        return plain(family, pipe, some, empty, device)

    monkeypatch.setattr(prompts, "_call", call)
    (photographs / "1.txt").write_text("an ant")
    told: list[tuple[int, int]] = []
    start_run(recipe(tiny_model("sd"), photographs, seed=0), reading=lambda done, of: told.append((done, of)))
    assert asked == ["an ant", ""]
    assert told == [(1, 1)]


def test_a_process_that_was_killed_encodes_the_rest(
    tiny_model: Models, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = layout(tiny_model("sd")), [f"the sea {number}" for number in range(5)]
    whole = prompts.embed(model, asked).cond.part("text")
    monkeypatch.setattr(prompts, "FORM", "of a cache that is empty")
    monkeypatch.setattr(prompts, "PART", 2)

    def killed(done: int, of: int) -> None:
        assert (done, of) == (2, 5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prompts.embed(model, asked, killed)
    told: list[tuple[int, int]] = []
    later = prompts.embed(model, [*reversed(asked), asked[0]], lambda done, of: told.append((done, of)))
    assert told == [(2, 3), (3, 3)]
    torch.testing.assert_close(later.cond.part("text"), torch.cat([whole.flip(0), whole[:1]]))


def test_a_process_reads_each_file_of_weights_once(tiny_model: Models, calls: list[str]) -> None:
    start_run(recipe(tiny_model("sd"), None, seed=0))
    read = modules._file_digest.cache_info().misses
    start_run(recipe(tiny_model("sd"), None, seed=0))
    assert modules._file_digest.cache_info().misses == read


def test_what_was_encoded_in_bfloat16_is_kept_apart(tiny_model: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = layout(tiny_model("pixart-alpha")), ["the sea in bfloat16", "two cats"]
    monkeypatch.setattr(prompts, "FORM", "of another cache that is empty")
    made: list[torch.dtype] = []

    def loaded(*given: Any) -> Any:
        made.append(given[2])
        return load_encoder(*given)

    load_encoder = prompts.load_encoder
    monkeypatch.setattr(prompts, "load_encoder", loaded)
    narrow = prompts.Where(torch.device("cpu"), torch.bfloat16)
    rounded, exact = (
        prompts.embed(model, asked, where=where).cond.part("text") for where in (narrow, prompts.BY_PROCESSOR)
    )
    assert made == [torch.bfloat16, torch.float32]
    assert rounded.dtype == exact.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, atol=0.1, rtol=0.1)  # eight bits of each number
    again = prompts.embed(model, asked, where=narrow).cond.part("text")
    assert torch.equal(again, rounded)
    assert len(made) == 2


def test_a_gpu_encodes_in_bfloat16_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert prompts.Where.of(gpu) == prompts.Where(gpu, torch.bfloat16)
    assert prompts.Where.of(None) == prompts.Where.of(torch.device("cpu")) == prompts.BY_PROCESSOR
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert prompts.Where.of(gpu) == prompts.BY_PROCESSOR
    assert prompts.BY_PROCESSOR.shelf == ""  # what was kept before is found


def test_an_exports_pictures_are_of_prompts_in_float32(tiny_model: Models) -> None:
    teacher = load_teacher(str(tiny_model("sd")), prompts=("a red apple", "two cats"))
    assert teacher.embedded is not None
    exact = teacher.each_condition(3).part("text")
    rounded = replace(teacher, embedded=teacher.embedded.with_part("text", exact[:2].bfloat16().float()))
    assert torch.equal(rounded.each_exact_condition(3).part("text"), exact)
