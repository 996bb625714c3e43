-- A project as version 1 wrote it. Never edit: such files exist.
PRAGMA application_id = 1146311756;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
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
INSERT INTO "attempts" VALUES(1,1,1,1234,1.0,'a-boot','a-computer',1.79519806192550683025e+09,1.79519806192506384853e+09,1.79519806192506384853e+09,1,20,1.79519806193112158778e+09,'stopped','You stopped it.','',NULL);
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
INSERT INTO "batches" VALUES(1,1,1,1,20,0.5,10.0,1280,60);
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
INSERT INTO "commands" VALUES(1,1,'stop','{}',1.79519806193100738521e+09,1.79519806193108391765e+09,1.79519806193112158778e+09,'Done.');
CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (id),
    step INTEGER NOT NULL,
    time REAL NOT NULL,
    recipe TEXT NOT NULL,
    figures TEXT NOT NULL
) STRICT;
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
INSERT INTO "events" VALUES(1,1,1,NULL,1.0,'info','Started.','{}');
CREATE TABLE exports (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (id),
    time REAL NOT NULL,
    format TEXT NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    verification TEXT NOT NULL
) STRICT;
CREATE TABLE pictures (
    sample INTEGER PRIMARY KEY REFERENCES samples (id),
    thumbnail BLOB,
    image BLOB
) STRICT;
INSERT INTO "pictures" VALUES(1,NULL,X'70696374757265');
CREATE TABLE points (
    series INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    step INTEGER NOT NULL,
    value REAL,
    PRIMARY KEY (series, attempt, step)
) STRICT, WITHOUT ROWID;
INSERT INTO "points" VALUES(1,1,1,0.25);
INSERT INTO "points" VALUES(1,1,2,0.5);
INSERT INTO "points" VALUES(1,1,3,0.75);
INSERT INTO "points" VALUES(1,1,4,1.0);
INSERT INTO "points" VALUES(1,1,5,1.25);
INSERT INTO "points" VALUES(1,1,6,1.5);
INSERT INTO "points" VALUES(1,1,7,1.75);
INSERT INTO "points" VALUES(1,1,8,2.0);
INSERT INTO "points" VALUES(1,1,9,2.25);
INSERT INTO "points" VALUES(1,1,10,2.5);
INSERT INTO "points" VALUES(1,1,11,2.75);
INSERT INTO "points" VALUES(1,1,12,3.0);
INSERT INTO "points" VALUES(1,1,13,3.25);
INSERT INTO "points" VALUES(1,1,14,3.5);
INSERT INTO "points" VALUES(1,1,15,3.75);
INSERT INTO "points" VALUES(1,1,16,4.0);
INSERT INTO "points" VALUES(1,1,17,4.25);
INSERT INTO "points" VALUES(1,1,18,4.5);
INSERT INTO "points" VALUES(1,1,19,4.75);
INSERT INTO "points" VALUES(1,1,20,5.0);
CREATE TABLE project (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
CREATE TABLE pyramid (
    series INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    level INTEGER NOT NULL,
    first_step INTEGER NOT NULL,
    last_step INTEGER NOT NULL,
    blocks BLOB NOT NULL,
    UNIQUE (series, attempt, level, first_step)
) STRICT;
INSERT INTO "pyramid" VALUES(1,1,1,1,16,X'01000000000000000800000000000000000000000000D03F00000000000000400900000000000000100000000000000000000000000002400000000000001040');
CREATE TABLE pyramid_states (
    series INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    points INTEGER NOT NULL,
    first_step INTEGER NOT NULL,
    last_step INTEGER NOT NULL,
    dirty INTEGER NOT NULL,
    PRIMARY KEY (series, attempt)
) STRICT, WITHOUT ROWID;
INSERT INTO "pyramid_states" VALUES(1,1,20,1,20,0);
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
INSERT INTO "runs" VALUES(1,'dmd2-1','train','{
  "version": 1,
  "kind": "train",
  "teacher": "digits",
  "data": null,
  "method": "dmd2",
  "settings": {
    "gan_weight": 0.01
  },
  "student": {
    "kind": "full",
    "start": null
  },
  "training": {
    "steps": 2000,
    "batch_size": 64,
    "seed": 0,
    "ema_decay": 0.999,
    "gradient_clip": 1.0,
    "warmup_steps": 0,
    "preview_every": 250,
    "checkpoint_every": 500,
    "keep_checkpoints": 3,
    "device": "auto",
    "precision": "float32",
    "threads": 0
  }
}','97562c6ef405c961ec1350b4d66ba1f3173d4ba7a2e52d307f6330e3846a7f9e','{}',1.79519806192481970789e+09,'','[]',NULL,NULL,NULL,'{}');
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
INSERT INTO "samples" VALUES(1,1,1,20,'preview',0,'',NULL,'{}','{}','image/png',NULL,'2cea274d0bedc39ec4ab6ba9e59ec889e3ed6fb56a1cf088a64d9b383378dc97');
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    UNIQUE (run, name)
) STRICT;
INSERT INTO "series" VALUES(1,1,'loss');
CREATE INDEX batches_of_run ON batches (run, id);
CREATE INDEX samples_of_run ON samples (run, id);
CREATE INDEX checkpoints_of_run ON checkpoints (run, step);
CREATE INDEX events_of_run ON events (run, id);
CREATE INDEX open_commands ON commands (run) WHERE finished IS NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',1);
INSERT INTO "sqlite_sequence" VALUES('attempts',1);
INSERT INTO "sqlite_sequence" VALUES('batches',1);
INSERT INTO "sqlite_sequence" VALUES('events',1);
INSERT INTO "sqlite_sequence" VALUES('samples',1);
INSERT INTO "sqlite_sequence" VALUES('commands',1);
COMMIT;
