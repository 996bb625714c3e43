"""Real data: what a data set is, and how one is found by its name or its folder.

A data set is small enough to lie in memory. It has no random state: who draws from it brings the generator.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from backend.contract.errors import UserError


class DataError(UserError, ValueError):
    """The data cannot be used; the message says in one sentence what is wrong and what to do."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images.

    images: (N, ...) float32, in [-1, 1] where they are pictures.
    labels: (N,) int64, an index into `names`; all 0 where there are no classes.
    names: what the classes are called; empty where there are none.
    digest: SHA-256 of images, labels and names, in hexadecimal: the same data has the same digest.
    licence: what may be done with the data, in a line.
    skipped: the files that were left out, by the reason why.
    """

    images: Tensor
    labels: Tensor
    names: tuple[str, ...]
    digest: str
    licence: str
    skipped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        images: Tensor,
        labels: Tensor,
        names: tuple[str, ...] = (),
        licence: str = "",
        skipped: Mapping[str, tuple[str, ...]] | None = None,
    ) -> "ImageSet":
        """The set of these (N, ...) images and (N,) labels, with its digest."""
        images, labels = images.float().contiguous(), labels.long().contiguous()
        return cls(images, labels, names, _digest(images, labels, names), licence, skipped or {})

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The images (n, ...) and labels (n,) at `indices`, (n,) int64."""
        return self.images[indices], self.labels[indices]

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`n` images and labels on the CPU, with replacement; `generator` is all the random state there is."""
        return self.batch(torch.randint(len(self), (n,), generator=generator, device=generator.device).cpu())

    def part(self, indices: Tensor) -> "ImageSet":
        """The set of the images at `indices`, under the same classes and licence."""
        return ImageSet.of(*self.batch(indices), names=self.names, licence=self.licence)

    def skipped_in_words(self) -> str:
        """One line such as "left out 3 of 20 files: 2 broken, 1 animated"; empty where all were used."""
        counts = {reason: len(files) for reason, files in self.skipped.items() if files}
        left_out = sum(counts.values())
        if not left_out:
            return ""
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        return f"left out {left_out} of {left_out + len(self)} files: {reasons}"


def load_data(where: str | Path, shape: tuple[int, ...]) -> ImageSet:
    """The data set called `where`, or the images in the folder `where`, as samples of `shape` (C, H, W).

    "digits" is the bundled digits' training part, "digits-held-out" what is kept for judging. Raises
    `DataError` where there is no such data or it does not come in that shape.
    """
    # Imported here because these modules need this one for what a data set is.
    from backend.datasets.digits import PARTS, digits  # noqa: PLC0415
    from backend.datasets.image_folder import image_folder  # noqa: PLC0415

    if str(where) in PARTS:
        data = digits(PARTS[str(where)])
        if data.images.shape[1:] != shape:
            raise DataError(
                f"The digits are {_size(tuple(data.images.shape[1:]))}, but the teacher makes {_size(shape)}; "
                "choose other data or another teacher."
            )
        return data
    return image_folder(Path(where), shape)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape)


def _digest(images: Tensor, labels: Tensor, names: tuple[str, ...]) -> str:
    digest = hashlib.sha256(repr((tuple(images.shape), names)).encode())
    digest.update(images.numpy(force=True).tobytes())
    digest.update(labels.numpy(force=True).tobytes())
    return digest.hexdigest()
