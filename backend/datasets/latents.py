"""Latents of real data: what a teacher's codec makes of the pictures, computed once and kept in the user's cache.

They are named by the pictures' content and the codec's weights, so that whoever asks for the same finds them. They are
written in parts, each complete or not there at all: a killed process goes on where it was. Pictures are read as they
are encoded, never all at once.
"""

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from backend import cache
from backend.datasets import DataError, ImageSet, bundled, digest_of_parts, floats
from backend.datasets.image_folder import LICENCE, Picture, picture_files
from backend.networks.codec import Codec

PART = 256
"""Files in a part: what a killed process does again, at most."""
PIXELS = 2**20
"""Pixels at once in the codec, where each takes kilobytes; but one picture at least and `MOST_PICTURES` at most."""
MOST_PICTURES = 32
LOOKED_AT = 1000
"""Files that a trial looks at to say how many are left out, though it encodes few: opening so many takes seconds."""
FORM = 1

Report = Callable[[int, int], object]
"""Told how many files are encoded, and of how many."""


class Source(Protocol):
    """Pictures that are read as they are asked for; see `image_folder.PictureFiles`."""

    @property
    def names(self) -> tuple[str, ...]: ...
    def __len__(self) -> int: ...
    def key(self) -> str: ...
    def read(self, first: int, last: int, seen: set[bytes]) -> Iterator[Picture]: ...
    def left_out(self, read: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]: ...
    def refuse_empty(self, skipped: Mapping[str, tuple[str, ...]]) -> DataError: ...


@dataclass(frozen=True)
class Part:
    """What became of some files. latents: (n, ...) float32. labels: (n,). digests: (n, 32) uint8, of the pictures.

    skipped: the files that were left out, by the reason why.
    """

    latents: Tensor
    labels: Tensor
    digests: Tensor
    skipped: dict[str, list[str]]

    def seen(self) -> set[bytes]:
        return {digest.numpy().tobytes() for digest in self.digests}


@contextmanager
def source_of(where: str, shape: tuple[int, ...], captioned: bool) -> Iterator[Source]:
    """The pictures of a bundled set, a folder or a zip, while inside. Raises `DataError` where there are none."""
    data = bundled(where)
    if data is None:
        with picture_files(Path(where), shape, captioned) as files:
            yield files
        return
    data.require_shape(shape, where)
    yield _InMemory(data)


def kept_latents(
    source: Source, codec: Codec, device: torch.device, report: Report = lambda done, of: None
) -> ImageSet:
    """The latents of all pictures, from the cache or made now; a codec with weights leaves the device afterwards.

    Raises `DataError` where no picture can be used, or the cache cannot hold what is made of them.
    """
    key = hashlib.sha256(repr((FORM, source.key(), codec_digest(codec))).encode()).hexdigest()
    file = cache.cache_folder() / "latents" / f"{key}.safetensors"
    parts = _whole(file)
    if parts is None:
        try:
            parts = _made(source, codec, device, file.with_suffix(".parts"), report)
            _keep(parts, file)
        except OSError as error:
            raise DataError(
                f"The latents cannot be kept in {file.parent} ({error.strerror or error}); free some space, or name "
                "another folder in DISTILL_STUDIO_CACHE."
            ) from error
        shutil.rmtree(file.with_suffix(".parts"), ignore_errors=True)
    skipped = source.left_out(parts.skipped)
    if not len(parts.latents):
        raise source.refuse_empty(skipped)
    digest = digest_of_parts((row.numpy().tobytes() for row in parts.digests), parts.labels, source.names)
    return ImageSet(parts.latents, parts.labels, source.names, digest, LICENCE, skipped, encoded=True)


def few_latents(source: Source, codec: Codec, device: torch.device, count: int) -> ImageSet:
    """The latents of the first pictures that can be used, at most `count`, which are not kept.

    What is left out is counted of the first `LOOKED_AT` files at least. Raises `DataError` where none can be used.
    """
    skipped: dict[str, list[str]] = {}
    seen = 0

    def usable_ones() -> Iterator[Picture]:
        nonlocal seen
        for picture in source.read(0, len(source), set()):
            seen += 1
            if picture.pixels is None:
                skipped.setdefault(picture.left_out, []).append(picture.name)
            else:
                yield picture

    pictures = usable_ones()
    part = _encoded(itertools.islice(pictures, count), codec, device)
    while seen < LOOKED_AT and next(pictures, None) is not None:
        pass
    leave(codec, device)
    left_out = source.left_out(skipped)
    if not len(part.latents):
        raise source.refuse_empty(left_out)
    digest = digest_of_parts((row.numpy().tobytes() for row in part.digests), part.labels, source.names)
    usable = seen - sum(map(len, skipped.values()))
    found = ImageSet(part.latents, part.labels, source.names, digest, LICENCE, left_out, encoded=True)
    return replace(found, usable=usable, unseen=len(source) - seen)


def codec_digest(codec: Codec) -> str:
    """SHA-256 of a codec's settings and weights."""
    digest = hashlib.sha256(type(codec).__name__.encode())
    for name, value in sorted(vars(codec).items()):
        if not isinstance(value, nn.Module):
            digest.update(repr((name, value)).encode())
            continue
        for key, tensor in sorted(value.state_dict().items()):
            digest.update(f"{name}.{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _made(source: Source, codec: Codec, device: torch.device, folder: Path, report: Report) -> Part:
    parts: list[Part] = []
    seen: set[bytes] = set()
    for number, first in enumerate(range(0, len(source), PART)):
        last = min(first + PART, len(source))
        file = folder / f"{number:05d}.safetensors"
        part = _whole(file)
        if part is None:
            part = _encoded(source.read(first, last, seen), codec, device)
            _keep(part, file)
        seen |= part.seen()
        parts.append(part)
        report(last, len(source))
    leave(codec, device)
    return _joined(parts)


def _encoded(pictures: Iterator[Picture], codec: Codec, device: torch.device) -> Part:
    latents: list[Tensor] = []
    waiting: list[Tensor] = []
    labels: list[int] = []
    digests: list[bytes] = []
    skipped: dict[str, list[str]] = {}

    def encode() -> None:
        with torch.no_grad():
            latents.append(codec.encode(floats(torch.stack(waiting)).to(device)).float().cpu())
        waiting.clear()

    for picture in pictures:
        if picture.pixels is None:
            skipped.setdefault(picture.left_out, []).append(picture.name)
            continue
        waiting.append(torch.from_numpy(picture.pixels))
        labels.append(picture.label)
        digests.append(picture.digest)
        if len(waiting) == min(max(PIXELS // picture.pixels[0].size, 1), MOST_PICTURES):
            encode()
    if waiting:
        encode()
    rows = torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8) if digests else torch.empty(0)
    made = torch.cat(latents) if latents else torch.empty(0)
    return Part(made, torch.tensor(labels, dtype=torch.int64), rows.to(torch.uint8).reshape(-1, 32), skipped)


def _joined(parts: Sequence[Part]) -> Part:
    some = [part for part in parts if len(part.latents)] or list(parts[:1])
    skipped: dict[str, list[str]] = {}
    for part in parts:
        for reason, names in part.skipped.items():
            skipped.setdefault(reason, []).extend(names)
    return Part(
        torch.cat([part.latents for part in some]),
        torch.cat([part.labels for part in some]),
        torch.cat([part.digests for part in some]),
        skipped,
    )


def _keep(part: Part, file: Path) -> None:
    tensors = {"latents": part.latents, "labels": part.labels, "digests": part.digests}
    cache.keep(tensors, {"skipped": json.dumps(part.skipped)}, file)


def _whole(file: Path) -> Part | None:
    found = cache.kept(file)
    if found is None:
        return None
    tensors, about = found
    return Part(tensors["latents"], tensors["labels"], tensors["digests"], json.loads(about["skipped"]))


def leave(codec: Codec, device: torch.device) -> None:
    """Take a codec's weights off the device, which the training needs; decoding a preview takes them there again."""
    module = getattr(codec, "module", None)
    if device.type != "cpu" and isinstance(module, nn.Module):
        module.to("cpu")


class _InMemory:
    """A bundled set as pictures that are read one by one."""

    def __init__(self, data: ImageSet) -> None:
        self._data, self.names = data, data.names

    def __len__(self) -> int:
        return len(self._data)

    def key(self) -> str:
        return self._data.digest

    def read(self, first: int, last: int, seen: set[bytes]) -> Iterator[Picture]:
        for index in range(first, last):
            pixels = self._data.stored[index].numpy()
            digest = hashlib.sha256(pixels.tobytes()).digest()
            yield Picture(str(index), int(self._data.labels[index]), pixels, digest)

    def left_out(self, read: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
        return {}

    def refuse_empty(self, skipped: Mapping[str, tuple[str, ...]]) -> DataError:
        return DataError("The bundled data are empty; install the program again.")
