"""The table `drafts`: the one recipe that the window is at, before it is a run."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from backend.contract.tables.base import Tables, dump


class Drafts(Tables):
    """The draft of the next run."""

    def draft(self) -> tuple[list[Any], int] | None:
        """What the window last made of its next recipe: the edits, oldest first, and how many of them count now."""
        row = self._db.first("SELECT edits, position FROM drafts ORDER BY id LIMIT 1")
        return None if row is None else (json.loads(row[0]), int(row[1]))

    def save_draft(self, edits: Sequence[Any], position: int) -> None:
        """Keep the edits of the next recipe, in place of those before; the window's to say what one edit is."""
        with self._db.write():
            self._db.run(
                "INSERT INTO drafts (id, edits, position, updated) VALUES (1, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
                " SET edits = excluded.edits, position = excluded.position, updated = excluded.updated",
                (dump(list(edits)), position, time.time()),
            )
