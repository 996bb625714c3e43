"""What an export is asked to be, checked before anything is written, and what a finished one says. No widgets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.models.run_words import Words, figure
from app.translations import said
from backend.contract.project_file import ProjectFile
from backend.contract.rows import Checkpoint, Export, RunRow

Format = Literal["diffusers", "safetensors", "lora"]
FORMATS: tuple[Format, ...] = ("diffusers", "safetensors", "lora")
TOLERANCE = 1e-5
"""Largest sound difference where a record does not say: of pictures in [-1, 1], where a step of 8 bits is 8e-3."""
MOST_BYTES = 1 << 26
"""Of a file beside an export: a folder that a person named may hold anything."""


@dataclass(frozen=True)
class Request:
    """One export as a person asks for it. weights: "ema", "raw" or "" for what the run keeps. nfe: 0 is its own."""

    run: int
    form: Format
    out: Path
    checkpoint: str = "best"
    weights: str = ""
    nfe: int = 0

    def arguments(self, project: Path) -> list[str]:
        """What the command line is given."""
        chosen = ["--format", self.form, "--checkpoint", self.checkpoint, "--out", str(self.out)]
        chosen += ["--weights", self.weights] if self.weights else []
        chosen += ["--nfe", str(self.nfe)] if self.nfe else []
        return ["export", str(project), str(self.run), *chosen]


@dataclass(frozen=True)
class Found:
    """What there is to export, and what was exported. ema: whether the chosen run kept an average of its weights;
    adapters: whether these are adapters on the teacher."""

    rows: list[RunRow]
    run: int | None
    checkpoints: list[Checkpoint]
    exports: list[Export]
    ema: bool
    adapters: bool = False


@dataclass(frozen=True)
class Shown:
    """A finished export with what belongs beside it: its pictures as PNG bytes, and the lines that use it.

    there: whether its files are still where they were written.
    """

    export: Export
    there: bool
    expected: bytes = b""
    made: bytes = b""
    snippet: str = ""


def problem(text: str, form: Format, tr: Words) -> str:
    """Why nothing can be written there; empty when it can. One look at the disk, no wait."""
    if not text.strip():
        return tr("Name a file for the export.") if form == "safetensors" else tr("Name a folder for the export.")
    out = Path(text.strip()).expanduser()
    if not out.is_absolute():
        return tr("{0} is not a whole path; begin with a folder such as {1}.").format(text.strip(), Path.home())
    if form == "safetensors" and out.suffix != ".safetensors":
        return tr("{0} is to be a safetensors file; let its name end in .safetensors.").format(out.name)
    return _taken(out, form, tr) or _place_problem(out, tr)


def _taken(out: Path, form: Format, tr: Words) -> str:
    if out.is_dir() and form == "safetensors":
        return tr("{0} is a folder; name a file in it.").format(out.name)
    if out.is_dir():
        full = not os.access(out, os.R_OK) or any(out.iterdir())
        return tr("{0} already holds files; choose a new or an empty folder.").format(out.name) if full else ""
    return tr("{0} exists already; choose another name.").format(out.name) if out.exists() else ""


def _place_problem(out: Path, tr: Words) -> str:
    """Whether the nearest folder that exists can be written to."""
    above = next(folder for folder in (out, *out.parents) if folder.exists())
    if not above.is_dir():
        return tr("{0} is a file, so nothing can lie in it; choose another folder.").format(above)
    if not os.access(above, os.W_OK):
        return tr("{0} cannot be written to; choose another folder.").format(above)
    return ""


def suggestion(folder: Path, name: str, form: Format) -> Path:
    """A name that is free in a folder: the run's, made of letters that every disk knows."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "student"
    end = ".safetensors" if form == "safetensors" else ""
    names = (folder / f"{stem}{'' if number == 1 else f'-{number}'}{end}" for number in range(1, 10_000))
    return next(path for path in names if not path.exists())


def refusal(form: Format, is_picture: bool, has_adapters: bool, tr: Words) -> str:
    """Why a format cannot be used for this student; empty when it can."""
    if form == "lora" and not has_adapters:
        return tr("This student was trained in full, so there is no LoRA of it.")
    if form == "diffusers" and not is_picture:
        return tr("This student makes points, for which diffusers has no pipeline.")
    return ""


def checkpoints(found: Sequence[Checkpoint], tr: Words) -> list[tuple[str, str]]:
    """What can be chosen, as (what the command line calls it, words): the best, the last, then each step."""
    if not found:
        return []

    def words(checkpoint: Checkpoint) -> str:
        score = checkpoint.meta.get("score")
        step = tr("step {0}").format(checkpoint.step)
        return tr("{0}, score {1}").format(step, figure(score)) if isinstance(score, int | float) else step

    last = found[-1]
    best = next((checkpoint for checkpoint in reversed(found) if checkpoint.is_best), last)
    by_step = {checkpoint.step: checkpoint for checkpoint in found}
    return [
        ("best", tr("Best: {0}").format(words(best))),
        ("last", tr("Last: {0}").format(words(last))),
        *((str(step), words(by_step[step])[:1].upper() + words(by_step[step])[1:]) for step in sorted(by_step)),
    ]


def verdict(verification: Mapping[str, Any], tr: Words) -> tuple[str, str]:
    """Whether an export is sound, as words and their tone."""
    problem = verification.get("problem")
    if isinstance(problem, str) and problem:
        return problem, "bad"
    difference = verification.get("max_abs_difference")
    if not isinstance(difference, int | float):
        unchecked = verification.get("unchecked")
        if isinstance(unchecked, str) and unchecked:
            return said(unchecked), "muted"
        return tr("It was not checked."), "warning"
    tolerance = float(verification.get("tolerance", TOLERANCE))
    if difference < tolerance:
        words = tr("Sound: a fresh process with plain diffusers makes the preview's pictures. Largest difference {0}.")
        return words.format(f"{difference:.1e}"), "good"
    words = tr("Not sound: the pictures differ by up to {0}, allowed is {1}. Export the student again.")
    return words.format(f"{difference:.1e}", f"{tolerance:g}"), "bad"


def find(project: ProjectFile, run: int | None) -> Found:
    """What a project has of a run. run: None for the newest that has a checkpoint, or the newest of all."""
    rows = project.run_rows([])
    if run is None and rows:
        finished = [row.id for row in rows if row.score is not None or row.state.state == "finished"]
        run = (finished or [row.id for row in rows])[-1]
    if run is None:
        return Found(rows, None, [], [], ema=True)
    recipe, declaration = project.run(run).recipe, project.run(run).declaration
    ema = recipe.get("training", {}).get("ema_decay", 1)
    adapters = recipe.get("student", {}).get("kind") == "lora" or declaration.get("adapters") is True
    return Found(rows, run, project.checkpoints(run), project.exports(run), bool(ema), adapters)


def look_at(project: ProjectFile, export: Export) -> Shown:
    """Read what belongs to a finished export; what is gone is left out."""
    path = Path(export.path)
    sheets = export.verification.get("sheets", {})
    pictures = {name: _read(project.files / str(place)) for name, place in sheets.items()}
    if path.is_dir():
        card = _read(path / "README.md").decode("utf-8", "replace")
        fence = re.search(r"^```python\n(.*?)^```", card, re.DOTALL | re.MULTILINE)
        snippet = fence[1].rstrip() if fence else ""
    else:
        told = export.verification.get("snippet")
        alone = f'from safetensors.torch import load_file\n\nweights = load_file(r"{path}")'
        snippet = (told if isinstance(told, str) else alone) if path.is_file() else ""
    return Shown(export, path.exists(), pictures.get("expected", b""), pictures.get("made", b""), snippet)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    except OSError:
        return b""
