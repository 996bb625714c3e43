"""What a teacher is, said at once: from its JSON files and the headers of its weights, without torch.

Less is checked than when it is loaded: that every file is whole, that its parts are there, fit each other and are of
known kinds, and that the network's first layer is the one its config describes.
"""

import json
from collections.abc import Sequence
from pathlib import Path as FilePath

from backend.contract.catalogue import MethodCard, TeacherCard, default_key, load_cached
from backend.teachers import BUNDLED, TeacherError, folder_of
from backend.teachers.files import Stored, parameters_in, tensors_in, weights_files
from backend.teachers.layouts import Layout, classes_of, layout, refuse_network, words
from backend.teachers.noise_kinds import noise_of, notes_on
from backend.teachers.single_file import bytes_of, network_tensors, settings_of

PREDICTION_WORDS = {
    "epsilon": "Predicts the noise (epsilon)",
    "v_prediction": "Predicts the velocity v",
    "sample": "Predicts the clean sample",
    "flow": "Predicts the flow from data to noise",
    "edm": "Predicts with EDM preconditioning",
}
PATH_WORDS = {
    "VariancePreserving": "variance preserving path",
    "VarianceExploding": "variance exploding path",
    "FlowMatching": "flow matching path",
    "Trigonometric": "trigonometric path",
}
_FIRST_LAYER = {
    "UNet2DModel": "conv_in.weight",
    "UNet2DConditionModel": "conv_in.weight",
    "SanaTransformer2DModel": "patch_embed.proj.weight",
    "FluxTransformer2DModel": "x_embedder.weight",
}


def card(where: str) -> TeacherCard:
    """The bundled teacher of that name, or the one in that folder. Raises `TeacherError` where it cannot be used."""
    folder = folder_of(where)
    model = layout(settings_of(folder) if folder.is_file() else folder)
    refuse_network(model, model.network)
    path, prediction_type = noise_of(model.scheduler)
    if folder.is_file():
        stored, size = network_tensors(folder), bytes_of(folder)
    else:
        stored = tensors_in(weights_files(model.network_folder, "diffusion_pytorch_model"))
        _check_first_layer(model, stored)
        size = _bytes(model)
    null_label, labels = classes_of(model)
    condition = "text" if model.encoders else "class" if model.family.key == "dit" or labels else "none"
    return TeacherCard(
        key=where,
        title=words(model.about, "title") or (folder.stem if folder.is_file() else folder.name),
        summary=" ".join([_summary(model, path, prediction_type, size), *notes_on(model.scheduler)]),
        source=str(folder) if where not in BUNDLED else "bundled",
        shape=model.shape,
        path=path,
        prediction_type=prediction_type,
        condition=condition,  # type: ignore[arg-type]
        classes=len(labels),
        labels=labels,
        parameters=parameters_in(stored),
        figures=measured(folder / "figures.json"),
        data=words(model.about, "data") or "",
        licence=words(model.about, "licence") or "unknown",
        guidance_scale=model.guidance_scale,
        unconditional=condition == "text" or null_label is not None,
    )


def methods_for(teacher: TeacherCard) -> dict[str, list[str]] | None:
    """The methods that can use a teacher, as `sorted_for`; None where no catalogue of them is kept yet."""
    kept = load_cached(default_key())
    return None if kept is None else sorted_for(teacher, kept.methods)


def sorted_for(teacher: TeacherCard, methods: Sequence[MethodCard]) -> dict[str, list[str]]:
    """The names of the methods that can use a teacher with their defaults: as it is, and with real data that a person
    brings; and of those that cannot, some of which can with other settings."""
    refused = [method.key for method in methods if method.refusal(teacher)]
    left = [method for method in methods if method.key not in refused]
    brought = [method.key for method in left if "real data" in method.needs and not teacher.data]
    return {
        "methods": [method.key for method in left if method.key not in brought],
        "methods_with_data": brought,
        "methods_refusing": refused,
    }


def _summary(model: Layout, path: str, prediction_type: str, size: int) -> str:
    what = f"{PREDICTION_WORDS[prediction_type]}; {PATH_WORDS[path]}."
    if not model.family.latent:
        return what
    height, width = model.picture
    told = ", ".join(part.replace("_", " ") for part in model.family.parts)
    parts = f", conditioned on {told}" if told else ""
    scale = f", guidance scale {model.guidance_scale:g}" if model.guidance_scale != 1 else ""
    return f"{model.family.title}, {width}x{height} pixels{parts}{scale}, {size / 2**20:,.0f} MiB. {what}"


def _bytes(model: Layout) -> int:
    """Of all its weights; raises `TeacherError` where a file of them is missing or not whole."""
    files = weights_files(model.network_folder, "diffusion_pytorch_model")
    others = []
    if model.autoencoder is not None:
        others += weights_files(model.folder / "vae", "diffusion_pytorch_model")
    for encoder in model.encoders:
        others += weights_files(model.folder / encoder.encoder, "model")
    for file in others:
        tensors_in([file])
    return sum(file.stat().st_size for file in (*files, *others))


def _check_first_layer(model: Layout, stored: dict[str, Stored]) -> None:
    name = _FIRST_LAYER.get(model.family.network, "pos_embed.proj.weight")
    if name not in stored:
        raise TeacherError(
            f"{model.network_folder} lacks {name}, which its config describes; download the model again."
        )
    expected = _first_shape(model)
    found = stored[name]
    if expected is not None and found.shape != expected:
        raise TeacherError(
            f"{found.file} holds {name} of shape {found.shape} where its config describes {expected}; "
            "download the model again."
        )


def _first_shape(model: Layout) -> tuple[int, ...] | None:
    """Of the layer that takes the sample; None where the config leaves it to a default of diffusers."""
    config, channels = model.network, model.network["in_channels"]
    if model.family.network.startswith("UNet2D"):
        widths = config.get("block_out_channels")
        if not isinstance(widths, list) or not widths or config.get("conv_in_kernel", 3) != 3:
            return None
        return widths[0], channels, 3, 3
    heads, width, patch = (config.get(key) for key in ("num_attention_heads", "attention_head_dim", "patch_size"))
    if not all(isinstance(number, int) for number in (heads, width, patch)):
        return None
    inner: int = heads * width  # type: ignore[operator]
    return (inner, channels) if model.family.key == "flux" else (inner, channels, patch, patch)  # type: ignore[return-value]


def measured(file: FilePath) -> dict[str, float]:
    """The teacher's own figures, where its folder has them in the form in which ours do."""
    try:
        rows = json.loads(file.read_bytes())["nfe"]
        return {f"frechet_{nfe}_nfe": float(row["frechet"]) for nfe, row in rows.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
