"""Networks in their authors' layout, one file beside a folder with all else: read as the models they were made of."""

import inspect
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders import single_file_model, single_file_utils
from safetensors.torch import load_file, save_file

from backend.teachers import TeacherError, load_teacher, quick

from . import tiny
from .original_layouts import ORIGINAL

Models = Callable[[str], Path]
FLUX_WIDTH = "inner_dim = 3072"
"""In diffusers' converter: the width of the one published network."""


def one_file(model: Path, name: str, place: Path, prefix: str = "") -> Path:
    """The network of a model as one file, with the model's folder, without that network, beside it."""
    (weights,) = (model / "transformer").glob("*.safetensors")
    original = ORIGINAL[name](load_file(weights))
    file = place / "model.safetensors"
    save_file({prefix + key: tensor.contiguous() for key, tensor in original.items()}, file)
    beside = Path(shutil.copytree(model, file.with_suffix("")))
    (beside / "transformer" / weights.name).unlink()
    return file


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch, tiny_model: Models) -> None:
    """diffusers' converter of FLUX for the width of the tiny one."""

    config = json.loads((tiny_model("flux") / "transformer" / "config.json").read_text())
    width = config["num_attention_heads"] * config["attention_head_dim"]
    source = inspect.getsource(single_file_utils.convert_flux_transformer_checkpoint_to_diffusers)
    assert source.count(FLUX_WIDTH) == 1
    scope: dict[str, Any] = dict(vars(single_file_utils))
    exec(source.replace(FLUX_WIDTH, f"inner_dim = {width}"), scope)
    known = single_file_model.SINGLE_FILE_LOADABLE_CLASSES["FluxTransformer2DModel"]
    monkeypatch.setitem(known, "checkpoint_mapping_fn", scope["convert_flux_transformer_checkpoint_to_diffusers"])


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize("name", ORIGINAL)
def test_a_network_in_its_authors_layout_is_a_teacher(
    name: str, prefix: str, tiny_model: Models, tmp_path: Path
) -> None:
    file = one_file(tiny_model(name), name, tmp_path, prefix)
    card, plain = quick.card(str(file)), quick.card(str(tiny_model(name)))
    assert (card.condition, card.parameters, card.shape) == (plain.condition, plain.parameters, plain.shape)
    read = load_teacher(str(file), prompts=tiny.PROMPTS)
    teacher = load_teacher(str(tiny_model(name)), prompts=tiny.PROMPTS)
    mine, theirs = read.denoiser.state_dict(), teacher.denoiser.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)
    x, t = torch.randn(2, *teacher.denoiser.shape), torch.tensor([0.2, 0.8], dtype=torch.float64)
    made = read.denoiser(x, t, read.each_condition(2)).output
    assert torch.equal(made, teacher.denoiser(x, t, teacher.each_condition(2)).output)
    assert torch.equal(read.codec.decode(x), teacher.codec.decode(x))


def refusal(file: Path) -> str:
    said = set()
    for look in (quick.card, load_teacher):
        with pytest.raises(TeacherError) as caught:
            look(str(file))
        said.add(str(caught.value))
    assert len(said) == 1
    return said.pop()


def test_what_a_network_alone_lacks_is_said(tiny_model: Models, tmp_path: Path) -> None:
    file = one_file(tiny_model("sd3"), "sd3", tmp_path)
    shutil.rmtree(file.with_suffix("") / "text_encoder_2")
    assert "lacks text_encoder_2/" in refusal(file)
    shutil.rmtree(file.with_suffix(""))
    assert "holds a network alone; put the settings and tokenizer of its kind of model (a diffusers folder, with" in (
        refusal(file)
    )
    shutil.copytree(tiny_model("sana"), file.with_suffix(""))
    assert "holds a Stable Diffusion 3 model, and model/ beside it is of Sana; put a diffusers folder of Stable" in (
        refusal(file)
    )


def test_a_network_that_lacks_a_layer_is_refused(tiny_model: Models, tmp_path: Path) -> None:
    file = one_file(tiny_model("sana"), "sana", tmp_path)
    weights = load_file(file)
    del weights["blocks.1.attn.proj.bias"]
    save_file(weights, file)
    with pytest.raises(TeacherError, match="cannot be converted as a SanaTransformer2DModel"):
        load_teacher(str(file))


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        ("blocks.0.cross_attn.q_linear.weight", "holds a PixArt network in its authors' layout, which diffusers does"),
        ("y_embedder.embedding_table.weight", "holds a DiT network in its authors' layout, which diffusers does not"),
        ("transformer_blocks.0.attn1.to_q.weight", "holds a network under diffusers' names; put it into its model's"),
        ("unet.up_blocks.1.to_q.lora_A.weight", "holds LoRA adapters, which change a model and are none; name the"),
        ("lora_unet_mid_block.lora_down.weight", "holds LoRA adapters, which change a model and are none; name the"),
        ("weight", "is in no layout that is read, a whole Stable Diffusion 1, 2 or XL model or a network of Stable"),
    ],
)
def test_a_file_that_is_no_model_says_what_it_is(tensor: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "some.safetensors"
    save_file({tensor: torch.zeros(2, 2)}, file)
    assert words in refusal(file)
