-- Version 1, as it was released: what a file without a version becomes first.
CREATE TABLE sessions (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    revision    INTEGER NOT NULL,
    node        TEXT NOT NULL,
    block       TEXT NOT NULL,
    pool        TEXT NOT NULL,
    flagged     INTEGER NOT NULL,
    score       REAL NOT NULL,
    threshold   REAL NOT NULL,
    model       TEXT NOT NULL,
    reasons     TEXT NOT NULL,
    start_ms    INTEGER NOT NULL,
    end_ms      INTEGER NOT NULL,
    events      INTEGER NOT NULL,
    received_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_node ON sessions (node, seq);
CREATE INDEX sessions_block ON sessions (block, seq);
CREATE INDEX sessions_taken_back ON sessions (seq) WHERE flagged = 0;

CREATE TABLE reports (
    id   TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE revisions (
    id          TEXT NOT NULL,
    revision    INTEGER NOT NULL,
    flagged     INTEGER NOT NULL,
    score       REAL NOT NULL,
    model       TEXT NOT NULL,
    received_ms INTEGER NOT NULL,
    PRIMARY KEY (id, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE nodes (
    node             TEXT PRIMARY KEY,
    agent_version    TEXT NOT NULL,
    model            TEXT NOT NULL,
    first_seen_ms    INTEGER NOT NULL,
    last_seen_ms     INTEGER NOT NULL,
    sessions_flagged INTEGER NOT NULL DEFAULT 0,
    metrics          TEXT NOT NULL DEFAULT '{}',
    metrics_ms       INTEGER
) STRICT;
