"""Tensors that were computed once and can be computed again, as safetensors in the user's cache folder.

A file appears under its name complete or not at all, and one that is damaged is as one that is not there.
"""

import glob
import hashlib
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import platformdirs
import psutil
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

Kept = tuple[dict[str, Tensor], dict[str, str]]
"""Tensors by name, and what was said about them."""


def cache_folder() -> Path:
    """The folder that the environment variable DISTILL_STUDIO_CACHE names, else the user's cache folder."""
    chosen = os.environ.get("DISTILL_STUDIO_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("distill-studio", False))


def keep(tensors: Mapping[str, Tensor], about: Mapping[str, str], file: Path) -> None:
    """Write tensors to `file`, under another name first. Raises `OSError` where the disk refuses."""
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    unfinished = file.with_name(f".{file.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    file.parent.mkdir(parents=True, exist_ok=True)
    _clear_left(file)
    try:
        save_file(whole, unfinished, {**about, "sha256": _digest(whole)})
        unfinished.replace(file)
    except SafetensorError as error:  # how it says that the disk is full
        raise OSError(str(error)) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def kept(file: Path) -> Kept | None:
    """What `keep` wrote to `file`; None where it is missing or damaged."""
    try:
        with safe_open(file, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  (no mapping)
            about = dict(stored.metadata() or {})
    except (SafetensorError, OSError):
        return None
    return (tensors, about) if about.pop("sha256", "") == _digest(tensors) else None


def _clear_left(file: Path) -> None:
    """Delete what processes that were killed have left of `file`; what a living one is writing stays."""
    for left in file.parent.glob(f"{glob.escape(f'.{file.name}.')}*-*"):
        process = left.name.removeprefix(f".{file.name}.").partition("-")[0]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            left.unlink(missing_ok=True)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes and numbers: the format itself does not notice a number that changed on the disk."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
