"""A teacher from a diffusers folder: `unet/` and `scheduler/`, or both in one folder, safetensors only.

The path and prediction type are read from the scheduler's config. `teacher.json` beside them holds what diffusers'
configs have no place for: the class that means no class, names of the classes, licence.

Weights are read here and not by diffusers, which gives what a file lacks random values and says so only in its log.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import torch
from diffusers import UNet2DModel
from safetensors import SafetensorError, safe_open
from torch import Tensor

from backend.networks import Denoiser, PredictionType
from backend.networks.unet2d import UNet2D
from backend.noise import Path
from backend.teachers import Teacher, TeacherError
from backend.teachers.scheduler_config import clips, path_of

__all__ = ["Inspection", "inspect", "load", "path_of", "profile", "weights_file"]

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# diffusers' attention before 0.15 (as in google/ddpm-*) named its layers otherwise; it renames them as it loads them.
_OLD_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
# What a constructor raises at settings that no network can have. Anything at all may be written in a config.
_IMPOSSIBLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, ArithmeticError)


@dataclass(frozen=True)
class Inspection:
    """What a folder says of its teacher without its weights being read.

    kind: diffusers' class. parameters: how many numbers the weights file holds. shape: of one sample, (C, H, W).
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
    config = _network_config(folder)
    scheduler = _scheduler_config(folder)
    path, prediction_type, sigma_data = path_of(scheduler)
    file = weights_file(folder)
    parameters = _check_header(file, config)
    classes = int(config.get("num_class_embeds") or 0)
    about = profile(folder)
    null_label, labels = _classes(about, classes)
    size = config["sample_size"]
    height, width = (size, size) if isinstance(size, int) else size
    notes = []
    if clips(scheduler):
        notes.append(
            "Its scheduler clips every predicted sample, which is no part of the network: here it is sampled without, "
            "so its pictures differ a little from its own pipeline's."
        )
    return Inspection(
        kind="UNet2DModel",
        parameters=parameters,
        path=path,
        prediction_type=prediction_type,
        sigma_data=sigma_data,
        shape=(config["in_channels"], height, width),
        classes=classes,
        null_label=null_label,
        labels=labels,
        title=_text(about, "title") or folder.name,
        licence=_text(about, "licence") or "unknown",
        data=_text(about, "data"),
        config=config,
        notes=tuple(notes),
    )


def load(folder: FilePath, key: str) -> Teacher:
    """The teacher in a diffusers folder. Raises `TeacherError` with what is wrong and what to do."""
    found = inspect(folder)
    file = weights_file(folder)
    unet = _network(found.config)
    unet.load_state_dict(_weights(file, unet), strict=True)
    net = Denoiser(
        UNet2D(unet, found.null_label), found.path, found.prediction_type, sigma_data=found.sigma_data
    ).frozen()
    figures = folder / "figures.json"
    return Teacher(
        key=key,
        title=found.title,
        denoiser=net,
        trainable=net.copy,
        digest=_digest(folder, file, found),
        labels=found.labels,
        data=found.data,
        licence=found.licence,
        figures=_json(figures) if figures.is_file() else {},
    )


def weights_file(folder: FilePath) -> FilePath:
    """The one weights file of a model folder. Raises `TeacherError` for pickles, for several files and for none."""
    unet = _part(folder, "unet")
    file = unet / "diffusion_pytorch_model.safetensors"
    if file.is_file():
        return file
    names = sorted(p.name for p in unet.iterdir())
    if any(name.endswith(".safetensors.index.json") for name in names):
        raise TeacherError(
            f"The weights in {unet} are split over several files, which is not supported; load the model once and call "
            'save_pretrained(..., max_shard_size="100GB").'
        )
    if others := [name for name in names if name.endswith(".safetensors")]:
        raise TeacherError(f"{unet} holds {others[0]}; rename the weights to use to {file.name}.")
    if pickles := [name for name in names if name.endswith(_PICKLES)]:
        raise TeacherError(
            f"{unet / pickles[0]} is a pickle, which can run code when opened, and is refused; convert it: "
            "load it once where you trust it and call save_pretrained(..., safe_serialization=True)."
        )
    raise TeacherError(f"{unet} holds no weights; it needs {file.name}.")


def profile(folder: FilePath) -> dict[str, Any]:
    """`teacher.json` of a folder, empty where there is none. Raises `TeacherError` where it is broken."""
    file = folder / "teacher.json"
    return _json(file) if file.is_file() else {}


def _part(folder: FilePath, name: str) -> FilePath:
    """The sub-folder of that name, or the folder itself, in which early pipelines kept everything."""
    return folder / name if (folder / name).is_dir() else folder


def _json(file: FilePath) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TeacherError(f"{file} is not readable JSON; download the model again.") from error
    except OSError as error:
        raise TeacherError(f"{file} cannot be read ({error.strerror}); check its permissions.") from error
    if not isinstance(content, dict):
        raise TeacherError(f"{file} holds no settings; download the model again.")
    return content


def _config(folder: FilePath, part: str, name: str) -> dict[str, Any]:
    file = _part(folder, part) / name
    if not file.is_file():
        raise TeacherError(
            f"{folder} is not a diffusers model: {part}/{name} is missing; "
            "choose a folder that holds unet/ and scheduler/."
        )
    return _json(file)


def _scheduler_config(folder: FilePath) -> dict[str, Any]:
    return _config(folder, "scheduler", "scheduler_config.json")


def _network_config(folder: FilePath) -> dict[str, Any]:
    """The network's config, with the defaults of what it leaves out. Raises `TeacherError` for what cannot be used."""
    if not folder.exists():
        raise TeacherError(f"{folder} does not exist; name a bundled teacher or a diffusers folder.")
    if not folder.is_dir():
        raise TeacherError(f"{folder} is a file; name the diffusers folder that holds unet/ and scheduler/.")
    config = _config(folder, "unet", "config.json")
    kind = config.get("_class_name")
    if kind != "UNet2DModel":
        raise TeacherError(f"{folder} holds a {kind}, a kind of model that is not supported; it must be a UNet2DModel.")
    with torch.device("meta"):  # shapes alone: no memory, no random numbers
        config = {**config, **_network(config).config}
    size = config["sample_size"]
    sizes = (size, size) if isinstance(size, int) else size
    if not (isinstance(sizes, list | tuple) and len(sizes) == 2 and all(isinstance(n, int) and n > 0 for n in sizes)):
        raise TeacherError(f"The network in {folder} names no sample_size; add it to unet/config.json.")
    if config["out_channels"] != config["in_channels"]:
        raise TeacherError(
            f"The network in {folder} makes {config['out_channels']} channels of {config['in_channels']}, perhaps with "
            "a learned variance, which is not supported; choose a teacher that predicts one value per value."
        )
    if config["time_embedding_type"] != "positional":
        raise TeacherError(
            f"The network in {folder} embeds time in the {config['time_embedding_type']!r} way, which is not "
            "supported; choose a teacher with positional embeddings."
        )
    if config["class_embed_type"] is not None:
        raise TeacherError(
            f"The network in {folder} embeds classes by {config['class_embed_type']!r}, which is not supported; "
            "choose a teacher with a table of classes (num_class_embeds)."
        )
    return config


def _network(config: dict[str, Any]) -> UNet2DModel:
    """The network a config describes, with random weights that leave the global random state as it was."""
    try:
        with torch.random.fork_rng(devices=[]):
            return UNet2DModel.from_config(config)
    except _IMPOSSIBLE as error:
        raise TeacherError(
            f"unet/config.json describes no possible network ({_first_line(error)}); download the model again."
        ) from error


def _classes(about: dict[str, Any], classes: int) -> tuple[int | None, tuple[str, ...]]:
    """The null label and the names of the other classes."""
    null_label = about.get("null_label")
    if null_label is not None and not (isinstance(null_label, int) and 0 <= null_label < classes):
        raise TeacherError(
            f"teacher.json says that label {null_label!r} means no class, but the network knows {classes} labels; "
            "correct null_label."
        )
    labels = about.get("labels") or ()
    real = classes - (null_label is not None)
    if not isinstance(labels, list | tuple) or len(labels) > real:
        raise TeacherError(f"teacher.json must name at most the {real} classes of the network in labels; correct it.")
    if not labels and null_label in (None, classes - 1):
        labels = range(real)
    return null_label, tuple(str(label) for label in labels)


def _text(about: dict[str, Any], key: str) -> str | None:
    value = about.get(key)
    if value is not None and not isinstance(value, str):
        raise TeacherError(f"teacher.json must say {key} in words; correct it.")
    return value


def _stored_name(name: str, stored: set[str]) -> str:
    """What a file calls the tensor that the network calls `name`."""
    if name not in stored:
        for old, new in _OLD_NAMES.items():
            if new in name and name.replace(new, old) in stored:
                return name.replace(new, old)
    return name


def _check_header(file: FilePath, config: dict[str, Any]) -> int:
    """How many numbers the file holds. Raises `TeacherError` unless they are the network's, none more and none less."""
    with torch.device("meta"):
        expected = {name: tuple(t.shape) for name, t in _network(config).state_dict().items()}
    try:
        with safe_open(file, framework="pt") as tensors:
            shapes = {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise TeacherError(f"{file} is no whole safetensors file ({error}); download the model again.") from error
    pairs = {name: _stored_name(name, set(shapes)) for name in expected}
    for name, stored in pairs.items():
        if stored not in shapes:
            raise TeacherError(f"{file} lacks {name}, which its config describes; download the model again.")
        if shapes[stored] != expected[name]:
            raise TeacherError(
                f"{file} holds {name} of shape {shapes[stored]} where its config describes {expected[name]}; "
                "download the model again."
            )
    if unknown := sorted(set(shapes) - set(pairs.values())):
        raise TeacherError(f"{file} holds {unknown[0]}, which its config does not describe; download the model again.")
    return sum(math.prod(shape) for shape in shapes.values())


def _weights(file: FilePath, unet: UNet2DModel) -> dict[str, Tensor]:
    """The file's tensors by the network's names, in float32. Raises `TeacherError` unless every number is finite."""
    weights = {}
    with safe_open(file, framework="pt") as tensors:
        stored = set(tensors.keys())
        for name in unet.state_dict():
            tensor = tensors.get_tensor(_stored_name(name, stored))
            if not tensor.is_floating_point() or not tensor.float().isfinite().all():
                what = "whole numbers" if not tensor.is_floating_point() else "numbers that are not finite"
                raise TeacherError(f"{file} holds {what} in {name}, so the model is broken; download it again.")
            weights[name] = tensor.float()
    return weights


def _digest(folder: FilePath, file: FilePath, found: Inspection) -> str:
    """SHA-256 of the weights and of every setting that gives them their meaning."""
    configs = [_config(folder, "unet", "config.json"), _scheduler_config(folder)]
    # Not which version of diffusers wrote it, nor from where it was downloaded.
    meaning = [{k: v for k, v in c.items() if k == "_class_name" or not k.startswith("_")} for c in configs]
    words = json.dumps([*meaning, found.null_label], sort_keys=True)
    with file.open("rb") as content:
        weights = hashlib.file_digest(content, "sha256").hexdigest()
    return hashlib.sha256(f"{words} {weights}".encode()).hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
