"""How a training loop leaves its results in the project file without ever waiting for it or failing by it.

A thread owns the worker's connection. The loop leaves records in a bounded queue and wakes nobody; four times
a second the thread writes what it finds there and looks for commands, and once it says that the process lives. What
the database does not take goes to a spill file beside the project, line by line, and from there into the database as
soon as it can: by this recorder, or by the next one on the project.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pysqlite3

from backend.contract import liveness
from backend.contract.metrics import MetricRow
from backend.contract.project_file import NotInProject, ProjectFile, ProjectFileError, files_folder
from backend.contract.rows import Checkpoint, Command, Outcome

BATCH_SECONDS = 0.25
BATCH_RECORDS = 1000
CAPACITY = 20_000
"""Records that may wait for the database before the loop has to."""
HEARTBEAT_SECONDS = 1.0
BUSY_SECONDS = 5.0
"""How long to wait for another program's write before a batch is spilled."""
RETRY_SECONDS = 1.0
CLOSING_SECONDS = 30.0
"""How long the last records may wait for the database before they are left to the next recorder."""
HELD_LIMIT = 200_000
"""Records kept in memory, the newest, while neither database nor spill file can be written."""


@dataclass(frozen=True)
class _Record:
    """One thing to write: its kind and JSON-able arguments; `done` where someone waits for it."""

    kind: str
    values: dict[str, Any]
    done: Future[bool] | None = None


class Recorder:
    """Records one attempt of a run. Call it from the training loop's thread; it raises nothing there.

    path: of the project. attempt: from `ProjectFile.begin_attempt`.
    """

    def __init__(self, path: str | Path, run: int, attempt: int) -> None:
        self.path = Path(path)
        self.run = run
        self.attempt = attempt
        self._queue: deque[_Record] = deque()
        self._hurry = threading.Event()
        """The thread should not wait for the next quarter of a second."""
        self._room = threading.Event()
        """The thread has taken records out."""
        self._pending: tuple[Command, ...] = ()
        self._taken: set[int] = set()
        self._lock = threading.Lock()
        self._spill = _Spill(files_folder(self.path) / f"spill-{attempt}.jsonl")
        self._project: ProjectFile | None = None
        self._seen_version: int | None = None
        self._next_try = self._next_beat = 0.0
        self._rest = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"recorder-{attempt}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def first_step(self, step: int) -> None:
        """The attempt starts at `step`: from there on its metrics replace those of earlier attempts."""
        self._put(_Record("first_step", {"step": step}))

    def metrics(self, step: int, values: Mapping[str, float], wall: float = 0.0, images: int = 0, nfe: int = 0) -> None:
        """The metrics of a step, as plain numbers.

        wall: seconds of training in this attempt so far. images, nfe: of the whole run so far. Leave them out
        for figures made beside training.
        """
        row = {"step": step, "values": dict(values), "wall": wall, "images": images, "nfe": nfe}
        self._put(_Record("metrics", row))

    def event(self, kind: str, text: str, *, step: int | None = None, data: Mapping[str, Any] | None = None) -> None:
        """One line of what happened, for a person."""
        values = {"kind": kind, "text": text, "step": step, "data": _plain_json(data), "at": time.time()}
        self._put(_Record("event", values))

    def sample(
        self,
        step: int,
        kind: str,
        position: int,
        image: bytes,
        *,
        thumbnail: bytes | None = None,
        media: str = "image/png",
        label: str = "",
        seed: int | None = None,
        sampler: Mapping[str, Any] | None = None,
        scores: Mapping[str, float] | None = None,
    ) -> None:
        """One encoded picture of a grid. See `ProjectFile.add_sample`."""
        values: dict[str, Any] = {"step": step, "kind": kind, "position": position, "media": media}
        values |= {"label": label, "seed": seed, "sampler": _plain_json(sampler), "scores": _plain_json(scores)}
        self._put(_Record("sample", values | {"image": image, "thumbnail": thumbnail}))

    def checkpoint(
        self, step: int, path: Path, *, is_best: bool = False, meta: Mapping[str, Any] | None = None
    ) -> bool:
        """Record weights that lie complete inside the project's files; returns when that is on the disk.

        False when the database did not take it and the spill file holds it instead.
        """
        relative = path.relative_to(files_folder(self.path)) if path.is_absolute() else path
        values = {"step": step, "path": relative.as_posix(), "is_best": is_best, "meta": _plain_json(meta)}
        return self._put_and_wait("checkpoint", values)

    def give_up(self, checkpoint: Checkpoint) -> bool:
        """Record that a checkpoint's file is about to be deleted; delete it only where this returns True."""
        return self._put_and_wait("give_up", {"checkpoint": checkpoint.id})

    def end(self, outcome: Outcome, reason: str = "", traceback: str = "") -> bool:
        """The attempt is over; everything recorded before is written first. See `ProjectFile.end_attempt`."""
        return self._put_and_wait("end", {"outcome": outcome, "reason": reason, "traceback": traceback})

    def pending_commands(self) -> tuple[Command, ...]:
        """What was asked of the run and is not yet acknowledged or finished here; costs nothing."""
        return self._pending

    def acknowledge(self, command: Command) -> None:
        """The loop has seen a command and acts on it; it is no longer pending."""
        self._take(command)
        self._put(_Record("acknowledge", {"command": command.id}))

    def finish(self, command: Command, result: str = "Done.") -> None:
        """The loop has done what was asked, or says why not. A pause is finished when training goes on."""
        self._take(command)
        self._put(_Record("finish", {"command": command.id, "result": result}))

    def flush(self) -> bool:
        """Wait until all that was recorded is written; False when some of it only to the spill file."""
        return self._put_and_wait("flush", {})

    def close(self) -> None:
        """Write what is left and give the connection back; a second time does nothing."""
        if self._thread.is_alive():
            self._put_and_wait("close", {})
            self._thread.join()
        if self._queue:
            self._keep_what_waits()

    # In the loop's thread

    def _take(self, command: Command) -> None:
        with self._lock:
            self._taken.add(command.id)
            self._pending = tuple(other for other in self._pending if other.id != command.id)

    def _put_and_wait(self, kind: str, values: dict[str, Any]) -> bool:
        done: Future[bool] = Future()
        self._put(_Record(kind, values, done))
        while True:
            try:
                return done.result(timeout=1.0)
            except NotYet:
                if not self._thread.is_alive():
                    self._keep_what_waits()
                    return done.done() and done.result()

    def _put(self, record: _Record) -> None:
        while self._thread.is_alive():
            self._room.clear()
            if len(self._queue) < CAPACITY:
                self._queue.append(record)
                # To wake the thread for each record would cost the loop more than the record itself.
                if record.done is not None or len(self._queue) >= BATCH_RECORDS:
                    self._hurry.set()
                return
            self._room.wait(timeout=1.0)  # the database is slow: the loop waits rather than lose a point
        self._queue.append(record)
        self._keep_what_waits()

    def _keep_what_waits(self) -> None:
        """Once the thread has died, what nobody will write goes to the spill file, in its order."""
        records = [self._queue.popleft() for _ in range(len(self._queue))]
        self._keep(records)
        for record in records:
            if record.done is not None:
                record.done.set_result(False)

    # In the recorder's thread

    def _work(self) -> None:
        closing = False
        while not closing:
            records = self._collect()
            closing = any(record.kind == "close" for record in records)
            self._write(records)
            self._beat_and_look()
        while self._queue:  # what another thread put in while this one was closing
            self._write(self._collect())
        patience = time.monotonic() + CLOSING_SECONDS
        while self._spill.exists() and time.monotonic() < patience:
            if not self._attempted(lambda project: self._apply_all(project, [])):
                self._rest.wait(RETRY_SECONDS)
        if self._project is not None:
            self._attempted(self._rebuild_and_close)

    def _collect(self) -> list[_Record]:
        """The next batch: full, or a quarter of a second old, or someone waits for it."""
        self._hurry.wait(BATCH_SECONDS)
        self._hurry.clear()
        records: list[_Record] = []
        while self._queue:
            if len(records) == BATCH_RECORDS or (records and records[-1].done is not None):
                self._hurry.set()  # the rest is the next batch, at once
                break
            records.append(self._queue.popleft())
        self._room.set()
        return records

    def _write(self, records: list[_Record]) -> None:
        waiting = [record.done for record in records if record.done is not None]
        written = self._attempted(lambda project: self._apply_all(project, records)) if records else True
        if not written:
            self._keep(records)
        for done in waiting:
            done.set_result(written)

    def _apply_all(self, project: ProjectFile, records: list[_Record]) -> None:
        if self._spill.exists():
            self._spill.replay(project)
        _apply(project, self.run, self.attempt, records)

    def _beat_and_look(self) -> None:
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + HEARTBEAT_SECONDS
            self._attempted(lambda project: project.heartbeat(self.attempt))
            if self._spill.exists():
                self._attempted(lambda project: self._apply_all(project, []))
        self._attempted(self._look_for_commands)

    def _look_for_commands(self, project: ProjectFile) -> None:
        version = project.data_version()
        if version == self._seen_version:
            return
        found = project.open_commands(self.run)
        with self._lock:
            self._pending = tuple(
                command for command in found if command.id not in self._taken and command.acknowledged is None
            )
        self._seen_version = version

    def _rebuild_and_close(self, project: ProjectFile) -> None:
        project.rebuild_pyramid(self.run, only_dirty=True)
        project.close()
        self._project = None

    def _attempted(self, work: Any) -> bool:
        """Do something with the project; False when it could not be done now."""
        now = time.monotonic()
        try:
            if self._project is None:
                if now < self._next_try:
                    return False
                self._next_try = now + RETRY_SECONDS
                self._project = ProjectFile.open(self.path, role="worker", busy_seconds=BUSY_SECONDS)
                self._seen_version = None
                replay_spills(self._project, self.attempt)
            work(self._project)
            return True
        except Exception as error:  # the outermost edge of this thread: training must not end by it
            _say(error)
            self._give_up_connection()
            self._next_try = now + RETRY_SECONDS
            return False

    def _give_up_connection(self) -> None:
        project, self._project = self._project, None
        if project is not None:
            try:
                project.close()
            except (ProjectFileError, pysqlite3.Error) as error:
                _say(error)

    def _keep(self, records: Iterable[_Record]) -> None:
        self._spill.append(self.run, self.attempt, records)


def replay_spills(project: ProjectFile, own: int | None = None) -> int:
    """Put what earlier recorders of a project had to spill into the database; how many files.

    own: the attempt that asks. What a recorder still writes to that works on another run is left to it.
    """
    paths = [path for path in sorted(project.files.glob("spill-*.jsonl")) if not _is_others(project, path, own)]
    for path in paths:
        _Spill(path).replay(project)
    return len(paths)


def _is_others(project: ProjectFile, path: Path, own: int | None) -> bool:
    attempt = path.stem.removeprefix("spill-")
    try:
        return attempt != str(own) and liveness.has_process(project.attempt(int(attempt)))
    except (ValueError, NotInProject):
        return False


class _Spill:
    """A file of records, one JSON line each, after a line with the file's own name for life."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: list[str] = []

    def exists(self) -> bool:
        return bool(self._held) or self.path.exists()

    def append(self, run: int, attempt: int, records: Iterable[_Record]) -> None:
        """Keep records; in memory while not even the file can be written (a full disk)."""
        for record in records:
            if record.kind in ("flush", "close"):
                continue
            values = {
                name: {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
                for name, value in record.values.items()
            }
            entry = {"run": run, "attempt": attempt, "kind": record.kind, "values": values}
            self._held.append(json.dumps(entry, default=float))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                if not file.tell():
                    file.write(json.dumps({"spill": uuid.uuid4().hex}) + "\n")
                file.write("".join(line + "\n" for line in self._held))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            del self._held[:-HELD_LIMIT]
            _say(f"{error}; {len(self._held)} records wait in memory")
            return
        self._held.clear()

    def replay(self, project: ProjectFile) -> None:
        """Put all of it into the database, once, and remove the file.

        The file's name for life is committed with its records, so that a crash before the removal
        does not bring them in twice.
        """
        if self._held:
            self.append(0, 0, [])
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        entries = [found for line in lines if (found := _parsed(line)) is not None]
        try:
            if entries:
                self._replay_entries(project, entries[0]["spill"], entries[1:])
        except (NotInProject, pysqlite3.Error, LookupError, TypeError, ValueError) as error:
            # Trying again would not help, and would keep everything after it out of the database.
            _say(f"{self.path.name} cannot be replayed: {error}")
            self.path.replace(self.path.with_suffix(".rejected"))
        self.path.unlink(missing_ok=True)

    @staticmethod
    def _replay_entries(project: ProjectFile, name: str, entries: list[dict[str, Any]]) -> None:
        with project.transaction():
            if not project.remember(f"spill {name}"):
                return
            for (run, attempt), group in groupby(entries, lambda entry: (entry["run"], entry["attempt"])):
                records = [
                    _Record(entry["kind"], {name: _decoded(value) for name, value in entry["values"].items()})
                    for entry in group
                ]
                _apply(project, run, attempt, records)
                project.rebuild_pyramid(run, only_dirty=True)


def _say(words: object) -> None:
    """To the log, which lies on the project's disk and may be as full as that."""
    with suppress(OSError, ValueError):
        print(f"recorder: {words}", file=sys.stderr, flush=True)


def _parsed(line: str) -> dict[str, Any] | None:
    """A spilled line; None for one that a crash cut off."""
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _plain_json(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """Values as JSON can hold them; what it cannot is its text, so that nothing fails later in the thread."""
    return dict(json.loads(json.dumps(dict(values or {}), default=str)))


def _decoded(value: Any) -> Any:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) and set(value) == {"base64"} else value


def _apply(project: ProjectFile, run: int, attempt: int, records: Iterable[_Record]) -> None:
    """Write records in their order; those that nobody waits for in one transaction."""
    rows: list[MetricRow] = []
    with project.transaction():
        for record in records:
            values = record.values
            if record.kind == "metrics":
                numbers = {name: float(value) for name, value in values["values"].items()}
                rows.append(MetricRow(**{**values, "values": numbers}))
            elif record.kind == "event":
                project.add_event(run, attempt=attempt, **values)
            elif record.kind == "sample":
                project.add_sample(run, attempt=attempt, **values)
            elif record.kind == "first_step":
                project.set_first_step(attempt, values["step"])
            elif record.kind == "acknowledge":
                project.acknowledge(values["command"])
            elif record.kind == "finish":
                project.finish(**values)
        project.record(attempt, rows)
    for record in records:
        values = record.values
        if record.kind == "checkpoint":
            project.add_checkpoint(attempt, **values | {"path": Path(values["path"])})
        elif record.kind == "give_up":
            project.give_up_checkpoint(values["checkpoint"])
        elif record.kind == "end":
            project.end_attempt(attempt, **values)
