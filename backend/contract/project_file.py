"""The project file: everything an experiment was and produced, and the only channel between processes.

All SQL of the project is in this module, `metrics` (points and their pyramid), `migrations` (the schema)
and `database` (one connection: pragmas, transactions, what errors mean). Nothing else speaks SQL.

Each table has one writer. The worker owns attempts from `begin_attempt` on, metrics, samples,
checkpoints and events; the window and the command line own runs, queue, notes and commands, except
that the worker acknowledges and finishes commands.

`NAME.distill` is the database. Weights and big pictures lie in `NAME.files/` beside it and are named
here by relative path and SHA-256, so that the pair can be moved or copied together.

The class is long and flat on purpose: it is the whole vocabulary in which processes speak to each other.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Literal, Self

from backend.contract import liveness, migrations
from backend.contract.database import PAGE_BYTES, Database, ProjectFileError, Role, can_write, refuse_network_disk
from backend.contract.metrics import END, Curve, MetricRow, Metrics, NewPoints, Overview, Pace, Steps, Values
from backend.contract.recipe import LIVE_SETTINGS, Recipe, Training
from backend.contract.rows import (
    Attempt,
    Checkpoint,
    Command,
    Evaluation,
    Export,
    LogEvent,
    Outcome,
    Process,
    Run,
    RunRow,
    RunState,
    Sample,
    Series,
    Verb,
    columns,
    read,
)

__all__ = ["NotInProject", "OlderProject", "ProjectFile", "ProjectFileError", "content_hash", "files_folder"]

APPLICATION_ID = 0x4453544C
"""Marks a SQLite file as a project ("DSTL"); bytes 68 to 71 of the file."""
VERSION = len(migrations.MIGRATIONS)
PICTURE_BYTES_LIMIT = 256 * 1024
"""A picture up to this size lies in the database, where it reads faster than a file; a larger one is a file."""


class OlderProject(ProjectFileError):
    """A project of an earlier form, which must be opened for writing once before it can be only read."""


class NotInProject(ProjectFileError):
    """A run, attempt, checkpoint or command that the project does not have."""


class ProjectFile:
    """An open project. Use it in the thread that opened it; every process and thread opens its own.

    Any method may raise `ProjectFileError`: locked, full or failing disk, read-only, no such run.
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self._metrics = Metrics(database)
        self._is_closed = False
        self.path = database.path
        self.files = files_folder(database.path)
        """Folder of weights, big pictures and logs; made when something is first put there."""

    @classmethod
    def create(cls, path: str | Path) -> Self:
        """Make an empty project and open it."""
        path = Path(path)
        refuse_network_disk(path)
        try:
            path.open("xb").close()
        except FileExistsError:
            raise ProjectFileError(f"{path.name} exists already; open it, or choose another name.") from None
        except FileNotFoundError:
            raise ProjectFileError(f"The folder {path.parent} is missing; make it first.") from None
        except PermissionError:
            raise ProjectFileError(
                f"The folder {path.parent} is read-only; choose a folder that you can write to."
            ) from None
        try:
            database = Database(path)
            try:
                database.pragma(f"page_size = {PAGE_BYTES}")
                database.use_write_ahead_log()
                database.pragma(f"application_id = {APPLICATION_ID}")
                migrations.migrate(database)
            except BaseException:
                database.close()
                raise
        except BaseException:
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            raise
        return cls(database)

    @classmethod
    def open(
        cls,
        path: str | Path,
        readonly: bool = False,
        role: Role = "client",
        busy_seconds: float = 10.0,
    ) -> Self:
        """Open a project; an older one is brought up to date first.

        role: "worker" for the one process that trains, which alone folds the log into the database
        while it lives. busy_seconds: how long to wait for another program's write.
        """
        path = Path(path)
        if path.is_dir():
            raise ProjectFileError(f"{path.name} is a folder; choose a file that `distill new` has made.")
        if not path.exists():
            raise ProjectFileError(f"{path} is missing; check its name, or make it with `distill new`.")
        if not readonly and not (can_write(path) and can_write(path.parent)):
            raise ProjectFileError(
                f"{path.name} or its folder is read-only; copy it to a folder that you can write to."
            )
        database = Database(path, readonly=readonly, role=role, busy_seconds=busy_seconds)
        try:
            _require_project(database)
            if not readonly:
                database.use_write_ahead_log()
                migrations.migrate(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        """Close the project; a second time does nothing. Folds the log into the database, unless a worker
        lives to do it."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if not self._db.readonly and (self._db.role == "worker" or not self._has_live_worker()):
                self._db.pragma("wal_checkpoint(PASSIVE)")
        finally:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def data_version(self) -> int:
        """A number that changes when another connection has written; microseconds to ask."""
        return int(self._db.pragma("data_version"))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several writes as one: all of them happen, or none."""
        try:
            with self._db.write():
                yield
        except BaseException:
            self._metrics.forget()
            raise

    def remember(self, fact: str) -> bool:
        """Note a fact about the project; False when it was known."""
        with self._db.write():
            known = self._db.first("SELECT 1 FROM project WHERE key = ?", (fact,))
            self._db.run("INSERT OR IGNORE INTO project (key, value) VALUES (?, ?)", (fact, str(time.time())))
        return known is None

    # Runs

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
                    *(name, recipe.kind, recipe.to_json(), recipe.hash(), _dump(declaration or {})),
                    *(time.time(), teacher_hash, data_hash, _dump(consumes or {})),
                ),
            )

    def runs(self) -> list[Run]:
        """Every run, oldest first."""
        return [read(Run, row) for row in self._db.rows(f"SELECT {_RUN} FROM runs ORDER BY id")]

    def run(self, run: int) -> Run:
        """One run by its id."""
        row = self._db.first(f"SELECT {_RUN} FROM runs WHERE id = ?", (run,))
        if row is None:
            raise NotInProject(f"There is no run {run} in {self.path.name}; see `distill runs`.")
        return read(Run, row)

    def find_run(self, text: str) -> Run:
        """The run that a person means by an id or by a name that only one run has."""
        rows = self._db.rows(f"SELECT {_RUN} FROM runs WHERE name = ?", (text,))
        if len(rows) > 1:
            raise ProjectFileError(f"{len(rows)} runs are named {text}; give the number of one.")
        if rows:
            return read(Run, rows[0])
        if text.isdecimal():
            return self.run(int(text))
        raise NotInProject(f"There is no run {text} in {self.path.name}; see `distill runs`.")

    def run_rows(self, series: Collection[str] | None = None) -> list[RunRow]:
        """Every run as a list of them shows it, oldest first; a dozen queries, however many runs there are.

        series: the curves whose last value is wanted, all by default.
        """
        newest = {
            attempt.run: attempt
            for attempt in (
                read(Attempt, row)
                for row in self._db.rows(
                    f"SELECT {_ATTEMPT} FROM attempts WHERE id IN (SELECT max(id) FROM attempts GROUP BY run)"
                )
            )
        }
        asked: defaultdict[int, list[Command]] = defaultdict(list)
        for row in self._db.rows(f"SELECT {columns(Command)} FROM commands WHERE finished IS NULL ORDER BY id"):
            command = read(Command, row)
            asked[command.run].append(command)
        steps = dict(
            self._db.rows("SELECT run, last_step FROM attempts WHERE last_step IS NOT NULL ORDER BY run, number")
        )
        earlier = dict(
            self._db.rows(
                "SELECT run, sum(coalesce(ended, heartbeat, started) - started) FROM attempts"
                " WHERE id NOT IN (SELECT max(id) FROM attempts GROUP BY run) GROUP BY run"
            )
        )
        last_batch = {
            row[0]: row[1:]
            for row in self._db.rows(
                "SELECT run, attempt, last_wall, (SELECT max(nfe) FROM (SELECT nfe FROM batches AS recent"
                f" WHERE recent.run = batches.run ORDER BY id DESC LIMIT {_RECENT_BATCHES})) FROM batches"
                " WHERE id IN (SELECT (SELECT max(id) FROM batches WHERE run = runs.id) FROM runs)"
            )
        }
        best = {
            run: (score, step)
            for run, step, score in self._db.rows(
                "SELECT run, step, min(json_extract(meta, '$.score')) FROM checkpoints"
                " WHERE json_extract(meta, '$.score') IS NOT NULL GROUP BY run"
            )
        }
        measures = {
            run: name.removeprefix("preview_")
            for run, name in self._db.rows(
                "SELECT run, name FROM series WHERE name IN ('preview_frechet', 'preview_sliced_wasserstein')"
            )
        }
        evaluated = {
            run: (json.loads(recipe), json.loads(figures))
            for run, recipe, figures in self._db.rows(
                "SELECT run, recipe, figures FROM evaluations"
                " WHERE coalesce(json_extract(recipe, '$.of'), 'student') = 'student' ORDER BY id"
            )
        }
        exports = dict(self._db.rows("SELECT run, count(*) FROM exports GROUP BY run"))
        latest = self._metrics.latest_of_all(series)
        found = []
        for run, name, method, teacher, created, tags, has_notes, position, total in self._db.rows(
            "SELECT id, name, json_extract(recipe, '$.method'), json_extract(recipe, '$.teacher'), created, tags,"
            " notes <> '', queue_position, json_extract(recipe, '$.training.steps') FROM runs ORDER BY id"
        ):
            attempt = newest.get(run)
            state = _judged(position, attempt, asked[run], steps.get(run))
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

    def has_runs(self) -> bool:
        """Whether anything was ever run here."""
        return self._db.first("SELECT 1 FROM runs LIMIT 1") is not None

    def live_runs(self) -> list[tuple[Run, RunState]]:
        """The runs that have a process now, oldest first, with what they are doing."""
        rows = self._db.rows("SELECT DISTINCT run FROM attempts WHERE ended IS NULL ORDER BY run")
        judged = [(self.run(run), self.run_state(run)) for (run,) in rows]
        return [(run, state) for run, state in judged if state.is_live]

    def recipe(self, run: int) -> Recipe:
        """What a run was asked to be. Raises `RecipeError` when only a newer program can read it."""
        return Recipe.from_values(self.run(run).recipe)

    def live_settings(self, run: int) -> dict[str, int]:
        """What was changed while a run went on (its events of the kind "set"), as it is in force now."""
        changed: dict[str, int] = {}
        for (data,) in self._db.rows("SELECT data FROM events WHERE run = ? AND kind = 'set' ORDER BY id", (run,)):
            changed |= json.loads(data)
        return {name: changed[name] for name in LIVE_SETTINGS if name in changed}

    def training(self, run: int) -> Training:
        """How a run trains: as its recipe asks, with what was changed while it went on."""
        return self.recipe(run).training.model_copy(update=self.live_settings(run))

    def rename_run(self, run: int, name: str) -> None:
        self._change_run(run, "name", name)

    def set_notes(self, run: int, notes: str) -> None:
        self._change_run(run, "notes", notes)

    def set_tags(self, run: int, tags: Sequence[str]) -> None:
        self._change_run(run, "tags", _dump(list(tags)))

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
        rows = self._db.rows(f"SELECT {_RUN} FROM runs WHERE queue_position IS NOT NULL ORDER BY queue_position, id")
        return [read(Run, row) for row in rows]

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
                self._change_run(run, "declaration", _dump(declaration))

    def _change_run(self, run: int, column: str, value: Any) -> None:
        self.run(run)
        with self._db.write():
            self._db.run(f"UPDATE runs SET {column} = ? WHERE id = ?", (value, run))

    # The draft of the next run

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
                (_dump(list(edits)), position, time.time()),
            )

    # Attempts and state

    def attempts(self, run: int) -> list[Attempt]:
        """The lives of a run's process, oldest first."""
        rows = self._db.rows(f"SELECT {_ATTEMPT} FROM attempts WHERE run = ? ORDER BY number", (run,))
        return [read(Attempt, row) for row in rows]

    def attempt(self, attempt: int) -> Attempt:
        """One attempt by its id."""
        row = self._db.first(f"SELECT {_ATTEMPT} FROM attempts WHERE id = ?", (attempt,))
        if row is None:
            raise NotInProject(f"There is no attempt {attempt} in {self.path.name}.")
        return read(Attempt, row)

    def run_state(self, run: int) -> RunState:
        """What a run is doing, judged now from its newest attempt, its process and its open commands."""
        attempts = self.attempts(run)
        newest = attempts[-1] if attempts else None
        queue_position = self.run(run).queue_position
        return _judged(queue_position, newest, self.open_commands(run), self._metrics.last_step(run))

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
            launched = self.attempt(attempt).launched
            self._db.run(
                "UPDATE commands SET finished = ?, result = 'The process it was meant for had ended.'"
                " WHERE run = ? AND finished IS NULL AND issued < ?",
                (now, run, launched),
            )
            self._db.run("UPDATE runs SET queue_position = NULL WHERE id = ?", (run,))
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
            self._db.run(
                "UPDATE commands SET finished = ?,"
                " result = CASE verb WHEN 'stop' THEN 'Done.' ELSE 'The run ended first.' END"
                " WHERE run = ? AND finished IS NULL",
                (now, run),
            )

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
        rows = self._db.rows(f"SELECT {_ATTEMPT} FROM attempts WHERE ended IS NULL")
        return any(liveness.has_process(read(Attempt, row)) for row in rows)

    # Metrics

    def record(self, attempt: int, rows: Sequence[MetricRow]) -> None:
        """Record the metrics of some steps in one transaction."""
        self._metrics.record(self.attempt(attempt).run, attempt, rows)

    def series(self, run: int) -> list[Series]:
        """The curves of a run."""
        return self._metrics.series(run)

    def find_series(self, run: int, name: str) -> Series | None:
        """The curve of that name, None when nothing was recorded under it."""
        return next((series for series in self.series(run) if series.name == name), None)

    def metrics_after(self, run: int, cursor: int = 0) -> NewPoints:
        """Points recorded after `cursor` (0: all) and the next cursor. See `Metrics.after`."""
        return self._metrics.after(run, cursor)

    def metrics_cursor(self, run: int) -> int:
        """Grows whenever metrics of a run were recorded; what `metrics_after` would return as its cursor."""
        return self._metrics.cursor(run)

    def pace(self, run: int) -> Pace:
        """How fast the run's newest attempt goes. See `Metrics.pace`."""
        return self._metrics.pace(run)

    def latest_metrics(self, run: int) -> dict[str, tuple[int, float]]:
        """Name -> (step, value) at the end of each line."""
        return self._metrics.latest(run)

    def points(self, series: Series, first: int = -END, last: int = END, *, superseded: bool = False) -> Curve:
        """Every point of a line between two steps. See `Metrics.points`."""
        return self._metrics.points(series, first, last, superseded=superseded)

    def overview(
        self, series: Series, first: int = -END, last: int = END, pixels: int = 1000, *, superseded: bool = False
    ) -> Overview:
        """A line in at most `pixels` columns of lowest and highest values. See `Metrics.overview`."""
        return self._metrics.overview(series, first, last, pixels, superseded=superseded)

    def axis(self, run: int, kind: Literal["wall", "images", "nfe"], steps: Steps) -> Values:
        """Steps as seconds of training ("wall"), "images" or "nfe". See `Metrics.axis`."""
        return self._metrics.axis(run, kind, steps)

    def rebuild_pyramid(self, run: int, *, only_dirty: bool = False) -> None:
        """Make what `overview` reads again from the points."""
        self._metrics.rebuild(run, only_dirty=only_dirty)

    # Samples

    def add_sample(
        self,
        run: int,
        *,
        step: int,
        kind: str,
        position: int,
        image: bytes,
        thumbnail: bytes | None = None,
        media: str = "image/png",
        attempt: int | None = None,
        label: str = "",
        seed: int | None = None,
        sampler: Mapping[str, Any] | None = None,
        scores: Mapping[str, float] | None = None,
    ) -> int:
        """Keep one encoded picture; a large one as a file named by its content. Its id."""
        sha256 = hashlib.sha256(image).hexdigest()
        path = self._store_picture(image, sha256) if len(image) > PICTURE_BYTES_LIMIT else None
        with self._db.write():
            sample = self._db.run(
                "INSERT INTO samples (run, attempt, step, kind, position, label, seed, sampler, scores, media,"
                " path, sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(run, attempt, step, kind, position, label, seed, _dump(sampler or {})),
                    *(_dump(scores or {}), media, str(path) if path else None, sha256),
                ),
            )
            self._db.run(
                "INSERT INTO pictures (sample, thumbnail, image) VALUES (?, ?, ?)",
                (sample, thumbnail, None if path else image),
            )
        return sample

    def samples_after(self, run: int, last_id: int = 0) -> list[Sample]:
        """Samples of a run that came after the one with `last_id`, in the order of their ids."""
        rows = self._db.rows(
            f"SELECT {columns(Sample)} FROM samples WHERE run = ? AND id > ? ORDER BY id", (run, last_id)
        )
        return [read(Sample, row) for row in rows]

    def image(self, sample: Sample) -> bytes:
        """The encoded picture."""
        if sample.path is not None:
            try:
                return (self.files / sample.path).read_bytes()
            except OSError:
                raise ProjectFileError(
                    f"The picture {sample.path} is missing from {self.files.name}; "
                    "put the folder back beside the project."
                ) from None
        row = self._db.first("SELECT image FROM pictures WHERE sample = ?", (sample.id,))
        return bytes(row[0]) if row else b""

    def thumbnail(self, sample: Sample) -> bytes:
        """The small encoded picture, or the picture itself where there is none."""
        row = self._db.first("SELECT thumbnail FROM pictures WHERE sample = ?", (sample.id,))
        return bytes(row[0]) if row and row[0] is not None else self.image(sample)

    def _store_picture(self, image: bytes, sha256: str) -> PurePosixPath:
        relative = PurePosixPath("pictures") / sha256[:2] / sha256
        target = self.files / relative
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = target.with_name(f"{sha256}.{os.getpid()}.part")
            with unfinished.open("wb") as file:
                file.write(image)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
        return relative

    # Checkpoints

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
        size = sum(file.stat().st_size for file in _files_in(absolute))
        run = self.attempt(attempt).run
        with self._db.write(durable=True):
            if is_best:
                self._db.run("UPDATE checkpoints SET is_best = 0 WHERE run = ?", (run,))
            return self._db.run(
                "INSERT INTO checkpoints (run, attempt, step, path, sha256, bytes, is_best, kept, meta)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?)",
                (run, attempt, step, str(relative), sha256, size, is_best, _dump(meta or {})),
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

    # Events

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
                (run, attempt, step, time.time() if at is None else at, kind, text, _dump(data or {})),
            )

    def events_after(self, run: int, last_id: int = 0) -> list[LogEvent]:
        """What happened in a run after the event with `last_id`."""
        rows = self._db.rows(
            "SELECT id, run, attempt, step, time, kind, text, data FROM events WHERE run = ? AND id > ? ORDER BY id",
            (run, last_id),
        )
        return [read(LogEvent, row) for row in rows]

    # Commands

    def issue(self, run: int, verb: Verb, arguments: Mapping[str, Any] | None = None) -> int:
        """Ask something of a run's process; the command's id. `launch` has this in words."""
        with self._db.write():
            return self._db.run(
                "INSERT INTO commands (run, verb, arguments, issued) VALUES (?, ?, ?, ?)",
                (run, verb, _dump(arguments or {}), time.time()),
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

    def _commands(self, where: str, value: int) -> list[Command]:
        rows = self._db.rows(f"SELECT {columns(Command)} FROM commands WHERE {where} ORDER BY id", (value,))
        return [read(Command, row) for row in rows]

    # Evaluations and exports

    def add_evaluation(self, run: int, step: int, recipe: Mapping[str, Any], figures: Mapping[str, Any]) -> int:
        """Keep figures with how they were made."""
        with self._db.write():
            return self._db.run(
                "INSERT INTO evaluations (run, step, time, recipe, figures) VALUES (?, ?, ?, ?, ?)",
                (run, step, time.time(), _dump(recipe), _dump(figures)),
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

    def add_export(self, run: int, format: str, path: str, sha256: str, verification: Mapping[str, Any]) -> int:
        """Keep that a student left, and what loading it again showed."""
        with self._db.write():
            return self._db.run(
                "INSERT INTO exports (run, time, format, path, sha256, verification) VALUES (?, ?, ?, ?, ?, ?)",
                (run, time.time(), format, path, sha256, _dump(verification)),
            )

    def exports(self, run: int) -> list[Export]:
        """Every export of a run, oldest first."""
        rows = self._db.rows(
            f"SELECT {columns(Export)} FROM exports WHERE run = ? ORDER BY id",
            (run,),
        )
        return [read(Export, row) for row in rows]

    # Integrity

    def save_copy(self, target: Path) -> None:
        """Write a whole copy of the database, as of now, to a new file; the folder of files is not copied.

        A file copied by other means while a run writes may be torn.
        """
        if target.exists():
            raise ProjectFileError(f"{target.name} exists already; choose another name.")
        if not can_write(target.parent):
            raise ProjectFileError(f"The folder {target.parent} cannot be written to; choose another one.")
        self._db.rows("VACUUM INTO ?", (str(target),))

    def check(self) -> list[str]:
        """What is wrong with the database and its files, one sentence each. Reads everything: slow."""
        found = [
            f"The database is damaged: {row[0]}; put back a copy."
            for row in self._db.rows("PRAGMA quick_check")
            if row[0] != "ok"
        ]
        for table, row_id, parent, _ in self._db.rows("PRAGMA foreign_key_check"):
            found.append(f"Row {row_id} of {table} refers to a row of {parent} that is not there.")
        named = self._db.rows(
            "SELECT path, sha256, 'checkpoint of step ' || step FROM checkpoints WHERE kept"
            " UNION SELECT path, sha256, 'picture' FROM samples WHERE path IS NOT NULL ORDER BY 1"
        )
        for path, sha256, what in named:
            if not (self.files / path).exists():
                found.append(f"The {what}, {path}, is missing from {self.files.name}; put it back from a copy.")
            elif content_hash(self.files / path) != sha256:
                found.append(f"The {what}, {path}, is not what was written; put it back from a copy.")
        for sample, image, sha256 in self._db.rows(
            "SELECT sample, image, sha256 FROM pictures JOIN samples ON samples.id = sample WHERE image IS NOT NULL"
        ):
            if hashlib.sha256(image).hexdigest() != sha256:
                found.append(f"The picture of sample {sample} is not what was written.")
        return found


def _judged(queue_position: int | None, newest: Attempt | None, asked: Sequence[Command], step: int | None) -> RunState:
    """What a run is doing, from its newest attempt, its open commands and its newest step."""
    state = liveness.state_of(newest, asked, step)
    if queue_position is not None and not state.is_live:
        return RunState("queued", "It waits in the queue.", state.attempt, state.step)
    return state


def files_folder(path: str | Path) -> Path:
    """The folder of files that belongs to a project file: NAME.distill -> NAME.files."""
    return Path(path).absolute().with_suffix(".files")


def content_hash(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of the names and hashes of its files, sorted by name."""
    if path.is_dir():
        lines = [f"{file.relative_to(path).as_posix()} {content_hash(file)}\n" for file in _files_in(path)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files_in(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted((file for file in path.rglob("*") if file.is_file()), key=lambda file: file.as_posix())


def _require_project(database: Database) -> None:
    name = database.path.name
    if database.pragma("application_id") != APPLICATION_ID:
        raise ProjectFileError(f"{name} is not a project; choose a file that `distill new` has made.")
    version = database.pragma("user_version")
    if version > VERSION:
        raise ProjectFileError(
            f"{name} was written by a newer version (form {version}, known up to {VERSION}); "
            "update the program to open it."
        )
    if database.readonly and version < VERSION:
        raise OlderProject(
            f"{name} was written by an older version; open it once where it can be written, to update it."
        )


_RECENT_BATCHES = 16
"""Among so many there is one of training, which says how many evaluations were spent; one of a preview does not."""
_RUN = columns(Run)
_ATTEMPT = columns(Attempt)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
