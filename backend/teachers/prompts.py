"""From prompts to conditions: a model's text encoders run once, and what they make is kept on disk.

Which encoders there are and how their results go together is the pipeline's own `encode_prompt`, so that a prompt
means here what it means to plain diffusers.
"""

import hashlib
import inspect
import json
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import diffusers
import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from backend.cache import cache_folder
from backend.networks import Condition
from backend.teachers import TeacherError
from backend.teachers.files import tensors_in, weights_files
from backend.teachers.layouts import Encoder, Layout
from backend.teachers.modules import build, digest, quiet

BATCH = 16
FORM = "1"  # of what is kept; another form is made anew
Parts = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Embedded:
    """Prompts as conditions, and the empty prompt's parts without the batch. too_long: how many were cut off."""

    cond: Condition
    null: Parts
    too_long: int


def encoders_digest(model: Layout) -> str:
    """SHA-256 of everything that gives a prompt its embedding."""
    files = []
    for encoder in model.encoders:
        files += weights_files(model.folder / encoder.encoder, "model")
        for name in (encoder.encoder, encoder.tokenizer):
            files += [f for f in (model.folder / name).iterdir() if f.suffix in (".json", ".txt", ".model")]
    rest = json.dumps([model.family.key, model.pipeline.get("force_zeros_for_empty_prompt"), FORM])
    return hashlib.sha256(f"{digest(sorted(files))} {rest}".encode()).hexdigest()


def embed(model: Layout, prompts: Sequence[str]) -> Embedded:
    """The conditions of the prompts, in their order; from disk where they were made before.

    Raises `TeacherError` where an encoder or tokenizer cannot be loaded.
    """
    key = hashlib.sha256(json.dumps([encoders_digest(model), list(prompts)]).encode()).hexdigest()
    file = cache_folder() / "prompts" / f"{key}.safetensors"
    kept = _kept(file)
    if kept is None:
        with quiet():
            kept = _encoded(model, prompts)
        _keep(kept, file)
    return kept


def _kept(file: FilePath) -> Embedded | None:
    try:
        with safe_open(file, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            too_long = int(stored.metadata()["too_long"])
        parts = {name.removeprefix("each/"): t for name, t in tensors.items() if name.startswith("each/")}
        null = {name.removeprefix("null/"): t for name, t in tensors.items() if name.startswith("null/")}
        return Embedded(Condition(len(parts["text"]), parts), null, too_long)
    except (OSError, SafetensorError, LookupError, TypeError, ValueError):
        return None


def _keep(made: Embedded, file: FilePath) -> None:
    unfinished = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    tensors = {f"each/{name}": part for name, part in made.cond.parts.items()}
    tensors |= {f"null/{name}": part for name, part in made.null.items()}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({n: t.contiguous() for n, t in tensors.items()}, unfinished, {"too_long": str(made.too_long)})
        unfinished.replace(file)
    except (OSError, SafetensorError):  # only a cache: the next start makes it again
        with suppress(OSError):
            unfinished.unlink()


@torch.no_grad()
def _encoded(model: Layout, prompts: Sequence[str]) -> Embedded:
    pipe = _pipeline(model)
    made = [_call(model.family.key, pipe, list(prompts[i : i + BATCH]), False) for i in range(0, len(prompts), BATCH)]
    null = _call(model.family.key, pipe, [""], True)
    parts = {name: torch.cat([part[name] for part in made]) for name in made[0]}
    return Embedded(
        Condition(len(prompts), parts), {name: part[0] for name, part in null.items()}, _too_long(model, pipe, prompts)
    )


def _call(family: str, pipe: Any, prompts: list[str], empty: bool) -> Parts:
    """The pipeline's parts for prompts, or with `empty` those it guides away from, each (B, ...)."""
    if family == "flux":  # has no such prompt of its own
        text, pooled, _ = pipe.encode_prompt(prompts, None, device="cpu")
        return _floats({"text": text, "pooled": pooled})
    asked = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": empty}
    if family == "sana":
        asked["complex_human_instruction"] = human_instruction(pipe)
    if family == "sd3":
        asked |= {"prompt_2": None, "prompt_3": None}
    made = pipe.encode_prompt(prompts, **asked)
    if family == "sd":
        return _floats({"text": made[empty]})
    if family in ("sdxl", "sd3"):  # text, null text, pooled, null pooled
        return _floats({"text": made[empty], "pooled": made[2 + empty]})
    return _floats({"text": made[2 * empty], "text_mask": made[2 * empty + 1]})  # text, mask, null text, null mask


def _floats(parts: Parts) -> Parts:
    return {name: part.float() for name, part in parts.items()}


def human_instruction(pipe: Any) -> list[str]:
    """What Sana's pipeline tells its language model before each prompt."""
    return list(inspect.signature(type(pipe).__call__).parameters["complex_human_instruction"].default)


def _pipeline(model: Layout) -> Any:
    """The pipeline with its encoders alone."""
    kind = getattr(diffusers, model.family.pipelines[0])
    names = [name for name in inspect.signature(kind.__init__).parameters if name != "self"]
    given: dict[str, Any] = dict.fromkeys(names)
    for encoder in model.encoders:
        given[encoder.tokenizer], given[encoder.encoder] = load_encoder(model.folder, encoder)
    network = "unet" if "unet" in names else "transformer"
    # Of the network a pipeline asks no more here than how wide its conditions are.
    given[network] = build(model.family.network, model.network, f"{network}/config.json")
    if model.family.key == "sdxl":
        given["force_zeros_for_empty_prompt"] = model.pipeline.get("force_zeros_for_empty_prompt", True)
        given["add_watermarker"] = False
    for name in ("requires_safety_checker", "is_unet_version_less_0_9_0"):
        given.pop(name, None)
    if model.family.key == "sd":
        given["requires_safety_checker"] = False
    return kind(**given)


def load_encoder(folder: FilePath, encoder: Encoder) -> tuple[Any, nn.Module]:
    """A tokenizer and its text encoder, in float32. Raises `TeacherError` where one cannot be loaded."""
    place = folder / encoder.encoder
    tensors_in(weights_files(place, "model"))  # what is cut off or a pickle is said in our words
    tokenizer = _loaded(folder / encoder.tokenizer, encoder.tokenizer_class)
    module, info = _loaded(
        place, encoder.encoder_class, dtype=torch.float32, use_safetensors=True, output_loading_info=True
    )
    lacking = sorted(str(name) for name in info["missing_keys"] if "position_ids" not in str(name))
    if lacking:
        raise TeacherError(f"{place} lacks {lacking[0]}, which its config describes; download the model again.")
    return tokenizer, module.requires_grad_(False).eval()


def _loaded(place: FilePath, kind: str, **how: Any) -> Any:
    try:
        with torch.random.fork_rng(devices=[]), quiet():
            return getattr(transformers, kind).from_pretrained(place, local_files_only=True, **how)
    except Exception as error:  # a broken file may fail anywhere in the library; its own words are passed on
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise TeacherError(f"{place} cannot be loaded as a {kind} ({reason}); download the model again.") from error


def _too_long(model: Layout, pipe: Any, prompts: Sequence[str]) -> int:
    """How many prompts have more tokens than the encoder that takes most."""
    tokenizer = getattr(pipe, model.encoders[-1].tokenizer)
    # Stable Diffusion 3 without its T5 has CLIP's length.
    own = model.family.length if model.encoders[-1].tokenizer_class.startswith(("T5", "Gemma")) else 0
    most = own or tokenizer.model_max_length
    return sum(len(ids) > most for ids in tokenizer(list(prompts), truncation=False, verbose=False).input_ids)
