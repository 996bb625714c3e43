"""Where an export may go, what is chosen of a run, and what a finished one says."""

from pathlib import Path, PurePosixPath

import pytest

from app.models.export_words import Format, Request, checkpoints, look_at, problem, refusal, suggestion, verdict
from backend.contract.project_file import ProjectFile
from backend.contract.rows import Checkpoint


def checkpoint(number: int, step: int, best: bool = False, score: float | None = None) -> Checkpoint:
    return Checkpoint(number, 1, 1, step, PurePosixPath("x"), "", 1, best, True, {"score": score})


def test_a_place_that_is_free_is_no_problem(tmp_path):
    assert problem(str(tmp_path / "new"), "diffusers", str) == ""
    assert problem(str(tmp_path), "diffusers", str) == ""  # an empty folder
    assert problem(str(tmp_path / "deep" / "w.safetensors"), "safetensors", str) == ""


def test_each_wrong_place_is_named_with_what_to_do(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("")
    (tmp_path / "file").write_text("")
    wrong: tuple[tuple[object, Format, str], ...] = (
        ("", "diffusers", "Name a folder"),
        ("", "lora", "Name a folder"),
        ("", "safetensors", "Name a file"),
        ("here", "diffusers", "here is not a whole path"),
        (tmp_path / "full", "diffusers", "full already holds files; choose"),
        (tmp_path / "file", "diffusers", "file exists already; choose"),
        (tmp_path / "file" / "in", "diffusers", "is a file, so nothing can lie in it; choose"),
        (tmp_path / "w", "safetensors", "let its name end in .safetensors"),
    )
    for place, form, words in wrong:
        assert words in problem(str(place), form, str)


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert "cannot be written to; choose another folder" in problem(str(tmp_path / "new"), "diffusers", str)


def test_a_suggestion_is_free_and_a_name_for_every_disk(tmp_path):
    assert suggestion(tmp_path, "dmd2: best?", "diffusers") == tmp_path / "dmd2-best"
    (tmp_path / "dmd2-best").mkdir()
    assert suggestion(tmp_path, "dmd2: best?", "diffusers") == tmp_path / "dmd2-best-2"
    assert suggestion(tmp_path, "???", "safetensors") == tmp_path / "student.safetensors"


def test_checkpoints_are_the_best_the_last_and_each_step():
    found = checkpoints([checkpoint(1, 10, score=5), checkpoint(2, 20, True, 4.5), checkpoint(3, 30)], str)
    assert found == [
        ("best", "Best: step 20, score 4.5"),
        ("last", "Last: step 30"),
        ("10", "Step 10, score 5"),
        ("20", "Step 20, score 4.5"),
        ("30", "Step 30"),
    ]
    assert checkpoints([], str) == []


def test_a_request_is_what_the_command_line_takes():
    whole = Request(3, "diffusers", Path("/a b"), "20", "raw", 2).arguments(Path("/p.distill"))
    assert whole == [
        *("export", "/p.distill", "3", "--format", "diffusers", "--checkpoint", "20", "--out", "/a b"),
        *("--weights", "raw", "--nfe", "2"),
    ]
    assert "--nfe" not in Request(3, "diffusers", Path("/a")).arguments(Path("/p"))


def test_formats_that_cannot_be_used_say_why():
    assert "no LoRA" in refusal("lora", True, False, str)
    assert refusal("lora", True, True, str) == ""
    assert "points" in refusal("diffusers", False, False, str)
    assert refusal("diffusers", True, False, str) == refusal("safetensors", False, False, str) == ""


@pytest.mark.parametrize(
    ("verification", "words", "tone"),
    [
        ({"max_abs_difference": 4e-7}, "Sound", "good"),
        ({"max_abs_difference": 4e-7, "tolerance": 1e-8}, "Not sound", "bad"),
        ({"max_abs_difference": 0.5}, "Not sound", "bad"),
        ({}, "It was not checked", "warning"),
        ({"unchecked": "The file holds a network alone."}, "The file holds a network alone.", "muted"),
    ],
)
def test_the_number_is_put_in_words(verification, words, tone):
    said = verdict(verification, str)
    assert words in said[0]
    assert said[1] == tone


def test_a_finished_export_is_read_and_what_is_gone_is_left_out(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "README.md").write_text("---\n---\n# x\n```python\nimport torch\n\n\nprint(1)\n```\n```json\n{}\n```\n")
    with ProjectFile.create(tmp_path / "lab.distill") as project:
        from backend.contract.recipe import Recipe

        run = project.add_run(Recipe.from_values({"teacher": "digits", "method": "dmd2"}))
        (project.files / "exports").mkdir(parents=True)
        (project.files / "exports" / "a.png").write_bytes(b"A")
        sheets = {"expected": "exports/a.png", "made": "exports/gone.png"}
        project.add_export(run, "diffusers", str(out), "h", {"sheets": sheets})
        project.add_export(run, "diffusers", str(tmp_path / "moved"), "h", {})
        here, moved = (look_at(project, export) for export in project.exports(run))
    assert (here.there, here.expected, here.made) == (True, b"A", b"")
    assert here.snippet == "import torch\n\n\nprint(1)"
    assert (moved.there, moved.snippet) == (False, "")


def test_a_single_file_is_used_as_it_was_checked(tmp_path):
    out = tmp_path / "student.safetensors"
    out.write_bytes(b"")
    with ProjectFile.create(tmp_path / "lab.distill") as project:
        from backend.contract.recipe import Recipe

        run = project.add_run(Recipe.from_values({"teacher": "digits", "method": "dmd2"}))
        project.add_export(run, "safetensors", str(out), "h", {})
        project.add_export(run, "safetensors", str(out), "h", {"snippet": "pipe = 1"})
        alone, whole = (look_at(project, export) for export in project.exports(run))
    assert "load_file" in alone.snippet
    assert whole.snippet == "pipe = 1"
