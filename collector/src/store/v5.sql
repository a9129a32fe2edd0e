-- Version 5. Culprits are counted by the hour too: a day in slots of ten minutes is many rows in a large fleet.
-- What comes from version 1 is counted so already.
DELETE FROM culprits WHERE slot_ms = 3600000;
INSERT INTO culprits (slot_ms, slot, kind, name, incidents)
    SELECT 3600000, (slot - (slot % 6 + 6) % 6) / 6, kind, name, sum(incidents) FROM culprits
    WHERE slot_ms = 600000 GROUP BY 2, kind, name;
