"""The table `checkpoints`: which weights lie where in the folder of files. The worker writes it.

A row is written once its files are whole on the disk, and outlives them: one that was given up stays as history.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from backend.contract.files import content_hash, files_in, second_name
from backend.contract.rows import Checkpoint, columns, read
from backend.contract.tables.attempts import Attempts
from backend.contract.tables.base import NotInProject, dump


class Checkpoints(Attempts):
    """The checkpoints that the attempts of a project made."""

    def add_checkpoint(
        self,
        attempt: int,
        step: int,
        path: Path,
        *,
        is_best: bool = False,
        meta: Mapping[str, Any] | None = None,
        sha256: str | None = None,
    ) -> int:
        """Record weights that were written (to another name, synchronised, then renamed) inside `files`.

        path: the file or folder, absolute or relative to `files`. The row is on the disk when this
        returns. is_best: takes that mark from the run's other checkpoints.
        """
        absolute = self.files / path
        relative = PurePosixPath(absolute.relative_to(self.files).as_posix())
        sha256 = sha256 or content_hash(absolute)
        size = sum(file.stat().st_size for file in files_in(absolute))
        run = self.attempt(attempt).run
        with self._db.write(durable=True):
            if is_best:
                self._db.run("UPDATE checkpoints SET is_best = 0 WHERE run = ?", (run,))
            return self._db.run(
                "INSERT INTO checkpoints (run, attempt, step, path, sha256, bytes, is_best, kept, meta)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?)",
                (run, attempt, step, str(relative), sha256, size, is_best, dump(meta or {})),
            )

    def checkpoints(self, run: int, *, kept: bool = True) -> list[Checkpoint]:
        """The checkpoints of a run in the order they were made. kept: only those still on disk."""
        rows = self._db.rows(
            f"SELECT {columns(Checkpoint)} FROM checkpoints WHERE run = ? AND (kept OR NOT ?) ORDER BY id", (run, kept)
        )
        return [read(Checkpoint, row) for row in rows]

    def find_checkpoint(self, run: int, which: str = "last") -> Checkpoint:
        """ "last" (the newest made), "best" (where none is marked, the last) or a step."""
        checkpoints = self.checkpoints(run)
        if which in ("last", "best"):
            best = [checkpoint for checkpoint in checkpoints if checkpoint.is_best and which == "best"]
            found = best or checkpoints
        else:
            found = [checkpoint for checkpoint in checkpoints if str(checkpoint.step) == which]
        if not found:
            steps = ", ".join(str(checkpoint.step) for checkpoint in checkpoints)
            advice = f"it has {steps}" if steps else "it has none yet; let it train further"
            raise NotInProject(f"Run {run} has no checkpoint {which}; {advice}.")
        return found[-1]

    def go_back(self, run: int, step: int) -> Checkpoint:
        """Make the checkpoint at `step` the newest of its run, from which the next attempt goes on; as it is now.

        Its row stays as history, without its file, which the new one has. Those of later steps stay too. Raises
        `ProjectFileError` while a process works on the run, `NotInProject` where none is kept at that step.
        """
        self._refuse_second_process(run)
        found = self.find_checkpoint(run, str(step))
        if found == self.find_checkpoint(run):
            return found
        before = self.checkpoint_path(found)
        if not before.exists():
            raise NotInProject(f"The file of the checkpoint at step {step} of run {run} is gone; choose another step.")
        newest = self.attempts(run)[-1]
        after = before.with_name(f"step-{step:08d}-{newest.id}-again-{found.id}{before.suffix}")
        second_name(before, after)
        with self._db.write(durable=True):
            self._refuse_second_process(run)  # one may have been started meanwhile
            added = self.add_checkpoint(
                found.attempt, step, after, is_best=found.is_best, meta=found.meta, sha256=found.sha256
            )
            self.give_up_checkpoint(found.id)
        before.unlink(missing_ok=True)
        return next(one for one in self.checkpoints(run) if one.id == added)

    def mark_best(self, checkpoint: Checkpoint) -> None:
        """This is the best-scored checkpoint of its run."""
        with self._db.write():
            self._db.run("UPDATE checkpoints SET is_best = (id = ?) WHERE run = ?", (checkpoint.id, checkpoint.run))

    def give_up_checkpoint(self, checkpoint: int) -> None:
        """Its files are about to be deleted; the row stays as history. Delete them after this returns."""
        with self._db.write(durable=True):
            self._db.run("UPDATE checkpoints SET kept = 0 WHERE id = ?", (checkpoint,))

    def checkpoint_path(self, checkpoint: Checkpoint) -> Path:
        """Where the checkpoint lies now."""
        return self.files / checkpoint.path
