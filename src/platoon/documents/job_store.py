"""Jobs in one SQLite file: the document, the job and its pages.

A job and its document become durable in one commit, and so does each page together with the check that whoever keeps
it still holds the job. Claims are held by lease, and by a lock on a file that the system gives back when a process
ends in whatever way: a new process of the same machine goes on at once with what a dead one held.

The file is opened when it is first needed, and opened anew after an error: whoever moves a damaged file away need not
start anything anew.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from platoon.documents.job_holders import Holders
from platoon.documents.job_schema import jobs_at
from platoon.documents.jobs import (
    OUTAGE_WAIT_S,
    WEBHOOK_ATTEMPTS,
    Claim,
    Job,
    Limits,
    Load,
    Lost,
    Order,
    State,
    backoff_s,
    new_secret,
    too_often,
)
from platoon.documents.page import Page
from platoon.errors import NotFound, StoreError, StoreUnusable
from platoon.store.clock import StoreClock
from platoon.store.database import Connection, give_back, transaction
from platoon.store.space import check_room

_PAGES_AT_A_TIME: Final = 16

_JOB: Final = "SELECT id, secret, body, state, created, expires, started, ended, attempts, total, done, error FROM job"
_HELD: Final = "id = ? AND holder = ? AND state = 'STARTED'"
_CAN_BEGIN: Final = "(state = 'PENDING' AND due <= :now OR state = 'STARTED' AND lease < :now)"
_KEPT: Final = "(expires IS NULL OR expires > ?)"
_QUEUE_POSITION: Final = """
WITH mine AS MATERIALIZED (
    SELECT priority, owner, (
        SELECT count(*) FROM job AS earlier WHERE earlier.state = 'PENDING' AND earlier.priority = job.priority
            AND earlier.owner = job.owner
            AND (earlier.attempts, earlier.due, earlier.number) <= (job.attempts, job.due, job.number)
    ) AS round
    FROM job WHERE id = ? AND state = 'PENDING'
), lane AS MATERIALIZED (
    SELECT job.owner, turn, count(*) AS waiting, min(number) AS first FROM job JOIN share ON share.owner = job.owner
    WHERE state = 'PENDING' AND priority = (SELECT priority FROM mine) GROUP BY job.owner
), own AS MATERIALIZED (
    SELECT turn, first FROM lane WHERE owner = (SELECT owner FROM mine)
)
SELECT (SELECT count(*) FROM job WHERE state = 'PENDING' AND priority > mine.priority)
    + (SELECT sum(min(lane.waiting, mine.round - ((lane.turn, lane.first) > (own.turn, own.first)))) FROM lane, own)
FROM mine
"""
"""Of each owner's jobs those go before one that is its owner's nth of this priority, of which n rounds bring one."""


class JobStore:
    """See `Jobs`.

    Args:
        path: the database file; made, with its folder, where there is none.
        clock: belongs to this store alone.

    Raises:
        StoreError: from every method but `not_ready`, when the file cannot be written or read; says what to do.
    """

    def __init__(self, path: Path, limits: Limits, *, clock: StoreClock | None = None) -> None:
        self.path, self.lease_s = path, limits.lease_s
        self._limits, self._clock = limits, clock or StoreClock()
        self._database = jobs_at(path)
        self._writer = Connection(self._database, self._open_writer)
        self._reader = Connection(self._database, self._open_reader)
        self._holders: Holders | None = None
        self._damage: tuple[int, str] | None = None
        """Of which file something was found to be damaged, and what."""

    def not_ready(self) -> list[str]:
        """See `Jobs.not_ready`. What was found damaged is reported until the file is another."""
        try:
            self._find("SELECT (SELECT max(number) FROM job), (SELECT max(job) FROM document)")
        except StoreError as error:
            return [str(error)]
        damage = self._damage
        return [damage[1]] if damage is not None and damage[0] == self._file_number() else []

    def check_room(self, owner: str, n_bytes: int) -> None:
        """See `Jobs.check_room`."""
        with self._reading() as db:
            self._limits.check_room(n_bytes, _load(db, owner))
        self._check_disk(n_bytes)

    def add(self, order: Order, document: bytes) -> Job:
        """See `Jobs.add`."""
        job = Job(uuid4().hex, new_secret(), order, State.PENDING, created=self._clock.wall())
        body = json.dumps(order.to_json(), ensure_ascii=False)
        n_bytes = len(document) + len(body.encode())
        self._check_disk(n_bytes)
        with self._writing() as db:
            self._limits.check_room(n_bytes, _load(db, order.owner))
            values = (job.id, job.secret, order.owner, order.batch, order.priority, body, job.state, job.created)
            added = db.execute(
                "INSERT INTO job (id, secret, owner, batch, priority, body, state, created, due, receiver, bytes) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, self._now(), order.receiver, n_bytes),
            )
            db.execute("INSERT INTO document (job, data) VALUES (?, ?)", (added.lastrowid, document))
        return job

    def get(self, job_id: str) -> Job | None:
        """See `Jobs.get`."""
        found = self._find(f"{_JOB} WHERE id = ? AND {_KEPT}", job_id, self._now())
        return self._job(found[0]) if found else None

    def batch(self, batch: str, owner: str) -> list[Job]:
        """See `Jobs.batch`."""
        query = f"{_JOB} WHERE batch = ? AND owner = ? AND {_KEPT} ORDER BY number"
        return [self._job(row) for row in self._find(query, batch, owner, self._now())]

    def waiting(self) -> int:
        """See `Jobs.waiting`."""
        return int(self._find("SELECT count(*) FROM job WHERE state = 'PENDING'")[0][0])

    def queue_position(self, job: Job) -> int | None:
        """See `Jobs.queue_position`."""
        found = self._find(_QUEUE_POSITION, job.id)
        return int(found[0][0]) if found else None

    def document(self, job_id: str) -> bytes:
        """See `Jobs.document`."""
        found = self._find("SELECT data FROM document JOIN job ON job = number WHERE id = ?", job_id)
        if not found:
            raise NotFound(f"no document of the job {job_id!r:.60}: it was cancelled, or has outlived its time")
        return bytes(found[0][0])

    def pages(self, job_id: str) -> Iterator[Page]:
        """See `Jobs.pages`."""
        query = """
            SELECT page_index, page.body FROM page JOIN job ON job = number
            WHERE id = ? AND page_index > ? ORDER BY page_index LIMIT ?
        """
        last = -1
        while rows := self._find(query, job_id, last, _PAGES_AT_A_TIME):
            yield from (Page.from_json(json.loads(body)) for _, body in rows)
            last = rows[-1][0]

    def page(self, job_id: str, index: int) -> Page | None:
        """See `Jobs.page`."""
        query = "SELECT page.body FROM page JOIN job ON job = number WHERE id = ? AND page_index = ?"
        found = self._find(query, job_id, index)
        return Page.from_json(json.loads(found[0][0])) if found else None

    def indices(self, job_id: str) -> set[int]:
        """See `Jobs.indices`."""
        rows = self._find("SELECT page_index FROM page JOIN job ON job = number WHERE id = ?", job_id)
        return {int(index) for (index,) in rows}

    def due(self) -> bool:
        """See `Jobs.due`."""
        return bool(self._find(f"SELECT 1 FROM job WHERE {_CAN_BEGIN} LIMIT 1", now=self._now()))

    def claim(self, holder: str, job_id: str | None = None) -> Claim | None:
        """See `Jobs.claim`."""
        chosen = _CAN_BEGIN if job_id is None else f"{_CAN_BEGIN} AND id = :id"
        query = f"""
            SELECT id, attempts, job.owner FROM job JOIN share ON share.owner = job.owner WHERE {chosen}
            ORDER BY priority DESC, turn, attempts, due, number LIMIT 1
        """
        while self._find(query, now=self._now(), id=job_id):  # not as a writer, while there is nothing to do
            with self._writing() as db:
                now = self._now()
                found = db.execute(query, {"now": now, "id": job_id}).fetchone()
                if found is None:
                    return None
                chosen_id, attempts, owner = found
                if attempts >= self._limits.max_attempts:
                    self._end(db, State.FAILURE, too_often(attempts), "id = ?", chosen_id)
                    continue
                assert self._holders is not None
                name = self._holders.name(holder)
                db.execute(
                    "UPDATE job SET state = 'STARTED', holder = ?, lease = ?, attempts = attempts + 1, "
                    "started = coalesce(started, ?) WHERE id = ?",
                    (name, now + self.lease_s, self._clock.wall(), chosen_id),
                )
                db.execute("UPDATE share SET turn = (SELECT max(turn) + 1 FROM share) WHERE owner = ?", (owner,))
                return Claim(self._job(db.execute(f"{_JOB} WHERE id = ?", (chosen_id,)).fetchone()), name)
        return None

    def renew(self, claim: Claim) -> bool:
        """See `Jobs.renew`."""
        now = self._now()
        found = self._find(f"SELECT lease FROM job WHERE {_HELD}", *_of(claim))
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
        n_bytes = len(body.encode())
        self._check_disk(n_bytes)
        with self._writing() as db:
            held = db.execute(f"SELECT number, owner FROM job WHERE {_HELD}", _of(claim)).fetchone()
            if held is None:
                raise Lost
            number, owner = held
            before = db.execute(
                "SELECT length(CAST(body AS BLOB)) FROM page WHERE job = ? AND page_index = ?", (number, page.index)
            ).fetchone()
            growth = n_bytes - (before[0] if before else 0)
            self._limits.check_growth(growth, _load(db, owner))
            kept = number, page.index, body
            db.execute("INSERT OR REPLACE INTO page (job, page_index, body) VALUES (?, ?, ?)", kept)
            db.execute(
                "UPDATE job SET lease = ?, attempts = 0, error = NULL, done = done + ?, bytes = bytes + ? "
                "WHERE number = ?",
                (self._now() + self.lease_s, before is None, growth, number),
            )

    def finish(self, claim: Claim, error: str | None = None) -> None:
        """See `Jobs.finish`."""
        with self._writing() as db:
            self._end(db, State.SUCCESS if error is None else State.FAILURE, error, _HELD, *_of(claim))

    def retry(self, claim: Claim, error: str) -> None:
        """See `Jobs.retry`."""
        with self._writing() as db:
            found = db.execute(f"SELECT attempts FROM job WHERE {_HELD}", _of(claim)).fetchone()
            if found is None:
                return
            (attempts,) = found
            if attempts >= self._limits.max_attempts:
                self._end(db, State.FAILURE, error, _HELD, *_of(claim))
                return
            db.execute(
                f"UPDATE job SET state = 'PENDING', holder = NULL, lease = NULL, due = ?, error = ? WHERE {_HELD}",
                (self._now() + backoff_s(attempts), error, *_of(claim)),
            )

    def release(self, claim: Claim, error: str | None = None, *, behind: bool = False) -> None:
        """See `Jobs.release`."""
        self._write(
            "UPDATE job SET state = 'PENDING', holder = NULL, lease = NULL, attempts = max(0, attempts - 1), "
            f"due = coalesce(?, due), error = coalesce(?, error) WHERE {_HELD}",
            self._now() + (OUTAGE_WAIT_S if error else 0) if error or behind else None,
            error,
            *_of(claim),
        )

    def cancel(self, job_id: str) -> None:
        """See `Jobs.cancel`."""
        with self._writing() as db:
            self._end(db, State.REVOKED, None, "id = ? AND state IN ('PENDING', 'STARTED')", job_id)

    def sweep(self) -> int:
        """See `Jobs.sweep`. What was deleted since the last time is given back to the disk."""
        with self._writing() as db:
            gone = db.execute("DELETE FROM job WHERE expires <= ?", (self._now(),)).rowcount
            self._clock.keep(db)
        with self._database.explained("written"), self._writer() as db:
            give_back(db)
        return gone

    def due_webhook(self, receivers: Collection[str] = (), owners: Collection[str] = ()) -> Job | None:
        """See `Jobs.due_webhook`."""
        query = """
            SELECT id, webhook_attempts FROM job WHERE webhook_due <= ?
            AND receiver NOT IN (SELECT value FROM json_each(?)) AND owner NOT IN (SELECT value FROM json_each(?))
            ORDER BY webhook_due LIMIT 1
        """
        wanted = (self._now(), json.dumps([*receivers]), json.dumps([*owners]))
        if not self._find(query, *wanted):
            return None
        with self._writing() as db:
            found = db.execute(query, wanted).fetchone()
            if found is None:
                return None
            job_id, before = found
            again = wanted[0] + self.lease_s + backoff_s(before + 1) if before + 1 < WEBHOOK_ATTEMPTS else None
            db.execute(
                "UPDATE job SET webhook_due = ?, webhook_attempts = webhook_attempts + 1 WHERE id = ?", (again, job_id)
            )
            return self._job(db.execute(f"{_JOB} WHERE id = ?", (job_id,)).fetchone())

    def notified(self, job_id: str) -> None:
        """See `Jobs.notified`."""
        self._write("UPDATE job SET webhook_due = NULL WHERE id = ?", job_id)

    def close(self) -> None:
        """Let the file go. Other methods must not be called any more."""
        self._reader.close()
        self._writer.close()
        if self._holders is not None:
            self._holders.close()

    def _end(self, db: sqlite3.Connection, state: State, error: str | None, where: str, *values: Any) -> None:
        """What nobody can ask for any more is forgotten at once: of what was cancelled, or failed without a page."""
        now = self._now()
        ended = db.execute(
            "UPDATE job SET state = ?, error = ?, ended = ?, expires = ?, holder = NULL, lease = NULL, "
            "webhook_due = CASE WHEN receiver IS NULL THEN NULL ELSE ? END "
            f"WHERE {where} RETURNING number, done",
            (state, error, self._clock.wall(), now + self._limits.keep_s, now, *values),
        ).fetchone()
        if ended is None or state is State.SUCCESS:
            return
        number, done = ended
        if state is State.REVOKED or not done:
            db.execute("DELETE FROM document WHERE job = ?", (number,))
            db.execute("DELETE FROM page WHERE job = ?", (number,))
            db.execute("UPDATE job SET bytes = length(CAST(body AS BLOB)) WHERE number = ?", (number,))

    def _open_writer(self) -> sqlite3.Connection:
        db = self._database.open()
        try:
            with transaction(db):
                if self._clock.join(db):  # of what was due before, some may seem to be far ahead
                    now = self._clock()
                    db.execute("UPDATE job SET lease = -1 WHERE state = 'STARTED'")
                    db.execute("UPDATE job SET due = min(due, ?), webhook_due = min(webhook_due, ?)", (now, now))
                self._free_the_dead(db)
        except OSError as error:
            db.close()
            raise StoreUnusable(
                f"jobs in {self.path} cannot be opened: {error}; let this user write its folder"
            ) from error
        except BaseException:
            db.close()
            raise
        return db

    def _open_reader(self) -> sqlite3.Connection:
        with self._writer():  # which makes what is to be read
            return self._database.open()

    def _free_the_dead(self, db: sqlite3.Connection) -> None:
        """What processes of this machine held that are no more may be begun at once."""
        if self._holders is not None and not self._holders.seen():
            self._holders.close()
            self._holders = None
        if self._holders is None:
            self._holders = Holders(self.path.with_suffix(".holders"))
        found = db.execute("SELECT DISTINCT holder FROM job WHERE state = 'STARTED'").fetchall()
        for holder in self._holders.dead(holder for (holder,) in found):
            db.execute("UPDATE job SET lease = -1 WHERE holder = ? AND state = 'STARTED'", (holder,))

    def _check_disk(self, n_bytes: int) -> None:
        """Raises StoreError where so many bytes would take what is kept for events: they are written twice."""
        check_room(self.path, 2 * n_bytes, self._limits.reserve_bytes)

    def _now(self) -> float:
        if self._holders is None:  # the clock goes on from where the file was
            with self._watched("opened"), self._writer():
                pass
        return self._clock()

    def _find(self, query: str, *values: Any, **named: Any) -> Sequence[tuple[Any, ...]]:
        with self._reading() as db:
            return db.execute(query, named or values).fetchall()

    def _write(self, statement: str, *values: Any) -> int:
        with self._writing() as db:
            return db.execute(statement, values).rowcount

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._watched("read"), self._reader() as db:
            yield db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """In a transaction."""
        with self._watched("written"), self._writer() as db, transaction(db):
            yield db

    @contextmanager
    def _watched(self, what: str) -> Iterator[None]:
        try:
            with self._database.explained(what):
                yield
        except StoreUnusable as error:
            if isinstance(error.__cause__, sqlite3.DatabaseError) and "CORRUPT" in error.__cause__.sqlite_errorname:
                self._damage = (self._file_number(), str(error))
            self._reader.stale = self._writer.stale = True
            raise

    def _file_number(self) -> int:
        try:
            return self.path.stat().st_ino
        except OSError:
            return 0

    def _job(self, row: Sequence[Any]) -> Job:
        job_id, secret, body, state, created, expires, started, ended, attempts, total, done, error = row
        return Job(
            id=job_id,
            secret=secret,
            order=Order.from_json(json.loads(body)),
            state=State(state),
            created=created,
            expires=None if expires is None else self._clock.date_of(expires),
            started=started,
            ended=ended,
            attempts=attempts,
            total=total,
            done=done,
            error=error,
        )


def _load(db: sqlite3.Connection, owner: str) -> Load:
    waiting = db.execute(
        "SELECT count(*), count(*) FILTER (WHERE owner = ?) FROM job WHERE state = 'PENDING'", (owner,)
    ).fetchone()
    n_bytes = db.execute(
        "SELECT coalesce(sum(bytes), 0), coalesce(sum(bytes) FILTER (WHERE owner = ?), 0) FROM share", (owner,)
    ).fetchone()
    return Load(*waiting, *n_bytes)


def _of(claim: Claim) -> tuple[str, str]:
    return claim.job.id, claim.holder
