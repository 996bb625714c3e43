"""The schema of the project file, one function for each version, applied in order.

A released function is never edited: a project of that version exists somewhere. The version is
SQLite's `user_version`; a version and its number are committed together. Tables that a new column or
constraint reshapes are reshaped with sqlite-utils (`Database(connection)["runs"].transform(...)`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from backend.contract.database import Database

if TYPE_CHECKING:
    import sqlite_utils

Migration = Callable[["sqlite_utils.Database"], None]


def version_1(db: sqlite_utils.Database) -> None:
    """Runs and their attempts, what they recorded, and what was asked of them."""
    for statement in VERSION_1.split(";"):
        if statement.strip():
            db.execute(statement)


def version_2(db: sqlite_utils.Database) -> None:
    """The draft of the next run, with what its undo needs."""
    db.execute(VERSION_2)


MIGRATIONS: tuple[Migration, ...] = (version_1, version_2)
"""Function n brings a database from version n to version n + 1."""


def migrate(database: Database, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring an open database to the newest version; one that fails leaves it at the version before."""
    if database.pragma("user_version") >= len(migrations):
        return
    import sqlite_utils  # noqa: PLC0415  (a tenth of a second, which most openings need not wait for)

    tables = sqlite_utils.Database(database.connection, recursive_triggers=False, execute_plugins=False)
    # A reshaped table is dropped and made again, which must not reach into the tables that refer to it;
    # SQLite ignores this pragma inside a transaction.
    database.pragma("foreign_keys = OFF")
    try:
        with database.write():
            # Asked again under the lock: another program may have brought it up to date meanwhile.
            for number in range(database.pragma("user_version"), len(migrations)):
                migrations[number](tables)
                database.pragma(f"user_version = {number + 1}")
    finally:
        database.pragma("foreign_keys = ON")


VERSION_1 = """
CREATE TABLE project (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    recipe TEXT NOT NULL,
    recipe_hash TEXT NOT NULL,
    declaration TEXT NOT NULL,
    created REAL NOT NULL,
    notes TEXT NOT NULL DEFAULT '',
    tags TEXT NOT NULL DEFAULT '[]',
    queue_position INTEGER,
    teacher_hash TEXT,
    data_hash TEXT,
    consumes TEXT NOT NULL DEFAULT '{}'
) STRICT;

CREATE TABLE attempts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (id),
    number INTEGER NOT NULL,
    pid INTEGER,
    process_start REAL,
    boot TEXT,
    host TEXT,
    launched REAL NOT NULL,
    started REAL,
    heartbeat REAL,
    first_step INTEGER,
    last_step INTEGER,
    ended REAL,
    outcome TEXT CHECK (outcome IN ('finished', 'stopped', 'failed')),
    reason TEXT NOT NULL DEFAULT '',
    traceback TEXT NOT NULL DEFAULT '',
    log TEXT,
    UNIQUE (run, number)
) STRICT;

CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    UNIQUE (run, name)
) STRICT;

CREATE TABLE points (
    series INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    step INTEGER NOT NULL,
    value REAL,
    PRIMARY KEY (series, attempt, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (id),
    attempt INTEGER NOT NULL REFERENCES attempts (id),
    first_step INTEGER NOT NULL,
    last_step INTEGER NOT NULL,
    first_wall REAL NOT NULL,
    last_wall REAL NOT NULL,
    images INTEGER NOT NULL,
    nfe INTEGER NOT NULL
) STRICT;
CREATE INDEX batches_of_run ON batches (run, id);

CREATE TABLE pyramid (
    series INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    level INTEGER NOT NULL,
    first_step INTEGER NOT NULL,
    last_step INTEGER NOT NULL,
    blocks BLOB NOT NULL,
    UNIQUE (series, attempt, level, first_step)
) STRICT;

CREATE TABLE pyramid_states (
    series INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    points INTEGER NOT NULL,
    first_step INTEGER NOT NULL,
    last_step INTEGER NOT NULL,
    dirty INTEGER NOT NULL,
    PRIMARY KEY (series, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE samples (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (id),
    attempt INTEGER REFERENCES attempts (id),
    step INTEGER NOT NULL,
    kind TEXT NOT NULL,
    position INTEGER NOT NULL,
    label TEXT NOT NULL,
    seed INTEGER,
    sampler TEXT NOT NULL,
    scores TEXT NOT NULL,
    media TEXT NOT NULL,
    path TEXT,
    sha256 TEXT NOT NULL
) STRICT;
CREATE INDEX samples_of_run ON samples (run, id);

CREATE TABLE pictures (
    sample INTEGER PRIMARY KEY REFERENCES samples (id),
    thumbnail BLOB,
    image BLOB
) STRICT;

CREATE TABLE checkpoints (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (id),
    attempt INTEGER NOT NULL REFERENCES attempts (id),
    step INTEGER NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    is_best INTEGER NOT NULL,
    kept INTEGER NOT NULL,
    meta TEXT NOT NULL
) STRICT;
CREATE INDEX checkpoints_of_run ON checkpoints (run, step);

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (id),
    attempt INTEGER REFERENCES attempts (id),
    step INTEGER,
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT;
CREATE INDEX events_of_run ON events (run, id);

CREATE TABLE commands (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (id),
    verb TEXT NOT NULL,
    arguments TEXT NOT NULL,
    issued REAL NOT NULL,
    acknowledged REAL,
    finished REAL,
    result TEXT
) STRICT;
CREATE INDEX open_commands ON commands (run) WHERE finished IS NULL;

CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (id),
    step INTEGER NOT NULL,
    time REAL NOT NULL,
    recipe TEXT NOT NULL,
    figures TEXT NOT NULL
) STRICT;

CREATE TABLE exports (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (id),
    time REAL NOT NULL,
    format TEXT NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    verification TEXT NOT NULL
) STRICT;
"""

VERSION_2 = """
CREATE TABLE drafts (
    id INTEGER PRIMARY KEY,
    edits TEXT NOT NULL,
    position INTEGER NOT NULL,
    updated REAL NOT NULL
) STRICT
"""
