"""The project file: everything an experiment was and produced, and the only channel between processes.

All SQL of the project is in `tables` (a module for each table or two, of which `ProjectFile` is the sum), `metrics`
(points and their pyramid), `migrations` (the schema), `database` (one connection: pragmas, transactions, what errors
mean) and this module, which has what concerns the file as a whole: to make, open, close, copy and check it, and the
facts in its table `project`. Nothing else speaks SQL.

Each table has one writer. The worker owns attempts from `begin_attempt` on, metrics, samples,
checkpoints and events; the window and the command line own runs, queue, notes and commands, except
that the worker acknowledges and finishes commands.

`NAME.distill` is the database. Weights and big pictures lie in `NAME.files/` beside it and are named
here by relative path and SHA-256, so that the pair can be moved or copied together.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from backend.contract import migrations
from backend.contract.database import PAGE_BYTES, Database, ProjectFileError, Role, can_write, refuse_network_disk
from backend.contract.files import content_hash, files_folder, files_in
from backend.contract.tables.base import NotInProject
from backend.contract.tables.checkpoints import Checkpoints
from backend.contract.tables.curves import Curves
from backend.contract.tables.drafts import Drafts
from backend.contract.tables.evaluations import Evaluations
from backend.contract.tables.exports import Exports
from backend.contract.tables.run_rows import RunRows
from backend.contract.tables.samples import Samples
from backend.contract.tables.states import States

__all__ = ["NotInProject", "OlderProject", "ProjectFile", "ProjectFileError", "content_hash", "files_folder"]

APPLICATION_ID = 0x4453544C
"""Marks a SQLite file as a project ("DSTL"); bytes 68 to 71 of the file."""
VERSION = len(migrations.MIGRATIONS)


class OlderProject(ProjectFileError):
    """A project of an earlier form, which must be opened for writing once before it can be only read."""


class ProjectFile(States, RunRows, Curves, Samples, Checkpoints, Evaluations, Exports, Drafts):
    """An open project. Use it in the thread that opened it; every process and thread opens its own.

    Any method may raise `ProjectFileError`: locked, full or failing disk, read-only, no such run.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._is_closed = False

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

    def save_copy(self, target: Path) -> None:
        """Write a whole copy of the database, as of now, to a new file; the folder of files is not copied.

        A file copied by other means while a run writes may be torn.
        """
        if target.exists():
            raise ProjectFileError(f"{target.name} exists already; choose another name.")
        if not can_write(target.parent):
            raise ProjectFileError(f"The folder {target.parent} cannot be written to; choose another one.")
        self._db.rows("VACUUM INTO ?", (str(target),))

    def save_whole_copy(self, target: Path, report: Callable[[int, int], object] = lambda done, whole: None) -> None:
        """As `save_copy`, with the weights, pictures and logs that the copy speaks of. It appears when it is whole.

        What a run gives up while it is copied is left out. report: hears how many bytes are copied, and of how many.
        """
        if target.exists() or files_folder(target).exists():
            raise ProjectFileError(f"{target.name} or its files exist already; choose another name.")
        unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
        files = files_folder(unfinished)
        try:
            database = self.path.stat().st_size
            report(0, database)
            self.save_copy(unfinished)
            with ProjectFile.open(unfinished, readonly=True) as copy:
                sizes = {path: _size(self.files / path) for path in copy._spoken_of()}
            done, whole = database, database + sum(sizes.values())
            for path, size in sizes.items():
                report(done, whole)
                place, written = files / path, self.files / path
                place.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):
                    shutil.copytree(written, place) if written.is_dir() else shutil.copy2(written, place)
                done += size
            if files.exists():
                files.rename(files_folder(target))
            unfinished.replace(target)
        except OSError as error:
            shutil.rmtree(files_folder(target), ignore_errors=True)
            raise ProjectFileError(f"{target} cannot be written ({error.strerror}); choose another place.") from error
        finally:
            _remove(unfinished)

    def check(self) -> list[str]:
        """What is wrong with the database and its files, one sentence each. Reads everything: slow."""
        found = [
            f"The database is damaged: {row[0]}; put back a copy."
            for row in self._db.rows("PRAGMA quick_check")
            if row[0] != "ok"
        ]
        for table, row_id, parent, _ in self._db.rows("PRAGMA foreign_key_check"):
            found.append(f"Row {row_id} of {table} refers to a row of {parent} that is not there.")
        for path, sha256, what in self._named_files():
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

    def _spoken_of(self) -> list[str]:
        """Of all that belongs into a copy: its path below the folder of files."""
        rows = self._db.rows(
            "SELECT log FROM attempts WHERE log IS NOT NULL"
            " UNION SELECT value FROM exports, json_each(exports.verification, '$.sheets')"
        )
        return list(dict.fromkeys([*(path for path, _, _ in self._named_files()), *(path for (path,) in rows)]))

    def _named_files(self) -> list[tuple[str, str, str]]:
        """Of each file that rows speak of: its path below the folder of files, its SHA-256, what it is."""
        return self._db.rows(
            "SELECT path, sha256, 'checkpoint of step ' || step FROM checkpoints WHERE kept"
            " UNION SELECT path, sha256, 'picture' FROM samples WHERE path IS NOT NULL ORDER BY 1"
        )


def remove_unfinished_copies(target: Path) -> None:
    """Clear away what a process that was killed has left of a whole copy to `target`."""
    part = re.compile(rf"\.{re.escape(target.name)}\.\d+\.part")
    for path in list(target.parent.iterdir()):
        if part.fullmatch(path.name):
            _remove(path)


def _remove(unfinished: Path) -> None:
    """An unfinished copy with what lies beside it."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
    shutil.rmtree(files_folder(unfinished), ignore_errors=True)


def _size(path: Path) -> int:
    """Bytes; 0 where it is gone."""
    with suppress(OSError):
        return sum(file.stat().st_size for file in files_in(path))
    return 0


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
