"""Jobs in one SQLite file: the document, the job and its pages.

A job and its document become durable in one commit, and so does each page together with the check that whoever keeps
it still holds the job. Claims are held by lease, and by a lock on a file that the system gives back when a process
ends in whatever way: a new process of the same machine goes on at once with what a dead one held.
"""

import fcntl
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from platoon.documents.jobs import Claim, Job, Lost, Order, State, backoff_s, new_secret, too_often
from platoon.documents.page import Page
from platoon.errors import NotFound, Overloaded
from platoon.store.database import Database, transaction

_SCHEMA_VERSION: Final = 1
_APPLICATION_ID: Final = 0x504C4A42  # "PLJB"
_KEEP_LESS: Final = "PLATOON_JOBS__KEEP_HOURS"
_WEBHOOK_ATTEMPTS: Final = 10
_PAGES_AT_A_TIME: Final = 16

_SCHEMA: Final = """
CREATE TABLE job (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    secret TEXT NOT NULL,
    owner TEXT NOT NULL,
    batch TEXT,
    priority INTEGER NOT NULL,
    body TEXT NOT NULL,          -- the order as JSON
    state TEXT NOT NULL,
    created REAL NOT NULL,       -- seconds since 1970, as the other times
    started REAL,
    ended REAL,
    expires REAL,                -- NULL before it has ended
    due REAL NOT NULL,           -- not begun before
    attempts INTEGER NOT NULL DEFAULT 0,
    holder TEXT,
    lease REAL,                  -- until when it is held
    total INTEGER,
    error TEXT,
    webhook_due REAL,            -- when its webhook is told next; NULL: no more
    webhook_attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX job_waiting ON job (priority DESC, number) WHERE state = 'PENDING';
CREATE INDEX job_started ON job (lease) WHERE state = 'STARTED';
CREATE INDEX job_by_batch ON job (batch, owner) WHERE batch IS NOT NULL;
CREATE INDEX job_by_expiry ON job (expires);
CREATE INDEX job_to_tell ON job (webhook_due) WHERE webhook_due IS NOT NULL;
CREATE TABLE document (
    job INTEGER PRIMARY KEY REFERENCES job ON DELETE CASCADE,
    data BLOB NOT NULL
);
CREATE TABLE page (
    job INTEGER NOT NULL REFERENCES job ON DELETE CASCADE,
    place INTEGER NOT NULL,      -- in the document, from 0
    body TEXT NOT NULL,          -- the page as JSON
    PRIMARY KEY (job, place)
);
"""

_JOB: Final = """
SELECT id, secret, body, state, created, expires, started, ended, attempts, total,
    (SELECT count(*) FROM page WHERE page.job = job.number), error
FROM job
"""
_HELD: Final = "id = ? AND holder = ? AND state = 'STARTED'"
_CAN_BEGIN: Final = "(state = 'PENDING' AND due <= :now OR state = 'STARTED' AND lease < :now)"


class JobStore:
    """See `Jobs`.

    Args:
        path: the database file; made, with its folder, where there is none.
        keep_s: how long a job is kept after it has ended.
        max_waiting: jobs that may wait; one more is turned away.
        max_attempts: how often a job is begun without getting a page further, before it has failed.
        clock: seconds since 1970.

    Raises:
        StoreError: from every method, when the file cannot be written or read; says what to do.
    """

    def __init__(
        self,
        path: Path,
        *,
        keep_s: float,
        max_waiting: int,
        max_attempts: int,
        lease_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path, self.lease_s = path, lease_s
        self._keep_s, self._max_waiting, self._max_attempts, self._clock = keep_s, max_waiting, max_attempts, clock
        self._database = Database(path, "jobs", _SCHEMA, _SCHEMA_VERSION, _APPLICATION_ID, _KEEP_LESS)
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._writer = self._database.open()
        self._reader = self._database.open()
        self._alive = _Alive(path.with_suffix(".holders"))
        self._free_the_dead()

    def add(self, order: Order, document: bytes) -> Job:
        """See `Jobs.add`."""
        now = self._clock()
        job = Job(uuid4().hex, new_secret(), order, State.PENDING, created=now)
        body = json.dumps(order.to_json(), ensure_ascii=False)
        values = (job.id, job.secret, order.owner, order.batch, order.priority, body, job.state, now, now)
        with self._database.explained("written"), self._writing, transaction(self._writer) as db:
            if _waiting(db) >= self._max_waiting:
                raise Overloaded(f"{self._max_waiting} documents wait already; try again later", retry_after_s=60.0)
            added = db.execute(
                "INSERT INTO job (id, secret, owner, batch, priority, body, state, created, due) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            db.execute("INSERT INTO document (job, data) VALUES (?, ?)", (added.lastrowid, document))
        return job

    def get(self, job_id: str) -> Job | None:
        """See `Jobs.get`."""
        found = self._select(f"{_JOB} WHERE id = ? AND (expires IS NULL OR expires > ?)", job_id, self._clock())
        return _job(found[0]) if found else None

    def batch(self, batch: str, owner: str) -> list[Job]:
        """See `Jobs.batch`."""
        query = f"{_JOB} WHERE batch = ? AND owner = ? AND (expires IS NULL OR expires > ?) ORDER BY number"
        return [_job(row) for row in self._select(query, batch, owner, self._clock())]

    def waiting(self) -> int:
        """See `Jobs.waiting`."""
        with self._database.explained("read"), self._reading:
            return _waiting(self._reader)

    def place(self, job: Job) -> int | None:
        """See `Jobs.place`."""
        query = """
            SELECT (SELECT count(*) FROM job AS other WHERE other.state = 'PENDING'
                    AND (other.priority > job.priority
                         OR other.priority = job.priority AND other.number <= job.number))
            FROM job WHERE id = ? AND state = 'PENDING'
        """
        found = self._select(query, job.id)
        return int(found[0][0]) if found else None

    def document(self, job_id: str) -> bytes:
        """See `Jobs.document`."""
        found = self._select("SELECT data FROM document JOIN job ON job = number WHERE id = ?", job_id)
        if not found:
            raise NotFound(f"no document of the job {job_id!r:.60}: it may have outlived its time")
        return bytes(found[0][0])

    def pages(self, job_id: str) -> Iterator[Page]:
        """See `Jobs.pages`."""
        query = """
            SELECT place, page.body FROM page JOIN job ON job = number
            WHERE id = ? AND place > ? ORDER BY place LIMIT ?
        """
        last = -1
        while rows := self._select(query, job_id, last, _PAGES_AT_A_TIME):
            yield from (Page.from_json(json.loads(body)) for _, body in rows)
            last = rows[-1][0]

    def page(self, job_id: str, index: int) -> Page | None:
        """See `Jobs.page`."""
        found = self._select(
            "SELECT page.body FROM page JOIN job ON job = number WHERE id = ? AND place = ?", job_id, index
        )
        return Page.from_json(json.loads(found[0][0])) if found else None

    def indices(self, job_id: str) -> set[int]:
        """See `Jobs.indices`."""
        rows = self._select("SELECT place FROM page JOIN job ON job = number WHERE id = ?", job_id)
        return {int(place) for (place,) in rows}

    def claim(self, holder: str, job_id: str | None = None) -> Claim | None:
        """See `Jobs.claim`."""
        chosen = _CAN_BEGIN if job_id is None else f"{_CAN_BEGIN} AND id = :id"
        query = f"SELECT id, attempts FROM job WHERE {chosen} ORDER BY priority DESC, number LIMIT 1"
        now = self._clock()
        values = {"now": now, "id": job_id}
        while self._find(query, values):  # without a lock, which idle workers would ask for all the time
            with self._database.explained("written"), self._writing, transaction(self._writer) as db:
                found = db.execute(query, values).fetchone()
                if found is None:
                    return None
                chosen_id, attempts = found
                if attempts >= self._max_attempts:
                    self._end(db, State.FAILURE, too_often(attempts), "id = ?", chosen_id)
                    continue
                db.execute(
                    "UPDATE job SET state = 'STARTED', holder = ?, lease = ?, attempts = attempts + 1, "
                    "started = coalesce(started, ?) WHERE id = ?",
                    (self._alive.name(holder), now + self.lease_s, now, chosen_id),
                )
                job = _job(db.execute(f"{_JOB} WHERE id = ?", (chosen_id,)).fetchone())
            return Claim(job, self._alive.name(holder))
        return None

    def renew(self, claim: Claim) -> bool:
        """See `Jobs.renew`."""
        now = self._clock()
        found = self._select(f"SELECT lease FROM job WHERE {_HELD}", claim.job.id, claim.holder)
        if not found:
            return False
        if found[0][0] - now < self.lease_s / 2:
            return bool(self._write(f"UPDATE job SET lease = ? WHERE {_HELD}", now + self.lease_s, *_of(claim)))
        return True

    def begin(self, claim: Claim, total: int) -> None:
        """See `Jobs.begin`."""
        if not self._write(f"UPDATE job SET total = ? WHERE {_HELD}", total, *_of(claim)):
            raise Lost

    def keep(self, claim: Claim, page: Page) -> None:
        """See `Jobs.keep`."""
        body = json.dumps(page.to_json(), ensure_ascii=False)
        lease = self._clock() + self.lease_s
        with self._database.explained("written"), self._writing, transaction(self._writer) as db:
            held = db.execute(
                f"UPDATE job SET lease = ?, attempts = 0, error = NULL WHERE {_HELD} RETURNING number",
                (lease, *_of(claim)),
            ).fetchone()
            if held is None:
                raise Lost
            db.execute("INSERT OR REPLACE INTO page (job, place, body) VALUES (?, ?, ?)", (*held, page.index, body))

    def finish(self, claim: Claim, error: str | None = None) -> None:
        """See `Jobs.finish`."""
        state = State.SUCCESS if error is None else State.FAILURE
        with self._database.explained("written"), self._writing:
            self._end(self._writer, state, error, _HELD, *_of(claim))

    def retry(self, claim: Claim, error: str) -> None:
        """See `Jobs.retry`."""
        now = self._clock()
        with self._database.explained("written"), self._writing, transaction(self._writer) as db:
            found = db.execute(f"SELECT attempts FROM job WHERE {_HELD}", _of(claim)).fetchone()
            if found is None:
                return
            (attempts,) = found
            if attempts >= self._max_attempts:
                self._end(db, State.FAILURE, error, _HELD, *_of(claim))
                return
            db.execute(
                f"UPDATE job SET state = 'PENDING', holder = NULL, lease = NULL, due = ?, error = ? WHERE {_HELD}",
                (now + backoff_s(attempts), error, *_of(claim)),
            )

    def release(self, claim: Claim) -> None:
        """See `Jobs.release`."""
        self._write(
            "UPDATE job SET state = 'PENDING', holder = NULL, lease = NULL, attempts = max(0, attempts - 1) "
            f"WHERE {_HELD}",
            *_of(claim),
        )

    def cancel(self, job_id: str) -> None:
        """See `Jobs.cancel`."""
        with self._database.explained("written"), self._writing:
            self._end(self._writer, State.REVOKED, None, "id = ? AND state IN ('PENDING', 'STARTED')", job_id)

    def sweep(self) -> int:
        """See `Jobs.sweep`."""
        return self._write("DELETE FROM job WHERE expires <= ?", self._clock())

    def due_webhook(self) -> Job | None:
        """See `Jobs.due_webhook`."""
        now = self._clock()
        query = "SELECT id, webhook_attempts FROM job WHERE webhook_due <= ? ORDER BY webhook_due LIMIT 1"
        if not self._select(query, now):
            return None
        with self._database.explained("written"), self._writing, transaction(self._writer) as db:
            found = db.execute(query, (now,)).fetchone()
            if found is None:
                return None
            job_id, attempts = found
            again = now + self.lease_s + backoff_s(attempts + 1) if attempts + 1 < _WEBHOOK_ATTEMPTS else None
            db.execute(
                "UPDATE job SET webhook_due = ?, webhook_attempts = webhook_attempts + 1 WHERE id = ?", (again, job_id)
            )
            return _job(db.execute(f"{_JOB} WHERE id = ?", (job_id,)).fetchone())

    def told(self, job_id: str) -> None:
        """See `Jobs.told`."""
        self._write("UPDATE job SET webhook_due = NULL WHERE id = ?", job_id)

    def close(self) -> None:
        """Let the file go. Other methods must not be called any more."""
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()
            self._alive.close()

    def _end(self, db: sqlite3.Connection, state: State, error: str | None, where: str, *values: Any) -> None:
        now = self._clock()
        db.execute(
            "UPDATE job SET state = ?, error = ?, ended = ?, expires = ?, holder = NULL, lease = NULL, "
            "webhook_due = CASE WHEN json_extract(body, '$.webhook') IS NULL THEN NULL ELSE ? END "
            f"WHERE {where}",
            (state, error, now, now + self._keep_s, now, *values),
        )

    def _free_the_dead(self) -> None:
        """What processes of this machine held that are no more may be begun at once."""
        holders = {holder for (holder,) in self._select("SELECT DISTINCT holder FROM job WHERE state = 'STARTED'")}
        for holder in self._alive.dead(holders):
            self._write("UPDATE job SET lease = 0 WHERE holder = ? AND state = 'STARTED'", holder)

    def _select(self, query: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        return self._find(query, values)

    def _find(self, query: str, values: Sequence[Any] | Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        with self._database.explained("read"), self._reading:
            return self._reader.execute(query, values).fetchall()

    def _write(self, statement: str, *values: Any) -> int:
        with self._database.explained("written"), self._writing:
            return self._writer.execute(statement, values).rowcount


class _Alive:
    """Tells which holders belong to processes that still run: each locks a file for as long as it lives."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._process = folder, uuid4().hex
        path = folder / self._process
        while not path.exists():  # another may take it away before it is locked
            self._file = path.open("w")
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def name(self, holder: str) -> str:
        """As which `holder` of this process is known to all."""
        return f"{self._process}/{holder}"

    def dead(self, holders: set[str]) -> list[str]:
        """Those whose process has ended."""
        processes = {path.name for path in self._folder.iterdir()} - {self._process}
        running = {process for process in processes if not self._remove(process)}
        return [holder for holder in holders if holder.partition("/")[0] not in running | {self._process}]

    def close(self) -> None:
        """As if this process had ended."""
        (self._folder / self._process).unlink(missing_ok=True)
        self._file.close()

    def _remove(self, process: str) -> bool:
        """Take away the file of a process, unless that holds it."""
        path = self._folder / process
        try:
            with path.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False
        return True


def _waiting(db: sqlite3.Connection) -> int:
    (count,) = db.execute("SELECT count(*) FROM job WHERE state = 'PENDING'").fetchone()
    return int(count)


def _of(claim: Claim) -> tuple[str, str]:
    return claim.job.id, claim.holder


def _job(row: Sequence[Any]) -> Job:
    job_id, secret, body, state, created, expires, started, ended, attempts, total, done, error = row
    return Job(
        id=job_id,
        secret=secret,
        order=Order.from_json(json.loads(body)),
        state=State(state),
        created=created,
        expires=expires,
        started=started,
        ended=ended,
        attempts=attempts,
        total=total,
        done=done,
        error=error,
    )
