"""A Stable Diffusion student as one file: diffusers converts it back, and so does a teacher's own loading."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from backend import students
from backend.contract import launch
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from backend.exports import export
from backend.exports.verify import TOLERANCE
from backend.samplers import Sampler
from backend.teachers import Teacher, TeacherError, load_teacher, quick

from ..teachers import tiny
from .students import FACTS

Models = Callable[[str], Path]
ONE = Sampler("renoise", (0.7,))


@pytest.fixture(scope="module")
def teacher(tiny_model: Models) -> Teacher:
    return load_teacher(str(tiny_model("sd")), prompts=tiny.PROMPTS)


@pytest.fixture(scope="module")
def file(teacher: Teacher, tiny_model: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The teacher's own weights as one file, with the settings of its model beside it."""
    place = tmp_path_factory.mktemp("one") / "student.safetensors"
    cond = teacher.each_condition(2)
    done = export("safetensors", teacher.trainable(), ONE, cond, FACTS, place, teacher=teacher)
    shutil.copytree(tiny_model("sd"), place.with_suffix(""), ignore=shutil.ignore_patterns("*.safetensors"))
    return done.path


def test_it_is_the_whole_model_in_the_original_layout(file: Path) -> None:
    with safe_open(file, "pt") as opened:
        names, about = set(opened.keys()), opened.metadata()
    assert {name.partition(".")[0] for name in names} == {"model", "first_stage_model", "cond_stage_model"}
    assert "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight" in names
    assert "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight" in names
    assert about["modelspec.architecture"] == "stable-diffusion-v1"
    assert about["modelspec.sai_model_spec"] == "1.0.0"


def test_diffusers_converts_it_back_to_the_same_weights(file: Path, tiny_model: Models) -> None:
    pipe = StableDiffusionPipeline.from_single_file(
        str(file), config=str(file.with_suffix("")), local_files_only=True, safety_checker=None
    )
    before = tiny.opened(tiny_model("sd"))
    for part in ("unet", "vae", "text_encoder"):
        mine, theirs = getattr(pipe, part).state_dict(), getattr(before, part).state_dict()
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_it_is_a_teacher_again(file: Path, teacher: Teacher) -> None:
    again = load_teacher(str(file), prompts=tiny.PROMPTS)
    x, t = torch.randn(2, *teacher.denoiser.shape), torch.tensor([0.2, 0.8], dtype=torch.float64)
    mine = again.denoiser(x, t, again.each_condition(2)).output
    assert torch.equal(mine, teacher.denoiser(x, t, teacher.each_condition(2)).output)
    card = quick.card(str(file))
    assert (card.condition, card.parameters) == ("text", sum(p.numel() for p in teacher.denoiser.parameters()))


def test_one_file_that_cannot_be_used_is_refused(file: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copy(file, tmp_path / "bare.safetensors"))
    with pytest.raises(TeacherError, match=r"holds weights alone; put the settings and tokenizer .* as bare/"):
        load_teacher(str(bare))
    (tmp_path / "model.ckpt").write_bytes(b"cos\nsystem\n")
    with pytest.raises(TeacherError, match="is a pickle, which can run code"):
        load_teacher(str(tmp_path / "model.ckpt"))
    save_file({"weight": torch.zeros(1)}, tmp_path / "lora.safetensors")
    with pytest.raises(TeacherError, match="is in no layout that is read, a whole Stable Diffusion 1, 2 or XL"):
        load_teacher(str(tmp_path / "lora.safetensors"))
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(TeacherError, match="is no whole safetensors file"):
        load_teacher(str(cut))
    weights = load_file(file)
    del weights["model.diffusion_model.out.2.weight"]
    save_file(weights, tmp_path / "lacking.safetensors")
    shutil.copytree(file.with_suffix(""), tmp_path / "lacking")
    with pytest.raises(TeacherError, match="lacking"):
        load_teacher(str(tmp_path / "lacking.safetensors"))


@pytest.mark.usefixtures("in_process")
def test_the_check_of_a_file_is_recorded_with_its_pictures(
    tiny_model: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILL_STUDIO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "prompts.txt").write_text("\n".join(tiny.PROMPTS), encoding="utf-8")
    few = {"steps": 1, "batch_size": 2, "preview_every": 0, "checkpoint_every": 0, "threads": 1}
    asked = {"teacher": str(tiny_model("sd")), "prompts": str(tmp_path / "prompts.txt"), "method": "dmd2"}
    with ProjectFile.create(tmp_path / "lab.distill") as project:
        run = project.add_run(Recipe.from_values({**asked, "training": few}))
        launch.start_worker(project.path, run)
        out = tmp_path / "student.safetensors"
        answer = students.export(project.path, run, "safetensors", out, "last")
        (record,) = project.exports(run)
        sheets = [project.files / place for place in record.verification["sheets"].values()]
    assert answer["max_abs_difference"] < TOLERANCE
    assert record.verification["max_abs_difference"] == answer["max_abs_difference"]
    assert len(sheets) == 2
    assert all(sheet.is_file() for sheet in sheets)
    assert "StableDiffusionPipeline.from_single_file(" in record.verification["snippet"]
    assert record.verification["snippet"] in (tmp_path / "student.md").read_text(encoding="utf-8")
