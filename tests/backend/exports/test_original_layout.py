"""Stable Diffusion 1, 2 and XL as one file: a fresh process reads it with plain diffusers and makes the same pictures.

The models have the blocks of the published ones and few channels. diffusers tells a file's kind from such shapes as a
text width of 1024, which these lack, so that it is given the teacher's folder as config, as any user of a file offline
would; and it tells the two encoders of XL apart by their widths, which therefore differ here as there.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from backend.exports import Export, export
from backend.exports.verify import SHEETS, TOLERANCE, verify_file
from backend.networks import Denoiser
from backend.samplers import Sampler, start_level, student_levels
from backend.teachers import Teacher, load_teacher

from ..teachers import tiny
from .students import FACTS

SEED = 5
CROSS_DOWN, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
SCHEDULE = {**tiny.SD_SCHEDULE, "steps_offset": 1}
WHOLE_VAE = {
    "block_out_channels": (8, 8, 16, 16), "layers_per_block": 2, "sample_size": 8 * tiny.LATENT,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip


def autoencoder() -> Any:
    made = tiny.kl()
    return tiny.stirred(type(made).from_config({**made.config, **WHOLE_VAE}))


def one(folder: Path, **scheduler: Any) -> StableDiffusionPipeline:
    return second(folder, False, **scheduler)


def second(folder: Path, linear: bool = True, **scheduler: Any) -> StableDiffusionPipeline:
    blocks: dict[str, Any] = {
        "block_out_channels": (8, 8, 16, 16), "layers_per_block": 2, "use_linear_projection": linear,
        "down_block_types": (CROSS_DOWN,) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + (CROSS_UP,) * 3,
        "attention_head_dim": [1, 2, 2, 4] if linear else 8,
    }  # fmt: skip
    return StableDiffusionPipeline(
        vae=autoencoder(), text_encoder=tiny.clip(), tokenizer=tiny.clip_tokenizer(folder), unet=tiny.unet(**blocks),
        scheduler=DDIMScheduler(**{**SCHEDULE, **scheduler}),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def velocity(folder: Path) -> StableDiffusionPipeline:
    zero: dict[str, Any] = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return second(folder, prediction_type="v_prediction", **zero)


def large(folder: Path) -> StableDiffusionXLPipeline:
    blocks: dict[str, Any] = {
        "block_out_channels": (8, 8, 16), "layers_per_block": 2, "use_linear_projection": True,
        "down_block_types": ("DownBlock2D", CROSS_DOWN, CROSS_DOWN),
        "up_block_types": (CROSS_UP, CROSS_UP, "UpBlock2D"),
        "transformer_layers_per_block": [1, 2, 3], "attention_head_dim": [1, 2, 4],
        "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 32 + 6 * 8,
    }  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=autoencoder(), text_encoder=tiny.clip(16), text_encoder_2=tiny.clip(32, projected=True),
        tokenizer=tiny.clip_tokenizer(folder / "1"), tokenizer_2=tiny.clip_tokenizer(folder / "2"),
        unet=tiny.unet(48, **blocks), scheduler=DDIMScheduler(**SCHEDULE), add_watermarker=False,
    )  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A published model in small, and what its file must say. encoder: what names of its last encoder begin with."""

    make: Callable[[Path], Any]
    architecture: str
    prediction_type: str
    parts: frozenset[str]
    encoder: str


WHOLE = frozenset({"model", "first_stage_model", "cond_stage_model"})
OPEN = "cond_stage_model.model.transformer.resblocks.1.attn.in_proj_bias"
KINDS = {
    "sd1": Kind(one, "stable-diffusion-v1", "epsilon", WHOLE, "cond_stage_model.transformer.text_model.final_layer"),
    "sd2": Kind(second, "stable-diffusion-v2-512", "epsilon", WHOLE, OPEN),
    "sd2-v": Kind(velocity, "stable-diffusion-v2-768-v", "v", WHOLE, OPEN),
    "sdxl": Kind(
        large,
        "stable-diffusion-xl-v1-base",
        "epsilon",
        frozenset({"model", "first_stage_model", "conditioner"}),
        "conditioner.embedders.1.model.text_projection",
    ),
}
every_kind = pytest.mark.parametrize("name", KINDS)

FRESH = """
import json, sys
from safetensors.torch import load_file

for job in json.load(sys.stdin):
    scope = {"__name__": "sample"}
    exec(job["text"], scope)
    made = scope["sample"](job["file"], job["prompts"], job["seed"])
    expected = load_file(job["folder"] + "/expected.safetensors")["samples"]
    print(json.dumps({"difference": float((made - expected).abs().max()), "spread": float(expected.std())}))
assert not any(name.partition(".")[0] in ("backend", "app") for name in sys.modules)
"""


@dataclass(frozen=True)
class Written:
    """One student as a file and as a folder, whose `expected.safetensors` are the preview's pictures."""

    teacher: Teacher
    student: Denoiser
    file: Export
    folder: Export


def written(kind: Kind, place: Path) -> Written:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kind.make(place / "tokenizers").save_pretrained(place / "model")
        teacher = load_teacher(str(place / "model"), prompts=tiny.PROMPTS)
        student = teacher.trainable()
        with torch.no_grad():
            for weight in student.parameters():
                weight.add_(torch.randn_like(weight), alpha=0.02)
    sampler = Sampler("renoise", student_levels(student.path, 2, start_level(student)))
    facts = replace(FACTS, picture=(64, 64))
    cond = teacher.each_condition(2)
    whole = export("safetensors", student, sampler, cond, facts, place / "student.safetensors", SEED, teacher)
    folder = export("diffusers", student, sampler, cond, facts, place / "folder", SEED, teacher)
    return Written(teacher, student, whole, folder)


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Written]:
    root = tmp_path_factory.mktemp("original")
    return {name: written(kind, root / name) for name, kind in KINDS.items()}


@pytest.fixture(scope="module")
def answers(students: dict[str, Written], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    jobs = []
    for one in students.values():
        promise = one.file.promise
        assert promise is not None
        assert ".from_single_file(" in promise.text
        assert f"config={str(one.teacher.folder)!r}" in promise.text
        jobs.append(
            {
                "file": str(one.file.path),
                "folder": str(one.folder.path),
                "text": promise.text,
                "prompts": promise.argument,
                "seed": SEED,
            }
        )
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", FRESH],
        input=json.dumps(jobs), capture_output=True, text=True, cwd=tmp_path_factory.mktemp("elsewhere"), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"difference"')]
    return dict(zip(students, lines, strict=True))


@every_kind
def test_plain_diffusers_reads_the_file_and_makes_the_previews_pictures(
    name: str, answers: dict[str, dict[str, float]]
) -> None:
    assert answers[name]["spread"] > 0.05
    assert answers[name]["difference"] < TOLERANCE


def test_the_file_is_checked_as_a_folder_is(students: dict[str, Written], tmp_path: Path) -> None:
    made = students["sd1"].file
    assert made.promise is not None
    found = verify_file(made.path, made.promise, tmp_path / "sheets")
    assert found.sound, found.sentence
    assert {file.name for file in (tmp_path / "sheets").iterdir()} == set(SHEETS.values())
    card = made.path.with_suffix(".md").read_text(encoding="utf-8")
    assert f"```python\n{made.promise.text}```" in card
    assert f"| student.safetensors | `{made.digest}` |" in card
    weights = load_file(made.path)
    weights["model.diffusion_model.out.2.bias"] += 0.1
    save_file(weights, tmp_path / "other.safetensors")
    other = verify_file(tmp_path / "other.safetensors", made.promise)
    assert other.difference > 1e-3
    assert "makes other pictures than the preview" in other.sentence


@every_kind
def test_names_and_header_are_those_of_the_published_model(name: str, students: dict[str, Written]) -> None:
    kind, file = KINDS[name], students[name].file.path
    with safe_open(file, "pt") as opened:
        names, about = set(opened.keys()), opened.metadata()
    assert {tensor.partition(".")[0] for tensor in names} == kind.parts
    assert any(tensor.startswith(kind.encoder) for tensor in names)
    assert about["modelspec.architecture"] == kind.architecture
    assert about["modelspec.prediction_type"] == kind.prediction_type
    assert about["modelspec.sai_model_spec"] == "1.0.0"
    assert ".from_single_file(FILE, config=FOLDER)" in about["modelspec.usage_hint"]
    assert '"timesteps": [' in about["modelspec.usage_hint"]


@every_kind
def test_the_file_is_a_teacher_again(name: str, students: dict[str, Written]) -> None:
    one = students[name]
    file = one.file.path
    (file.with_suffix("")).symlink_to(Path(str(one.teacher.folder)), target_is_directory=True)
    again = load_teacher(str(file), prompts=tiny.PROMPTS)
    x, t = torch.randn(2, *one.student.shape), torch.tensor([0.2, 0.8], dtype=torch.float64)
    mine = again.denoiser(x, t, again.each_condition(2)).output
    assert torch.equal(mine, one.student.frozen()(x, t, one.teacher.each_condition(2)).output)
