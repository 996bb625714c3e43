"""A student as one safetensors file: its weights, with everything else in the header.

A student of Stable Diffusion 1, 2 or XL is the whole model in its authors' layout, with the teacher's autoencoder and
text encoders, which other programs and diffusers' `from_single_file` read, and so can be checked like a folder. Any
other is its network alone, under the names that diffusers gives them, of which no other program makes pictures.

Beside the file lies its model card, of the same name but for .md.
"""

import json
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import torch
from torch import Tensor

from backend.exports import Export, ExportError, Facts, Promise
from backend.exports.diffusers_folder import expected, sheet_of
from backend.exports.model_card import file_card
from backend.exports.original_layout import (
    CLIPS_OF_XL,
    autoencoder_names,
    clip_names,
    open_clip_names,
    unet_names,
)
from backend.exports.sample_script import script
from backend.exports.usage import usage_of
from backend.exports.writing import file_hash, metadata, refuse_taken, save_weights, written
from backend.networks import Condition, Denoiser
from backend.networks.adapters import merged
from backend.networks.codec import Autoencoder
from backend.networks.experts import Experts
from backend.networks.gates import settled
from backend.networks.momentum import Momentum
from backend.networks.told import module_of
from backend.samplers import Sampler
from backend.teachers import Teacher
from backend.teachers.layouts import Layout, layout
from backend.teachers.prompts import load_encoder

ALONE = (
    "The file holds the network's weights and no autoencoder, text encoders or settings, so that no program makes "
    "pictures of it alone; nothing was checked."
)


def write(
    student: Denoiser,
    sampler: Sampler,
    cond: Condition,
    facts: Facts,
    out: FilePath,
    seed: int = 0,
    teacher: Teacher | None = None,
) -> Export:
    """Writes the weights to the file `out`, and its card beside it. Raises `ExportError` where a name is taken or
    nothing can be written.

    cond, seed: of the pictures that the file promises, where it is the whole model. teacher: whose other parts go along
    then.
    """
    card = out.with_suffix(".md") if out.suffix == ".safetensors" else out.with_name(f"{out.name}.md")
    refuse_taken(card)
    student = merged(settled(student, sampler.guidance))
    header = metadata(student, sampler, facts)
    model = None if teacher is None else _model_of(student, teacher)
    promise, unchecked = None, ALONE
    if teacher is None or model is None:
        weights = module_of(student.network).state_dict()
    else:
        weights = _whole(student, teacher, model)
        said = header.get("modelspec.usage_hint", "")
        header |= _specification(student, sampler, model)
        header["modelspec.usage_hint"] = f"{header['modelspec.usage_hint']} {said}".strip()
        try:
            promise, unchecked = _promise(student, sampler, cond, seed, model, teacher, out.name), ""
        except ExportError as error:
            unchecked = f"Nothing was checked: {error}"
    with written(out) as draft:
        save_weights({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, draft, header)
        digest = file_hash(draft)
        with written(card) as about:
            text = promise.text if promise is not None else ""
            about.write_text(file_card(facts, sampler, text, unchecked, {out.name: digest}), encoding="utf-8")
    return Export(
        out, "safetensors", {out.name: digest, card.name: file_hash(card)}, digest, promise=promise, unchecked=unchecked
    )


def _promise(
    student: Denoiser, sampler: Sampler, cond: Condition, seed: int, model: Layout, teacher: Teacher, name: str
) -> Promise:
    """The pictures of the whole model in the file, and the lines of plain diffusers that make them of it.

    Raises `ExportError` where diffusers has no scheduler for the student.
    """
    student = student.to("cpu", torch.float32).eval()
    usage, _ = usage_of(student, sampler)
    sheet = sheet_of(student, sampler, cond, seed, model, teacher)
    sheet = replace(sheet, file=name, base=str(model.folder.absolute()), pipeline=model.family.pipelines[0])
    pictures = expected(student, sampler, cond, seed, teacher)
    return Promise(script(usage, sheet), sheet.argument, seed, pictures)


def _model_of(student: Denoiser, teacher: Teacher) -> Layout | None:
    """The teacher's folder, where the whole model has an original layout; else None."""
    more = isinstance(student.network, Experts | Momentum)
    if teacher.folder is None or student.inputs or more or not isinstance(teacher.codec, Autoencoder):
        return None
    model = layout(teacher.folder)
    return model if model.family.key in ("sd", "sdxl") else None


def _whole(student: Denoiser, teacher: Teacher, model: Layout) -> dict[str, Tensor]:
    """The whole model in the original layout."""
    unet: Any = module_of(student.network)
    codec: Any = teacher.codec
    encoders = [load_encoder(model.folder, encoder)[1].state_dict() for encoder in model.encoders]
    if model.family.key == "sdxl":
        first, second = CLIPS_OF_XL
        text = clip_names(encoders[0], first) | open_clip_names(encoders[1], second)
    else:
        text = open_clip_names(encoders[0]) if _is_second(model) else clip_names(encoders[0])
    return {
        **unet_names(unet.state_dict(), int(unet.config.layers_per_block)),
        **autoencoder_names(codec.module.state_dict()),
        **text,
    }


def _is_second(model: Layout) -> bool:
    """Whether it is Stable Diffusion 2, whose attention has matrices in place of 1x1 convolutions at its ends."""
    return bool(model.network.get("use_linear_projection"))


def _specification(student: Denoiser, sampler: Sampler, model: Layout) -> dict[str, str]:
    """What the format's ModelSpec says of a whole model, and how diffusers reads it back."""
    kind = student.prediction_type
    if model.family.key == "sdxl":
        architecture, source = "stable-diffusion-xl-v1-base", "https://github.com/Stability-AI/generative-models"
    elif _is_second(model):
        architecture = f"stable-diffusion-v2-{'768-v' if kind == 'v_prediction' else '512'}"
        source = "https://github.com/Stability-AI/stablediffusion"
    else:
        architecture, source = "stable-diffusion-v1", "https://github.com/CompVis/stable-diffusion"
    return {
        "modelspec.architecture": architecture,
        "modelspec.implementation": source,
        "modelspec.prediction_type": {"v_prediction": "v"}.get(kind, kind),
        "modelspec.usage_hint": _hint(student, sampler, model),
    }


def _hint(student: Denoiser, sampler: Sampler, model: Layout) -> str:
    """In words, because a weights file holds neither settings nor a scheduler."""
    read = (
        f"In diffusers {model.family.pipelines[0]}.from_single_file(FILE, config=FOLDER), FOLDER being a diffusers "
        "folder of the teacher: what a file's shapes say of its kind is not enough"
    )
    try:
        usage, _ = usage_of(student, sampler)
    except ExportError:
        return f"{read}."
    if usage.form != "scheduler":
        return f"{read}; the steps are those of the diffusers export's sample.py."
    return (
        f"{read}; scheduler {usage.scheduler} with {json.dumps(usage.settings)}, called with "
        f"{json.dumps(usage.arguments)} and guidance_scale 1."
    )
