"""A student as one safetensors file: its weights, with everything else in the header.

A student of Stable Diffusion 1 is the whole model in its authors' layout, with the teacher's autoencoder and text
encoder, which other programs and diffusers' `from_single_file` read. Any other is its network alone, under the names
that diffusers gives them.
"""

from pathlib import Path as FilePath
from typing import Any

from torch import Tensor

from backend.exports import Export, Facts
from backend.exports.original_layout import autoencoder_names, text_encoder_names, unet_names
from backend.exports.usage import module_of
from backend.exports.writing import file_hash, metadata, save_weights, written
from backend.networks import Denoiser
from backend.networks.adapters import merged
from backend.networks.codec import Autoencoder
from backend.networks.experts import Experts
from backend.networks.gates import settled
from backend.samplers import Sampler
from backend.teachers import Teacher
from backend.teachers.layouts import layout
from backend.teachers.prompts import load_encoder


def write(student: Denoiser, sampler: Sampler, facts: Facts, out: FilePath, teacher: Teacher | None = None) -> Export:
    """Writes the weights to the file `out`. Raises `ExportError` where `out` is taken or cannot be written.

    teacher: whose other parts go along, where the file is the whole model.
    """
    student = merged(settled(student, sampler.guidance))
    header = metadata(student, sampler, facts)
    weights = None if teacher is None else _whole(student, teacher)
    if weights is None:
        weights = module_of(student.network).state_dict()
    else:
        header |= {
            "modelspec.architecture": "stable-diffusion-v1",
            "modelspec.implementation": "https://github.com/CompVis/stable-diffusion",
        }
    with written(out) as draft:
        save_weights({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, draft, header)
    digest = file_hash(out)
    return Export(out, "safetensors", {out.name: digest}, digest)


def _whole(student: Denoiser, teacher: Teacher) -> dict[str, Tensor] | None:
    """The whole model in the original layout; None where there is no such layout for it."""
    several = isinstance(student.network, Experts)
    if teacher.folder is None or student.inputs or several or not isinstance(teacher.codec, Autoencoder):
        return None
    model = layout(teacher.folder)
    if model.family.key != "sd" or model.network.get("use_linear_projection"):
        return None  # Stable Diffusion 2 has its text encoder in yet another layout
    unet: Any = module_of(student.network)
    _, encoder = load_encoder(model.folder, model.encoders[0])
    return {
        **unet_names(unet.state_dict(), int(unet.config.layers_per_block)),
        **autoencoder_names(teacher.codec.module.state_dict()),
        **text_encoder_names(encoder.state_dict()),
    }
