"""The table `commands`: what was asked of a run's process. Anyone asks; the worker acknowledges and finishes.

What a process was asked does not outlive it: `attempts` closes here, in its own transactions, what is left over when a
process begins and when it ends.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from backend.contract.rows import Command, Verb, columns, read
from backend.contract.tables.base import NotInProject, Tables, dump


class Commands(Tables):
    """What was asked of the runs of a project."""

    def issue(self, run: int, verb: Verb, arguments: Mapping[str, Any] | None = None) -> int:
        """Ask something of a run's process; the command's id. `launch` has this in words."""
        with self._db.write():
            return self._db.run(
                "INSERT INTO commands (run, verb, arguments, issued) VALUES (?, ?, ?, ?)",
                (run, verb, dump(arguments or {}), time.time()),
            )

    def command(self, command: int) -> Command:
        """One command by its id, as it stands now."""
        found = self._commands("id = ?", command)
        if not found:
            raise NotInProject(f"There is no command {command} in {self.path.name}.")
        return found[0]

    def commands(self, run: int) -> list[Command]:
        """Everything that was asked of a run."""
        return self._commands("run = ?", run)

    def open_commands(self, run: int) -> list[Command]:
        """What was asked of a run and is not finished."""
        return self._commands("run = ? AND finished IS NULL", run)

    def acknowledge(self, command: int) -> None:
        """The worker has seen a command and acts on it."""
        with self._db.write():
            self._db.run(
                "UPDATE commands SET acknowledged = ? WHERE id = ? AND acknowledged IS NULL",
                (time.time(), command),
            )

    def finish(self, command: int, result: str = "Done.") -> None:
        """The worker has done what was asked, or says why not."""
        now = time.time()
        with self._db.write():
            self._db.run(
                "UPDATE commands SET acknowledged = coalesce(acknowledged, ?), finished = ?, result = ?"
                " WHERE id = ? AND finished IS NULL",
                (now, now, result, command),
            )

    def _close_earlier_commands(self, run: int, launched: float, now: float) -> None:
        """For `begin_attempt`, in its transaction: what was asked before the attempt was, was not asked of it."""
        self._db.run(
            "UPDATE commands SET finished = ?, result = 'The process it was meant for had ended.'"
            " WHERE run = ? AND finished IS NULL AND issued < ?",
            (now, run, launched),
        )

    def _close_open_commands(self, run: int, now: float) -> None:
        """For `end_attempt`, in its transaction: nobody is left to do what was asked."""
        self._db.run(
            "UPDATE commands SET finished = ?,"
            " result = CASE verb WHEN 'stop' THEN 'Done.' ELSE 'The run ended first.' END"
            " WHERE run = ? AND finished IS NULL",
            (now, run),
        )

    def _commands(self, where: str, value: int) -> list[Command]:
        rows = self._db.rows(f"SELECT {columns(Command)} FROM commands WHERE {where} ORDER BY id", (value,))
        return [read(Command, row) for row in rows]
