"""Adapters that are told the guidance scale, exported at one: alone as a plain LoRA, or in the network's weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from backend.exports import adapters, diffusers_folder, export, safetensors_file
from backend.exports.verify import verify_all
from backend.networks import Condition, Denoiser
from backend.networks.adapters import own_parameters, size_in_words
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
