"""The table `evaluations`: figures of a student, each with how it was made."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from backend.contract.rows import Evaluation, columns, read
from backend.contract.tables.base import Tables, dump


class Evaluations(Tables):
    """The evaluations of a project."""

    def add_evaluation(self, run: int, step: int, recipe: Mapping[str, Any], figures: Mapping[str, Any]) -> int:
        """Keep figures with how they were made."""
        with self._db.write():
            return self._db.run(
                "INSERT INTO evaluations (run, step, time, recipe, figures) VALUES (?, ?, ?, ?, ?)",
                (run, step, time.time(), dump(recipe), dump(figures)),
            )

    def evaluations(self, run: int) -> list[Evaluation]:
        """Every evaluation of a run, oldest first."""
        rows = self._db.rows(f"SELECT {columns(Evaluation)} FROM evaluations WHERE run = ? ORDER BY id", (run,))
        return [read(Evaluation, row) for row in rows]

    def every_evaluation(self) -> list[Evaluation]:
        """The evaluations of all runs, oldest first."""
        return [
            read(Evaluation, row) for row in self._db.rows(f"SELECT {columns(Evaluation)} FROM evaluations ORDER BY id")
        ]
