"""Room on a disk: what a run says where one of its files cannot be written, or will not be."""

import math
import shutil
from pathlib import Path

from backend.contract.errors import UserError


class DiskError(UserError):
    """A file of a run cannot be written; the message says which, where, how much room it needs and what to do."""


def refusal(what: str, folder: Path, needed: int, error: Exception | None = None) -> DiskError:
    """Why `what`, which takes `needed` bytes, is not in `folder`. error: what the system said, if it was asked.

    The folder need not be there yet.
    """
    room = free(folder)
    if error is None or room < needed:
        return DiskError(
            f"The disk that holds {folder} is full: {what} needs {_megabytes(needed)} and {_megabytes(room)} are free; "
            "free some space and resume the run."
        )
    said = getattr(error, "strerror", None) or str(error).rpartition(": ")[2]
    return DiskError(
        f"{what[0].upper()}{what[1:]} of {_megabytes(needed)} could not be written to {folder} ({said}); "
        "make room for it there, or let the program write there, and resume the run."
    )


def free(folder: Path) -> int:
    """Bytes that are free on the disk that holds a folder, or will."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


def _megabytes(count: int) -> str:
    return f"{math.ceil(count / 2**20):,} MiB"
