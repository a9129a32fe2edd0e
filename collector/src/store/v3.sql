-- Version 3. What people are told of incidents.

-- Incidents that were told, or wait for the next group. The row goes when the incident is taken back.
CREATE TABLE notices (
    block   INTEGER NOT NULL,
    pool    TEXT NOT NULL,
    state   INTEGER NOT NULL,       -- 0: waits for the next group, 1: told by itself, 2: told in a group
    node    TEXT NOT NULL,          -- whose budget it counts on
    score   REAL NOT NULL,
    at_ms   INTEGER NOT NULL,       -- the collector's clock
    subject TEXT NOT NULL,          -- JSON, as it was told
    PRIMARY KEY (block, pool)
) STRICT;
CREATE INDEX notices_waiting ON notices (at_ms) WHERE state = 0;

-- Notifications of single incidents, by node and day of the collector's clock.
CREATE TABLE notice_days (
    node TEXT NOT NULL,
    day  INTEGER NOT NULL,
    told INTEGER NOT NULL,
    PRIMARY KEY (node, day)
) STRICT, WITHOUT ROWID;

-- What receivers have not taken yet, in order.
CREATE TABLE outbox (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    receiver TEXT NOT NULL,
    at_ms    INTEGER NOT NULL,
    notice   TEXT NOT NULL          -- JSON
) STRICT;
CREATE INDEX outbox_receiver ON outbox (receiver, number);
