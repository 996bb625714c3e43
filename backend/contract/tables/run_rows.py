"""Every run with all that a list of runs shows, read across the tables in a few queries. It writes nothing.

Each function below the class asks one table about all runs at once, and answers by the id of the run.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection
from typing import Any

from backend.contract.database import Database
from backend.contract.rows import Attempt, Command, RunRow, columns, read
from backend.contract.tables.base import Tables
from backend.contract.tables.states import judged

_RECENT_BATCHES = 16
"""Among so many there is one of training, which says how many evaluations were spent; one of a preview does not."""


class RunRows(Tables):
    """The list of all runs."""

    def run_rows(self, series: Collection[str] | None = None) -> list[RunRow]:
        """Every run as a list of them shows it, oldest first; a dozen queries, however many runs there are.

        series: the curves whose last value is wanted, all by default.
        """
        newest, asked, steps = _newest_attempts(self._db), _open_commands(self._db), _last_steps(self._db)
        earlier, last_batch = _seconds_of_earlier_attempts(self._db), _last_batches(self._db)
        best, measures = _best_checkpoints(self._db), _what_previews_measure(self._db)
        evaluated, exports = _newest_evaluations(self._db), _counted_exports(self._db)
        latest = self._metrics.latest_of_all(series)
        found = []
        for run, name, method, teacher, created, tags, has_notes, position, total in self._db.rows(
            "SELECT id, name, json_extract(recipe, '$.method'), json_extract(recipe, '$.teacher'), created, tags,"
            " notes <> '', queue_position, json_extract(recipe, '$.training.steps') FROM runs ORDER BY id"
        ):
            attempt = newest.get(run)
            state = judged(position, attempt, asked[run], steps.get(run))
            of_attempt, wall, nfe = last_batch.get(run, (None, 0.0, 0))
            # A newest attempt that has recorded nothing: its predecessors' last batch is in `earlier` already.
            seconds = earlier.get(run, 0.0) + (wall if attempt is not None and of_attempt == attempt.id else 0.0)
            score, score_step = best.get(run, (None, None))
            measured, figures = evaluated.get(run, ({}, {}))
            found.append(
                RunRow(
                    *(run, name, str(method), str(teacher), created, tuple(json.loads(tags)), bool(has_notes)),
                    *(position, state, int(total or 0), score, score_step, measures.get(run, "")),
                    *(latest.get(run, {}), seconds, nfe, figures, measured, exports.get(run, 0)),
                )
            )
        return found


def _newest_attempts(db: Database) -> dict[int, Attempt]:
    rows = db.rows(f"SELECT {columns(Attempt)} FROM attempts WHERE id IN (SELECT max(id) FROM attempts GROUP BY run)")
    return {attempt.run: attempt for attempt in (read(Attempt, row) for row in rows)}


def _open_commands(db: Database) -> defaultdict[int, list[Command]]:
    asked: defaultdict[int, list[Command]] = defaultdict(list)
    for row in db.rows(f"SELECT {columns(Command)} FROM commands WHERE finished IS NULL ORDER BY id"):
        command = read(Command, row)
        asked[command.run].append(command)
    return asked


def _last_steps(db: Database) -> dict[int, int]:
    return dict(db.rows("SELECT run, last_step FROM attempts WHERE last_step IS NOT NULL ORDER BY run, number"))


def _seconds_of_earlier_attempts(db: Database) -> dict[int, float]:
    return dict(
        db.rows(
            "SELECT run, sum(coalesce(ended, heartbeat, started) - started) FROM attempts"
            " WHERE id NOT IN (SELECT max(id) FROM attempts GROUP BY run) GROUP BY run"
        )
    )


def _last_batches(db: Database) -> dict[int, tuple[int, float, int]]:
    """(attempt, seconds of training in it, evaluations of the run)."""
    rows = db.rows(
        "SELECT run, attempt, last_wall, (SELECT max(nfe) FROM (SELECT nfe FROM batches AS recent"
        f" WHERE recent.run = batches.run ORDER BY id DESC LIMIT {_RECENT_BATCHES})) FROM batches"
        " WHERE id IN (SELECT (SELECT max(id) FROM batches WHERE run = runs.id) FROM runs)"
    )
    return {run: (attempt, wall, nfe) for run, attempt, wall, nfe in rows}


def _best_checkpoints(db: Database) -> dict[int, tuple[float, int]]:
    """(score, step)."""
    rows = db.rows(
        "SELECT run, step, min(json_extract(meta, '$.score')) FROM checkpoints"
        " WHERE json_extract(meta, '$.score') IS NOT NULL GROUP BY run"
    )
    return {run: (score, step) for run, step, score in rows}


def _what_previews_measure(db: Database) -> dict[int, str]:
    rows = db.rows("SELECT run, name FROM series WHERE name IN ('preview_frechet', 'preview_sliced_wasserstein')")
    return {run: name.removeprefix("preview_") for run, name in rows}


def _newest_evaluations(db: Database) -> dict[int, tuple[dict[str, Any], dict[str, Any]]]:
    """(recipe, figures) of the student's."""
    rows = db.rows(
        "SELECT run, recipe, figures FROM evaluations"
        " WHERE coalesce(json_extract(recipe, '$.of'), 'student') = 'student' ORDER BY id"
    )
    return {run: (json.loads(recipe), json.loads(figures)) for run, recipe, figures in rows}


def _counted_exports(db: Database) -> dict[int, int]:
    return dict(db.rows("SELECT run, count(*) FROM exports GROUP BY run"))
