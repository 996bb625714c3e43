"""The table `events`: what happened in a run, one line each. The worker writes it, and nothing changes a line."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from backend.contract.recipe import LIVE_SETTINGS
from backend.contract.rows import LogEvent, columns, read
from backend.contract.tables.base import Tables, dump


class Events(Tables):
    """What happened in the runs of a project."""

    def add_event(
        self,
        run: int,
        kind: str,
        text: str,
        *,
        attempt: int | None = None,
        step: int | None = None,
        data: Mapping[str, Any] | None = None,
        at: float | None = None,
    ) -> int:
        """Keep one line of what happened."""
        with self._db.write():
            return self._db.run(
                "INSERT INTO events (run, attempt, step, time, kind, text, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (run, attempt, step, time.time() if at is None else at, kind, text, dump(data or {})),
            )

    def events_after(self, run: int, last_id: int = 0) -> list[LogEvent]:
        """What happened in a run after the event with `last_id`."""
        rows = self._db.rows(
            f"SELECT {columns(LogEvent)} FROM events WHERE run = ? AND id > ? ORDER BY id", (run, last_id)
        )
        return [read(LogEvent, row) for row in rows]

    def newest_event(self, kind: str) -> LogEvent | None:
        """The newest event of a kind, of whichever run."""
        row = self._db.first(f"SELECT {columns(LogEvent)} FROM events WHERE kind = ? ORDER BY id DESC LIMIT 1", (kind,))
        return None if row is None else read(LogEvent, row)

    def live_settings(self, run: int) -> dict[str, float]:
        """What was changed while a run went on (its events of the kind "set"), as it is in force now."""
        changed: dict[str, float] = {}
        for (data,) in self._db.rows("SELECT data FROM events WHERE run = ? AND kind = 'set' ORDER BY id", (run,)):
            changed |= json.loads(data)
        return {name: changed[name] for name in LIVE_SETTINGS if name in changed}
