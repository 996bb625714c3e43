"""What bad input gets: one sentence that names the thing and what to do, exit status 2, and nothing half-written."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from backend import studio
from backend.contract import launch
from backend.contract.database import Database
from backend.contract.project_file import VERSION, ProjectFile
from backend.contract.recipe import Recipe

WEIGHTS = Path("unet") / "diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True)
def _nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "start_worker", lambda *_: pytest.fail("a process was started"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "lab.distill"
    studio.new(path)
    return path


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A teacher that a test may damage."""
    return Path(shutil.copytree(tiny, tmp_path / "mine"))


EXPORTING = ("loading the student", "writing the files and the preview's pictures")


@pytest.fixture(scope="module")
def tiny(tiny_teacher: Callable[..., Path]) -> Path:
    return tiny_teacher(data=None)


@pytest.fixture
def refused(distill: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """refused(*arguments): what the command line says to them, after checking that it refused and wrote nothing.

    after: the lines of progress that come before, where it takes work to find out.
    """

    def run(*arguments: object, after: Sequence[str] = ()) -> str:
        before = contents(tmp_path)
        as_words, as_json = distill(*arguments), distill(*arguments, "--json")
        assert (as_words.status, as_json.status) == (2, 2)
        assert as_words.out == ""
        assert list(as_json.json) == ["error"]
        sentence: str = as_json.json["error"]
        # How long the rest takes is reckoned from when the process began, and this one runs many tests.
        assert re.sub(r", about \d+ \w+ left", "", as_words.err).splitlines() == [*after, sentence]
        assert sentence.endswith((".", "?"))
        assert "\n" not in sentence
        assert contents(tmp_path) == before
        return sentence

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, but for what SQLite keeps beside an open database and takes away with the last writer."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal"))]
    return {str(path): path.read_bytes() for path in files}


def run(project: Path, teacher: object, *more: object, method: str = "dmd2") -> tuple[object, ...]:
    return ("run", project, "--teacher", teacher, "--method", method, *more)


# Names


def test_unknown_names_get_the_closest_one(refused, lab, project):
    assert refused("methods", "dmd") == "There is no method dmd; did you mean dmd2?"
    assert refused(*run(project, "digits", method="dmd3")) == "There is no method dmd3; did you mean dmd2?"
    assert refused(*run(project, "digts")) == "The teacher digts does not exist; did you mean digits?"
    assert refused("teachers", "digts") == "The teacher digts does not exist; did you mean digits?"
    assert refused("metrics", lab.project, "frist") == "There is no run frist in lab.distill; did you mean first?"
    assert refused("stop", lab.project, "9") == "There is no run 9 in lab.distill; see `distill runs`."
    assert refused(*run(project, "digits", "--set", "gan_wieght=1")) == (
        "There is no setting gan_wieght; did you mean gan_weight?"
    )
    assert refused(*run(project, "digits", "--set", "batchsize=1")) == (
        "There is no setting batchsize; did you mean batch_size?"
    )
    assert refused(*run(project, "mixture-2d:vp")).startswith("mixture-2d has no kind 'vp'; choose one of edm,")
    assert refused("methods", "zzz").startswith("There is no method zzz; choose one of acd, ")


def test_a_name_that_is_a_number_is_refused(refused, project):
    assert refused(*run(project, "digits", "--name", "7")).startswith(
        "A run cannot be named '7', because a bare number"
    )


# Settings


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--set", "gan_weight=7"), "gan_weight is 7, above its highest value 1; choose between 0 and 1."),
        (("--set", "student_steps=one"), 'student_steps is "one", not a whole number; choose between 1 and 8 steps.'),
        (("--set", "batch_size=0"), "training.batch_size is 0, below its lowest value 1; choose 1 or more samples."),
        (("--steps", "0"), "training.steps is 0, below its lowest value 1; choose 1 or more steps."),
        (("--set", "learning_rate"), "'learning_rate' sets nothing; write it as name=value."),
        (
            ("--set", "precision=float16"),
            'training.precision is "float16", not one of its choices; choose float32 or bfloat16.',
        ),
        (
            ("--set", "accumulation=0"),
            "training.accumulation is 0, below its lowest value 1; choose 1 or more batches.",
        ),
    ],
)
def test_a_setting_out_of_range_is_refused(refused, project, more, said):
    assert refused(*run(project, "digits", *more)) == said


def test_a_device_that_is_not_there_is_refused(refused, project, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert refused(*run(project, "digits", "--set", "device=cuda")) == (
        "This machine has no cuda device that torch can use; choose cpu or auto."
    )


def test_a_run_needs_a_teacher_and_a_method(refused, project):
    assert refused("run", project, "--teacher", "digits") == "Name a teacher and a method, or a recipe file that does."


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory); check its name."),
        (b"{", "The recipe is not readable JSON: "),
        (b"\xff\xfe{", "The recipe is not UTF-8 text; save it as UTF-8."),
        (b"[]", "The recipe is not a JSON object; write it as {...}, with a teacher and a method."),
        (b'{"teacher": "digits"}', "method is missing; give a text."),
        (b'{"version": 99}', "The recipe has form 99 and this program knows up to 1; update the program to use it."),
    ],
)
def test_a_recipe_that_cannot_be_read_is_refused(refused, project, tmp_path, content, said):
    recipe = tmp_path / "recipe.json"
    if content is not None:
        recipe.write_bytes(content)
    for verb in ("run", "preflight"):
        assert said in refused(verb, project, "--recipe", recipe)


# Teachers


def break_config(folder: Path) -> None:
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"_class_name": "FluxControlNetModel"}))


def pickle(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.bin")


def truncate(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def lie(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    weights["conv_in.weight"] = weights["conv_in.weight"][:, :, :1].contiguous()
    save_file(weights, folder / WEIGHTS)


def lie_about_numbers(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file(weights | {"conv_in.bias": weights["conv_in.bias"] * float("nan")}, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: shutil.rmtree(folder / "unet"), "is not a diffusers model: unet/config.json is missing"),
        (break_config, "holds a FluxControlNetModel, a kind of model that is not supported"),
        (pickle, "is a pickle, which can run code when opened, and is refused; convert it"),
        (truncate, "is no whole safetensors file"),
        (lie, "holds conv_in.weight of shape (16, 1, 1, 3) where its config describes (16, 1, 3, 3)"),
    ],
)
def test_a_broken_teacher_is_refused(refused, project, folder, damage, said):
    damage(folder)
    assert said in refused(*run(project, folder))
    assert said in refused("teachers", folder)


def test_weights_that_are_no_numbers_are_refused(refused, project, folder):
    lie_about_numbers(folder)
    assert "holds numbers that are not finite in conv_in.bias" in refused(*run(project, folder))


def test_guidance_needs_a_teacher_that_knows_no_class(refused, project, folder):
    about = json.loads((folder / "teacher.json").read_text())
    (folder / "teacher.json").write_text(json.dumps(about | {"null_label": None}))
    assert refused(*run(project, folder, "--set", "guidance_scale=2")) == (
        "This teacher has no unconditional mode; set guidance_scale to 1."
    )


# Real data


@pytest.mark.parametrize("method", ["consistency", "gdd", "progressive"])
def test_a_method_that_needs_real_data_says_so(refused, project, folder, method):
    said = refused(*run(project, folder, method=method))
    assert said.endswith("needs real data with these settings; name a data set or an image folder.")


def test_folders_without_a_usable_picture_are_refused(refused, project, folder, tmp_path):
    pictures = tmp_path / "pictures"

    def said() -> str:
        return str(refused(*run(project, folder, "--data", pictures, method="gdd")))

    assert said() == f"There is no folder or zip {pictures}; choose one that holds pictures."
    pictures.mkdir()
    assert said() == f"No picture in {pictures} can be used (it is empty); choose another folder."
    (pictures / "one.png").write_bytes(b"\x89PNG broken")
    (pictures / "words.txt").write_text("words")
    assert said() == f"No picture in {pictures} can be used (1 broken, 1 not pictures); choose another folder."
    Image.new("L", (16, 16)).save(pictures / "one.png")
    assert said().startswith(f"{pictures} has no classes, and the teacher knows 0, 1, 2,")
    (pictures / "cat").mkdir()
    (pictures / "one.png").rename(pictures / "cat" / "one.png")
    assert said().startswith(f"{pictures} has a class cat, and the teacher knows 0, 1, 2,")


def test_data_of_another_shape_is_refused(refused, project):
    assert refused(*run(project, "mixture-2d", "--data", "digits", method="gdd")) == (
        "The digits are 1x16x16, but the teacher makes 2; choose other data or another teacher."
    )


# Another run's student


def test_a_start_from_a_student_of_another_kind_is_refused(refused, lab, tiny_teacher, tmp_path):
    def said(start: str, **changes: Any) -> str:
        recipe = tmp_path / "recipe.json"
        recipe.write_text(json.dumps(lab.recipe() | {"student": {"start": start}} | changes))
        return str(refused("run", lab.project, "--recipe", recipe))

    assert said("run:1@last", teacher=str(tiny_teacher("digits", (16,)))) == (
        "Run 1's student has another architecture than this teacher; start from a run of the same teacher."
    )
    assert said("run:1@last", teacher=str(tiny_teacher("digits-flow"))) == (
        "Run 1's student predicts edm on VarianceExploding noise and this teacher flow on FlowMatching; "
        "start from a run of the same teacher."
    )
    assert said("run:7@last") == "There is no run 7 in lab.distill; see `distill runs`."
    assert said("run:1@5") == "Run 1 has no checkpoint 5; it has 4, 6."
    assert said("the first").startswith("student.start is 'the first', which names no checkpoint;")


# Projects

VERBS = [
    ("runs",),
    ("check",),
    ("metrics", "1"),
    ("samples", "1", "--out", "x"),
    ("evaluate", "1"),
    ("compare", "1", "--out", "x.png"),
    ("export", "1", "--out", "x"),
    ("pause", "1"),
    ("resume", "1"),
    ("stop", "1"),
    ("run", "--teacher", "digits", "--method", "dmd2"),
]


def test_a_project_that_is_missing_is_said_before_torch_is_imported(tmp_path):
    command = [sys.executable, "-X", "importtime", "-m", "backend", "run", str(tmp_path / "lab.distill")]
    command += ["--teacher", "emoji", "--method", "dmd2"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "lab.distill is missing; check its name" in ended.stderr
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if line.startswith("import time")}
    assert "backend.studio" in imported
    assert imported.isdisjoint({"torch", "diffusers", "transformers"})


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_every_verb_refuses_what_is_no_project(refused, tmp_path, verb):
    def said(path: Path) -> str:
        return str(refused(verb[0], path, *verb[1:]))

    path = tmp_path / "lab.distill"
    assert said(path) == f"{path} is missing; check its name, or make it with `distill new`."
    path.write_text("a text that is much longer than the header of a database, so that it is read as one " * 2)
    assert said(path) == "lab.distill is not a project; choose a file that `distill new` has made."
    assert said(tmp_path).endswith("is a folder; choose a file that `distill new` has made.")


def test_a_project_of_a_newer_version_is_refused(refused, project):
    database = Database(project)
    database.pragma(f"user_version = {VERSION + 1}")
    database.close()
    assert refused("runs", project) == (
        f"lab.distill was written by a newer version (form {VERSION + 1}, known up to {VERSION}); "
        "update the program to open it."
    )


def test_a_read_only_project_is_read_and_not_written(refused, distill, project, monkeypatch):
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **more: mode != os.W_OK and real(path, mode, **more))
    assert refused(*run(project, "digits")) == (
        "lab.distill or its folder is read-only; copy it to a folder that you can write to."
    )
    assert distill("runs", project, "--json").json == {"runs": []}


def test_new_leaves_what_is_there(refused, project, tmp_path):
    assert refused("new", project) == "lab.distill exists already; open it, or choose another name."
    assert refused("new", tmp_path / "none" / "lab") == f"The folder {tmp_path / 'none'} is missing; make it first."


# What a run has left


@pytest.fixture
def fresh(project: Path) -> Path:
    """A project with a run that has not begun."""
    with ProjectFile.open(project) as opened:
        opened.add_run(Recipe.from_values({"teacher": "mixture-2d", "method": "dmd2"}))
    return project


def test_a_run_without_checkpoints_or_pictures_says_so(refused, fresh, tmp_path):
    none = "Run 1 has no checkpoint best; it has none yet; let it train further."
    assert refused("evaluate", fresh, 1) == none
    assert refused("compare", fresh, 1, "--out", tmp_path / "x.png") == none
    assert refused("export", fresh, 1, "--out", tmp_path / "x") == none
    said = refused("samples", fresh, 1, "--out", tmp_path / "pictures")
    assert said == "Run 1 has no pictures yet; let it train further."


def test_a_run_without_a_process_cannot_be_asked(refused, fresh, lab):
    assert refused("pause", fresh, 1) == "Run 1 is queued, so there is nothing to pause."
    assert refused("stop", lab.project, 1) == "Run 1 is finished, so there is nothing to stop."
    assert refused("resume", lab.project, 1) == ("Run 1 is finished; make a new run from its recipe to train longer.")


def test_unknown_checkpoints_and_evaluations_are_refused(refused, lab, tmp_path):
    assert refused("evaluate", lab.project, 1, "--checkpoint", "5") == "Run 1 has no checkpoint 5; it has 4, 6."
    assert refused("evaluate", lab.project, 1, "--nfe", "0") == (
        "0 network evaluations are not possible; choose between 1 and 250."
    )
    assert refused("evaluate", lab.project, 1, "--samples", "3") == (
        "3 samples are too few to measure; draw 50 or more."
    )


def test_a_student_that_nothing_measures_is_refused(refused, lab, tmp_path, monkeypatch):
    from backend import judge

    monkeypatch.setattr(judge, "reference_of", lambda teacher: None)
    assert refused("evaluate", lab.project, 1) == (
        "There is nothing to measure the samples of Digits against; compare them by eye."
    )


def test_exports_that_cannot_be_are_refused(refused, lab, tmp_path):
    assert refused("export", lab.project, "first", "--out", tmp_path / "x", "--format", "diffuser") == (
        "There is no format diffuser; did you mean diffusers?"
    )

    def said(*arguments: object) -> str:
        return str(refused("export", lab.project, "first", "--out", *arguments, after=EXPORTING))

    assert said(tmp_path / "x", "--format", "lora") == (
        "This student was trained in full, so there is no LoRA to export; export it as diffusers or safetensors."
    )
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    assert said(taken) == f"{taken} already holds files; choose a new or an empty folder."
    assert said(taken / "mine.txt", "--format", "safetensors") == (
        f"{taken / 'mine.txt'} already exists; choose another name."
    )
    assert said(taken / "mine.txt" / "x", "--format", "safetensors").startswith(
        f"{taken / 'mine.txt' / 'x'} could not be written"
    )


def test_pictures_that_cannot_be_written_are_refused(refused, lab, tmp_path):
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "folder.png").mkdir()
    compare = ("compare", lab.project, 1, "--out")
    assert refused(*compare, tmp_path / "x.jpg").endswith("x.jpg would be a PNG; give it a name that ends in .png.")
    assert refused(*compare, tmp_path / "folder.png").endswith("folder.png is a folder; name a picture in it.")
    said = refused("samples", lab.project, 1, "--out", tmp_path / "taken")
    assert said == f"{tmp_path / 'taken'} cannot be written (File exists); choose another place."


def test_a_vector_student_is_no_diffusers_pipeline(refused, tmp_path, monkeypatch):
    from backend import checkpoints
    from backend.assembly import start_run
    from backend.teachers import mixture_2d

    real = mixture_2d.fit
    monkeypatch.setattr(mixture_2d, "fit", lambda exact, seed: real(exact, seed, steps=1))
    recipe = Recipe.from_values({"teacher": "mixture-2d", "method": "dmd2"})
    path = tmp_path / "lab.distill"
    with ProjectFile.create(path) as opened:
        attempt = opened.begin_attempt(opened.add_run(recipe))
        checkpoints.save(start_run(recipe), opened.files / "one.safetensors")
        opened.add_checkpoint(attempt, 0, opened.files / "one.safetensors")
    assert refused("export", path, 1, "--out", tmp_path / "x", after=EXPORTING) == (
        "This student makes vectors, for which diffusers has no pipeline; export its weights as safetensors. "
        "Students of picture teachers can be exported as diffusers."
    )


# All at once


def test_preflight_lists_every_problem(distill, project, tmp_path):
    recipe = tmp_path / "recipe.json"
    settings = {"gan_weight": 7, "student_step": 1}
    asked = {"teacher": "digts", "method": "dmd2", "settings": settings, "kind": "tensors"}
    recipe.write_text(json.dumps(asked))
    found = distill("preflight", project, "--recipe", recipe, "--json")
    assert found.status == 2
    assert found.json["ok"] is False
    assert found.json["problems"] == [
        "This version makes runs of kind train alone, not tensors; change kind.",
        "The teacher digts does not exist; did you mean digits?",
        "gan_weight is 7, above its highest value 1; choose between 0 and 1.",
        "student_step is unknown here; did you mean student_steps?",
    ]
    assert [(one["kind"], one["field"], one["words"]) for one in found.json["findings"]] == [
        ("problem", field, words)
        for field, words in zip(
            ("kind", "teacher", "settings.gan_weight", "settings.student_step"), found.json["problems"], strict=True
        )
    ]
    words = distill("preflight", project, "--recipe", recipe)
    assert words.out.count("problem: ") == 4
