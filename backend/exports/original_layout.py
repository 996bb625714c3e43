"""Names of tensors in the layout of Stable Diffusion's authors, which most other programs read from one file.

The names are facts of the published checkpoints (arXiv:2112.10752 and 2307.01952, OpenCLIP's for the text encoders of
Stable Diffusion 2 and XL); diffusers' `from_single_file` reads them back.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",  # Stable Diffusion XL's pooled text and sizes
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OPEN_CLIP = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
    "text_projection.weight": "text_projection",
}
_OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
CLIP = "cond_stage_model.transformer."
"""Before the names of Stable Diffusion 1's text encoder."""
OPEN_CLIP = "cond_stage_model.model."
"""The same of Stable Diffusion 2."""
CLIPS_OF_XL = ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model.")
"""The same of the two of Stable Diffusion XL, the second OpenCLIP's."""
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.*)\.(weight|bias)")
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)")


def unet_names(weights: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The U-Net's tensors under `model.diffusion_model.`; layers: its `layers_per_block`."""
    with_attention = {match[2] for name in weights if (match := _BLOCK.match(name)) and match[1] == "up"
                      and match[3] == "attentions"}  # fmt: skip
    return {f"model.diffusion_model.{_unet_name(name, layers, with_attention)}": t for name, t in weights.items()}


def _unet_name(name: str, layers: int, with_attention: set[str]) -> str:
    if match := _MIDDLE.match(name):
        kind, number, rest = match.groups()
        return f"middle_block.{2 * int(number)}.{_inner(rest)}" if kind == "resnets" else f"middle_block.1.{rest}"
    if match := _BLOCK.match(name):
        side, block, kind, number, rest = match.groups()
        first = int(block) * (layers + 1)
        if kind == "downsamplers":
            return f"input_blocks.{first + layers + 1}.0.{rest.replace('conv', 'op', 1)}"
        if kind == "upsamplers":
            return f"output_blocks.{first + layers}.{2 if block in with_attention else 1}.{rest}"
        place = f"input_blocks.{first + int(number) + 1}" if side == "down" else f"output_blocks.{first + int(number)}"
        return f"{place}.0.{_inner(rest)}" if kind == "resnets" else f"{place}.1.{rest}"
    stem, _, last = name.rpartition(".")
    return f"{_UNET[stem]}.{last}"


def _inner(rest: str) -> str:
    stem, _, last = rest.rpartition(".")
    return f"{_RESNET[stem]}.{last}"


def autoencoder_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The autoencoder's tensors under `first_stage_model.`; its attention was made of 1x1 convolutions."""
    blocks = 1 + max(int(match[2]) for name in weights if (match := _BLOCK.search(name)))
    found = {}
    for name, tensor in weights.items():
        ours = _autoencoder_name(name, blocks)
        matrix = ".attn_1." in ours and tensor.ndim == 2
        found[f"first_stage_model.{ours}"] = tensor[..., None, None] if matrix else tensor
    return found


def _autoencoder_name(name: str, blocks: int) -> str:
    half, _, inside = name.partition(".")
    inside = inside.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    if match := _MIDDLE.match(inside):
        kind, number, rest = match.groups()
        if kind == "resnets":
            return f"{half}.mid.block_{int(number) + 1}.{rest}"
        stem, _, last = rest.rpartition(".")
        return f"{half}.mid.attn_1.{_ATTENTION[stem]}.{last}"
    if match := _BLOCK.match(inside):
        side, block, kind, number, rest = match.groups()
        place = int(block) if side == "down" else blocks - 1 - int(block)
        return (
            f"{half}.{side}.{place}."
            + {
                "resnets": f"block.{number}.{rest}",
                "downsamplers": f"downsample.{rest}",
                "upsamplers": f"upsample.{rest}",
            }[kind]
        )
    return f"{half}.{inside}"


def clip_names(weights: Mapping[str, Tensor], prefix: str = CLIP) -> dict[str, Tensor]:
    """CLIP's tensors, under their own names in transformers."""
    return {f"{prefix}text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in weights.items()}


def open_clip_names(weights: Mapping[str, Tensor], prefix: str = OPEN_CLIP) -> dict[str, Tensor]:
    """CLIP's tensors as OpenCLIP names them: query, key and value in one, the projection from the right."""
    own = {name.removeprefix("text_model."): tensor for name, tensor in weights.items()}
    found = {}
    for name, tensor in own.items():
        if name in _OPEN_CLIP:
            found[prefix + _OPEN_CLIP[name]] = tensor.T if name.startswith("text_projection") else tensor
            continue
        match = _LAYER.fullmatch(name)
        if match is None:
            raise KeyError(name)
        number, part, last = match.groups()
        place = f"{prefix}transformer.resblocks.{number}."
        if part in _OPEN_CLIP_LAYER:
            found[f"{place}{_OPEN_CLIP_LAYER[part]}.{last}"] = tensor
        elif part == "self_attn.q_proj":
            three = [own[f"encoder.layers.{number}.self_attn.{each}_proj.{last}"] for each in "qkv"]
            found[f"{place}attn.in_proj_{last}"] = torch.cat(three)
    return found
