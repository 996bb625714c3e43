"""From prompts to conditions: a model's text encoders run once, and what they make is kept on disk.

Which encoders there are and how their results go together is the pipeline's own `encode_prompt`, so that a prompt
means here what it means to plain diffusers.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from backend import cache
from backend.contract.recipe import RecipeError
from backend.networks import Condition
from backend.teachers import Teacher, TeacherError
from backend.teachers.files import tensors_in, weights_files
from backend.teachers.layouts import Encoder, Layout, layout
from backend.teachers.modules import build, digest, pipeline, quiet

BATCH = 16
PART = 128
"""Prompts in a file of the cache: what a killed process encodes again, at most."""
FORM = "1"  # of what an encoding means; another gives every teacher of prompts another digest
Parts = dict[str, Tensor]
Report = Callable[[int, int], object]
"""Told how many prompts are encoded, and of how many that were not kept."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """Prompts as conditions, and the empty prompt's parts without the batch. too_long: how many were cut off."""

    cond: Condition
    null: Parts
    too_long: int


@dataclass(frozen=True, eq=False)
class _Kept:
    """Some prompts as a file of the cache has them: each one's place, its parts (n, ...), whether it was cut off."""

    places: dict[str, int]
    each: Parts
    null: Parts
    too_long: list[bool]


@dataclass(frozen=True)
class Where:
    """Where encoders compute, and in which number format."""

    device: torch.device
    precision: torch.dtype

    @classmethod
    def of(cls, device: torch.device | None) -> "Where":
        """On a GPU that can in bfloat16, in which a large encoder takes half; elsewhere in float32 by the processor."""
        if device is not None and device.type == "cuda" and torch.cuda.is_bf16_supported():
            return cls(device, torch.bfloat16)
        return BY_PROCESSOR

    @property
    def shelf(self) -> str:
        """What the name of the cache's folder has at its end: encodings of other formats are others."""
        return "" if self.precision == torch.float32 else f"-{str(self.precision).removeprefix('torch.')}"


BY_PROCESSOR = Where(torch.device("cpu"), torch.float32)


def encoders_digest(model: Layout) -> str:
    """SHA-256 of everything that gives a prompt its embedding."""
    files = []
    for encoder in model.encoders:
        files += weights_files(model.folder / encoder.encoder, "model")
        for name in (encoder.encoder, encoder.tokenizer):
            files += [f for f in (model.folder / name).iterdir() if f.suffix in (".json", ".txt", ".model")]
    rest = json.dumps([model.family.key, model.pipeline.get("force_zeros_for_empty_prompt"), FORM])
    return hashlib.sha256(f"{digest(sorted(files))} {rest}".encode()).hexdigest()


def embed(
    model: Layout,
    prompts: Sequence[str],
    report: Report = lambda done, of: None,
    where: Where = BY_PROCESSOR,
) -> Embedded:
    """The conditions of the prompts, in their order; from disk those that were ever encoded so by these encoders.

    They are in float32 and in main memory, wherever they were made. Raises `TeacherError` where an
    encoder or tokenizer cannot be loaded.
    """
    shelf = cache.cache_folder() / "prompts" / f"{encoders_digest(model)}{where.shelf}"
    names = {prompt: hashlib.sha256(prompt.encode()).hexdigest() for prompt in prompts}
    files = list(_kept(shelf, set(names.values())))
    known = {name for file in files for name in file.places}
    new = [prompt for prompt, name in names.items() if name not in known]
    if new:
        with quiet():
            pipe = _pipeline(model, where)
            for first in range(0, len(new), PART):
                some = new[first : first + PART]
                made = _encoded(model, pipe, some, [names[prompt] for prompt in some], where.device)
                _keep(made, shelf)
                files.append(made)
                report(first + len(some), len(new))
            del pipe
        if where.device.type == "cuda":
            torch.cuda.empty_cache()  # the training needs what the encoders had
    return _in_order([names[prompt] for prompt in prompts], files)


def tokens(teacher: Teacher, prompt: str) -> Tensor:
    """What the teacher's text encoder makes of a prompt, (L, D), without padding where the teacher is told of it.

    Raises `RecipeError` for one that is too long.
    """
    assert teacher.folder is not None  # it takes prompts
    found = embed(layout(teacher.folder), [prompt])
    if found.too_long:
        raise RecipeError("The negative_prompt is longer than the teacher's text encoder takes; shorten it.")
    text, mask = found.cond.part("text")[0], found.cond.parts.get("text_mask")
    return text if mask is None else text[mask[0].bool()]


def _in_order(names: Sequence[str], files: Sequence[_Kept]) -> Embedded:
    where = {name: (number, row) for number, file in enumerate(files) for name, row in file.places.items()}
    parts = {key: part.new_empty(len(names), *part.shape[1:]) for key, part in files[0].each.items()}
    for number, file in enumerate(files):
        mine = [place for place, name in enumerate(names) if where[name][0] == number]
        rows = [where[names[place]][1] for place in mine]
        for key, part in parts.items():
            part[mine] = file.each[key][rows]
    too_long = sum(files[number].too_long[row] for number, row in (where[name] for name in names))
    return Embedded(Condition(len(names), parts), files[0].null, too_long)


def _kept(shelf: FilePath, wanted: set[str]) -> Iterator[_Kept]:
    """What is kept of the prompts of these names; a file that is damaged is as one that is not there."""
    for file in sorted(shelf.glob("*.safetensors")):
        with suppress(OSError, SafetensorError, LookupError, TypeError, ValueError):
            with safe_open(file, framework="pt") as stored:
                names = json.loads(stored.metadata()["names"])
            if wanted.isdisjoint(names) or (found := cache.kept(file)) is None:
                continue
            tensors, about = found
            each = {name.removeprefix("each/"): t for name, t in tensors.items() if name.startswith("each/")}
            null = {name.removeprefix("null/"): t for name, t in tensors.items() if name.startswith("null/")}
            places = {name: place for place, name in enumerate(names)}
            yield _Kept(places, each, null, json.loads(about["too_long"]))


def _keep(made: _Kept, shelf: FilePath) -> None:
    tensors = {f"each/{name}": part for name, part in made.each.items()}
    tensors |= {f"null/{name}": part for name, part in made.null.items()}
    about = {"names": json.dumps(list(made.places)), "too_long": json.dumps(made.too_long)}
    key = hashlib.sha256(about["names"].encode()).hexdigest()
    with suppress(OSError):  # only a cache: the next start makes it again
        cache.keep(tensors, about, shelf / f"{key}.safetensors")


@torch.no_grad()
def _encoded(model: Layout, pipe: Any, prompts: Sequence[str], names: Sequence[str], device: torch.device) -> _Kept:
    lots = [list(prompts[i : i + BATCH]) for i in range(0, len(prompts), BATCH)]
    made = [_call(model.family.key, pipe, lot, False, device) for lot in lots]
    null = _call(model.family.key, pipe, [""], True, device)
    parts = {name: torch.cat([part[name] for part in made]) for name in made[0]}
    places = {name: place for place, name in enumerate(names)}
    return _Kept(places, parts, {name: part[0] for name, part in null.items()}, _too_long(model, pipe, prompts))


def _call(family: str, pipe: Any, prompts: list[str], empty: bool, device: torch.device) -> Parts:
    """The pipeline's parts for prompts, or with `empty` those it guides away from, each (B, ...)."""
    if family == "flux":  # has no such prompt of its own
        text, pooled, _ = pipe.encode_prompt(prompts, None, device=device)
        return _floats({"text": text, "pooled": pooled})
    asked = {"device": device, "num_images_per_prompt": 1, "do_classifier_free_guidance": empty}
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
    return {name: part.float().cpu() for name, part in parts.items()}


def human_instruction(pipe: Any) -> list[str]:
    """What Sana's pipeline tells its language model before each prompt."""
    return list(inspect.signature(type(pipe).__call__).parameters["complex_human_instruction"].default)


def _pipeline(model: Layout, where: Where) -> Any:
    """The pipeline with its encoders alone."""
    kind = pipeline(model.family.pipelines[0])
    names = [name for name in inspect.signature(kind.__init__).parameters if name != "self"]
    given: dict[str, Any] = dict.fromkeys(names)
    for encoder in model.encoders:
        tokenizer, module = load_encoder(model.folder, encoder, where.precision)
        given[encoder.tokenizer], given[encoder.encoder] = tokenizer, module.to(where.device)
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


def load_encoder(folder: FilePath, encoder: Encoder, precision: torch.dtype = torch.float32) -> tuple[Any, nn.Module]:
    """A tokenizer and its text encoder in a number format. Raises `TeacherError` where one cannot be loaded."""
    place = folder / encoder.encoder
    tensors_in(weights_files(place, "model"))  # what is cut off or a pickle is said in our words
    tokenizer = _loaded(folder / encoder.tokenizer, encoder.tokenizer_class)
    module, info = _loaded(
        place, encoder.encoder_class, dtype=precision, use_safetensors=True, output_loading_info=True
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


def _too_long(model: Layout, pipe: Any, prompts: Sequence[str]) -> list[bool]:
    """Of each prompt whether it has more tokens than the encoder that takes most."""
    tokenizer = getattr(pipe, model.encoders[-1].tokenizer)
    # Stable Diffusion 3 without its T5 has CLIP's length.
    own = model.family.length if model.encoders[-1].tokenizer_class.startswith(("T5", "Gemma")) else 0
    most = own or tokenizer.model_max_length
    return [len(ids) > most for ids in tokenizer(list(prompts), truncation=False, verbose=False).input_ids]
