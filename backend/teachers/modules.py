"""Parts of a model from config and safetensors to modules: networks and autoencoders, of diffusers' classes.

Weights are read here and not by diffusers, which gives what a file lacks random values and says so only in its log.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any

import diffusers
import torch
import transformers
from accelerate import init_empty_weights  # type: ignore[import-untyped]
from safetensors import safe_open
from torch import Tensor, nn

from backend.teachers import TeacherError
from backend.teachers.files import FLOATS, Stored, tensors_in, weights_files

STEM = "diffusion_pytorch_model"
ALIGNMENT = 64  # bytes, of what torch allocates
# diffusers' attention before 0.15 (as in google/ddpm-*) named its layers otherwise; it renames them as it loads them.
_OLD_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
# What a constructor raises at settings that no network can have. Anything at all may be written in a config.
_IMPOSSIBLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, ArithmeticError)


def build(kind: str, config: Mapping[str, Any], name: str) -> nn.Module:
    """The module a config describes, without memory for its weights. `name`: of the config in messages.

    Leaves the global random state as it was. Raises `TeacherError` where there is no such module.
    """
    try:
        with torch.random.fork_rng(devices=[]), init_empty_weights(include_buffers=False), quiet():
            return getattr(diffusers, kind).from_config(dict(config))  # type: ignore[no-any-return]
    except _IMPOSSIBLE as error:
        raise TeacherError(
            f"{name} describes no possible network ({_first_line(error)}); download the model again."
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' remarks, on settings they do not know or prompts that are cut off: what matters we say."""
    logs = (diffusers.logging, transformers.logging)
    before = [log.get_verbosity() for log in logs]
    for log in logs:
        log.set_verbosity_error()
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.set_verbosity(level)


def pipeline(name: str) -> Any:
    """diffusers' pipeline class of that name, None where it has none.

    It is imported when it is first asked for, and with it transformers' readers of pictures, which remark that there
    is no torchvision; no pipeline reads a picture here.
    """
    with quiet():
        return getattr(diffusers, name, None)


def check(module: nn.Module, stored: Mapping[str, Stored], folder: FilePath) -> dict[str, str]:
    """What the files call each tensor of `module`. Raises `TeacherError` unless they hold these, no more, no less."""
    state = module.state_dict()
    names = {name: _stored_name(name, stored) for name in state}
    for name, theirs in names.items():
        if theirs not in stored:
            raise TeacherError(f"{folder} lacks {name}, which its config describes; download the model again.")
        file, shape = stored[theirs].file, stored[theirs].shape
        if shape != tuple(state[name].shape):
            raise TeacherError(
                f"{file} holds {name} of shape {shape} where its config describes {tuple(state[name].shape)}; "
                "download the model again."
            )
        if stored[theirs].kind not in FLOATS:
            raise TeacherError(f"{file} holds whole numbers in {name}, so the model is broken; download it again.")
    if strange := sorted(stored.keys() - names.values()):
        file = stored[strange[0]].file
        raise TeacherError(f"{file} holds {strange[0]}, which its config does not describe; download the model again.")
    return names


def load(kind: str, config: Mapping[str, Any], folder: FilePath) -> nn.Module:
    """The module in `folder` with its weights, in float32. Raises `TeacherError` unless every number is finite."""
    module = build(kind, config, f"{folder.name}/config.json")
    stored = tensors_in(weights_files(folder, STEM))
    names = check(module, stored, folder)
    weights: dict[str, Tensor] = {}
    for file in {one.file for one in stored.values()}:
        with safe_open(file, framework="pt") as tensors:
            for name, theirs in names.items():
                if stored[theirs].file == file:
                    weights[name] = _aligned(_finite(tensors.get_tensor(theirs), name, file))
    module.load_state_dict(weights, strict=True, assign=True)
    return module.requires_grad_(False).eval()


def digest(files: list[FilePath]) -> str:
    """SHA-256 of the content of files, in this order; a process reads each once."""
    found = hashlib.sha256()
    for file in files:
        now = file.stat()
        found.update(_file_digest(file, now.st_size, now.st_mtime_ns, now.st_ino))
    return found.hexdigest()


@lru_cache(maxsize=1024)
def _file_digest(file: FilePath, *_state: int) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


def _finite(tensor: Tensor, name: str, file: FilePath) -> Tensor:
    numbers = tensor.float()
    if not numbers.isfinite().all():
        raise TeacherError(
            f"{file} holds numbers that are not finite in {name}, so the model is broken; download it again."
        )
    return numbers


def _aligned(tensor: Tensor) -> Tensor:
    """The tensor where torch would have put it.

    At other addresses, as a file has them, products round otherwise on some processors, and a copy of a teacher would
    not be quite the teacher.
    """
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT else tensor


def _stored_name(name: str, stored: Mapping[str, Stored]) -> str:
    """What a file calls the tensor that the network calls `name`."""
    if name not in stored:
        for old, new in _OLD_NAMES.items():
            if new in name and name.replace(new, old) in stored:
                return name.replace(new, old)
    return name


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
