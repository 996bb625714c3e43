"""What is refused before torch is imported, and what is left to the closer look."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backend import first_look

Models = Callable[[str], Path]


def test_sound_parts_and_those_that_only_a_closer_look_can_judge(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("an ant")
    assert first_look.problems("emoji", str(tmp_path / "names.txt")) == []
    assert first_look.problems("mixture-2d:flow", "everyday") == []
    assert first_look.problems("somebody/a-model", None) == []  # the hub may have it
    assert first_look.problems_of(tmp_path / "missing.json") == []


def test_each_part_has_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "names.txt").write_bytes(b"")
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"teacher": str(tmp_path / "model"), "method": "dmd2"}))
    teacher, prompts = first_look.problems_of(recipe, prompts=str(tmp_path / "names.txt"))
    assert teacher.startswith(f"{tmp_path / 'model'} is not a diffusers model")
    assert prompts == f"{tmp_path / 'names.txt'} holds no prompt; write one a line."
    assert first_look.problems_of(recipe, "emoji") == []


@pytest.mark.parametrize("verb", ["run", "preflight"])
def test_the_command_line_imports_no_torch_for_it(tmp_path: Path, verb: str) -> None:
    (tmp_path / "names.txt").write_bytes(b"")
    about = {"teacher": "emoji", "method": "dmd2", "prompts": str(tmp_path / "names.txt")}
    (tmp_path / "recipe.json").write_text(json.dumps(about))
    subprocess.run([sys.executable, "-m", "backend", "new", str(tmp_path / "lab")], check=True, capture_output=True)
    command = [sys.executable, "-X", "importtime", "-m", "backend", verb, str(tmp_path / "lab"), "--recipe"]
    ended = subprocess.run(
        [*command, str(tmp_path / "recipe.json"), "--json"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "holds no prompt; write one a line." in ended.stdout
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if line.startswith("import time")}
    assert "backend.first_look" in imported
    assert imported.isdisjoint({"torch", "diffusers", "transformers"})
