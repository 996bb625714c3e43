"""The adapters of a student, alone: a LoRA that diffusers loads onto the untouched teacher, or any checkpoint of it.

Of a U-Net the same numbers are written once more as kohya's trainers name them, with an alpha beside each; kohya's
trainers name a transformer's after other modules than diffusers', so that there is no such file of one. Diffusers has
no LoRA for U-Nets of pixels: theirs is written as peft, which diffusers itself uses, saves and loads adapters.
"""

import json
from pathlib import Path as FilePath
from typing import Any

import torch
from diffusers.utils.state_dict_utils import convert_state_dict_to_kohya
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from backend.exports import ExportError
from backend.exports.writing import save_weights
from backend.networks import Denoiser
from backend.networks.adapters import ADAPTER, adapted
from backend.networks.experts import Experts
from backend.networks.momentum import Momentum
from backend.networks.told import module_of
from backend.teachers import Teacher
from backend.teachers.layouts import Layout

DIFFUSERS, KOHYA = "pytorch_lora_weights.safetensors", "kohya.safetensors"
PEFT, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
KOHYA_NAMES = {
    "lora_unet_add_embedding_linear_1": "lora_unet_label_emb_0_0",
    "lora_unet_add_embedding_linear_2": "lora_unet_label_emb_0_2",
}
"""Layers of Stable Diffusion XL that kohya's trainers call otherwise than diffusers, whose reader of such files finds
them by kohya's names alone."""
LOADABLE = ("sd", "sdxl", "sd3", "flux", "sana")
"""Families whose pipelines of diffusers load LoRA."""


def refuse(student: Denoiser, model: Layout | None, teacher: Teacher | None) -> None:
    """Raises `ExportError` where the student has no adapters, or nothing could put them onto its teacher.

    model: None for a U-Net of pixels.
    """
    if not adapted(student):
        raise ExportError(
            "This student was trained in full, so there is no LoRA to export; export it as diffusers or safetensors."
        )
    if model is not None and model.family.key not in LOADABLE:
        raise ExportError(
            f"{model.family.title} takes no LoRA in diffusers; export the student as diffusers or safetensors, its "
            "adapters merged."
        )
    if teacher is None or teacher.folder is None:
        raise ExportError(
            "This student's teacher has no folder for adapters to be loaded onto; export it as diffusers or "
            "safetensors, its adapters merged."
        )
    if isinstance(student.network, Experts | Momentum):
        raise ExportError(
            "This student is more than one network with adapters, for which a LoRA has no place; export it as "
            "diffusers or safetensors, its adapters merged."
        )
    if student.prediction_type != teacher.denoiser.prediction_type:
        raise ExportError(
            f"This student predicts {student.prediction_type} and its teacher {teacher.denoiser.prediction_type}, and "
            "programs take adapters for what the model under them is; export it as diffusers or safetensors, its "
            "adapters merged."
        )
    if student.inputs:
        told = " and ".join(number.replace("_", " ") for number in student.inputs)
        raise ExportError(
            f"This student is told its {told} by layers of its own beside the adapters, for which a LoRA has no place; "
            "export it as diffusers or safetensors, its adapters merged."
        )


def file_of(model: Layout | None) -> str:
    """The name of the file that holds them."""
    return DIFFUSERS if model else PEFT


def save(student: Denoiser, model: Layout | None, folder: FilePath, header: dict[str, str]) -> None:
    """Writes the file, or of a U-Net both, into `folder`, in float32."""
    if model is None:
        _save_for_peft(module_of(student.network), folder, header)
        return
    weights = lora_weights(module_of(student.network), model.family.folder)
    save_weights(weights, folder / DIFFUSERS, header)
    if model.family.folder != "unet":
        return
    kohya = {}
    for name, tensor in convert_state_dict_to_kohya(weights).items():
        layer, dot, end = name.partition(".")
        kohya[KOHYA_NAMES.get(layer, layer) + dot + end] = tensor.contiguous()
    save_weights(kohya, folder / KOHYA, header)


def _save_for_peft(module: nn.Module, folder: FilePath, header: dict[str, str]) -> None:
    weights = lora_weights(module, "base_model.model")
    save_weights(weights, folder / PEFT, header)
    layers = sorted(name for name, layer in module.named_modules() if isinstance(layer, LoraLayer))
    rank = next(len(tensor) for name, tensor in weights.items() if ".lora_A." in name)
    config: Any = LoraConfig(r=rank, lora_alpha=rank, target_modules=layers, inference_mode=True)
    about = {name: sorted(value) if isinstance(value, set) else value for name, value in config.to_dict().items()}
    (folder / PEFT_CONFIG).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def lora_weights(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """The adapters as diffusers names them: PREFIX.MODULE.lora_A.weight (rank, ...), lora_B.weight (..., rank).

    Where alpha is not the rank the difference goes into B, so that no reader can get the scale wrong.
    """
    found = {}
    for name, layer in module.named_modules():
        if isinstance(layer, LoraLayer):
            down, up = (getattr(layer, part)[ADAPTER].weight.detach().float().cpu() for part in ("lora_A", "lora_B"))
            found[f"{prefix}.{name}.lora_A.weight"] = down.contiguous()
            found[f"{prefix}.{name}.lora_B.weight"] = layer.scaling[ADAPTER] * up
    return {name: torch.clone(tensor) for name, tensor in found.items()}
