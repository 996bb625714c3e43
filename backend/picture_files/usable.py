"""Whether a folder or zip holds pictures that can be used at all, before torch is there to read them."""

from collections.abc import Sequence
from pathlib import Path

from backend.contract.errors import DataError
from backend.picture_files.files import Files, LeftOut, opened
from backend.picture_files.labelling import Labelling, labelling
from backend.picture_files.pixels import pixels

TRIED = 64
"""Pictures that are tried; where all of them are useless and there are more, only reading them all can tell."""
MOST_NAMED = 12
"""Of a teacher's classes."""


def refuse_useless(path: Path, captioned: bool = False, classes: Sequence[str] = ()) -> None:
    """Raise `DataError` where `path` is no folder or zip, none of its pictures can be used, or their words do not suit.

    captioned: whether each needs a caption. classes: those that the teacher knows, where it takes any.
    """
    with opened(path) as files:
        found = labelling(files, captioned)
        if not _refuse_pictures(files, found):
            return
        if captioned and not found.names:
            raise without_captions(str(path))
        if classes and not captioned:
            refuse_classes(str(path), found.names, classes)


def _refuse_pictures(files: Files, found: Labelling) -> bool:
    """Whether one of the first pictures can be used. Raises `DataError` where none of all can."""
    left_out: dict[str, int] = {}  # as the closer look counts: what reading finds, then what names tell
    for entry in found.entries[:TRIED]:
        try:
            pixels(files.read(entry.name), (3, 8, 8))
        except LeftOut as why:
            left_out[str(why)] = left_out.get(str(why), 0) + 1
        else:
            return True
    for reason, names in found.skipped.items():
        left_out[reason] = left_out.get(reason, 0) + len(names)
    if len(found.entries) <= TRIED:
        raise useless(files, left_out)
    return False


def useless(files: Files, left_out: dict[str, int]) -> DataError:
    """The refusal where no picture is left. left_out: how many files by the reason why."""
    counts = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "it is empty"
    return DataError(f"No picture in {files.where} can be used ({counts}); choose another {files.kind}.")


def without_captions(where: str) -> DataError:
    """The refusal of pictures without words, for a teacher that takes prompts."""
    return DataError(
        f"{where} has no captions; write one into a text file beside each picture, or sort the pictures into folders "
        "that say what they show."
    )


def refuse_classes(where: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raise `DataError` where pictures are of a class that the teacher does not know, or of none."""
    strange = [name for name in names if name not in known]
    if strange or not names:
        what = f"a class {strange[0]}" if strange else "no classes"
        some = ", ".join(known[:MOST_NAMED]) + (", ..." if len(known) > MOST_NAMED else "")
        raise DataError(
            f"{where} has {what}, and the teacher knows {some}; sort the pictures into one folder for each class, "
            "of the same name."
        )
