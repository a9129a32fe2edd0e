-- Version 2. Ids and blocks are numbers, reports are packed, and what the overview shows is rolled up as it arrives.

-- The current state of each session. `seq` grows with each arrival of a new current state: it orders the sessions newest
-- first, is the cursor of paging, and cannot be forged by a node with a wrong clock. Retention leaves the highest in place.
CREATE TABLE sessions (
    seq         INTEGER PRIMARY KEY,
    id          INTEGER NOT NULL UNIQUE,
    revision    INTEGER NOT NULL,
    node        TEXT NOT NULL,
    block       INTEGER,             -- NULL: a session of the node itself
    pool        TEXT NOT NULL,
    flagged     INTEGER NOT NULL,
    score       REAL NOT NULL,
    threshold   REAL NOT NULL,
    model       TEXT NOT NULL,
    reasons     TEXT NOT NULL,       -- JSON list
    start_ms    INTEGER NOT NULL,
    end_ms      INTEGER NOT NULL,
    events      INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    culprits    TEXT NOT NULL        -- JSON list
) STRICT;
CREATE INDEX sessions_node ON sessions (node, seq);
CREATE INDEX sessions_block ON sessions (block, end_ms);
CREATE INDEX sessions_taken_back ON sessions (seq) WHERE flagged = 0;

-- The report of each session's current state: JSON, packed with zstd.
CREATE TABLE bodies (
    seq  INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- Verdicts that are not current.
CREATE TABLE revisions (
    id          INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    flagged     INTEGER NOT NULL,
    score       REAL NOT NULL,
    model       TEXT NOT NULL,
    received_ms INTEGER NOT NULL,
    PRIMARY KEY (id, revision)
) STRICT, WITHOUT ROWID;

-- The join of a block's sessions, one row for each pool, made anew when one of them changes.
CREATE TABLE incidents (
    incident   INTEGER PRIMARY KEY,
    block      INTEGER NOT NULL,
    pool       TEXT NOT NULL,
    hour       INTEGER NOT NULL,     -- of end_ms
    start_ms   INTEGER NOT NULL,
    end_ms     INTEGER NOT NULL,
    score      REAL NOT NULL,
    sessions   INTEGER NOT NULL,
    flagged    INTEGER NOT NULL,
    nodes      INTEGER NOT NULL,
    node_names TEXT NOT NULL,        -- JSON list, the first ones
    culprits   TEXT NOT NULL,        -- JSON list, as counted under `slot`
    slot       INTEGER NOT NULL,
    UNIQUE (block, pool)
) STRICT;
CREATE INDEX incidents_hour ON incidents (hour, score) WHERE flagged > 0;

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

-- Roll-ups. `flagged` by the minute of a session's last event, `scored` by that of the summary.
CREATE TABLE minutes (
    minute  INTEGER PRIMARY KEY,
    flagged INTEGER NOT NULL DEFAULT 0,
    scored  INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Sessions by the range of their score, upper bound as text; slots of ten minutes.
CREATE TABLE scores (
    slot     INTEGER NOT NULL,
    bound    TEXT NOT NULL,
    sessions INTEGER NOT NULL,
    PRIMARY KEY (slot, bound)
) STRICT, WITHOUT ROWID;

-- How many incidents point at what; slots of ten minutes, and of a day for long ranges.
CREATE TABLE culprits (
    slot_ms   INTEGER NOT NULL,      -- length
    slot      INTEGER NOT NULL,
    kind      TEXT NOT NULL,
    name      TEXT NOT NULL,
    incidents INTEGER NOT NULL,
    PRIMARY KEY (slot_ms, slot, kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE templates (
    template      INTEGER PRIMARY KEY,
    text          TEXT NOT NULL,
    known         INTEGER NOT NULL,  -- to the model of who counted it last
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms  INTEGER NOT NULL,
    first_node    TEXT NOT NULL,
    events        INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX templates_first_seen ON templates (first_seen_ms);

-- Events of a template, by the hour.
CREATE TABLE template_hours (
    template INTEGER NOT NULL,
    hour     INTEGER NOT NULL,
    events   INTEGER NOT NULL,
    PRIMARY KEY (template, hour)
) STRICT, WITHOUT ROWID;

-- The last cumulative count of each node, to take the difference of the next one from.
CREATE TABLE template_counts (
    node     TEXT NOT NULL,
    template INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    events   INTEGER NOT NULL,
    PRIMARY KEY (node, template)
) STRICT, WITHOUT ROWID;

-- What people said of a session; the report is kept with it, whatever retention does.
CREATE TABLE marks (
    id        INTEGER PRIMARY KEY,   -- of the session
    real      INTEGER NOT NULL,      -- 0: a false alarm
    comment   TEXT NOT NULL,
    marked_by TEXT NOT NULL,
    marked_ms INTEGER NOT NULL,
    revision  INTEGER NOT NULL,
    body      BLOB NOT NULL
) STRICT;
