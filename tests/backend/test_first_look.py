"""What is refused before torch is imported, and what is left to the closer look."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from backend import first_look
from backend.contract import catalogue
from backend.describe import catalogue as describe_all
from backend.picture_files import usable

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
    assert (teacher.field, prompts.field) == ("teacher", "prompts")
    assert teacher.words.startswith(f"{tmp_path / 'model'} is not a diffusers model")
    assert prompts.words == f"{tmp_path / 'names.txt'} holds no prompt; write one a line."
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


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue that an earlier command has kept."""
    made = describe_all()
    monkeypatch.setattr(catalogue, "load_cached", lambda key: made)


@pytest.mark.usefixtures("known")
def test_data_without_a_picture_is_refused_where_the_method_looks_at_it(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"no picture")
    (folder / "2.png").write_bytes(b"")
    (folder / "notes.pdf").write_bytes(b"%PDF")
    (found,) = first_look.problems("digits", None, str(folder), "gdd")
    assert found.field == "data"
    assert found.words == f"No picture in {folder} can be used (2 broken, 1 not pictures); choose another folder."
    assert first_look.problems("digits", None, str(folder), "dmd2", {"gan_weight": 0.1}) == [found]
    assert first_look.problems("digits", None, str(folder), "dmd2") == []  # it takes no notice of data
    assert first_look.problems("digits", None, "digits", "gdd") == []
    (missing,) = first_look.problems("digits", None, str(tmp_path / "away"), "gdd")
    assert missing.words == f"There is no folder or zip {tmp_path / 'away'}; choose one that holds pictures."


@pytest.mark.usefixtures("known")
def test_one_picture_among_others_is_enough_for_the_first_look(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "1.png").write_bytes(b"no picture")
    Image.new("L", (3, 3)).save(tmp_path / "7" / "2.png")
    assert first_look.problems("digits", None, str(tmp_path), "gdd") == []


@pytest.mark.usefixtures("known")
def test_classes_that_the_teacher_does_not_know_and_missing_captions_are_refused_at_once(
    tmp_path: Path, tiny_model: Models
) -> None:
    Image.new("L", (3, 3)).save(tmp_path / "2.png")
    for teacher, words in (
        ("digits", f"{tmp_path} has no classes, and the teacher knows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; sort the pictures"),
        (str(tiny_model("sd")), f"{tmp_path} has no captions; write one into a text file beside each picture"),
    ):
        (found,) = first_look.problems(teacher, None, str(tmp_path), "gdd")
        assert found.field == "data"
        assert found.words.startswith(words)
    (tmp_path / "2.txt").write_text("an apple")
    assert first_look.problems(str(tiny_model("sd")), None, str(tmp_path), "gdd") == []


@pytest.mark.usefixtures("known")
def test_more_pictures_than_are_tried_are_left_to_the_closer_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")
    assert first_look.problems("digits", None, str(tmp_path), "gdd")
    monkeypatch.setattr(usable, "TRIED", 2)
    assert first_look.problems("digits", None, str(tmp_path), "gdd") == []


def test_nothing_is_said_of_data_where_no_catalogue_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "load_cached", lambda key: None)
    assert first_look.problems("digits", None, str(tmp_path / "away"), "gdd") == []
