"""Whether a folder or zip holds pictures that can be used at all, before torch is there to read them."""

from pathlib import Path

from backend.contract.errors import DataError
from backend.picture_files.files import Files, LeftOut, opened
from backend.picture_files.labelling import labelling
from backend.picture_files.pixels import pixels

TRIED = 64
"""Pictures that are tried; where all of them are useless and there are more, only reading them all can tell."""


def refuse_useless(path: Path) -> None:
    """Raise `DataError` where `path` is no folder or zip, or none of its pictures can be used."""
    with opened(path) as files:
        found = labelling(files, captioned=False)
        left_out: dict[str, int] = {}  # as the closer look counts: what reading finds, then what names tell
        for entry in found.entries[:TRIED]:
            try:
                pixels(files.read(entry.name), (3, 8, 8))
                return
            except LeftOut as why:
                left_out[str(why)] = left_out.get(str(why), 0) + 1
        for reason, names in found.skipped.items():
            left_out[reason] = left_out.get(reason, 0) + len(names)
        if len(found.entries) <= TRIED:
            raise useless(files, left_out)


def useless(files: Files, left_out: dict[str, int]) -> DataError:
    """The refusal where no picture is left. left_out: how many files by the reason why."""
    counts = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "it is empty"
    return DataError(f"No picture in {files.where} can be used ({counts}); choose another {files.kind}.")
