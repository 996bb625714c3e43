"""Models as they should not be: each is refused in one sentence that names the thing and says what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from backend.cache import cache_folder
from backend.teachers import TeacherError, hub, load_teacher, quick

from . import tiny

Models = Callable[[str], Path]
Change = Callable[[Path], object]


def edited(part: str, **changes: Any) -> Change:
    def edit(folder: Path) -> None:
        file = folder / part
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return edit


def without(part: str) -> Change:
    def remove(folder: Path) -> None:
        place = folder / part
        shutil.rmtree(place) if place.is_dir() else place.unlink()

    return remove


def written(part: str, content: bytes) -> Change:
    return lambda folder: (folder / part).write_bytes(content)


def renamed(part: str, name: str) -> Change:
    return lambda folder: (folder / part).rename(folder / part.rpartition("/")[0] / name)


def cut(part: str) -> Change:
    def shorten(folder: Path) -> None:
        (folder / part).write_bytes((folder / part).read_bytes()[:-7])

    return shorten


def reweighed(part: str, change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def write(folder: Path) -> None:
        weights = load_file(folder / part)
        change(weights)
        save_file(weights, folder / part)

    return write


def missing_vocabulary(folder: Path) -> None:
    for name in ("vocab.json", "merges.txt", "tokenizer.json"):
        (folder / "tokenizer" / name).unlink(missing_ok=True)


UNET, VAE = "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"
TEXT, TRANSFORMER = "text_encoder/model.safetensors", "transformer/diffusion_pytorch_model.safetensors"

AT_ONCE: dict[str, tuple[str, Change, str]] = {
    "no autoencoder": ("sd", without("vae"), "lacks vae/, without which its samples are no pictures"),
    "no autoencoder's config": ("sd", without("vae/config.json"), "vae/config.json is missing"),
    "no autoencoder's weights": ("sd", without(VAE), "holds no weights; it needs diffusion_pytorch_model.safetensors"),
    "an autoencoder that is cut off": ("sd", cut(VAE), "is no whole safetensors file"),
    "an autoencoder as a pickle": ("sd", renamed(VAE, "diffusion_pytorch_model.bin"), "is a pickle, which can run"),
    "another kind of autoencoder": ("sd", edited("vae/config.json", _class_name="VQModel"), "holds a VQModel"),
    "an autoencoder of other channels": ("sd", edited("vae/config.json", latent_channels=8), "its vae makes 8, as in"),
    "an autoencoder with statistics": (
        "sdxl",
        edited("vae/config.json", latents_mean=[0.0] * 4),
        "scales each channel of its latents for itself",
    ),
    "an autoencoder of no blocks": ("sd", edited("vae/config.json", block_out_channels=[]), "must list its block_out"),
    "no tokenizer": ("sd", without("tokenizer"), "lacks tokenizer/, without which it cannot read prompts"),
    "no vocabulary": ("sd", missing_vocabulary, "holds no vocabulary (tokenizer.json, or vocab.json and merges.txt)"),
    "no text encoder": ("sd", without("text_encoder"), "lacks text_encoder/, without which it cannot read prompts"),
    "no text encoder's config": ("sd", without("text_encoder/config.json"), "text_encoder/config.json is missing"),
    "no text encoder's weights": ("sd", without(TEXT), "holds no weights; it needs model.safetensors"),
    "a text encoder as a pickle": ("sd", renamed(TEXT, "pytorch_model.bin"), "is a pickle, which can run code"),
    "a text encoder that is cut off": ("sd", cut(TEXT), "is no whole safetensors file"),
    "no second text encoder": ("sdxl", without("text_encoder_2"), "lacks text_encoder_2/"),
    "a text encoder left out": (
        "sdxl",
        edited("model_index.json", text_encoder_2=[None, None]),
        "is a Stable Diffusion XL model without text_encoder_2",
    ),
    "another kind of text encoder": (
        "sd",
        edited("model_index.json", text_encoder=["transformers", "BertModel"]),
        "is a BertModel, which is not supported",
    ),
    "a text encoder of its own code": (
        "sd",
        edited("model_index.json", text_encoder=["modeling_own", "OwnTextModel"]),
        "is a OwnTextModel, which is not supported",
    ),
    "a pipeline for upscaling": (
        "sd",
        edited("model_index.json", _class_name="StableDiffusionUpscalePipeline"),
        "is a StableDiffusionUpscalePipeline, a kind of model that is not supported; it must be a Stable",
    ),
    "a pipeline of its own code": (
        "sd",
        edited("model_index.json", _class_name=["pipeline", "Own"]),
        "a kind of model that is not supported",
    ),
    "a network for inpainting": (
        "sd",
        edited("unet/config.json", in_channels=9),
        "takes 9 channels and its vae makes 4",
    ),
    "a network for video": (
        "sd",
        edited("unet/config.json", _class_name="UNet3DConditionModel"),
        "holds a UNet3DConditionModel, a kind of model that is not supported; it must be one of UNet2DModel",
    ),
    "a distilled network": ("sd", edited("unet/config.json", time_cond_proj_dim=8), "has time_cond_proj_dim 8"),
    "a network of another pipeline": (
        "sd",
        edited("unet/config.json", addition_embed_type="text_image"),
        "has addition_embed_type 'text_image'",
    ),
    "a network of no size": ("sd", edited("unet/config.json", sample_size=None), "names no sample_size"),
    "a network of half a channel": ("sd", edited("unet/config.json", in_channels=4.5), "takes 4.5 channels"),
    "a network of too many outputs": (
        "sd3",
        edited("transformer/config.json", out_channels=6),
        "makes 6 channels of 4",
    ),
    "a network whose first layer lies": (
        "sd",
        edited("unet/config.json", block_out_channels=[16, 16]),
        "holds conv_in.weight of shape (8, 4, 3, 3) where its config describes (16, 4, 3, 3)",
    ),
    "a transformer that is cut off": ("flux", cut(TRANSFORMER), "is no whole safetensors file"),
    "a scheduler of an unknown kind": (
        "sd",
        edited("scheduler/scheduler_config.json", _class_name="RePaintScheduler"),
        "The scheduler RePaintScheduler is of an unknown kind",
    ),
    "no scheduler": ("sd3", without("scheduler"), "scheduler/scheduler_config.json is missing"),
    "a guidance scale in words": ("sd", edited("teacher.json", guidance_scale="high"), "guidance_scale as a number"),
    "a size in words": ("sd", edited("teacher.json", sample_size="big"), "names no sample_size"),
    "an index that is no JSON": ("sd", written("model_index.json", b"{"), "model_index.json is not readable JSON"),
}
LOADED: dict[str, tuple[str, Change, str]] = {
    "an autoencoder of other shapes": (
        "sd",
        edited("vae/config.json", block_out_channels=[8, 8]),
        "where its config describes",
    ),
    "an autoencoder that is not finite": (
        "sd",
        reweighed(VAE, lambda w: w["decoder.conv_in.bias"].fill_(torch.nan)),
        "numbers that are not finite in decoder.conv_in.bias",
    ),
    "a scaling factor of nothing": ("sd", edited("vae/config.json", scaling_factor=0), "scaling_factor as a number"),
    "a text encoder of other shapes": (
        "sd",
        edited("text_encoder/config.json", hidden_size=24),
        "cannot be loaded as a CLIPTextModel",
    ),
    "a text encoder that lacks a layer": (
        "sd",
        reweighed(TEXT, lambda w: w.pop("encoder.layers.1.mlp.fc1.weight")),
        "lacks encoder.layers.1.mlp.fc1.weight",
    ),
    "a tokenizer that is no JSON": (
        "pixart-alpha",
        written("tokenizer/tokenizer.json", b"{"),
        "cannot be loaded as a T5",
    ),
    "a network of other shapes": (
        "sd",
        reweighed(UNET, lambda w: w.update({"conv_out.bias": torch.zeros(5)})),
        "holds conv_out.bias of shape (5,) where its config describes (4,)",
    ),
    "an impossible network": (
        "sana",
        edited("transformer/config.json", num_layers="many"),
        "transformer/config.json describes no possible network",
    ),
    "prompts elsewhere": ("sd", edited("teacher.json", prompts="../prompts.txt"), "must name a file beside it"),
    "prompts that are missing": ("sd", edited("teacher.json", prompts="prompts.txt"), "There is no prompt file"),
}


def refusal(folder: Path, look: Callable[[str], object]) -> str:
    with pytest.raises(TeacherError) as caught:
        look(str(folder))
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith((".", "/"))
    return text


@pytest.mark.parametrize("name", AT_ONCE)
def test_what_is_wrong_is_said_at_once(name: str, tiny_model: Models, tmp_path: Path) -> None:
    model, change, words = AT_ONCE[name]
    folder = Path(shutil.copytree(tiny_model(model), tmp_path / "model"))
    change(folder)
    assert words in refusal(folder, quick.card)


@pytest.mark.parametrize("name", LOADED)
def test_what_is_wrong_is_said_when_it_is_loaded(name: str, tiny_model: Models, tmp_path: Path) -> None:
    model, change, words = LOADED[name]
    folder = Path(shutil.copytree(tiny_model(model), tmp_path / "model"))
    change(folder)
    assert words in refusal(folder, load_teacher)


def test_prompts_that_are_too_long_are_counted_and_said(tiny_model: Models) -> None:
    teacher = load_teacher(str(tiny_model("sd")), prompts=["a cat", "a very long prompt of many letters", "x" * 99])
    assert teacher.notes == (
        "2 of 3 prompts are longer than the text encoder of model takes; what is past its end is not read.",
    )
    assert (
        load_teacher(str(tiny_model("sd3")), prompts=["the sea at night and two cats"]).notes == ()
    )  # its T5 takes it


def test_a_teacher_brings_its_own_prompts(tiny_model: Models, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model("sd"), tmp_path / "model"))
    assert len(load_teacher(str(folder)).prompts) == 24  # the everyday ones
    (folder / "names.txt").write_text("ant\nbee\n\nant\n", encoding="utf-8")
    edited("teacher.json", prompts="names.txt")(folder)
    teacher = load_teacher(str(folder))
    assert teacher.prompts == ("ant", "bee")
    assert teacher.each_prompt(3) == ("ant", "bee", "ant")
    cond = teacher.conditions(50, torch.Generator().manual_seed(0))
    assert {tuple(row.flatten().tolist()) for row in cond.part("text")} == {
        tuple(row.flatten().tolist()) for row in teacher.each_condition(2).part("text")
    }


def test_prompts_are_embedded_once(tiny_model: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    from backend.teachers import prompts as module

    asked = ["a cat that is embedded once"]
    first = load_teacher(str(tiny_model("sd")), prompts=asked).each_condition(1).part("text")
    monkeypatch.setattr(module, "_encoded", lambda *_: pytest.fail("the encoder ran again"))
    assert torch.equal(load_teacher(str(tiny_model("sd")), prompts=asked).each_condition(1).part("text"), first)
    for file in (cache_folder() / "prompts").rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:50])  # damaged: as if it were not there
    monkeypatch.undo()
    assert torch.equal(load_teacher(str(tiny_model("sd")), prompts=asked).each_condition(1).part("text"), first)


def test_a_model_of_the_hub_that_is_not_here_is_a_sentence() -> None:
    assert hub.is_id("stabilityai/stable-diffusion-2-1")
    assert not hub.is_id("stabilityai")
    assert not hub.is_id("../model")
    words = "no model of this id in the hub's cache on this machine; name a folder, or download it with: hf download"
    for look in (quick.card, load_teacher):
        with pytest.raises(TeacherError, match=words):
            look("nobody-at-all/no-such-model")


def test_a_model_of_the_hubs_cache_is_found(
    tiny_model: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[dict[str, Any]] = []

    def snapshot(model: str, **how: Any) -> str:
        asked.append({"model": model, **how})
        return str(tiny_model("sd"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.chdir(tmp_path)
    assert load_teacher("owner/name", prompts=tiny.PROMPTS).title == "Tiny sd"
    assert asked == [{"model": "owner/name", "allow_patterns": hub.PATTERNS, "local_files_only": True}]
