"""Networks of diffusers under their authors' names: diffusers' own converters, the other way round.

The names are right where diffusers makes the very weights of them again that they were made of.
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
EACH = ("weight", "bias")


def _swapped(tensor: Tensor) -> Tensor:
    """Scale and shift in the other order, of which the authors and diffusers each have their own."""
    return torch.cat(tensor.chunk(2)[::-1])


def _renamed(weights: Weights, names: Mapping[str, str]) -> dict[str, Tensor]:
    """The weights whose name begins as one of these does, under the other; "*" is a block's number."""
    found = {}
    for theirs, ours in names.items():
        pattern = re.compile(re.escape(theirs).replace(r"\*", r"(\d+)") + r"(\.weight|\.bias|)")
        for name, tensor in weights.items():
            if match := pattern.fullmatch(name):
                number, end = (match[1] if "*" in theirs else ""), match[match.lastindex or 0]
                found[ours.replace("*", number) + end] = tensor
    return found


def _joined(weights: Weights, names: Mapping[str, tuple[str, ...]]) -> dict[str, Tensor]:
    """Matrices that the authors keep as one: ours, and of which of diffusers' it consists."""
    found = {}
    for ours, theirs in names.items():
        pattern = re.compile(re.escape(theirs[0]).replace(r"\*", r"(\d+)") + r"\.(weight|bias)")
        for name in weights:
            if match := pattern.fullmatch(name):
                parts = [weights[f"{one.replace('*', match[1])}.{match[2]}"] for one in theirs]
                found[f"{ours.replace('*', match[1])}.{match[2]}"] = torch.cat(parts)
    return found


def _of(stem: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{stem}.{name}" for name in names)


QKV, ADDED = ("to_q", "to_k", "to_v"), ("add_q_proj", "add_k_proj", "add_v_proj")


def sd3(weights: Weights) -> dict[str, Tensor]:
    """Stable Diffusion 3's network."""
    ours, theirs = "joint_blocks.*", "transformer_blocks.*"
    last = max(int(name.split(".")[1]) for name in weights if name.startswith("transformer_blocks."))
    found = _renamed(
        weights,
        {
            "pos_embed.pos_embed": "pos_embed",
            "pos_embed.proj": "x_embedder.proj",
            "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
            "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
            "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
            "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
            "context_embedder": "context_embedder",
            f"{theirs}.attn.to_out.0": f"{ours}.x_block.attn.proj",
            f"{theirs}.attn.to_add_out": f"{ours}.context_block.attn.proj",
            f"{theirs}.norm1.linear": f"{ours}.x_block.adaLN_modulation.1",
            f"{theirs}.norm1_context.linear": f"{ours}.context_block.adaLN_modulation.1",
            f"{theirs}.ff.net.0.proj": f"{ours}.x_block.mlp.fc1",
            f"{theirs}.ff.net.2": f"{ours}.x_block.mlp.fc2",
            f"{theirs}.ff_context.net.0.proj": f"{ours}.context_block.mlp.fc1",
            f"{theirs}.ff_context.net.2": f"{ours}.context_block.mlp.fc2",
            "proj_out": "final_layer.linear",
            "norm_out.linear": "final_layer.adaLN_modulation.1",
        },
    )
    found |= _joined(
        weights,
        {
            f"{ours}.x_block.attn.qkv": _of(f"{theirs}.attn", QKV),
            f"{ours}.context_block.attn.qkv": _of(f"{theirs}.attn", ADDED),
        },
    )
    for end in EACH:
        for name in (f"joint_blocks.{last}.context_block.adaLN_modulation.1", "final_layer.adaLN_modulation.1"):
            found[f"{name}.{end}"] = _swapped(found[f"{name}.{end}"])
    return found


def flux(weights: Weights) -> dict[str, Tensor]:
    """FLUX's network."""
    double, single = "transformer_blocks.*", "single_transformer_blocks.*"
    found = _renamed(
        weights,
        {
            "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
            "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
            "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
            "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
            "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
            "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
            "context_embedder": "txt_in",
            "x_embedder": "img_in",
            f"{double}.norm1.linear": "double_blocks.*.img_mod.lin",
            f"{double}.norm1_context.linear": "double_blocks.*.txt_mod.lin",
            f"{double}.attn.norm_q.weight": "double_blocks.*.img_attn.norm.query_norm.scale",
            f"{double}.attn.norm_k.weight": "double_blocks.*.img_attn.norm.key_norm.scale",
            f"{double}.attn.norm_added_q.weight": "double_blocks.*.txt_attn.norm.query_norm.scale",
            f"{double}.attn.norm_added_k.weight": "double_blocks.*.txt_attn.norm.key_norm.scale",
            f"{double}.ff.net.0.proj": "double_blocks.*.img_mlp.0",
            f"{double}.ff.net.2": "double_blocks.*.img_mlp.2",
            f"{double}.ff_context.net.0.proj": "double_blocks.*.txt_mlp.0",
            f"{double}.ff_context.net.2": "double_blocks.*.txt_mlp.2",
            f"{double}.attn.to_out.0": "double_blocks.*.img_attn.proj",
            f"{double}.attn.to_add_out": "double_blocks.*.txt_attn.proj",
            f"{single}.norm.linear": "single_blocks.*.modulation.lin",
            f"{single}.attn.norm_q.weight": "single_blocks.*.norm.query_norm.scale",
            f"{single}.attn.norm_k.weight": "single_blocks.*.norm.key_norm.scale",
            f"{single}.proj_out": "single_blocks.*.linear2",
            "proj_out": "final_layer.linear",
            "norm_out.linear": "final_layer.adaLN_modulation.1",
        },
    )
    found |= _joined(
        weights,
        {
            "double_blocks.*.img_attn.qkv": _of(f"{double}.attn", QKV),
            "double_blocks.*.txt_attn.qkv": _of(f"{double}.attn", ADDED),
            "single_blocks.*.linear1": (*_of(f"{single}.attn", QKV), f"{single}.proj_mlp"),
        },
    )
    for end in EACH:
        found[f"final_layer.adaLN_modulation.1.{end}"] = _swapped(found[f"final_layer.adaLN_modulation.1.{end}"])
    return found


def sana(weights: Weights) -> dict[str, Tensor]:
    """Sana's network. Its table of places and its empty caption are buffers that diffusers makes or takes elsewhere."""
    ours, theirs = "blocks.*", "transformer_blocks.*"
    found = _renamed(
        weights,
        {
            "patch_embed.proj": "x_embedder.proj",
            "time_embed.emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
            "time_embed.emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
            "time_embed.linear": "t_block.1",
            "caption_projection.linear_1": "y_embedder.y_proj.fc1",
            "caption_projection.linear_2": "y_embedder.y_proj.fc2",
            "caption_norm": "attention_y_norm",
            f"{theirs}.scale_shift_table": f"{ours}.scale_shift_table",
            f"{theirs}.attn1.to_out.0": f"{ours}.attn.proj",
            f"{theirs}.attn2.to_q": f"{ours}.cross_attn.q_linear",
            f"{theirs}.attn2.to_out.0": f"{ours}.cross_attn.proj",
            f"{theirs}.ff.conv_inverted": f"{ours}.mlp.inverted_conv.conv",
            f"{theirs}.ff.conv_depth": f"{ours}.mlp.depth_conv.conv",
            f"{theirs}.ff.conv_point": f"{ours}.mlp.point_conv.conv",
            "proj_out": "final_layer.linear",
            "scale_shift_table": "final_layer.scale_shift_table",
        },
    )
    found |= _joined(
        weights,
        {
            f"{ours}.attn.qkv": _of(f"{theirs}.attn1", QKV),
            f"{ours}.cross_attn.kv_linear": _of(f"{theirs}.attn2", QKV[1:]),
        },
    )
    width = weights["proj_out.weight"].shape[1]
    return {**found, "pos_embed": torch.zeros(1, 16, width), "y_embedder.y_embedding": torch.zeros(300, width)}


ORIGINAL: dict[str, Callable[[Weights], dict[str, Tensor]]] = {"sd3": sd3, "flux": flux, "sana": sana}
"""By the names of the tiny models."""
