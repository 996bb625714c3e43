"""What a run is doing: no table, but a verdict on `attempts`, `commands`, `runs` and the steps, made when asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from backend.contract import liveness
from backend.contract.files import last_line
from backend.contract.rows import Attempt, Command, Run, RunState, columns, read
from backend.contract.tables.attempts import Attempts

LONGEST_LINE = 200
"""Of a log, in characters, beside a reason."""


class States(Attempts):
    """What the runs of a project are doing."""

    def run_state(self, run: int) -> RunState:
        """What a run is doing, judged now from its newest attempt, its process and its open commands."""
        attempts = self.attempts(run)
        newest = attempts[-1] if attempts else None
        queue_position = self.run(run).queue_position
        found = judged(queue_position, newest, self.open_commands(run), self._metrics.last_step(run))
        said = last_line(self.files / newest.log) if found.state == "lost" and newest and newest.log else ""
        return replace(found, reason=f"{found.reason} Its log ends: {said[:LONGEST_LINE]}") if said else found

    def live_runs(self) -> list[tuple[Run, RunState]]:
        """The runs that have a process now, oldest first, with what they are doing."""
        rows = self._db.rows("SELECT DISTINCT run FROM attempts WHERE ended IS NULL ORDER BY run")
        states = [(self.run(run), self.run_state(run)) for (run,) in rows]
        return [(run, state) for run, state in states if state.is_live]

    def stalled_queue(self) -> list[Run]:
        """The runs that wait though nothing runs; none while the process that ended last has yet to start the next.

        A process that is killed starts no other, and neither does a computer that was switched off.
        """
        waiting = self.queue()
        if not waiting or self._has_live_worker():
            return []
        rows = self._db.rows(
            f"SELECT {columns(Attempt)} FROM attempts WHERE ended IS NOT NULL AND pid IS NOT NULL"
            " ORDER BY ended DESC LIMIT 1"
        )
        processes = [read(Attempt, row).process for row in rows]
        return [] if any(process and liveness.is_alive(process) for process in processes) else waiting


def judged(queue_position: int | None, newest: Attempt | None, asked: Sequence[Command], step: int | None) -> RunState:
    """What a run is doing, from its newest attempt, its open commands and its newest step."""
    state = liveness.state_of(newest, asked, step)
    if queue_position is not None and not state.is_live:
        return RunState("queued", "It waits in the queue.", state.attempt, state.step)
    return state
