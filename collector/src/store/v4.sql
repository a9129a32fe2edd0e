-- Version 4. Who is asked for their part of a flagged block.

-- What logs call a node, as its agent says. One that several nodes have, such as that of a bridge, tells nothing.
CREATE TABLE addresses (
    node    TEXT NOT NULL,
    address TEXT NOT NULL,
    PRIMARY KEY (node, address)
) STRICT, WITHOUT ROWID;

-- Blocks that a node is asked for. An agent remembers up to which number it was asked.
CREATE TABLE wanted (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    node     TEXT NOT NULL,
    block    INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,       -- the collector's clock
    UNIQUE (node, block)
) STRICT;
CREATE INDEX wanted_node ON wanted (node, number);
CREATE INDEX wanted_since ON wanted (since_ms);
