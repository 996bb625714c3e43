"""One safetensors file in the layout of Stable Diffusion's authors: converted once by diffusers, to a cached folder.

Such a file holds weights and no settings or tokenizer. Those come from a folder of the same name beside it; nothing is
downloaded.
"""

import json
import shutil
import uuid
from pathlib import Path as FilePath
from typing import Any

from backend.contract.files import content_hash
from backend.teachers import TeacherError
from backend.teachers.files import PICKLES, header, pickle_words, read_json

NETWORK = "model.diffusion_model."
"""What the names of the network's tensors begin with."""


def settings_of(file: FilePath) -> FilePath:
    """The folder with what the file lacks. Raises `TeacherError` where the file is no such file, or there is none."""
    if file.suffix in PICKLES:
        raise TeacherError(pickle_words(file))
    if file.suffix != ".safetensors":
        raise TeacherError(f"{file} is a file; name the diffusers folder that holds unet/ and scheduler/.")
    if not any(name.startswith(NETWORK) for name in header(file)[0]):
        raise TeacherError(
            f"{file} is not in the layout of a whole Stable Diffusion model; name the diffusers folder it belongs to."
        )
    beside = file.with_suffix("")
    if (beside / "model_index.json").is_file():
        return beside
    raise TeacherError(
        f"{file} holds weights alone; put the settings and tokenizer of its kind of model (a diffusers folder, weights "
        f"not needed) beside it as {beside.name}/."
    )


def converted(file: FilePath) -> FilePath:
    """The diffusers folder that the file becomes. Raises `TeacherError` where diffusers cannot convert it."""
    from backend.cache import cache_folder  # noqa: PLC0415  (torch, which saying what the file is does not need)

    settings = settings_of(file)
    folder = cache_folder() / "converted" / content_hash(file)
    if not (folder / "model_index.json").is_file():
        draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
        try:
            _convert(file, settings, draft)
            draft.rename(folder)
        except OSError as error:
            raise TeacherError(f"{file} cannot be converted ({error}); make room in {cache_folder()}.") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _convert(file: FilePath, settings: FilePath, out: FilePath) -> None:
    import torch  # noqa: PLC0415

    from backend.teachers.modules import pipeline, quiet  # noqa: PLC0415

    kind: Any = pipeline(str(read_json(settings / "model_index.json").get("_class_name")))
    if kind is None or not hasattr(kind, "from_single_file"):
        raise TeacherError(f"{settings / 'model_index.json'} names no pipeline that diffusers makes of one file.")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            pipe = kind.from_single_file(
                str(file), config=str(settings), local_files_only=True, torch_dtype=torch.float32, safety_checker=None
            )
            pipe.save_pretrained(out)
    except Exception as error:  # any kind at all, as diffusers' converters please
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise TeacherError(
            f"{file} cannot be converted as a {kind.__name__} ({reason}); check that {settings.name}/ is of its kind."
        ) from error
    about = settings / "teacher.json"
    said = about.read_text(encoding="utf-8") if about.is_file() else json.dumps({"title": file.stem})
    (out / "teacher.json").write_text(said, encoding="utf-8")
