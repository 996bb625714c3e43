"""Real data of a teacher that takes text and diffuses latents: from a folder of captioned pictures to the step."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from backend import judge, studio
from backend.assembly import start_run
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from backend.datasets import DataError, ImageSet, load_data
from backend.networks.codec import Autoencoder
from backend.preflight import preflight
from backend.train import Run, train
from tests.conftest import work

CAPTIONS = ("a bee", "an ant", "a red apple")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, caption in enumerate(CAPTIONS):
        Image.new("RGB", (32, 32), (80 * number, 20, 200 - 50 * number)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(caption)
    return folder


def recipe(teacher: Path, data: Path, **more: Any) -> Recipe:
    training = {"steps": 2, "batch_size": 2, "preview_every": 0, "device": "cpu", "threads": 1}
    settings = {"gan_weight": 0.1}
    values = {"teacher": str(teacher), "method": "dmd2", "settings": settings, "data": str(data), "training": training}
    return Recipe.from_values(values | more)


def data_of(run: Run) -> ImageSet:
    assert isinstance(run.data, ImageSet)
    return run.data


def test_captions_are_the_teachers_prompts_and_pictures_are_encoded_once(tiny_model, pictures, monkeypatch):
    run = start_run(recipe(tiny_model("sd"), pictures))
    assert run.teacher.prompts == CAPTIONS
    data = data_of(run)
    assert data.encoded
    pixels = load_data(pictures, run.teacher.data_shape).images
    assert torch.equal(data.stored, run.teacher.codec.encode(pixels))
    # The condition of a picture is that of its own caption, as the teacher embeds it.
    cond = run.teacher.condition_of(data.labels)
    assert run.teacher.embedded is not None
    for number, caption in enumerate(CAPTIONS):
        assert data.captions[data.labels[number]] == caption
        assert torch.equal(cond.parts["text"][number], run.teacher.embedded.parts["text"][number])

    def encode(*_: object) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr(Autoencoder, "encode", encode)
    assert [progress.step for progress in train(run)] == [1, 2]
    again = start_run(recipe(tiny_model("sd"), pictures))
    assert torch.equal(data_of(again).stored, data.stored)
    assert again.data is not None
    assert again.data.digest == data.digest


def test_pictures_without_captions_are_refused_by_a_teacher_that_takes_text(tiny_model, pictures):
    for file in pictures.glob("*.txt"):
        file.unlink()
    with pytest.raises(DataError, match="has no captions; write one into a text file beside each picture"):
        start_run(recipe(tiny_model("sd"), pictures))


def test_preflight_encodes_no_more_than_a_batch(tiny_model, pictures, tmp_path, monkeypatch):
    seen: list[int] = []
    encode = Autoencoder.encode

    def counted(self: Autoencoder, pixels: torch.Tensor) -> torch.Tensor:
        seen.append(len(pixels))
        return encode(self, pixels)

    monkeypatch.setattr(Autoencoder, "encode", counted)
    monkeypatch.setenv("DISTILL_STUDIO_CACHE", str(tmp_path / "cache"))
    project = tmp_path / "lab.distill"
    studio.new(project)
    found = preflight(recipe(tiny_model("sd"), pictures), project)
    assert found.problems == []
    assert sum(seen) == 2
    assert not (tmp_path / "cache" / "latents").exists()


def test_what_is_left_out_of_data_and_prompts_is_counted_before_a_run_and_in_its_log(
    tiny_model, pictures, tmp_path, monkeypatch
):
    monkeypatch.setattr(judge, "PREVIEW_SAMPLES", 2)
    monkeypatch.setattr(judge, "TEACHER_NFE", 2)
    for name in ("broken", "cut"):
        (pictures / f"{name}.png").write_bytes(b"no picture")
        (pictures / f"{name}.txt").write_text("a wasp")
    (pictures / "4.png").write_bytes((pictures / "1.png").read_bytes())
    (pictures / "4.txt").write_text("the same ant")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a bee\n\na wasp\na bee\na fly\n")
    path = tmp_path / "lab.distill"
    studio.new(path)
    asked = recipe(tiny_model("sd"), pictures, prompts=str(prompts))
    asked = asked.model_copy(update={"training": asked.training.model_copy(update={"steps": 1})})
    wanted = [
        f"Of {pictures}, left out 3 of 6 files: 1 duplicates, 2 broken.",
        f"Of {prompts}, left out 2 of 5 lines: 1 blank, 1 duplicates.",
    ]
    data, words, _ = preflight(asked, path, dry_run=False).warnings  # the third is of guidance
    assert [(data.field, data.words), (words.field, words.words)] == list(zip(("data", "prompts"), wanted, strict=True))
    with ProjectFile.open(path) as project:
        run = project.add_run(asked)
    assert work(path, run) == 0
    with ProjectFile.open(path, readonly=True) as project:
        assert [event.text for event in project.events_after(run) if event.kind == "warning"] == wanted


def test_class_folders_suit_a_latent_teacher_of_classes(tiny_model, pictures, tmp_path):
    sorted_ = tmp_path / "sorted"
    for number, name in enumerate(("1", "0")):
        (sorted_ / name).mkdir(parents=True)
        (pictures / f"{number}.png").rename(sorted_ / name / "x.png")
    run = start_run(recipe(tiny_model("dit"), sorted_))
    data = data_of(run)
    assert data.names == run.teacher.labels
    assert data.labels.tolist() == [0, 1]
    (progress, _) = train(run)
    assert progress.images == 2
