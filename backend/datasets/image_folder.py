"""A folder or zip of pictures as a data set, with the classes or captions that lie beside them.

Nothing in it is trusted. A picture is either turned into plain 8-bit pixels the way a viewer would show it, or it is
left out and counted under a reason; one bad file never ends the reading.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from backend.datasets import DataError, ImageSet
from backend.picture_files.files import Files, LeftOut, opened
from backend.picture_files.labelling import Labelling, labelling
from backend.picture_files.pixels import pixels
from backend.picture_files.usable import useless

LARGEST_SET = 8 * 1024**3  # bytes of pixels in memory
LICENCE = "not known"


@dataclass(frozen=True)
class Picture:
    """What became of one picture file: its pixels (C, H, W) uint8 with their SHA-256 and its label, or why it is
    left out."""

    name: str
    label: int = 0
    pixels: np.ndarray | None = None
    digest: bytes = b""
    left_out: str = ""


@dataclass(frozen=True)
class PictureFiles:
    """Picture files in an order that depends on their names alone, read as they are asked for.

    shape: (C, H, W) of the pixels to make of them.
    """

    files: Files
    found: Labelling
    shape: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The classes or captions that labels number."""
        return self.found.names

    def __len__(self) -> int:
        return len(self.found.entries)

    def key(self) -> str:
        """SHA-256 of all that the pictures depend on, found without making pixels of any."""
        return hashlib.sha256(repr((self.files.digest(), self.shape, self.found.names)).encode()).hexdigest()

    def read(self, first: int, last: int, seen: set[bytes]) -> Iterator[Picture]:
        """The pictures from `first` up to, not including, `last`. seen: the digests of those before, added to."""
        for entry in self.found.entries[first:last]:
            try:
                made = pixels(self.files.read(entry.name), self.shape)
                digest = hashlib.sha256(made.tobytes()).digest()
                if digest in seen:
                    raise LeftOut("duplicates")
            except LeftOut as reason:
                yield Picture(entry.name, left_out=str(reason))
                continue
            seen.add(digest)
            yield Picture(entry.name, entry.label, made, digest)

    def left_out(self, read: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
        """All files that were left out, by the reason why. read: those of them that were found out by reading."""
        reasons = {**read, **self.found.skipped}
        return {reason: (*read.get(reason, ()), *self.found.skipped.get(reason, ())) for reason in reasons}

    def refuse_empty(self, skipped: Mapping[str, Sequence[str]]) -> DataError:
        """The refusal for when no picture is left."""
        return useless(self.files, {reason: len(names) for reason, names in skipped.items()})


@contextmanager
def picture_files(path: Path, shape: tuple[int, ...], captioned: bool = False) -> Iterator[PictureFiles]:
    """The picture files of a folder or zip while inside. Raises `DataError` where there are none to be had."""
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(f"Pictures cannot be samples of shape {shape}; this teacher needs data of another kind.")
    with opened(path) as files:
        found = PictureFiles(files, labelling(files, captioned), shape)
        if not len(found):
            raise found.refuse_empty(found.found.skipped)
        yield found


def image_folder(path: Path, shape: tuple[int, ...], captioned: bool = False) -> ImageSet:
    """The pictures of a folder or zip as (N, C, H, W), for `shape` (C, H, W) with C 1 or 3.

    captioned: the names that labels number are captions, where there are any, else classes. Which files were left out,
    and why, is in the set's `skipped`. Raises `DataError` where no picture is left or they would fill the memory.
    """
    with picture_files(path, shape, captioned) as found:
        needed = len(found) * math.prod(shape)
        if needed > LARGEST_SET:
            raise DataError(
                f"The {len(found)} pictures in {path} would need {needed / 1024**3:.0f} GiB of memory at this size; "
                f"choose fewer (at most {LARGEST_SET // 1024**3} GiB are read)."
            )
        skipped: dict[str, list[str]] = {}
        stored = np.empty((len(found), *shape), np.uint8)
        labels: list[int] = []
        for picture in found.read(0, len(found), set()):
            if picture.pixels is None:
                skipped.setdefault(picture.left_out, []).append(picture.name)
            else:
                stored[len(labels)] = picture.pixels
                labels.append(picture.label)
        left_out = found.left_out(skipped)
        if not labels:
            raise found.refuse_empty(left_out)
    images = torch.from_numpy(stored[: len(labels)])
    return ImageSet.of(images, torch.tensor(labels), found.found.names, LICENCE, left_out)


def words_of(path: Path) -> tuple[str, ...]:
    """The captions of a folder or zip of pictures, or its classes, without looking at a picture."""
    with opened(path) as files:
        return labelling(files, captioned=True).names
