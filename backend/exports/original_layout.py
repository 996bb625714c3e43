"""Names of tensors in the layout of Stable Diffusion's authors, which most other programs read from one file.

The names are facts of the published checkpoints (arXiv:2112.10752); diffusers' `from_single_file` reads them back.
"""

import re
from collections.abc import Mapping

from torch import Tensor

_UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
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


def text_encoder_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """CLIP's tensors under `cond_stage_model.transformer.text_model.`."""
    return {f"cond_stage_model.transformer.text_model.{n.removeprefix('text_model.')}": t for n, t in weights.items()}
