"""What a run is asked to be: teacher, data, method, student and training, as one JSON document.

It knows neither methods nor files: a method's own settings are plain values here, which the worker
validates with that method's `Settings`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import JsonValue, ValidationError, ValidationInfo, field_validator

from backend.contract.errors import UserError
from backend.contract.settings import Settings, problems, sentences, setting

VERSION = 1
"""The form of recipe that this code writes; it reads this one and all before."""

_START = re.compile(r"run:(\d+)@(\d+|best|last)")


class RecipeError(UserError, ValueError):
    """A recipe that cannot be used; the text says what is wrong and what to do."""


class Student(Settings):
    """What is trained, and from where it starts."""

    kind: Literal["full", "lora"] = setting(
        "full", "Which weights are trained: full, all of a copy of the teacher; lora, small adapters on it"
    )
    fake_score: Literal["full", "lora"] = setting(
        "full", "The same for a fake score network; lora needs a fraction of the memory", advanced=True
    )
    rank: int = setting(16, "Rank of the adapters; more can express more and needs more memory", low=1, high=512)
    start: str | None = setting(
        None, "Weights to start from: empty for the teacher's, or run:ID@STEP, run:ID@best, run:ID@last"
    )

    @field_validator("start")
    @classmethod
    def _names_a_checkpoint(cls, start: str | None) -> str | None:
        if start is not None and not _START.fullmatch(start):
            raise ValueError(
                f"student.start is {start!r}, which names no checkpoint; "
                "leave it empty or write run:ID@STEP, run:ID@best or run:ID@last."
            )
        return start

    def start_checkpoint(self) -> tuple[int, str] | None:
        """The run and the checkpoint ("best", "last" or a step) to start from; None for the teacher."""
        match = _START.fullmatch(self.start or "")
        return (int(match[1]), match[2]) if match else None


class Pairs(Settings):
    """Noise/sample pairs of a deterministic sampler, for methods that learn from them."""

    count: int = setting(8192, "How many pairs are made; few are learnt by heart", low=2, unit="pairs")
    steps: int = setting(20, "Heun steps by which each is made, two network evaluations each", low=2, high=1000)
    seed: int = setting(0, "Start of the random sequence that the noise comes from", low=0, high=2**31 - 1)
    source: Literal["teacher", "start"] = setting(
        "teacher", "Whose sampler makes them: the teacher's, or that of the student that the run starts from (reflow)"
    )


class Training(Settings):
    """How the loop runs, whatever the method."""

    steps: int = setting(2000, "How many steps the run takes", low=1, unit="steps")
    batch_size: int = setting(64, "How many samples one batch has", low=1, unit="samples")
    seed: int = setting(0, "Start of every random sequence of the run", low=0, high=2**31 - 1)
    ema_decay: float = setting(
        0.999, "Share of the averaged weights kept at each step; 0 uses the raw weights", low=0, high=0.999999
    )
    gradient_clip: float = setting(1.0, "Largest norm of a gradient; 0 leaves gradients as they are", low=0)
    warmup_steps: int = setting(0, "Steps over which the learning rate rises from 0", low=0, unit="steps")
    learning_rate_schedule: Literal["constant", "cosine"] = setting(
        "constant", "The learning rate after the warm-up: constant, or falling to 0 along a cosine until the last step"
    )
    learning_rate_factor: float = setting(
        1.0, "What every learning rate of the method is multiplied by", low=0.001, high=10, advanced=True
    )
    preview_every: int = setting(250, "Steps between two previews; 0 makes none", low=0, unit="steps")
    checkpoint_every: int = setting(500, "Steps between two checkpoints; 0 saves the last alone", low=0, unit="steps")
    keep_checkpoints: int = setting(3, "How many checkpoints stay on disk beside the best", low=1, advanced=True)
    on_collapse: Literal["stop", "continue"] = setting(
        "stop",
        "When samples leave the teacher's range or become alike: stop, with the last good checkpoint kept, or continue",
        advanced=True,
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = setting("auto", "Where to train; auto takes the fastest there is")
    precision: Literal["float32", "bfloat16"] = setting(
        "float32", "Number format inside the networks; losses are always float32"
    )
    threads: int = setting(0, "Processor threads to use; 0 takes all", low=0, advanced=True)
    accumulation: int = setting(
        1, "Batches over which each update is averaged, one after the other", low=1, unit="batches", advanced=True
    )
    gradient_checkpointing: bool = setting(
        False, "Compute activations again where gradients need them: less memory, a third more time", advanced=True
    )
    optimizer: Literal["adam", "adafactor"] = setting(
        "adam", "adam, or adafactor: factored moments in a hundredth of Adam's memory, no momentum", advanced=True
    )

    @property
    def samples_per_step(self) -> int:
        """How many samples one step sees, over all batches that it accumulates."""
        return self.batch_size * self.accumulation


LIVE_SETTINGS = ("steps", "preview_every", "checkpoint_every", "keep_checkpoints", "learning_rate_factor")
"""Of `Training`, what may be changed while a run goes on; the run says where it cannot."""


def why_not_live(training: Training, values: Mapping[str, Any]) -> str:
    """Why these settings of a run cannot be changed to these values, in sentences; empty where they can."""
    known = f"{', '.join(LIVE_SETTINGS[:-1])} and {LIVE_SETTINGS[-1]}"
    if not values:
        return f"Nothing was named to be set; {known} can be."
    declared = Training.model_fields
    for name, value in values.items():
        if name not in LIVE_SETTINGS:
            return f"{name} cannot be set while the run goes on; {known} can."
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or (declared[name].annotation is int and not isinstance(value, int)):
            kind = "whole number" if declared[name].annotation is int else "number"
            return f"{name} is {value!r}, which is no {kind}; give one."
    return " ".join(problems(Training, {**training.model_dump(), **values}))


def in_words(changes: Mapping[str, Any]) -> str:
    """Changes of live settings in a sentence: "steps to 900, preview_every to 50"."""
    return ", ".join(f"{name} to {value}" for name, value in changes.items())


class Recipe(Settings):
    """A method with its settings, a teacher and what to train with; the same recipe, the same run."""

    version: Literal[1] = setting(VERSION, "Form of this document", advanced=True)
    kind: Literal["train", "store", "tensors", "sampling", "evaluate"] = setting(
        "train", "What the run makes: a student, a store of samples, tensors, guided samples, figures"
    )
    teacher: str = setting(..., "Bundled teacher, diffusers folder or hub id")
    data: str | None = setting(None, "Real data: a bundled set or a folder; empty where the method needs none")
    prompts: str | None = setting(
        None,
        "What a teacher that takes prompts is asked for: a text file, one prompt a line, or everyday; "
        "empty for the teacher's own",
    )
    method: str = setting(..., "Name of the method, as `distill methods` lists it")
    settings: dict[str, JsonValue] = setting({}, "The method's own settings; what is left out has its default")
    pairs: Pairs = setting(Pairs(), "Noise/sample pairs, where the method learns from them")
    student: Student = setting(Student(), "What is trained")
    training: Training = setting(Training(), "How it is trained")

    @field_validator("teacher", "method")
    @classmethod
    def _is_given(cls, value: str, info: ValidationInfo) -> str:
        if not value.strip():
            raise ValueError(f"{info.field_name} is empty; name one.")
        return value

    def to_json(self) -> str:
        """This recipe as JSON that a person can read and edit; `from_json` returns an equal one."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The recipe in `text`. Raises `RecipeError` with one sentence for each problem."""
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise RecipeError(
                f"The recipe is not readable JSON: {error.msg} in line {error.lineno}, "
                f"column {error.colno}; correct it there."
            ) from error
        except UnicodeDecodeError as error:
            raise RecipeError("The recipe is not UTF-8 text; save it as UTF-8.") from error
        return cls.from_values(content)

    @classmethod
    def from_values(cls, content: object) -> Self:
        """The recipe in a parsed JSON document. Raises `RecipeError` like `from_json`."""
        if not isinstance(content, dict):
            raise RecipeError("The recipe is not a JSON object; write it as {...}, with a teacher and a method.")
        version = content.get("version", VERSION)
        if isinstance(version, int) and version > VERSION:
            raise RecipeError(
                f"The recipe has form {version} and this program knows up to {VERSION}; update the program to use it."
            )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise RecipeError(" ".join(sentences(cls, error))) from error

    def hash(self) -> str:
        """SHA-256 of the canonical JSON; equal for recipes that ask for the same, however written."""
        canonical = json.dumps(
            _canonical(self.model_dump(mode="json")),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        )
        return hashlib.sha256(canonical.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """`value` with 1.0 written as 1, because a form, a person and JSON differ in that and mean the same."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
