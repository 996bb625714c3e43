"""From a Stable Diffusion folder to an exported student, as a person does it on the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.contract.project_file import ProjectFile

from ..backend.teachers import tiny
from ..conftest import Answer

Distill = Callable[..., Answer]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write("sd", tmp_path_factory.mktemp("sd"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILL_STUDIO_CACHE", str(tmp_path / "cache"))


def recipe(model: Path, folder: Path, **more: Any) -> Path:
    (folder / "prompts.txt").write_text("\n".join(tiny.PROMPTS), encoding="utf-8")
    few = {"steps": 2, "batch_size": 2, "preview_every": 0, "checkpoint_every": 0, "threads": 1}
    about = {"teacher": str(model), "method": "dmd2", "training": few, "prompts": str(folder / "prompts.txt"), **more}
    (folder / "recipe.json").write_text(json.dumps(about))
    return folder / "recipe.json"


@pytest.mark.usefixtures("in_process")
def test_a_stable_diffusion_folder_becomes_a_student_that_diffusers_loads(
    model: Path, tmp_path: Path, distill: Distill
) -> None:
    project = tmp_path / "text.distill"
    assert distill("new", project).status == 0
    settings = {"student_steps": 2, "guidance_scale": 3.0}
    done = distill("run", project, "--recipe", recipe(model, tmp_path, settings=settings), "--json")
    assert done.status == 0, done.err
    shown = distill("samples", project, "1", "--out", tmp_path / "samples")
    assert shown.status == 0, shown.err
    with ProjectFile.open(project, readonly=True) as opened:
        labels = [sample.label for sample in opened.samples_after(1) if sample.kind in ("preview", "teacher")]
    assert labels[:4] == [*tiny.PROMPTS, tiny.PROMPTS[0]]
    assert set(labels) == set(tiny.PROMPTS)
    exported = distill("export", project, "1", "--format", "diffusers", "--out", tmp_path / "out", "--json")
    assert exported.status == 0, exported.err
    assert exported.json["max_abs_difference"] < 1e-5
    (tmp_path / "prompts.txt").unlink()  # the student outlives it
    compared = distill("compare", project, "1", "--out", tmp_path / "compare.png", "--teacher-nfe", 2)
    assert compared.status == 0, compared.err
    pipe = tiny.opened(tmp_path / "out")
    assert type(pipe.scheduler).__name__ == "LCMScheduler"
    sheet = json.loads((tmp_path / "out" / "distill.json").read_text())["sheet"]
    assert sheet["prompts"][:3] == list(tiny.PROMPTS)
    assert "modelspec.resolution" in (tmp_path / "out" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()[
        :4000
    ].decode(errors="ignore")


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no prompt; write one a line"),
        (b"\n \n", "holds no prompt; write one a line"),
        ("ein Bär".encode("latin-1"), "is not UTF-8 text (line 1); save it as UTF-8"),
        ("a bear".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
    ],
)
def test_prompts_that_cannot_be_used_are_refused_in_a_sentence(
    model: Path, tmp_path: Path, distill: Distill, content: bytes, words: str
) -> None:
    project = tmp_path / "text.distill"
    assert distill("new", project).status == 0
    asked = recipe(model, tmp_path)
    (tmp_path / "prompts.txt").write_bytes(content)
    refused = distill("run", project, "--recipe", asked)
    assert refused.status == 2
    assert words in refused.err
    assert "Traceback" not in refused.err
