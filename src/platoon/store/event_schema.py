"""The tables of events, and how those of older versions become them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from platoon.store.clock import SCHEMA as CLOCK
from platoon.store.database import Database

_VERSION: Final = 3
_APPLICATION_ID: Final = 0x504C4154  # "PLAT"
_KEEP_LESS: Final = "PLATOON_STORE__MAX_BYTES, PLATOON_STORE__MAX_AGE_DAYS"

_EVENTS: Final = """
CREATE TABLE event (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    rank INTEGER NOT NULL,   -- of the state in STATES
    camera TEXT NOT NULL,
    plate TEXT NOT NULL,     -- the text of whatever kind, as it is searched: letters and digits, upper case
    time REAL NOT NULL,      -- seconds since 1970
    crop TEXT,               -- key in the object store; the body does not repeat it
    body TEXT NOT NULL,      -- the whole event as JSON
    crop_bytes INTEGER,      -- NULL: not measured yet
    revision INTEGER,        -- counts all writes of the store, upwards; NULL: written by an older version
    kind TEXT NOT NULL DEFAULT 'plate'
);
CREATE INDEX event_by_time ON event (time);
CREATE INDEX event_by_camera ON event (camera, time);
CREATE VIRTUAL TABLE plate_index
    USING fts5 (plate, content='event', content_rowid='number', tokenize='trigram');
CREATE TRIGGER event_added AFTER INSERT ON event BEGIN
    INSERT INTO plate_index (rowid, plate) VALUES (new.number, new.plate);
END;
CREATE TRIGGER event_removed AFTER DELETE ON event BEGIN
    INSERT INTO plate_index (plate_index, rowid, plate) VALUES ('delete', old.number, old.plate);
END;
CREATE TRIGGER event_replaced AFTER UPDATE OF plate ON event BEGIN
    INSERT INTO plate_index (plate_index, rowid, plate) VALUES ('delete', old.number, old.plate);
    INSERT INTO plate_index (rowid, plate) VALUES (new.number, new.plate);
END;
"""
_SINCE_2: Final = """
CREATE INDEX event_with_crop ON event (time, crop_bytes) WHERE crop IS NOT NULL;
CREATE INDEX event_undecided ON event (time) WHERE crop IS NOT NULL AND rank = 0;
CREATE INDEX event_unmeasured ON event (number) WHERE crop IS NOT NULL AND crop_bytes IS NULL;
CREATE INDEX event_by_crop ON event (crop) WHERE crop IS NOT NULL;
CREATE INDEX event_by_revision ON event (revision);
CREATE TABLE dropped_crop (key TEXT PRIMARY KEY) WITHOUT ROWID;  -- to be deleted: no event names it any more
CREATE TABLE memo (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO memo VALUES ('revision', 0);
"""
_SINCE_3: Final = (
    """
CREATE INDEX event_by_kind ON event (kind, time);
CREATE TABLE delivery (          -- of a state of an event to one receiver; gone once it is delivered or given up
    number INTEGER PRIMARY KEY,  -- in the order of writing
    id TEXT NOT NULL UNIQUE,     -- by which the receiver knows one that comes again
    receiver TEXT NOT NULL,      -- its name in the settings
    event TEXT NOT NULL REFERENCES event (id) ON DELETE CASCADE,
    body TEXT NOT NULL,          -- of that state, as JSON
    written REAL NOT NULL,       -- in seconds of `clock`, as `due`
    due REAL NOT NULL,           -- when it is tried next; whoever tries it puts that off, so that nobody else does
    attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX delivery_due ON delivery (receiver, due);
CREATE INDEX delivery_order ON delivery (receiver, number);
CREATE INDEX delivery_of_event ON delivery (event, receiver, number);
"""
    + CLOCK
)
_UPGRADES: Final = {
    1: "DROP INDEX event_with_crop;\n"
    "ALTER TABLE event ADD COLUMN crop_bytes INTEGER;\n"
    "ALTER TABLE event ADD COLUMN revision INTEGER;" + _SINCE_2,
    2: "ALTER TABLE event ADD COLUMN kind TEXT NOT NULL DEFAULT 'plate';" + _SINCE_3,
}


def events_at(path: Path, *, unattended: bool = False) -> Database:
    """The file of events at `path`; where it is `unattended` and turns out to be damaged, a new one is begun."""
    schema = _EVENTS + _SINCE_2 + _SINCE_3
    return Database(path, "events", schema, _VERSION, _APPLICATION_ID, _KEEP_LESS, _UPGRADES, unattended)
