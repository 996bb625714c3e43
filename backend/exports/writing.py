"""Writing an export so that it is there as a whole or not at all."""

import hashlib
import json
import shutil
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from backend.exports import ExportError, Facts
from backend.networks import Denoiser
from backend.networks.steering import negative_prompt
from backend.networks.told import module_of
from backend.samplers import Sampler


@contextmanager
def written(out: FilePath) -> Iterator[FilePath]:
    """A temporary path beside `out` that becomes `out` when the block ends without an error, and vanishes otherwise.

    The block makes a file or a folder of it. Raises `ExportError` where `out` is taken or cannot be written.
    """
    draft = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}"
    try:
        refuse_taken(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        if out.is_dir():
            out.rmdir()  # empty, or this fails; Windows does not rename onto it
        draft.rename(out)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ExportError(f"{out} could not be written ({reason}); choose another place or make room there.") from error
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        elif draft.exists():
            draft.unlink()


def refuse_taken(out: FilePath) -> None:
    """Raise `ExportError` where `out` is there already; an empty folder may be."""
    if out.is_dir():
        if any(out.iterdir()):
            raise ExportError(f"{out} already holds files; choose a new or an empty folder.")
    elif out.exists():
        raise ExportError(f"{out} already exists; choose another name.")


def file_hash(path: FilePath) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_weights(weights: dict[str, Tensor], file: FilePath, header: dict[str, str]) -> None:
    """A safetensors file whose bytes depend on its content alone, so that equal students have equal hashes."""
    save_file(weights, file, metadata=header)
    # safetensors writes the metadata in the order of a hash map, which differs from call to call.
    with file.open("r+b") as opened:
        (size,) = struct.unpack("<Q", opened.read(8))
        content = json.loads(opened.read(size))
        content["__metadata__"] = dict(sorted(header.items()))
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) > size:
            raise RuntimeError("The sorted header is longer than it was.")
        opened.seek(8)
        opened.write(text.ljust(size))


def metadata(student: Denoiser, sampler: Sampler, facts: Facts) -> dict[str, str]:
    """What goes into the header of a weights file: the format's own mark, ModelSpec's fields, and ours."""
    steered = {"steered_away_from": negative_prompt(student)} if sampler.away else {}
    hint = (
        f"Its preview is steered away from a negative prompt, by {sampler.away:g} in its cross-attention (NASA, "
        "arXiv:2412.02687), which weights alone cannot hold; without that it makes other pictures."
    )
    height, width = facts.picture or (student.shape[1:] if len(student.shape) == 3 else (0, 0))
    spec = {
        "sai_model_spec": "1.0.0",
        "architecture": "diffusers-" + type(module_of(student.network)).__name__.lower(),
        "implementation": "diffusers",
        "title": facts.title,
        "license": facts.licence,
        "description": f"{sampler.nfe}-step student of {facts.teacher} by {facts.method}, {facts.paper}",
        "prediction_type": student.prediction_type,
        **({"resolution": f"{width}x{height}"} if width else {}),
        **({"usage_hint": hint} if steered else {}),
    }
    ours = {
        **steered,
        "sampler": json.dumps(sampler.to_json()),
        "prediction_type": student.prediction_type,
        "method": facts.recipe.method,
        "teacher": facts.teacher,
        "teacher_digest": facts.teacher_digest,
        "step": str(facts.step),
        "recipe": facts.recipe.to_json(),
    }
    return {
        "format": "pt",
        **{f"modelspec.{name}": value for name, value in spec.items()},
        **{f"distill.{name}": value for name, value in ours.items()},
    }
