"""One connection to a project's SQLite database: how it is opened, written to, and what its errors mean.

It knows nothing of the tables. Write-ahead logging lets a window read while a worker writes; it needs
a local disk and a SQLite without the log-reset fault (before 3.51.3 a reset of the log during another
connection's checkpoint loses committed pages).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psutil
import pysqlite3

from backend.contract.errors import UserError

Role = Literal["worker", "client"]

LOWEST_SQLITE = (3, 51, 3)
PAGE_BYTES = 16_384
# A worker folds its log into the database at 4 MiB; others never do while a worker may live.
WORKER_CHECKPOINT_PAGES = 256
LOG_BYTES_LIMIT = 8 * 2**20

NETWORK_FILE_SYSTEMS = {
    *("nfs", "nfs4", "cifs", "smbfs", "smb2", "smb3", "afpfs", "webdav", "davfs", "ncpfs", "afs", "ceph"),
    *("lustre", "glusterfs", "beegfs", "drvfs", "fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse"),
    *("fuse.glusterfs", "fuse.davfs2", "fuse.blobfuse", "fuse.smbnetfs"),
}

# Result codes of SQLite, https://www.sqlite.org/rescode.html (the low byte of an extended code)
_PERM, _BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT = 3, 5, 6, 8, 10, 11
_FULL, _CANTOPEN, _AUTH, _NOTADB = 13, 14, 23, 26


class ProjectFileError(UserError):
    """The project file cannot do what was asked; the text says why and what to do."""


class Database:
    """A connection; every method raises `ProjectFileError` for what a person can act on."""

    def __init__(
        self, path: Path, *, readonly: bool = False, role: Role = "client", busy_seconds: float = 10.0
    ) -> None:
        require_sound_sqlite()
        refuse_network_disk(path)
        self.path = path
        self.readonly = readonly
        self.role = role
        with self.explained():
            self.connection = _connect(path, readonly, busy_seconds)
        try:
            self._configure()
        except BaseException:
            self.connection.close()
            raise

    def _configure(self) -> None:
        for pragma in ("synchronous = NORMAL", "foreign_keys = ON", f"journal_size_limit = {LOG_BYTES_LIMIT}"):
            self.pragma(pragma)
        self.pragma(f"wal_autocheckpoint = {WORKER_CHECKPOINT_PAGES if self.role == 'worker' else 0}")

    def use_write_ahead_log(self) -> None:
        """Ask for the log and read back: SQLite keeps the old mode silently where it cannot have it."""
        if self.pragma("journal_mode") != "wal" and self.pragma("journal_mode = WAL") != "wal":
            raise ProjectFileError(
                f"The disk of {self.path.name} cannot be shared between programs; move the project to a local disk."
            )

    def pragma(self, pragma: str) -> Any:
        """Set or ask a pragma; its first value, None when it has none."""
        found = self.rows(f"PRAGMA {pragma}")
        return found[0][0] if found else None

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Every row, fetched at once: an unfinished read would keep the log from being recycled."""
        with self.explained():
            return self.connection.execute(sql, parameters).fetchall()  # type: ignore[no-any-return]

    def first(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row or None."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Execute one statement that writes; the id of the row it inserted."""
        with self.explained():
            return int(self.connection.execute(sql, parameters).lastrowid or 0)

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute one prepared statement for each row."""
        with self.explained():
            self.connection.executemany(sql, rows)

    def insert(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows of one length with few statements. sql: up to and with the word VALUES.

        Each statement gives the interpreter to another thread and waits to have it back; row by row, that is what
        recording would cost a training loop most.
        """
        start = 0
        for size in (256, 64, 16, 4, 1):
            while len(rows) - start >= size:
                part = rows[start : start + size]
                marks = f"({', '.join('?' * len(part[0]))})"
                with self.explained():
                    self.connection.execute(f"{sql} {', '.join([marks] * size)}", [v for row in part for v in row])
                start += size

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[None]:
        """A short transaction that holds the write lock from its start; within another it joins it.

        Immediate, because a transaction that begins as a read and then writes fails at once when
        someone else wrote in between, whatever the busy timeout.
        durable: the rows are on the disk when this returns, even if the power fails then.
        """
        if self.connection.in_transaction:
            yield
            return
        if durable:
            self.pragma("synchronous = FULL")
        try:
            self.run("BEGIN IMMEDIATE")
            try:
                yield
                self.run("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise
        finally:
            if durable:
                self.pragma("synchronous = NORMAL")

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turns SQLite's errors into sentences where a person can act on them."""
        try:
            yield
        except pysqlite3.Error as error:
            sentence = _sentence(error, self.path.name)
            if sentence is None:
                raise
            raise ProjectFileError(sentence) from error

    def close(self) -> None:
        """Close the connection; a second time does nothing."""
        self.connection.close()


def sqlite_version() -> str:
    """The version of SQLite in use."""
    return ".".join(map(str, pysqlite3.sqlite_version_info))


def require_sound_sqlite(version: tuple[int, ...] = tuple(pysqlite3.sqlite_version_info)) -> None:
    """Raises `ProjectFileError` for a SQLite that can lose committed pages."""
    if version < LOWEST_SQLITE:
        found, lowest = (".".join(map(str, numbers)) for numbers in (version, LOWEST_SQLITE))
        raise ProjectFileError(
            f"SQLite {found} can lose data when a run is watched; install pysqlite3 0.6.1 or newer, "
            f"which has SQLite {lowest} or newer."
        )


def refuse_network_disk(path: Path) -> None:
    """Raises `ProjectFileError` when `path` lies on a disk that other machines share."""
    target = path.absolute()
    mounts = [part for part in psutil.disk_partitions(all=True) if target.is_relative_to(part.mountpoint)]
    if not mounts:
        return
    mount = max(mounts, key=lambda part: len(part.mountpoint))
    if mount.fstype.lower() in NETWORK_FILE_SYSTEMS or "remote" in mount.opts.split(","):
        raise ProjectFileError(
            f"{path.name} lies on a network disk ({mount.mountpoint}), where a live project gets damaged; "
            "copy it and its folder of files to a local disk."
        )


def can_write(path: Path) -> bool:
    """Whether this process may write to a file or folder that exists."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _connect(path: Path, readonly: bool, busy_seconds: float) -> Any:
    if not readonly:
        return pysqlite3.connect(path, timeout=busy_seconds, isolation_level=None)
    uri = path.absolute().as_uri() + "?mode=ro"
    log = path.with_name(path.name + "-wal")
    # On a disk that cannot be written, SQLite cannot share the log's index; without a log to read and
    # without anyone able to write, the file is as good as immutable.
    if not can_write(path.parent) and not (log.exists() and log.stat().st_size):
        uri += "&immutable=1"
    return pysqlite3.connect(uri, uri=True, timeout=busy_seconds, isolation_level=None)


def _sentence(error: Any, name: str) -> str | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return {
        _PERM: f"{name} or its folder is read-only; copy it to a folder that you can write to.",
        _AUTH: f"{name} or its folder is read-only; copy it to a folder that you can write to.",
        _READONLY: f"{name} or its folder is read-only; copy it to a folder that you can write to.",
        _BUSY: f"{name} is locked by another program; close it there and try again.",
        _LOCKED: f"{name} is locked by another program; close it there and try again.",
        _FULL: f"The disk of {name} is full; free some space and try again.",
        _IOERR: f"The disk of {name} failed ({error}); check the disk, then run `distill check`.",
        _CORRUPT: f"{name} is damaged ({error}); put back a copy of it and of its folder of files.",
        _CANTOPEN: f"{name} cannot be opened; check that its folder is there and that you may use it.",
        _NOTADB: f"{name} is not a project; choose a file that `distill new` has made.",
    }.get(code)
