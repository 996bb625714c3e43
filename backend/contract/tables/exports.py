"""The table `exports`: the students that left the project, and what loading them again showed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from backend.contract.rows import Export, columns, read
from backend.contract.tables.base import Tables, dump


class Exports(Tables):
    """The exports of a project."""

    def add_export(self, run: int, format: str, path: str, sha256: str, verification: Mapping[str, Any]) -> int:
        """Keep that a student left, and what loading it again showed."""
        with self._db.write():
            return self._db.run(
                "INSERT INTO exports (run, time, format, path, sha256, verification) VALUES (?, ?, ?, ?, ?, ?)",
                (run, time.time(), format, path, sha256, dump(verification)),
            )

    def exports(self, run: int) -> list[Export]:
        """Every export of a run, oldest first."""
        rows = self._db.rows(
            f"SELECT {columns(Export)} FROM exports WHERE run = ? ORDER BY id",
            (run,),
        )
        return [read(Export, row) for row in rows]
