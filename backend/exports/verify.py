"""The proof of an export: a fresh process, with plain diffusers and none of our code, makes its pictures.

Two independent checks: the files are those that were written (hashes), and used as the card says they make the
pictures in `expected.safetensors`, on this machine, to rounding. The text that runs is made anew from the folder's
data, never taken from the folder.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save_file

from backend.exports import ExportError, Promise
from backend.exports.diffusers_folder import sheet_image
from backend.exports.sample_script import Sheet, script
from backend.exports.usage import Usage
from backend.exports.writing import file_hash

TOLERANCE = 1e-5  # of pictures in [-1, 1]; an 8-bit step is 8e-3
SHEETS = {"expected": "preview.png", "made": "plain-diffusers.png"}
"""The pictures of a check, as files: ours, and those of the fresh process."""
LONGEST_SECONDS = 1800.0


@dataclass(frozen=True)
class Verification:
    """What was found of one export.

    difference: largest absolute difference between the pictures made and expected, both in [-1, 1]; nan where none were
    made. problem: why not, empty where they were. changed: files that are missing or not as they were written.
    seconds: for loading and making the pictures.
    """

    folder: FilePath
    difference: float
    changed: tuple[str, ...] = ()
    problem: str = ""
    seconds: float = 0.0

    @property
    def same_pictures(self) -> bool:
        return self.difference < TOLERANCE  # false for nan

    @property
    def sound(self) -> bool:
        """Whether the export is what it says it is."""
        return self.same_pictures and not self.changed

    @property
    def sentence(self) -> str:
        """The finding for a person."""
        if self.problem:
            return f"{self.folder} does not work with plain diffusers: {self.problem}. Export the student again."
        if self.changed:
            files = ", ".join(self.changed)
            return f"{self.folder} was changed after it was written ({files}). Export the student again."
        if not self.same_pictures:
            return (
                f"{self.folder} makes other pictures than the preview (difference {self.difference:.1e}, allowed "
                f"{TOLERANCE:g}). Check it on the machine that wrote it, or export the student again."
            )
        return f"{self.folder} makes the preview's pictures with plain diffusers (difference {self.difference:.1e})."


def verify(folder: FilePath, sheets: FilePath | None = None) -> Verification:
    """Checks one export. Raises `ExportError` where the folder is no export or no process could be started.

    sheets: a folder to make, with `SHEETS` in it: the preview's pictures and those that the fresh process made.
    """
    if sheets is None:
        return verify_all([folder])[0]
    with tempfile.TemporaryDirectory() as between:
        kept = FilePath(between) / "pictures.safetensors"
        found = verify_all([folder], keep=[kept])[0]
        if kept.is_file():
            _write_sheets(kept, sheets)
    return found


def verify_file(
    file: FilePath, promise: Promise, sheets: FilePath | None = None, timeout: float = LONGEST_SECONDS
) -> Verification:
    """Checks a single file that was just written against what it promises; sheets: as of `verify`.

    Nothing but the file itself is read of where it lies: its card and its hash are as fresh as the file.
    """
    with tempfile.TemporaryDirectory() as between:
        folder = FilePath(between)
        save_file({"samples": promise.pictures}, folder / "expected.safetensors")
        job = {
            "folder": str(folder),
            "file": str(file.resolve()),
            "text": promise.text,
            "argument": promise.argument,
            "seed": promise.seed,
            "keep": str(folder / "pictures.safetensors"),
        }
        (answer,) = _run({"jobs": [job], "threads": torch.get_num_threads()}, timeout)
        if sheets is not None and (folder / "pictures.safetensors").is_file():
            _write_sheets(folder / "pictures.safetensors", sheets)
    return Verification(
        file,
        answer.get("difference", math.nan),
        problem=answer.get("problem", ""),
        seconds=answer.get("seconds", 0.0),
    )


def _write_sheets(kept: FilePath, sheets: FilePath) -> None:
    pictures = load_file(kept)
    try:
        sheets.mkdir(parents=True, exist_ok=True)
        for name, file in SHEETS.items():
            sheet_image(pictures[name]).save(sheets / file)
    except OSError as error:
        raise ExportError(
            f"The pictures of the check could not be kept in {sheets} ({error.strerror or error}); make room there."
        ) from error


def verify_all(
    folders: Sequence[FilePath], timeout: float = LONGEST_SECONDS, keep: Sequence[FilePath] | None = None
) -> list[Verification]:
    """Checks several exports in one fresh process, which saves importing diffusers for each. timeout: seconds.

    keep: for each, a safetensors file to make of the pictures "expected" and "made".
    """
    abouts = [_about(folder) for folder in folders]
    jobs = [_job(folder, about) for folder, about in zip(folders, abouts, strict=True)]
    for job, place in zip(jobs, keep or [], strict=False):
        job["keep"] = str(place.absolute())
    answers = _run({"jobs": jobs, "threads": torch.get_num_threads()}, timeout)
    return [
        Verification(
            folder,
            answer.get("difference", math.nan),
            _changed(folder, about.hashes, job["text"]),
            answer.get("problem", ""),
            answer.get("seconds", 0.0),
        )
        for folder, about, job, answer in zip(folders, abouts, jobs, answers, strict=True)
    ]


@dataclass(frozen=True)
class About:
    """The part of distill.json that makes the text of sample.py. Its types are checked, since the text is run.

    students: the folders of several, which are then checked together.
    """

    usage: Usage
    sheet: Sheet
    hashes: dict[str, str]
    students: tuple[str, ...] = ()


def _about(folder: FilePath) -> About:
    try:
        return TypeAdapter(About).validate_json((folder / "distill.json").read_bytes())
    except OSError as error:
        raise ExportError(f"{folder} is no export of this program: it has no readable distill.json.") from error
    except ValidationError as error:
        raise ExportError(
            f"{folder / 'distill.json'} is damaged or of another version of this program; export the student again."
        ) from error


def _job(folder: FilePath, about: About) -> dict[str, Any]:
    sheet = about.sheet
    return {
        "folder": str(folder.resolve()),
        "text": script(about.usage, sheet, several=bool(about.students)),
        "argument": sheet.argument,
        "seed": sheet.seed,
    }


def _changed(folder: FilePath, hashes: dict[str, str], text: str) -> tuple[str, ...]:
    changed = {name for name, digest in hashes.items() if not _is(folder / name, digest)}
    # sample.py must also be what distill.json's data says, which is what was run.
    if (folder / "sample.py").is_file() and (folder / "sample.py").read_text(encoding="utf-8") != text:
        changed.add("sample.py")
    return tuple(sorted(changed))


def _is(file: FilePath, digest: str) -> bool:
    return file.is_file() and file_hash(file) == digest


def _run(order: dict[str, Any], timeout: float) -> list[dict[str, Any]]:
    """The fresh process's answers. -I and another working folder keep everything but installed packages away."""
    program = FilePath(__file__).with_name("fresh_process.py")
    # The number of threads changes how sums are split, and with it the last digits.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(order["threads"])}
    with tempfile.TemporaryDirectory() as elsewhere:
        try:
            done = subprocess.run(
                [sys.executable, "-I", str(program)],
                input=json.dumps(order),
                capture_output=True,
                text=True,
                encoding="utf-8",
                cwd=elsewhere,
                env=environment,
                timeout=timeout,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ExportError(f"The export could not be checked in a fresh process ({error}); try again.") from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit status {done.returncode}"
        raise ExportError(f"The fresh process that checks the export failed ({last}); repair the installation.")
    answer = json.loads(done.stdout.splitlines()[-1])
    if answer["ours"]:
        raise RuntimeError(f"The fresh process was not fresh: it loaded {', '.join(answer['ours'])}.")
    answers: list[dict[str, Any]] = answer["answers"]
    return answers
