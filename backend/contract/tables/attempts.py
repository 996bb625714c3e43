"""The table `attempts`: the lives of a run's process, of which a run has at most one at a time.

The window announces one, the worker owns it from `begin_attempt` on; `metrics` keeps its first and last step. Whether
its process lives is not stored: `liveness` judges it from what the process said of itself.

An attempt that begins or ends also takes its run out of the queue and closes commands. Those tables are `Runs`' and
`Commands`', on which this class therefore stands: their methods join the transaction that is open here.
"""

from __future__ import annotations

import time

from backend.contract import liveness
from backend.contract.database import ProjectFileError
from backend.contract.rows import Attempt, Outcome, Process, columns, read
from backend.contract.tables.base import NotInProject
from backend.contract.tables.commands import Commands
from backend.contract.tables.runs import Runs

_COLUMNS = columns(Attempt)


class Attempts(Runs, Commands):
    """The attempts at the runs of a project."""

    def attempts(self, run: int) -> list[Attempt]:
        """The lives of a run's process, oldest first."""
        rows = self._db.rows(f"SELECT {_COLUMNS} FROM attempts WHERE run = ? ORDER BY number", (run,))
        return [read(Attempt, row) for row in rows]

    def attempt(self, attempt: int) -> Attempt:
        """One attempt by its id."""
        row = self._db.first(f"SELECT {_COLUMNS} FROM attempts WHERE id = ?", (attempt,))
        if row is None:
            raise NotInProject(f"There is no attempt {attempt} in {self.path.name}.")
        return read(Attempt, row)

    def prepare_attempt(self, run: int) -> Attempt:
        """Announce an attempt whose process is about to be launched, with a log that it can write to.

        Raises `ProjectFileError` while another process works on the run.
        """
        self.run(run)
        with self._db.write():
            self._refuse_second_process(run)
            attempt = self._insert_attempt(run)
            log = f"logs/run-{run}-attempt-{self.attempt(attempt).number}.log"
            self._db.run("UPDATE attempts SET log = ? WHERE id = ?", (log, attempt))
            return self.attempt(attempt)

    def prepare_next(self) -> Attempt | None:
        """Take the first run out of the queue and announce its attempt; None where a run has a process, or none waits.

        One transaction: of two processes that ask at once, one gets the run.
        """
        with self._db.write():
            waiting = self.queue()
            if not waiting or self._has_live_worker():
                return None
            self.set_queue_position(waiting[0].id, None)
            return self.prepare_attempt(waiting[0].id)

    def set_process(self, attempt: int, process: Process) -> None:
        """The process that was launched for an attempt; ignored once the worker has said so itself."""
        with self._db.write():
            self._db.run(
                "UPDATE attempts SET pid = ?, process_start = ?, boot = ?, host = ? WHERE id = ? AND started IS NULL",
                (process.pid, process.start, process.boot, process.host, attempt),
            )

    def begin_attempt(self, run: int) -> int:
        """This process takes over the run: the attempt that was announced for it, or a new one; its id.

        Closes what was asked of earlier attempts. Raises `ProjectFileError` while another process lives.
        """
        self.run(run)
        now, process = time.time(), liveness.this_process()
        with self._db.write():
            newest = self.attempts(run)[-1:]
            if newest and newest[0].started is None and liveness.has_process(newest[0]):
                attempt = newest[0].id
            else:
                self._refuse_second_process(run)
                attempt = self._insert_attempt(run)
            self._db.run(
                "UPDATE attempts SET pid = ?, process_start = ?, boot = ?, host = ?, started = ?,"
                " heartbeat = ? WHERE id = ?",
                (process.pid, process.start, process.boot, process.host, now, now, attempt),
            )
            self._close_earlier_commands(run, self.attempt(attempt).launched, now)
            self.set_queue_position(run, None)
            return attempt

    def heartbeat(self, attempt: int) -> None:
        """The attempt's process says that it lives; at least every five seconds."""
        with self._db.write():
            self._db.run("UPDATE attempts SET heartbeat = ? WHERE id = ?", (time.time(), attempt))

    def set_first_step(self, attempt: int, step: int) -> None:
        """The attempt takes its first step: from here on its metrics replace those of earlier ones."""
        with self._db.write():
            self._db.run("UPDATE attempts SET first_step = ? WHERE id = ?", (step, attempt))

    def end_attempt(self, attempt: int, outcome: Outcome, reason: str = "", traceback: str = "") -> None:
        """The attempt is over; its open commands are closed. reason: one sentence a person can act on."""
        now = time.time()
        run = self.attempt(attempt).run
        with self._db.write(durable=True):
            self._db.run(
                "UPDATE attempts SET ended = ?, outcome = ?, reason = ?, traceback = ? WHERE id = ?",
                (now, outcome, reason, traceback, attempt),
            )
            self._close_open_commands(run, now)

    def note_end(self, attempt: int, reason: str) -> None:
        """How the process of an attempt ended that said nothing itself; it stays without an outcome, and so lost."""
        with self._db.write():
            self._db.run("UPDATE attempts SET reason = ? WHERE id = ? AND outcome IS NULL", (reason, attempt))

    def _insert_attempt(self, run: int) -> int:
        return self._db.run(
            "INSERT INTO attempts (run, number, launched)"
            " VALUES (?, (SELECT coalesce(max(number), 0) + 1 FROM attempts WHERE run = ?), ?)",
            (run, run, time.time()),
        )

    def _refuse_second_process(self, run: int) -> None:
        attempts = self.attempts(run)
        if attempts and liveness.has_process(attempts[-1]):
            process = attempts[-1].process
            which = f" in process {process.pid}" if process else ""
            raise ProjectFileError(f"Run {run} is already being worked on{which}; stop it first.")

    def _has_live_worker(self) -> bool:
        """Whether any run has a process now."""
        rows = self._db.rows(f"SELECT {_COLUMNS} FROM attempts WHERE ended IS NULL")
        return any(liveness.has_process(read(Attempt, row)) for row in rows)
