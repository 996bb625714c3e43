"""Models by their id on the Hugging Face hub: from the cache on this machine, else downloaded, safetensors only."""

import os
import re
from pathlib import Path as FilePath

from backend.teachers import TeacherError

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# Configs, vocabularies and weights of parts; not the one-file copies beside them, nor second copies in other formats.
PATTERNS = ["*.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors", "diffusion_pytorch_model.safetensors"]
LEFT_OUT = ["*.fp16.safetensors", "*.bf16.safetensors", "*non_ema*", "safety_checker/*", "flax_*", "*.onnx*"]


def is_id(where: str) -> bool:
    """Whether `where` can be a model's id, OWNER/NAME."""
    return bool(_ID.fullmatch(where))


def folder_of(model: str, fetch: bool) -> FilePath:
    """The folder of a model in the hub's cache; with `fetch` it is downloaded first where it is not there.

    Raises `TeacherError` where it is neither there nor can be had.
    """
    from huggingface_hub import snapshot_download  # noqa: PLC0415

    try:
        return FilePath(snapshot_download(model, allow_patterns=PATTERNS, local_files_only=True))
    except Exception as error:  # not in the cache, for which hub and its HTTP client raise classes of no common base
        if not fetch or os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
            raise TeacherError(
                f"There is no folder {model}, and no model of this id in the hub's cache on this machine; "
                f"name a folder, or download it with: hf download {model}"
            ) from error
    try:
        return FilePath(snapshot_download(model, allow_patterns=PATTERNS, ignore_patterns=LEFT_OUT))
    except Exception as error:  # as above: offline, unknown, private, no room; all are said to the person
        raise TeacherError(
            f"The model {model} cannot be downloaded ({str(error).strip().splitlines()[0]}); check its id, the "
            "network and your access to it."
        ) from error
