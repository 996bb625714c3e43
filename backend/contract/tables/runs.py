"""The table `runs`: what was asked for, what a person calls it, and who waits in the queue.

The window and the command line write it; the worker only the hashes and the declaration that it found. What a run is
doing is not in it: see `states`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from backend.contract.database import ProjectFileError
from backend.contract.recipe import Recipe, Training
from backend.contract.rows import Run, columns, read
from backend.contract.tables.base import NotInProject, dump
from backend.contract.tables.events import Events

_COLUMNS = columns(Run)


class Runs(Events):
    """The runs of a project. Stands on its events, which say what was changed while a run went on."""

    def add_run(
        self,
        recipe: Recipe,
        *,
        name: str | None = None,
        declaration: Mapping[str, Any] | None = None,
        teacher_hash: str | None = None,
        data_hash: str | None = None,
        consumes: Mapping[str, str] | None = None,
    ) -> int:
        """Add a run of `recipe`; its id. It is not started.

        name: by default the method's, with a number. declaration: JSON Schema of the method's settings,
        kept so that a later program can still show what they meant.
        """
        with self._db.write():
            if name is None:
                taken = {row[0] for row in self._db.rows("SELECT name FROM runs")}
                numbered = (f"{recipe.method}-{number}" for number in range(1, len(taken) + 2))
                name = next(name for name in numbered if name not in taken)
            return self._db.run(
                "INSERT INTO runs (name, kind, recipe, recipe_hash, declaration, created, teacher_hash,"
                " data_hash, consumes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(name, recipe.kind, recipe.to_json(), recipe.hash(), dump(declaration or {})),
                    *(time.time(), teacher_hash, data_hash, dump(consumes or {})),
                ),
            )

    def runs(self) -> list[Run]:
        """Every run, oldest first."""
        return [read(Run, row) for row in self._db.rows(f"SELECT {_COLUMNS} FROM runs ORDER BY id")]

    def run(self, run: int) -> Run:
        """One run by its id."""
        row = self._db.first(f"SELECT {_COLUMNS} FROM runs WHERE id = ?", (run,))
        if row is None:
            raise NotInProject(f"There is no run {run} in {self.path.name}; see `distill runs`.")
        return read(Run, row)

    def find_run(self, text: str) -> Run:
        """The run that a person means by an id or by a name that only one run has."""
        rows = self._db.rows(f"SELECT {_COLUMNS} FROM runs WHERE name = ?", (text,))
        if len(rows) > 1:
            raise ProjectFileError(f"{len(rows)} runs are named {text}; give the number of one.")
        if rows:
            return read(Run, rows[0])
        if text.isdecimal():
            return self.run(int(text))
        raise NotInProject(f"There is no run {text} in {self.path.name}; see `distill runs`.")

    def has_runs(self) -> bool:
        """Whether anything was ever run here."""
        return self._db.first("SELECT 1 FROM runs LIMIT 1") is not None

    def recipe(self, run: int) -> Recipe:
        """What a run was asked to be. Raises `RecipeError` when only a newer program can read it."""
        return Recipe.from_values(self.run(run).recipe)

    def training(self, run: int) -> Training:
        """How a run trains: as its recipe asks, with what was changed while it went on."""
        return self.recipe(run).training.model_copy(update=self.live_settings(run))

    def rename_run(self, run: int, name: str) -> None:
        self._change_run(run, "name", name)

    def set_notes(self, run: int, notes: str) -> None:
        self._change_run(run, "notes", notes)

    def set_tags(self, run: int, tags: Sequence[str]) -> None:
        self._change_run(run, "tags", dump(list(tags)))

    def set_hashes(self, run: int, *, teacher_hash: str | None, data_hash: str | None) -> None:
        """What the run turned out to train from; the worker's to say, as it reads both."""
        with self._db.write():
            self._change_run(run, "teacher_hash", teacher_hash)
            self._change_run(run, "data_hash", data_hash)

    def set_declaration(self, run: int, declaration: Mapping[str, Any]) -> None:
        """What the method's settings mean, where whoever added the run could not load the method; the worker's to say.

        A run that has its declaration keeps it: that is what its settings meant when they were chosen.
        """
        with self._db.write():
            if not self.run(run).declaration:
                self._change_run(run, "declaration", dump(declaration))

    def set_queue_position(self, run: int, position: int | None) -> None:
        """Place in the queue, lowest first; None takes the run out of it."""
        self._change_run(run, "queue_position", position)

    def enqueue(self, run: int) -> None:
        """Put a run at the end of the queue."""
        with self._db.write():
            (last,) = self._db.rows("SELECT coalesce(max(queue_position), 0) FROM runs")[0]
            self._change_run(run, "queue_position", last + 1)

    def queue(self) -> list[Run]:
        """The runs that wait to be started, in their order."""
        rows = self._db.rows(
            f"SELECT {_COLUMNS} FROM runs WHERE queue_position IS NOT NULL ORDER BY queue_position, id"
        )
        return [read(Run, row) for row in rows]

    def _change_run(self, run: int, column: str, value: Any) -> None:
        self.run(run)
        with self._db.write():
            self._db.run(f"UPDATE runs SET {column} = ? WHERE id = ?", (value, run))
