"""A teacher from a diffusers folder, of any family of `families`: safetensors only.

The path and prediction type are read from the scheduler's config. `teacher.json` beside the model holds what diffusers'
configs have no place for: the class that means no class, names of the classes, prompts, licence.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import torch
from torch import Tensor, nn

from backend.networks import Denoiser, PredictionType
from backend.networks.codec import Autoencoder, Codec, Identity
from backend.networks.dit import DiT
from backend.networks.flux import Flux
from backend.networks.pixart import PixArt
from backend.networks.sana import Sana
from backend.networks.sd3 import SD3
from backend.networks.unet2d import UNet2D
from backend.networks.unet2d_condition import UNet2DCondition
from backend.noise import Path
from backend.teachers import Teacher, TeacherError
from backend.teachers.files import parameters_in, read_json, tensors_in, weights_files
from backend.teachers.layouts import Layout, class_count, classes_of, config, layout, profile, refuse_network, words
from backend.teachers.modules import STEM, build, check, digest
from backend.teachers.modules import load as load_module
from backend.teachers.noise_kinds import notes_on
from backend.teachers.prompt_lists import prompts_of
from backend.teachers.prompts import Embedded, Report, Where, embed, encoders_digest
from backend.teachers.scheduler_config import path_of

__all__ = ["Inspection", "inspect", "load", "path_of", "profile", "weights_file"]


@dataclass(frozen=True)
class Inspection:
    """What a folder says of its teacher without its weights being read.

    kind: diffusers' class. parameters: how many numbers the network's weights hold. shape: of one sample, (C, H, W).
    classes: how many class embeddings, 0 for none, of which `null_label` may mean no class. labels: names of the
    classes, empty where it has none. data: the real data it goes with. config: of the network.
    notes: sentences a person should know before choosing it.
    """

    kind: str
    parameters: int
    path: Path
    prediction_type: PredictionType
    sigma_data: float
    shape: tuple[int, int, int]
    classes: int
    null_label: int | None
    labels: tuple[str, ...]
    title: str
    licence: str
    data: str | None
    config: dict[str, Any]
    notes: tuple[str, ...] = ()


def inspect(folder: FilePath) -> Inspection:
    """What the folder holds, checked without reading weights. Raises `TeacherError` with what is wrong."""
    return _inspected(layout(folder))


def _inspected(model: Layout) -> Inspection:
    family, network = model.family, _whole_config(model)
    path, prediction_type, sigma_data = path_of(model.scheduler, model.tokens)
    place = model.network_folder
    stored = tensors_in(weights_files(place, STEM))
    check(build(family.network, network, _config_name(model)), stored, place)
    classes = class_count(model)
    null_label, labels = classes_of(model)
    return Inspection(
        kind=family.network,
        parameters=parameters_in(stored),
        path=path,
        prediction_type=prediction_type,
        sigma_data=sigma_data,
        shape=model.shape,
        classes=classes,
        null_label=null_label,
        labels=labels,
        title=words(model.about, "title") or model.folder.name,
        licence=words(model.about, "licence") or "unknown",
        data=words(model.about, "data"),
        config=network,
        notes=notes_on(model.scheduler),
    )


def load(
    folder: FilePath,
    key: str,
    prompts: Sequence[str] | None = None,
    report: Report = lambda done, of: None,
    device: torch.device | None = None,
) -> Teacher:
    """The teacher in a diffusers folder. Raises `TeacherError` with what is wrong and what to do.

    prompts: of a teacher that takes some; None for those of its `teacher.json`, or else a few everyday ones.
    report: told how many of them are encoded. device: by which, None for the processor.
    """
    model = layout(folder)
    found = _inspected(model)
    codec = _codec(model)
    asked: tuple[str, ...] = ()
    embedded = None
    if model.encoders:
        asked = tuple(prompts) if prompts is not None else prompts_of(model)
        embedded = embed(model, asked, report, Where.of(device))
    module = load_module(found.kind, found.config, model.network_folder)
    network = _wrapped(model, module, found, embedded.null if embedded else {})
    net = Denoiser(network, found.path, found.prediction_type, sigma_data=found.sigma_data).frozen()
    digest = _digest(model, found)
    return Teacher(
        key=key,
        title=found.title,
        denoiser=net,
        trainable=net.copy,
        digest=digest,
        labels=found.labels,
        data=found.data,
        licence=found.licence,
        figures=_figures(folder / "figures.json", digest),
        codec=codec,
        prompts=asked,
        embedded=embedded.cond if embedded else None,
        guidance_scale=model.guidance_scale,
        folder=folder,
        notes=found.notes + _cut_off(model, embedded),
    )


def _figures(file: FilePath, digest: str) -> dict[str, Any]:
    """A teacher's measured quality; none where it was measured of other weights, as after it was trained on."""
    figures = read_json(file) if file.is_file() else {}
    return figures if figures.get("weights") == digest else {}


def _cut_off(model: Layout, embedded: Embedded | None) -> tuple[str, ...]:
    if embedded is None or not embedded.too_long:
        return ()
    return (
        f"{embedded.too_long} of {len(embedded.cond)} prompts are longer than the text encoder of {model.folder.name} "
        "takes; what is past its end is not read.",
    )


def _wrapped(model: Layout, module: Any, found: Inspection, null: dict[str, Tensor]) -> nn.Module:
    """Our network around diffusers'."""
    shape, picture = model.shape, model.picture
    made: Mapping[str, Callable[[], nn.Module]] = {
        "UNet2DModel": lambda: UNet2D(module, found.null_label),
        "DiTTransformer2DModel": lambda: DiT(module),
        "UNet2DConditionModel": lambda: UNet2DCondition(module, shape, null, picture),
        "SD3Transformer2DModel": lambda: SD3(module, shape, null),
        "PixArtTransformer2DModel": lambda: PixArt(module, shape, null, picture),
        "SanaTransformer2DModel": lambda: Sana(module, shape, null),
        "FluxTransformer2DModel": lambda: Flux(module, shape, null),
    }
    return made[model.family.network]()


def _codec(model: Layout) -> Codec:
    about = model.autoencoder
    if about is None:
        return Identity()
    module: Any = load_module(about["_class_name"], about, model.folder / "vae")
    scale, shift = module.config.scaling_factor, getattr(module.config, "shift_factor", None) or 0.0
    if not isinstance(scale, int | float) or not scale > 0 or not isinstance(shift, int | float):
        raise TeacherError("vae/config.json must give scaling_factor as a number above 0; correct it.")
    return Autoencoder(module, float(scale), float(shift), model.factor, getattr(module.config, "in_channels", 3))


def weights_file(folder: FilePath) -> FilePath:
    """The first weights file of a folder's network. Raises `TeacherError` for pickles and where there is none."""
    return weights_files(layout(folder).network_folder, STEM)[0]


def _config_name(model: Layout) -> str:
    return f"{model.family.folder}/config.json"


def _whole_config(model: Layout) -> dict[str, Any]:
    """The network's config, with the defaults of what it leaves out. Raises `TeacherError` for what cannot be used."""
    built: Any = build(model.family.network, model.network, _config_name(model))
    whole = {**model.network, **built.config}
    refuse_network(model, whole)
    return whole


def _digest(model: Layout, found: Inspection) -> str:
    """SHA-256 of the weights and of every setting that gives them their meaning."""
    folder = model.folder
    configs = [config(folder, model.family.folder, "config.json"), model.scheduler]
    if model.autoencoder is not None:
        configs.append(model.autoencoder)
    # Not which version of diffusers wrote it, nor from where it was downloaded.
    meaning = [{k: v for k, v in c.items() if k == "_class_name" or not k.startswith("_")} for c in configs]
    rest = json.dumps([*meaning, found.null_label, *model.shape], sort_keys=True)
    files = weights_files(model.network_folder, STEM)
    if model.autoencoder is not None:
        files += weights_files(folder / "vae", STEM)
    encoders = encoders_digest(model) if model.encoders else ""
    return hashlib.sha256(f"{rest} {digest(files)} {encoders}".encode()).hexdigest()
