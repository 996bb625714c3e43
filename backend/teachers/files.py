"""The files of a model folder, read without torch: JSON, and which tensors its safetensors hold.

A safetensors file begins with its own table of contents, so that what it holds is known without reading a weight.
"""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from backend.teachers import TeacherError

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_LARGEST_HEADER = 100_000_000  # bytes, the format's own limit
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
FLOATS = ("F16", "BF16", "F32", "F64")


@dataclass(frozen=True)
class Stored:
    """One tensor in a file: its shape and the format's name of its numbers."""

    file: FilePath
    kind: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)


_FIXED = frozenset({"pos_embed.pos_embed"})
"""Stored beside the parameters and never trained: the table of positions in Stable Diffusion 3's layout."""


def parameters_in(stored: Mapping[str, Stored]) -> int:
    """How many numbers of a network's tensors are parameters."""
    return sum(tensor.numbers for name, tensor in stored.items() if name not in _FIXED)


def read_json(file: FilePath) -> dict[str, Any]:
    """The object in a JSON file. Raises `TeacherError` where it cannot be read or is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TeacherError(f"{file} is not readable JSON; download the model again.") from error
    except OSError as error:
        raise TeacherError(f"{file} cannot be read ({error.strerror}); check its permissions.") from error
    if not isinstance(content, dict):
        raise TeacherError(f"{file} holds no settings; download the model again.")
    return content


def part(folder: FilePath, name: str) -> FilePath:
    """The sub-folder of that name, or the folder itself, in which early pipelines kept everything."""
    return folder / name if (folder / name).is_dir() else folder


def weights_files(folder: FilePath, stem: str) -> list[FilePath]:
    """The files `stem`.safetensors is in: one, or those its index names.

    Raises `TeacherError` for pickles, for a broken index and where there are none.
    """
    file, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if file.is_file():
        return [file]
    if index.is_file():
        return _indexed(index)
    names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    if others := [name for name in names if name.endswith(".safetensors")]:
        raise TeacherError(f"{folder} holds {others[0]}; rename the weights to use to {file.name}.")
    if pickles := [name for name in names if name.endswith(PICKLES)]:
        raise TeacherError(pickle_words(folder / pickles[0]))
    raise TeacherError(f"{folder} holds no weights; it needs {file.name}.")


def pickle_words(file: FilePath) -> str:
    """The sentence with which a pickle is refused."""
    return (
        f"{file} is a pickle, which can run code when opened, and is refused; convert it: "
        "load it once where you trust it and call save_pretrained(..., safe_serialization=True)."
    )


def _indexed(index: FilePath) -> list[FilePath]:
    where = read_json(index).get("weight_map")
    names = sorted({str(name) for name in where.values()}) if isinstance(where, dict) else []
    if not names:
        raise TeacherError(f"{index} names no files of weights; download the model again.")
    for name in names:
        if FilePath(name).name != name or not name.endswith(".safetensors"):
            raise TeacherError(f"{index} names {name}, which is no safetensors file beside it; download it again.")
        if not (index.parent / name).is_file():
            raise TeacherError(f"{index.parent} lacks {name}, one part of its weights; download the model again.")
    return [index.parent / name for name in names]


def tensors_in(files: list[FilePath]) -> dict[str, Stored]:
    """Every tensor of the files by name. Raises `TeacherError` where one is cut off or says what cannot be."""
    found: dict[str, Stored] = {}
    for file in files:
        for name, stored in header(file)[0].items():
            if name in found:
                raise TeacherError(f"{file} holds {name} a second time; download the model again.")
            found[name] = stored
    return found


def header(file: FilePath) -> tuple[dict[str, Stored], Mapping[str, str]]:
    """What a safetensors file says it holds, and its metadata; checked against its size."""
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = _length(opened.read(8), size)
            content = json.loads(opened.read(length))
        if not isinstance(content, dict):
            raise ValueError("its header is no object")
        metadata = content.pop("__metadata__", {})
        return _checked(file, content, size - 8 - length), metadata if isinstance(metadata, dict) else {}
    except (ValueError, RecursionError) as error:
        reason = "its header is no JSON" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else error
        raise TeacherError(f"{file} is no whole safetensors file ({reason}); download the model again.") from error
    except OSError as error:
        raise TeacherError(f"{file} cannot be read ({error.strerror}); check its permissions.") from error


def _length(first: bytes, size: int) -> int:
    if len(first) < 8:
        raise ValueError("it ends before its header")
    length: int = struct.unpack("<Q", first)[0]
    if length > min(size - 8, _LARGEST_HEADER):
        raise ValueError("its header is longer than the file")
    return length


def _checked(file: FilePath, content: dict[str, Any], room: int) -> dict[str, Stored]:
    """The tensors of a header whose data, `room` bytes, they fill one after the other. Raises ValueError."""
    found, places = {}, []
    for name, said in content.items():
        about = said if isinstance(said, dict) else {}
        kind, shape, place = about.get("dtype"), _counts(about.get("shape")), _counts(about.get("data_offsets"))
        if kind not in _BITS or shape is None or place is None or len(place) != 2:
            raise ValueError(f"it says nothing sensible of {name}")
        if (place[1] - place[0]) * 8 != math.prod(shape) * _BITS[kind]:
            raise ValueError(f"{name} has another size than its shape says")
        found[name] = Stored(file, kind, shape)
        places.append((place[0], place[1]))
    at = 0
    for begin, end in sorted(places):
        if begin != at:
            raise ValueError("its tensors overlap or leave gaps")
        at = end
    if at != room:
        raise ValueError(f"it holds {room} bytes of numbers where its header describes {at}")
    return found


def _counts(values: object) -> tuple[int, ...] | None:
    """The numbers of a list of counts; None for anything else."""
    if not isinstance(values, list) or not all(type(n) is int and n >= 0 for n in values):
        return None
    return tuple(values)
