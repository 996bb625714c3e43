"""A student as one safetensors file: its weights, with everything else in the header."""

from pathlib import Path as FilePath

from backend.exports import Export, Facts
from backend.exports.writing import file_hash, metadata, save_weights, written
from backend.networks import Denoiser
from backend.networks.unet2d import UNet2D
from backend.samplers import Sampler


def write(student: Denoiser, sampler: Sampler, facts: Facts, out: FilePath) -> Export:
    """Writes the weights to the file `out`. Raises `ExportError` where `out` is taken or cannot be written.

    Keys are those of diffusers' model where the network is one, so that `load_state_dict` takes them.
    """
    module = student.network.unet if isinstance(student.network, UNet2D) else student.network
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    with written(out) as draft:
        save_weights(weights, draft, metadata(student, sampler, facts))
    digest = file_hash(out)
    return Export(out, "safetensors", {out.name: digest}, digest)
