"""Adapters that are told the guidance scale, exported at one: alone as a plain LoRA, or in the network's weights."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from backend.exports import adapters, diffusers_folder, export, safetensors_file
from backend.exports.verify import TOLERANCE, verify_all
from backend.networks import Condition, Denoiser
from backend.networks.adapters import load_own_state, own_parameters, own_state, size_in_words, with_adapters
from backend.networks.gates import with_gated_adapters
from backend.samplers import Sampler
from backend.teachers import load_teacher

from ..teachers import tiny
from .students import FACTS
from .students import student as u_net


def loud(base: Denoiser) -> Denoiser:
    net = with_gated_adapters(base, 2)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in own_parameters(net):
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return net


def test_plain_diffusers_makes_the_previews_pictures_at_the_samplers_guidance(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    teacher = load_teacher(str(tiny_model("sd")), prompts=tiny.PROMPTS)
    net, cond = loud(teacher.denoiser), teacher.each_condition(2)
    sampler = Sampler("deterministic", net.path.grid(2), 5.0)
    facts = replace(FACTS, adapters=size_in_words(net))
    alone = export("lora", net, sampler, cond, facts, tmp_path / "lora", 0, teacher)
    whole = export("diffusers", net, sampler, cond, facts, tmp_path / "whole", 0, teacher)
    assert all(found.sound for found in verify_all([alone.path, whole.path]))
    shown = load_file(alone.path / "expected.safetensors")["samples"]
    for other in (replace(sampler, guidance=1.0), replace(sampler, guidance=2.0)):
        assert (diffusers_folder.expected(net, other, cond, 0, teacher) - shown).abs().max() > 1e-3
    keys = load_file(alone.path / adapters.DIFFUSERS).keys()
    assert all(key.endswith(("lora_A.weight", "lora_B.weight")) for key in keys)
    assert f"| Trained | {facts.adapters} |" in (alone.path / "README.md").read_text()
    assert net.inputs == ("guidance",)


def on(base: Path, alone: Path) -> Tensor:
    """The sheet's pictures by an export's own script, with its adapters on the model in the folder `base`."""
    sheet = json.loads((alone / "distill.json").read_text())["sheet"]
    text = (alone / "sample.py").read_text(encoding="utf-8")
    assert text.count(repr(sheet["base"])) == 1
    scope: dict[str, Any] = {"__name__": "sample"}
    exec(text.replace(repr(sheet["base"]), repr(str(base))), scope)
    asked = sheet["prompts"] or sheet["labels"]
    return scope["sample"](str(alone), list(asked), sheet["seed"])  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["sd", "digits", "digits-eps", "digits-flow"])
def test_alone_they_go_onto_another_checkpoint_of_the_base_by_plain_diffusers(
    name: str, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    prompts = tiny.PROMPTS if name == "sd" else ()
    teacher = load_teacher(str(tiny_model(name)) if prompts else name, prompts=prompts)
    assert teacher.folder is not None
    net, cond = loud(teacher.denoiser), teacher.each_condition(2)
    sampler = Sampler("deterministic", net.path.grid(2), 3.0)
    alone = export("lora", net, sampler, cond, FACTS, tmp_path / "lora", 0, teacher)
    (found,) = verify_all([alone.path])
    assert found.sound, found.sentence
    assert not list(alone.path.rglob("diffusion_pytorch_model*"))
    assert "peft" in (alone.path / "README.md").read_text()

    shutil.copytree(teacher.folder, tmp_path / "other")
    file = tmp_path / "other" / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    generator = torch.Generator().manual_seed(5)
    for weight in weights.values():
        weight.mul_(1 + 0.05 * torch.randn(weight.shape, generator=generator))
    save_file(weights, file, {"format": "pt"})
    other = load_teacher(str(tmp_path / "other"), prompts=prompts)
    moved = with_gated_adapters(other.denoiser, 2)
    load_own_state(moved, own_state(net))
    made = on(tmp_path / "other", alone.path)
    shown = load_file(alone.path / "expected.safetensors")["samples"]
    assert (made - diffusers_folder.expected(moved, sampler, cond, 0, other)).abs().max() < 10 * TOLERANCE
    assert (made - shown).abs().max() > 1e-3
    assert (made - diffusers_folder.expected(other.denoiser, sampler, cond, 0, other)).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["renoise", "deterministic"])
@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("name", ["digits", "digits-eps", "digits-flow"])
def test_adapters_of_a_pixel_network_are_loaded_by_peft_whatever_the_sampler(
    name: str, steps: int, kind: Literal["renoise", "deterministic"], tmp_path: Path
) -> None:
    teacher = load_teacher(name)
    net = with_adapters(teacher.denoiser, rank=2, alpha=4)
    with torch.no_grad():
        for parameter in own_parameters(net):
            parameter.add_(0.05)
    sampler = Sampler(kind, net.path.grid(steps))
    alone = export("lora", net, sampler, teacher.each_condition(2), FACTS, tmp_path / "lora", 0, teacher)
    (found,) = verify_all([alone.path])
    assert found.sound, found.sentence


def test_one_file_holds_the_weights_with_the_adapters_in_them(tmp_path: Path) -> None:
    base = u_net("flow").frozen()
    sampler = Sampler("deterministic", base.path.grid(2), 3.0)
    for scale, same in ((1.0, True), (3.0, False)):
        made = safetensors_file.write(
            loud(base), replace(sampler, guidance=scale), Condition.none(1), FACTS, tmp_path / f"{scale}.safetensors"
        )
        weights, plain = load_file(made.path), base.network.unet.state_dict()  # type: ignore[union-attr]
        assert weights.keys() == plain.keys()
        assert all(torch.allclose(weights[name], plain[name]) for name in plain) == same
