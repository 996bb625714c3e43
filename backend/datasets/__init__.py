"""Real data: what a data set is, and how one is found by its name, its folder or its zip.

A data set has no random state: who draws from it brings the generator.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from backend.contract.errors import DataError as DataError


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images that are labelled with classes or captions.

    stored: (N, ...) uint8 pixels 0..255, or float32: in [-1, 1] where they are pictures.
    labels: (N,) int64, an index into `names`; all 0 where there are none.
    names: the classes or captions; empty where there are neither.
    digest: SHA-256 of images, labels and names, in hexadecimal: the same data has the same digest.
    licence: what may be done with the data, in a line.
    skipped: the files that were left out, by the reason why.
    encoded: they are samples in the space in which the teacher diffuses, and no pictures any more.
    usable, unseen: of a trial, which holds a few alone: how many files were found fit, and how many not looked at.
    """

    stored: Tensor
    labels: Tensor
    names: tuple[str, ...]
    digest: str
    licence: str
    skipped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    encoded: bool = False
    usable: int = 0
    unseen: int = 0

    @classmethod
    def of(
        cls,
        images: Tensor,
        labels: Tensor,
        names: tuple[str, ...] = (),
        licence: str = "",
        skipped: Mapping[str, tuple[str, ...]] | None = None,
    ) -> "ImageSet":
        """The set of these (N, ...) images, uint8 or of any float, and (N,) labels, with its digest."""
        images = (images if images.dtype == torch.uint8 else images.float()).contiguous()
        labels = labels.long().contiguous()
        return cls(images, labels, names, _digest(images, labels, names), licence, skipped or {})

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def images(self) -> Tensor:
        """All images at once, (N, ...) float32; four times the memory of stored bytes."""
        return floats(self.stored)

    @property
    def captions(self) -> tuple[str, ...]:
        """What labels number, as the prompts of a teacher that takes text."""
        return self.names

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The images (n, ...) float32 and labels (n,) at `indices`, (n,) int64."""
        return floats(self.stored[indices]), self.labels[indices]

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`n` images and labels on the CPU, with replacement; `generator` is all the random state there is."""
        return self.batch(torch.randint(len(self), (n,), generator=generator, device=generator.device).cpu())

    def part(self, indices: Tensor) -> "ImageSet":
        """The set of the images at `indices`, under the same names and licence."""
        return ImageSet.of(self.stored[indices], self.labels[indices], names=self.names, licence=self.licence)

    def labelled(self, labels: Tensor, names: tuple[str, ...]) -> "ImageSet":
        """The same images under other labels, (N,) int64, and names."""
        labels = labels.long().contiguous()
        digest = digest_of_parts([bytes.fromhex(self.digest)], labels, names)
        return replace(self, labels=labels, names=names, digest=digest)

    def require_shape(self, shape: tuple[int, ...], where: str) -> None:
        """Raise `DataError` unless each image has this shape. where: what a person called the set."""
        own = tuple(self.stored.shape[1:])
        if own != shape:
            raise DataError(
                f"The {where} are {_size(own)}, but the teacher makes {_size(shape)}; "
                "choose other data or another teacher."
            )

    def skipped_in_words(self) -> str:
        """One line such as "left out 3 of 20 files: 2 broken, 1 animated"; empty where all were used.

        Of a trial, which may not have looked at all of them, it says how many are left to the run.
        """
        counts = {reason: len(files) for reason, files in self.skipped.items() if files}
        left_out = sum(counts.values())
        if not left_out:
            return ""
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        rest = f" (and the run looks at {self.unseen:,} more)" if self.unseen else ""
        return f"left out {left_out} of {left_out + max(len(self), self.usable)} files: {reasons}{rest}"


def load_data(where: str | Path, shape: tuple[int, ...], captioned: bool = False) -> ImageSet:
    """The data set called `where`, or the images in the folder or zip `where`, as pixels of `shape` (C, H, W).

    "digits" is the bundled digits' training part, "digits-held-out" what is kept for judging, "emoji" named pictures.
    captioned: for a teacher that takes text. Raises `DataError` where there is no such data or it does not come in that
    shape.
    """
    # Imported here because this module needs what a data set is from here.
    from backend.datasets.image_folder import image_folder  # noqa: PLC0415

    data = bundled(str(where))
    if data is None:
        return image_folder(Path(where), shape, captioned)
    data.require_shape(shape, str(where))
    return data


def bundled(name: str) -> ImageSet | None:
    """The bundled data set of that name, None where there is none."""
    # Imported here because these modules need what a data set is from here.
    from backend.datasets.digits import PARTS, digits  # noqa: PLC0415
    from backend.datasets.emoji import emoji  # noqa: PLC0415

    if name == "emoji":
        return emoji()
    return digits(PARTS[name]) if name in PARTS else None


def captions_of(where: str | Path) -> tuple[str, ...]:
    """What a teacher would be prompted with to make this data, without reading a picture; empty where nothing says it.

    Raises `DataError` where there is no such data.
    """
    # Imported here because this module needs what a data set is from here.
    from backend.datasets.image_folder import words_of  # noqa: PLC0415

    data = bundled(str(where))
    return words_of(Path(where)) if data is None else data.names


def floats(images: Tensor) -> Tensor:
    """Bytes 0..255 as float32 in [-1, 1]; floats as they are."""
    return images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape)


def _digest(images: Tensor, labels: Tensor, names: tuple[str, ...]) -> str:
    if images.dtype == torch.uint8:
        return digest_of_parts((hashlib.sha256(image.numpy().tobytes()).digest() for image in images), labels, names)
    digest = hashlib.sha256(repr((tuple(images.shape), names)).encode())
    digest.update(images.numpy(force=True).tobytes())
    digest.update(labels.numpy(force=True).tobytes())
    return digest.hexdigest()


def digest_of_parts(parts: Iterable[bytes], labels: Tensor, names: tuple[str, ...]) -> str:
    """The digest of a set from the SHA-256 of the bytes of each of its images, in their order."""
    digest = hashlib.sha256(repr(names).encode())
    for part in parts:
        digest.update(part)
    digest.update(labels.numpy(force=True).tobytes())
    return digest.hexdigest()
