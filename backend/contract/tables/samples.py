"""The tables `samples` (what a picture is) and `pictures` (its thumbnail, and its bytes unless they are many). The
worker writes them, and nothing changes a picture."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from backend.contract.database import ProjectFileError
from backend.contract.rows import Sample, columns, read
from backend.contract.tables.base import Tables, dump

PICTURE_BYTES_LIMIT = 256 * 1024
"""A picture up to this size lies in the database, where it reads faster than a file; a larger one is a file."""


class Samples(Tables):
    """The pictures of a project."""

    def add_sample(
        self,
        run: int,
        *,
        step: int,
        kind: str,
        position: int,
        image: bytes,
        thumbnail: bytes | None = None,
        media: str = "image/png",
        attempt: int | None = None,
        label: str = "",
        seed: int | None = None,
        sampler: Mapping[str, Any] | None = None,
        scores: Mapping[str, float] | None = None,
    ) -> int:
        """Keep one encoded picture; a large one as a file named by its content. Its id."""
        sha256 = hashlib.sha256(image).hexdigest()
        path = self._store_picture(image, sha256) if len(image) > PICTURE_BYTES_LIMIT else None
        with self._db.write():
            sample = self._db.run(
                "INSERT INTO samples (run, attempt, step, kind, position, label, seed, sampler, scores, media,"
                " path, sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(run, attempt, step, kind, position, label, seed, dump(sampler or {})),
                    *(dump(scores or {}), media, str(path) if path else None, sha256),
                ),
            )
            self._db.run(
                "INSERT INTO pictures (sample, thumbnail, image) VALUES (?, ?, ?)",
                (sample, thumbnail, None if path else image),
            )
        return sample

    def samples_after(self, run: int, last_id: int = 0) -> list[Sample]:
        """Samples of a run that came after the one with `last_id`, in the order of their ids."""
        rows = self._db.rows(
            f"SELECT {columns(Sample)} FROM samples WHERE run = ? AND id > ? ORDER BY id", (run, last_id)
        )
        return [read(Sample, row) for row in rows]

    def image(self, sample: Sample) -> bytes:
        """The encoded picture."""
        if sample.path is not None:
            try:
                return (self.files / sample.path).read_bytes()
            except OSError:
                raise ProjectFileError(
                    f"The picture {sample.path} is missing from {self.files.name}; "
                    "put the folder back beside the project."
                ) from None
        row = self._db.first("SELECT image FROM pictures WHERE sample = ?", (sample.id,))
        return bytes(row[0]) if row else b""

    def thumbnail(self, sample: Sample) -> bytes:
        """The small encoded picture, or the picture itself where there is none."""
        row = self._db.first("SELECT thumbnail FROM pictures WHERE sample = ?", (sample.id,))
        return bytes(row[0]) if row and row[0] is not None else self.image(sample)

    def _store_picture(self, image: bytes, sha256: str) -> PurePosixPath:
        relative = PurePosixPath("pictures") / sha256[:2] / sha256
        target = self.files / relative
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = target.with_name(f"{sha256}.{os.getpid()}.part")
            with unfinished.open("wb") as file:
                file.write(image)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
        return relative
