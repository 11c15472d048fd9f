"""The SQLite file that jobs are kept in: its tables, and what brings an older one up to date.

How many bytes each owner's jobs take is counted by triggers, so that no change can forget it.
"""

from pathlib import Path
from typing import Final

from platoon.store.clock import SCHEMA as CLOCK
from platoon.store.database import Database

_SCHEMA_VERSION: Final = 3
_APPLICATION_ID: Final = 0x504C4A42  # "PLJB"
_KEEP_LESS: Final = "PLATOON_JOBS__KEEP_HOURS"

_SHARES: Final = """
CREATE TABLE share (
    owner TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL DEFAULT 0,
    turn INTEGER NOT NULL DEFAULT 0  -- the higher, the later one of his jobs was begun
);
CREATE TRIGGER job_added AFTER INSERT ON job BEGIN
    INSERT INTO share (owner, bytes) VALUES (new.owner, new.bytes)
        ON CONFLICT (owner) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER job_resized AFTER UPDATE OF bytes ON job BEGIN
    UPDATE share SET bytes = bytes + new.bytes - old.bytes WHERE owner = new.owner;
END;
CREATE TRIGGER job_deleted AFTER DELETE ON job BEGIN
    UPDATE share SET bytes = bytes - old.bytes WHERE owner = old.owner;
END;
"""
_SCHEMA: Final = f"""
CREATE TABLE job (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    secret TEXT NOT NULL,
    owner TEXT NOT NULL,
    batch TEXT,
    priority INTEGER NOT NULL,
    body TEXT NOT NULL,          -- the order as JSON
    state TEXT NOT NULL,
    created REAL NOT NULL,       -- seconds since 1970, as the next two
    started REAL,
    ended REAL,
    expires REAL,                -- NULL before it has ended; by the clock of the store, as all that follow
    due REAL NOT NULL,           -- not begun before
    attempts INTEGER NOT NULL DEFAULT 0,
    holder TEXT,
    lease REAL,                  -- until when it is held
    total INTEGER,
    error TEXT,
    webhook_due REAL,            -- when its webhook is notified next; NULL: no more
    webhook_attempts INTEGER NOT NULL DEFAULT 0,
    receiver TEXT,               -- whom its webhook notifies
    done INTEGER NOT NULL DEFAULT 0,   -- pages that were kept
    bytes INTEGER NOT NULL DEFAULT 0   -- of order, document and pages
);
CREATE INDEX job_waiting ON job (priority, owner, attempts, number) WHERE state = 'PENDING';
CREATE INDEX job_started ON job (lease) WHERE state = 'STARTED';
CREATE INDEX job_by_batch ON job (batch, owner) WHERE batch IS NOT NULL;
CREATE INDEX job_by_expiry ON job (expires);
CREATE INDEX job_by_webhook ON job (webhook_due) WHERE webhook_due IS NOT NULL;
CREATE TABLE document (
    job INTEGER PRIMARY KEY REFERENCES job ON DELETE CASCADE,
    data BLOB NOT NULL
);
CREATE TABLE page (
    job INTEGER NOT NULL REFERENCES job ON DELETE CASCADE,
    page_index INTEGER NOT NULL, -- in the document, from 0
    body TEXT NOT NULL,          -- the page as JSON
    PRIMARY KEY (job, page_index)
);
{_SHARES}
{CLOCK}
"""
_UPGRADES: Final = {
    1: f"""
{CLOCK}
ALTER TABLE job ADD COLUMN receiver TEXT;
ALTER TABLE job ADD COLUMN done INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
DROP INDEX job_waiting;
CREATE INDEX job_waiting ON job (priority, owner, attempts, number) WHERE state = 'PENDING';
DELETE FROM document WHERE job IN (SELECT number FROM job WHERE state = 'REVOKED');
DELETE FROM page WHERE job IN (SELECT number FROM job WHERE state = 'REVOKED');
UPDATE job SET due = 0, lease = 0 * lease - 1, webhook_due = 0 * webhook_due,
    expires = max(0, expires - CAST(strftime('%s', 'now') AS REAL)),
    receiver = json_extract(body, '$.webhook'),
    done = (SELECT count(*) FROM page WHERE page.job = number),
    bytes = length(CAST(body AS BLOB))
        + coalesce((SELECT length(data) FROM document WHERE document.job = number), 0)
        + coalesce((SELECT sum(length(CAST(page.body AS BLOB))) FROM page WHERE page.job = number), 0);
{_SHARES}
INSERT INTO share (owner, bytes) SELECT owner, sum(bytes) FROM job GROUP BY owner;
""",
    2: """
DROP INDEX job_to_tell;
CREATE INDEX job_by_webhook ON job (webhook_due) WHERE webhook_due IS NOT NULL;
ALTER TABLE page RENAME COLUMN place TO page_index;
""",
}
"""Times of the first version were those of the machine's clock, and nothing was counted. The second had other names."""


def jobs_at(path: Path) -> Database:
    """The file at `path`."""
    return Database(path, "jobs", _SCHEMA, _SCHEMA_VERSION, _APPLICATION_ID, _KEEP_LESS, _UPGRADES)
