"""The folder of files beside a project file: where it lies, what names its content, how a log ends. No database."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path


def files_folder(path: str | Path) -> Path:
    """The folder of files that belongs to a project file: NAME.distill -> NAME.files."""
    return Path(path).absolute().with_suffix(".files")


def window_name(path: Path) -> str:
    """What the window of a project listens under; the same for every way to write its path."""
    return "distill-studio-" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]


def content_hash(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of the names and hashes of its files, sorted by name."""
    if path.is_dir():
        lines = [f"{file.relative_to(path).as_posix()} {content_hash(file)}\n" for file in files_in(path)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def second_name(file: Path, other: Path) -> None:
    """Give a file a second name in its folder, of which either may be deleted; a copy where names cannot be shared.

    On the disk when this returns. `other` may be there already, from a time before that was cut short.
    """
    other.unlink(missing_ok=True)
    try:
        other.hardlink_to(file)
    except OSError:
        unfinished = other.with_name(f".{other.name}.unfinished")
        shutil.copyfile(file, unfinished)
        _to_disk(unfinished)
        unfinished.replace(other)
    _to_disk(other.parent)


def _to_disk(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk; a system without the latter keeps them by itself."""
    if path.is_dir() and os.name != "posix":
        return
    opened = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def last_line(log: Path) -> str:
    """The last line with anything in it, empty when there is none; of an exception, its message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def files_in(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted((file for file in path.rglob("*") if file.is_file()), key=lambda file: file.as_posix())
