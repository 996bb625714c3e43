"""A student of every method, in as many steps as the table of equal budgets has it, out to plain diffusers.

    pytest -m long -n 0 tests/end_to_end/test_every_method.py

prints a table of the largest differences that fresh processes found. Two steps of training suffice: what leaves must be
what was shown, however good it is.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from backend import equal_budget, judge
from backend.methods import load_method, method_names

from ..backend.teachers import tiny
from ..conftest import Answer

Distill = Callable[..., Answer]
NEAR = 1e-5
FEW = {"steps": 2, "batch_size": 4, "preview_every": 0, "checkpoint_every": 0, "threads": 1}
PAIRS = {"count": 16, "steps": 2}
MANY = 50
WAYS = {name: equal_budget.ways(name) or {MANY: {}} for name in method_names()}
CASES = [pytest.param(name, nfe, id=f"{name}-{nfe}") for name, ways in WAYS.items() for nfe in ways]
NOT_FOR_POINTS = {
    **dict.fromkeys(("guidance", "adapter_guidance", "lora_guidance"), "This teacher has no unconditional mode"),
    "msd": "this teacher takes neither",
    "snoopi": "takes neither classes nor prompts to be guided by",
}
"""Methods that guide or part conditions, of which the points of the plane have none."""


def captioned(folder: Path) -> Path:
    """Pictures of noise, each with a prompt beside it."""
    folder.mkdir()
    for number, prompt in enumerate(tiny.PROMPTS):
        Image.effect_noise((64, 64), 40.0 + number).convert("RGB").save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(prompt)
    return folder


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, float]]:
    """By method and steps: the difference that a fresh process found."""
    made: dict[str, float] = {}
    yield made
    print()
    for name, difference in made.items():
        print(f"{name:<24}{difference:.1e}")


@pytest.mark.long
@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(("name", "nfe"), CASES)
def test_what_leaves_is_what_was_shown(
    name: str,
    nfe: int,
    tmp_path: Path,
    distill: Distill,
    found: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(judge, "SCORED_SAMPLES", 20)  # of what the run says about students that have learnt nothing
    monkeypatch.setattr(judge, "TEACHER_NFE", 2)
    project, recipe, out = tmp_path / "every.distill", tmp_path / "recipe.json", tmp_path / "student"
    asked = {"teacher": "digits", "method": name, "settings": WAYS[name][nfe], "training": FEW, "pairs": PAIRS}
    recipe.write_text(json.dumps(asked))
    assert distill("new", project).status == 0
    run = distill("run", project, "--recipe", recipe, "--json")
    assert (run.status, run.json["state"]) == (0, "finished"), run.err
    done = distill("export", project, 1, "--out", out, "--json")
    assert done.status == 0, done.err
    found[f"{name}, {nfe}"] = done.json["max_abs_difference"]
    assert done.json["max_abs_difference"] < NEAR


@pytest.mark.long
@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(("name", "key"), [(name, key) for name in WAYS for key in load_method(name).presets])
def test_every_preset_runs(
    name: str,
    key: str,
    tmp_path: Path,
    distill: Distill,
    tiny_teacher: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From its first preview to its last, with all that a worker shows and watches."""
    monkeypatch.setattr(judge, "SCORED_SAMPLES", 20)
    monkeypatch.setattr(judge, "TEACHER_NFE", 2)
    preset = load_method(name).presets[key]
    project, recipe = tmp_path / "presets.distill", tmp_path / "recipe.json"
    training = {**preset.training, **FEW, "preview_every": 1}
    wide = (
        (80, 80) if preset.settings.get("rank", preset.student.get("rank")) else (16, 32)
    )  # than adapters of the rank
    asked = {
        "teacher": str(tiny_teacher(channels=wide)),
        "method": name,
        "settings": dict(preset.settings),
        "pairs": PAIRS,
    }
    recipe.write_text(json.dumps({**asked, "training": training, "student": dict(preset.student)}))
    assert distill("new", project).status == 0
    run = distill("run", project, "--recipe", recipe, "--json")
    assert (run.status, run.json.get("state")) == (0, "finished"), run.err


@pytest.mark.long
@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("teacher", ["mixture-2d", "sd", "sd3"])
@pytest.mark.parametrize("name", WAYS)
def test_every_method_runs_on_points_and_prompts(
    name: str, teacher: str, tmp_path: Path, distill: Distill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it is said before that this teacher is none for it, and why."""
    monkeypatch.setattr(judge, "SCORED_SAMPLES", 20)
    monkeypatch.setattr(judge, "TEACHER_NFE", 2)
    monkeypatch.setenv("DISTILL_STUDIO_CACHE", str(tmp_path / "cache"))
    project, recipe = tmp_path / "others.distill", tmp_path / "recipe.json"
    asked: dict[str, object] = {"teacher": teacher, "method": name, "pairs": PAIRS, "training": FEW}
    if teacher != "mixture-2d":
        asked |= {"teacher": str(tiny.write(teacher, tmp_path)), "data": str(captioned(tmp_path / "data"))}
    recipe.write_text(json.dumps(asked))
    assert distill("new", project).status == 0
    run = distill("run", project, "--recipe", recipe, "--json")
    if teacher == "mixture-2d" and name in NOT_FOR_POINTS:
        assert (run.status, NOT_FOR_POINTS[name] in run.json["error"]) == (2, True), run.err
        return
    assert (run.status, run.json.get("state")) == (0, "finished"), run.err
