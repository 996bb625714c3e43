"""What an exported pipeline has beside network and scheduler: the teacher's tokenizers, encoders and autoencoder."""

import inspect
import json
import shutil
from pathlib import Path as FilePath
from typing import Any

import diffusers

from backend.exports.pipelines import PARTS, Part
from backend.teachers.layouts import Layout
from backend.teachers.modules import pipeline

SAFE = (".json", ".txt", ".model", ".safetensors")
"""Endings of what is copied: settings, vocabularies and weights, nothing that runs."""


def left_out(model: Layout) -> tuple[Part, ...]:
    """The parts that the family may do without and this model does."""
    return tuple(name for name in PARTS if name in _names(model) and name not in _present(model))


def write(model: Layout, scheduler: str, folder: FilePath) -> None:
    """Puts the teacher's parts and the pipeline's index into `folder`; scheduler: diffusers' class of the new one."""
    present = _present(model)
    for name in present:
        target = folder / name
        target.mkdir()
        for file in sorted((model.folder / name).iterdir()):
            if file.is_file() and file.suffix in SAFE:
                shutil.copyfile(file, target / file.name)
    index: dict[str, Any] = {
        "_class_name": model.family.pipelines[0],
        "_diffusers_version": diffusers.__version__,
        **_settings(model),
    }
    index |= {name: present.get(name, [None, None]) for name in _names(model)}
    index[model.family.folder] = ["diffusers", model.family.network]
    index["scheduler"] = ["diffusers", scheduler]
    (folder / "model_index.json").write_text(json.dumps(dict(sorted(index.items())), indent=2) + "\n", encoding="utf-8")


def _present(model: Layout) -> dict[str, list[str]]:
    """Each folder of a part that goes along, and its library and class."""
    found = {}
    if model.autoencoder is not None:
        found["vae"] = ["diffusers", str(model.autoencoder["_class_name"])]
    for encoder in model.encoders:
        found[encoder.tokenizer] = ["transformers", encoder.tokenizer_class]
        found[encoder.encoder] = ["transformers", encoder.encoder_class]
    return found


def _parameters(model: Layout) -> dict[str, inspect.Parameter]:
    kind = pipeline(model.family.pipelines[0])
    return {name: p for name, p in inspect.signature(kind.__init__).parameters.items() if name != "self"}


def _names(model: Layout) -> list[str]:
    """Every module the pipeline takes; what it takes besides are settings with a default that is no module."""
    optional = pipeline(model.family.pipelines[0])._optional_components
    return [n for n, p in _parameters(model).items() if p.default is p.empty or n in optional]


def _settings(model: Layout) -> dict[str, Any]:
    """The pipeline's own settings as the teacher has them, such as whether the empty prompt is zeros."""
    names = _parameters(model).keys() - set(_names(model))
    kept = {name: model.pipeline[name] for name in sorted(names) if name in model.pipeline}
    if model.family.key == "sd":
        kept["requires_safety_checker"] = False
    return kept
