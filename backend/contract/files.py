"""The folder of files beside a project file: where it lies, and what names its content. It knows no database."""

from __future__ import annotations

import hashlib
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


def files_in(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted((file for file in path.rglob("*") if file.is_file()), key=lambda file: file.as_posix())
