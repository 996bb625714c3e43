"""What an export holds, and that it is there as a whole or not at all."""

import json
import resource
from pathlib import Path

import pytest
import torch
from diffusers import ConsistencyModelPipeline, DiffusionPipeline
from PIL import Image
from safetensors import safe_open

from backend.contract.recipe import Recipe
from backend.exports import ExportError, export
from backend.exports.writing import file_hash
from backend.networks import Condition, Denoiser
from backend.networks.mlp import MLP
from backend.noise import VarianceExploding
from backend.samplers import Sampler, even_levels

from .students import FACTS, student, unet_of

COND = Condition.of_labels(torch.arange(10))
ONE = Sampler("renoise", (1.0,))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export("diffusers", student("edm"), ONE, COND, FACTS, tmp_path_factory.mktemp("out") / "student")


def header(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        return opened.metadata()  # type: ignore[no-any-return]


def test_a_folder_holds_the_promised_files_and_their_hashes(exported):
    files = {f.relative_to(exported.path).as_posix() for f in exported.path.rglob("*") if f.is_file()}
    assert files == {
        "README.md",
        "distill.json",
        "expected.safetensors",
        "model_index.json",
        "sample.py",
        "samples.png",
        "scheduler/scheduler_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    }
    assert exported.hashes == {name: file_hash(exported.path / name) for name in files}
    assert exported.digest == exported.hashes["unet/diffusion_pytorch_model.safetensors"]


def test_any_diffusers_program_finds_the_pipeline(exported):
    assert isinstance(DiffusionPipeline.from_pretrained(exported.path), ConsistencyModelPipeline)


def test_a_student_without_pipeline_class_still_loads_as_a_pipeline(tmp_path):
    done = export("diffusers", student("flow"), Sampler("renoise", even_levels(2)), COND, FACTS, tmp_path / "student")
    pipe = DiffusionPipeline.from_pretrained(done.path)
    assert type(pipe.scheduler).__name__ == "FlowMatchLCMScheduler"
    with pytest.raises(ValueError, match="class_labels"):  # rather than wrong pictures
        pipe(num_inference_steps=1)


def test_the_card_says_where_the_student_comes_from(exported):
    card = (exported.path / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: diffusers\n")
    for words in (
        "| Real data | digits |",
        FACTS.title,
        FACTS.method,
        "https://arxiv.org/abs/2405.14867",
        FACTS.teacher_digest,
        FACTS.licence,
        FACTS.recipe.hash(),
        "one evaluation, from level t = 1",
        "| student | 1 | 1.25 |  |",
        "| teacher | 16 | 1 | 0.1 |",
        "Measured by digits-features on 1,000 samples.",
        exported.hashes["unet/diffusion_pytorch_model.safetensors"],
    ):
        assert words in card
    assert Recipe.from_json(card.split("```json\n")[1].split("```")[0]) == FACTS.recipe


def test_the_cards_snippet_is_the_script(exported):
    card = (exported.path / "README.md").read_text()
    assert card.split("```python\n")[1].split("```")[0] == (exported.path / "sample.py").read_text()


def test_the_sheet_shows_ten_enlarged_pictures(exported):
    with Image.open(exported.path / "samples.png") as image:
        assert image.size == (10 * 64 + 9 * 4, 64)
        alpha = image.getchannel("A")
        assert [alpha.getpixel((x, 8)) for x in (63, 64, 67, 68)] == [255, 0, 0, 255]  # what is between is nothing


def test_the_weights_header_says_how_to_use_them(exported):
    said = header(exported.path / "unet" / "diffusion_pytorch_model.safetensors")
    assert Sampler.from_json(json.loads(said["distill.sampler"])) == ONE
    assert Recipe.from_json(said["distill.recipe"]) == FACTS.recipe
    assert said["distill.teacher_digest"] == FACTS.teacher_digest
    assert said["distill.prediction_type"] == "edm"
    assert said["modelspec.resolution"] == "16x16"


def test_the_same_student_exports_to_the_same_bytes(exported, tmp_path):
    again = export("diffusers", student("edm"), ONE, COND, FACTS, tmp_path / "again")
    assert again.hashes == exported.hashes


def test_one_file_holds_the_weights_under_diffusers_names(tmp_path):
    net = student("epsilon")
    done = export("safetensors", net, ONE, COND, FACTS, tmp_path / "student.safetensors")
    with safe_open(done.path, "pt") as file:
        loaded = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    weights = unet_of(net).state_dict()
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    assert header(done.path)["format"] == "pt"


def test_vectors_are_no_diffusers_model_but_have_weights(tmp_path):
    net = Denoiser(MLP(), VarianceExploding(0.01, 10.0), "edm")
    with pytest.raises(ExportError, match=r"vectors.*as safetensors"):
        export("diffusers", net, ONE, Condition.none(4), FACTS, tmp_path / "student")
    export("safetensors", net, ONE, Condition.none(4), FACTS, tmp_path / "student.safetensors")
    assert "modelspec.resolution" not in header(tmp_path / "student.safetensors")


def test_there_is_no_lora_of_a_student_trained_in_full(tmp_path):
    with pytest.raises(ExportError, match="trained in full"):
        export("lora", student("edm"), ONE, COND, FACTS, tmp_path / "student")


def test_a_folder_in_use_is_refused_and_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ExportError, match="already holds files"):
        export("diffusers", student("edm"), ONE, COND, FACTS, tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_of_that_name_is_refused_and_kept(tmp_path):
    (tmp_path / "student.safetensors").write_text("mine")
    with pytest.raises(ExportError, match="already exists"):
        export("safetensors", student("edm"), ONE, COND, FACTS, tmp_path / "student.safetensors")
    assert (tmp_path / "student.safetensors").read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path):
    out = tmp_path / "chosen in a dialog"
    out.mkdir()
    export("diffusers", student("edm"), ONE, COND, FACTS, out)
    assert (out / "README.md").is_file()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ExportError, match=r"could not be written.*choose another place"):
        export("diffusers", student("edm"), ONE, COND, FACTS, tmp_path / "file" / "student")


@pytest.mark.parametrize("form", ["diffusers", "safetensors"])
def test_a_disk_that_fills_up_leaves_nothing_behind(form, tmp_path):
    """Files may have 20 kB, so that the weights stop half-way, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(ExportError, match="could not be written"):
            export(form, student("edm"), ONE, COND, FACTS, tmp_path / "student")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_exporting_leaves_the_student_as_it_was(tmp_path):
    net = student("edm").train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = torch.get_rng_state()
    export("diffusers", net, ONE, COND, FACTS, tmp_path / "student")
    assert net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
