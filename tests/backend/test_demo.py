"""The demo is a recipe in a file, which the window's button starts as well, and what it promises is what it reaches."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from backend import demo, judge, students, studio
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe, Training
from backend.demo import RECIPE
from backend.methods import load_method


def test_the_file_says_every_setting() -> None:
    """The window adds the run as it is read, without the method: a default of tomorrow must not change the demo."""
    written = json.loads(RECIPE.read_text())
    method = load_method(written["method"])
    assert written["settings"] == method.settings.model_validate(written["settings"]).model_dump(mode="json")
    assert written["training"] == Training.model_validate(written["training"]).model_dump(mode="json")
    assert written == Recipe.from_values(written).model_dump(mode="json")


def test_window_and_command_line_ask_for_the_same_run() -> None:
    assert studio.recipe_of(RECIPE, None, None, None, {}, {}) == Recipe.from_json(RECIPE.read_bytes())


def check_form(done: dict[str, Any]) -> None:
    """The answer has the keys that the README tells of, and its files are there."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `demo` \| (.*) \|$", readme, re.MULTILINE)
    told = {name: re.findall(r"`(\w+)`", more) for name, more in re.findall(r"`(\w+)`(?: \(([^)]*)\))?", row)}
    assert done.keys() == told.keys()
    for who in ("teacher", "student", "teacher_at_student_nfe"):
        assert list(done[who]) == told["teacher_at_student_nfe"]
    assert list(done["export"]) == told["export"]
    assert Path(done["picture"]).stat().st_size > 1000
    assert (Path(done["export"]["path"]) / "model_index.json").is_file()
    with ProjectFile.open(done["project"], readonly=True) as project:
        assert project.run_state(done["run"]).state == "finished"
        assert project.check() == []


@pytest.mark.usefixtures("in_process")
def test_the_answer_has_the_keys_that_the_readme_tells_of(lab, distill, tmp_path, monkeypatch):
    short = tmp_path / "short.json"
    short.write_text(json.dumps(lab.recipe(steps=2, preview_every=0, checkpoint_every=0)))
    monkeypatch.setattr(demo, "RECIPE", short)
    monkeypatch.setattr(judge, "SCORED_SAMPLES", 60)
    monkeypatch.setattr(judge, "PREVIEW_SAMPLES", 10)
    monkeypatch.setattr(judge, "TEACHER_NFE", 4)
    monkeypatch.setattr(students, "evaluate", partial(students.evaluate, count=60))
    done = distill("demo", "--project", tmp_path / "demo", "--json").json
    check_form(done)
    assert (done["steps"], done["method"]) == (2, "dmd2")
    assert [done[who]["nfe"] for who in ("teacher", "student", "teacher_at_student_nfe")] == [4, 1, 1]
    assert done["export"]["max_abs_difference"] < 1e-5


@pytest.mark.long
def test_the_demo_reaches_what_it_promises(distill, tmp_path):
    done = distill("demo", "--project", tmp_path / "demo", "--json").json
    check_form(done)
    teacher, student, single = (done[who] for who in ("teacher", "student", "teacher_at_student_nfe"))
    assert (teacher["nfe"], student["nfe"], single["nfe"]) == (50, 1, 1)
    assert 30 * student["frechet"] < single["frechet"]  # measured: 0.205 and 13.74
    assert student["frechet"] <= 1.2 * teacher["frechet"]  # measured: 0.199
    assert student["accuracy"] >= 0.97  # measured: 0.980
    assert done["export"]["max_abs_difference"] < 1e-5
