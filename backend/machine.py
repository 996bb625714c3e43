"""What a run is trained with: program, libraries, system and device, as a report of a fault needs them."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from backend.assembly import device_of
from backend.contract.errors import UserError

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "peft", "safetensors", "numpy")


def machine(asked: str) -> dict[str, Any]:
    """By name, all of it as text but the libraries' versions. asked: the device that the recipe names."""
    return {
        "program": _version("distill-studio"),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "system": platform.platform(),
        "device": _device(asked),
    }


def in_words(found: dict[str, Any]) -> str:
    """The same as a sentence."""
    libraries = ", ".join(f"{name} {number}" for name, number in found["libraries"].items())
    return (
        f"Trained by Distill Studio {found['program']} with Python {found['python']}, {libraries}, "
        f"on {found['system']}, {found['device']}."
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "of no known version"


def _device(asked: str) -> str:
    try:
        device = device_of(asked)
        about = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
    except (UserError, RuntimeError, AssertionError):  # the last is torch's for a number that no device has
        return f"{asked}, which is not there"
    if about is not None:
        return f"{device} ({about.name}, {about.total_memory / 2**20:.0f} MiB)"
    return f"{device} ({torch.get_num_threads()} threads of {os.cpu_count()} cores)"
