"""Jobs in Redis, for workers on several machines.

Everything is in Redis: documents, jobs and pages. Each change is one script, so it happens whole or not at all, and one
that is sent twice, because its answer was lost with the connection, changes nothing more. Of which jobs workers are to
be told is kept with them (an outbox): a message that is lost is sent again, and one that comes twice claims nothing.

It is as durable as Redis is: with `appendonly yes` and `appendfsync always` nothing is lost that was taken.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from platoon.documents.jobs import Claim, Job, Lost, Order, State, backoff_s, new_secret, too_often
from platoon.documents.page import Page
from platoon.errors import MissingExtra, NotFound, Overloaded, StoreError

try:
    import redis
    from redis.backoff import ExponentialBackoff
    from redis.retry import Retry
except ImportError as missing:
    raise MissingExtra.of("a broker", "celery") from missing

_WEBHOOK_ATTEMPTS: Final = 10
_PAGES_AT_A_TIME: Final = 16
_TRIES: Final = 8
"""Of a command whose connection is lost, over some ten seconds: a Redis that is started anew is not noticed."""
_SENDING_S: Final = 10.0
"""A message that was not sent by then is sent by somebody else."""
_PREFIX: Final = "platoon:"

_HELD: Final = """
local function held(job, holder)
    return redis.call('HGET', job, 'state') == 'STARTED' and redis.call('HGET', job, 'holder') == holder
end
"""
_ADD: Final = """
local job, document, waiting, outbox, number, batch = unpack(KEYS)
local id, priority, now, most, data, fields = unpack(ARGV)
if redis.call('EXISTS', job) == 1 then return 1 end
if redis.call('ZCARD', waiting) >= tonumber(most) then return 0 end
local place = redis.call('INCR', number) - priority * 1e12
redis.call('SET', document, data)
redis.call('HSET', job, 'place', string.format('%.0f', place), unpack(cjson.decode(fields)))
redis.call('ZADD', waiting, place, id)
redis.call('ZADD', outbox, now, id)
if batch ~= '' then redis.call('ZADD', batch, place, id) end
return 1
"""
_CLAIM: Final = """
local job, waiting, leases, outbox = unpack(KEYS)
local id, holder, now, lease, most = unpack(ARGV)
local state, other, due, held_until, attempts = unpack(
    redis.call('HMGET', job, 'state', 'holder', 'due', 'lease', 'attempts'))
if state == 'STARTED' and other == holder then return 1 end
local free = state == 'PENDING' and tonumber(due) <= tonumber(now)
    or state == 'STARTED' and tonumber(held_until) < tonumber(now)
if not free then -- told too early, by a clock that is ahead: not to be forgotten
    if state == 'PENDING' then redis.call('ZADD', outbox, due, id) end
    if state == 'STARTED' then redis.call('ZADD', leases, held_until, id) end
    return 0
end
if tonumber(attempts) >= tonumber(most) then return -1 end
redis.call('HSET', job, 'state', 'STARTED', 'holder', holder, 'lease', lease)
redis.call('HINCRBY', job, 'attempts', 1)
redis.call('HSETNX', job, 'started', now)
redis.call('ZREM', waiting, id)
redis.call('ZREM', outbox, id)
redis.call('ZADD', leases, lease, id)
return 1
"""
_RENEW: Final = (
    _HELD
    + """
local job, leases, pages = unpack(KEYS)
local id, holder, lease, total, index, page = unpack(ARGV)
if not held(job, holder) then return 0 end
redis.call('HSET', job, 'lease', lease)
redis.call('ZADD', leases, lease, id)
if total ~= '' then redis.call('HSET', job, 'total', total) end
if index ~= '' then
    redis.call('HSET', pages, index, page)
    redis.call('HSET', job, 'attempts', 0)
    redis.call('HDEL', job, 'error')
end
return 1
"""
)
_PUT_BACK: Final = (
    _HELD
    + """
local job, waiting, leases, outbox = unpack(KEYS)
local id, holder, due, attempts, error = unpack(ARGV)
if not held(job, holder) then return 0 end
redis.call('HSET', job, 'state', 'PENDING', 'due', due, 'attempts', attempts)
redis.call('HDEL', job, 'holder', 'lease')
if error ~= '' then redis.call('HSET', job, 'error', error) end
redis.call('ZREM', leases, id)
redis.call('ZADD', waiting, redis.call('HGET', job, 'place'), id)
redis.call('ZADD', outbox, due, id)
return 1
"""
)
_END: Final = (
    _HELD
    + """
local job, waiting, leases, outbox, webhooks, document, pages, batch = unpack(KEYS)
local id, holder, state, error, now, expires, keep, tell = unpack(ARGV)
local before = redis.call('HGET', job, 'state')
if before ~= 'PENDING' and before ~= 'STARTED' then return 0 end
if holder ~= '' and not held(job, holder) then return 0 end
redis.call('HSET', job, 'state', state, 'ended', now, 'expires', expires)
redis.call('HDEL', job, 'holder', 'lease', 'error')
if error ~= '' then redis.call('HSET', job, 'error', error) end
for _, set in ipairs({waiting, leases, outbox}) do redis.call('ZREM', set, id) end
if tell == '1' then redis.call('ZADD', webhooks, now, id) end
for _, key in ipairs({job, document, pages}) do redis.call('PEXPIRE', key, keep) end
if batch ~= '' then
    redis.call('ZADD', batch, redis.call('HGET', job, 'place'), id)
    redis.call('PEXPIRE', batch, keep)
end
return 1
"""
)
_DUE: Final = """
local outbox, leases = unpack(KEYS)
local now, again = unpack(ARGV)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', '(' .. now)) do
    redis.call('ZREM', leases, id)
    redis.call('ZADD', outbox, now, id)
end
local due = redis.call('ZRANGEBYSCORE', outbox, '-inf', now, 'LIMIT', 0, 100)
for _, id in ipairs(due) do redis.call('ZADD', outbox, again, id) end
return due
"""
_TOLD: Final = """
local outbox = unpack(KEYS)
local id, again = unpack(ARGV)
if tonumber(redis.call('ZSCORE', outbox, id) or -1) == tonumber(again) then redis.call('ZREM', outbox, id) end
"""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A job of which workers are to be told, and until when by whoever has this."""

    job: Job
    until: float


class RedisJobs:
    """See `Jobs`.

    Args:
        url: `redis://host:port/database`, or `rediss://` over TLS.
        keep_s, max_waiting, max_attempts, lease_s, clock: as for `JobStore`.

    Raises:
        StoreError: from every method, when Redis cannot be reached, for longer than it takes to start it anew.
    """

    def __init__(
        self,
        url: str,
        *,
        keep_s: float,
        max_waiting: int,
        max_attempts: int,
        lease_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.lease_s = lease_s
        self._keep_s, self._max_waiting, self._max_attempts, self._clock = keep_s, max_waiting, max_attempts, clock
        retry = Retry(ExponentialBackoff(cap=3.0, base=0.1), _TRIES)
        lost = [redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError]
        self._redis: Any = redis.Redis.from_url(
            url, retry=retry, retry_on_error=lost, socket_timeout=30.0, socket_connect_timeout=5.0
        )
        self._scripts = {name: self._redis.register_script(script) for name, script in _SCRIPTS.items()}

    def add(self, order: Order, document: bytes) -> Job:
        """See `Jobs.add`."""
        now = self._clock()
        job = Job(uuid4().hex, new_secret(), order, State.PENDING, created=now)
        fields = {
            "id": job.id,
            "secret": job.secret,
            "order": json.dumps(order.to_json(), ensure_ascii=False),
            "state": str(job.state),
            "created": repr(now),
            "due": repr(now),
            "attempts": "0",
        }
        batch = _batch(order.batch, order.owner)
        keys = [_job(job.id), _document(job.id), *_sets("waiting", "outbox", "number"), batch]
        flat = json.dumps([part for pair in fields.items() for part in pair])
        if not self._run("add", keys, job.id, order.priority, repr(now), self._max_waiting, document, flat):
            raise Overloaded(f"{self._max_waiting} documents wait already; try again later", retry_after_s=60.0)
        return job

    def get(self, job_id: str) -> Job | None:
        """See `Jobs.get`."""
        with _explained("read"):
            fields, done = self._redis.pipeline().hgetall(_job(job_id)).hlen(_pages(job_id)).execute()
        job = _job_in(fields, done) if fields else None
        expired = job is not None and job.expires is not None and job.expires <= self._clock()
        return None if expired else job

    def batch(self, batch: str, owner: str) -> list[Job]:
        """See `Jobs.batch`."""
        with _explained("read"):
            ids = [job_id.decode() for job_id in self._redis.zrange(_batch(batch, owner), 0, -1)]
        return [job for job in map(self.get, ids) if job is not None]

    def waiting(self) -> int:
        """See `Jobs.waiting`."""
        with _explained("read"):
            return int(self._redis.zcard(f"{_PREFIX}waiting"))

    def place(self, job: Job) -> int | None:
        """See `Jobs.place`."""
        with _explained("read"):
            rank = self._redis.zrank(f"{_PREFIX}waiting", job.id)
        return None if rank is None else int(rank) + 1

    def document(self, job_id: str) -> bytes:
        """See `Jobs.document`."""
        with _explained("read"):
            found = self._redis.get(_document(job_id))
        if found is None:
            raise NotFound(f"no document of the job {job_id!r:.60}: it may have outlived its time")
        return bytes(found)

    def pages(self, job_id: str) -> Iterator[Page]:
        """See `Jobs.pages`."""
        indices = sorted(self.indices(job_id))
        for first in range(0, len(indices), _PAGES_AT_A_TIME):
            with _explained("read"):
                bodies = self._redis.hmget(_pages(job_id), indices[first : first + _PAGES_AT_A_TIME])
            yield from (Page.from_json(json.loads(body)) for body in bodies if body is not None)

    def page(self, job_id: str, index: int) -> Page | None:
        """See `Jobs.page`."""
        with _explained("read"):
            body = self._redis.hget(_pages(job_id), index)
        return None if body is None else Page.from_json(json.loads(body))

    def indices(self, job_id: str) -> set[int]:
        """See `Jobs.indices`."""
        with _explained("read"):
            return {int(index) for index in self._redis.hkeys(_pages(job_id))}

    def claim(self, holder: str, job_id: str | None = None) -> Claim | None:
        """See `Jobs.claim`. Of the jobs that wait; one whose lease ran out is claimed by its id."""
        if job_id is None:
            with _explained("read"):
                ids = [found.decode() for found in self._redis.zrange(f"{_PREFIX}waiting", 0, -1)]
            return next((claim for claim in (self.claim(holder, waiting) for waiting in ids) if claim), None)
        now = self._clock()
        keys = [_job(job_id), *_sets("waiting", "leases", "outbox")]
        outcome = self._run("claim", keys, job_id, holder, repr(now), repr(now + self.lease_s), self._max_attempts)
        job = self.get(job_id) if outcome else None
        if job is None:
            return None
        if outcome < 0:
            self._end(job, "", State.FAILURE, too_often(job.attempts))
            return None
        return Claim(job, holder)

    def renew(self, claim: Claim) -> bool:
        """See `Jobs.renew`."""
        return self._renew(claim)

    def begin(self, claim: Claim, total: int) -> None:
        """See `Jobs.begin`."""
        if not self._renew(claim, total=total):
            raise Lost

    def keep(self, claim: Claim, page: Page) -> None:
        """See `Jobs.keep`."""
        if not self._renew(claim, index=page.index, page=json.dumps(page.to_json(), ensure_ascii=False)):
            raise Lost

    def finish(self, claim: Claim, error: str | None = None) -> None:
        """See `Jobs.finish`."""
        self._end(claim.job, claim.holder, State.SUCCESS if error is None else State.FAILURE, error)

    def retry(self, claim: Claim, error: str) -> None:
        """See `Jobs.retry`."""
        job = self.get(claim.job.id)
        if job is None:
            return
        if job.attempts >= self._max_attempts:
            self._end(job, claim.holder, State.FAILURE, error)
        else:
            self._put_back(claim, self._clock() + backoff_s(job.attempts), job.attempts, error)

    def release(self, claim: Claim) -> None:
        """See `Jobs.release`."""
        job = self.get(claim.job.id)
        if job is not None:
            self._put_back(claim, self._clock(), max(0, job.attempts - 1), "")

    def cancel(self, job_id: str) -> None:
        """See `Jobs.cancel`."""
        job = self.get(job_id)
        if job is not None:
            self._end(job, "", State.REVOKED, None)

    def sweep(self) -> int:
        """Redis forgets by itself what has expired."""
        return 0

    def due_webhook(self) -> Job | None:
        """See `Jobs.due_webhook`."""
        now = self._clock()
        with _explained("written"):
            for found in self._redis.zrangebyscore(f"{_PREFIX}webhooks", "-inf", now, start=0, num=1):
                job_id = found.decode()
                attempts = int(self._redis.hincrby(_job(job_id), "webhook_attempts", 1))
                self._redis.zadd(f"{_PREFIX}webhooks", {job_id: now + self.lease_s + backoff_s(attempts)})
                job = self.get(job_id)
                if job is None or attempts >= _WEBHOOK_ATTEMPTS:
                    self.told(job_id)
                return job
        return None

    def told(self, job_id: str) -> None:
        """See `Jobs.told`."""
        with _explained("written"):
            self._redis.zrem(f"{_PREFIX}webhooks", job_id)

    def unannounced(self) -> list[Announcement]:
        """Jobs that are due and of which no worker was told; tell of them, then call `announced`."""
        now = self._clock()
        until = now + _SENDING_S
        ids = self._run("due", _sets("outbox", "leases"), repr(now), repr(until))
        jobs = (self.get(job_id.decode()) for job_id in ids)
        return [Announcement(job, until) for job in jobs if job is not None]

    def announced(self, announcement: Announcement) -> None:
        """Workers have been told. Nothing happens where they are to be told again since."""
        self._run("told", _sets("outbox"), announcement.job.id, repr(announcement.until))

    def check_durable(self) -> None:
        """Warn where Redis would lose jobs."""
        try:
            kept = self._redis.config_get("appendonly").get("appendonly")
        except redis.RedisError:
            return  # it does not say
        if kept != "yes":
            logging.getLogger(__name__).warning("Redis forgets jobs when it ends: set `appendonly yes` there")

    def close(self) -> None:
        """Let the connections go."""
        self._redis.close()

    def _renew(self, claim: Claim, *, total: int | str = "", index: int | str = "", page: str = "") -> bool:
        keys = [_job(claim.job.id), f"{_PREFIX}leases", _pages(claim.job.id)]
        lease = repr(self._clock() + self.lease_s)
        return bool(self._run("renew", keys, claim.job.id, claim.holder, lease, total, index, page))

    def _put_back(self, claim: Claim, due: float, attempts: int, error: str) -> None:
        keys = [_job(claim.job.id), *_sets("waiting", "leases", "outbox")]
        self._run("put_back", keys, claim.job.id, claim.holder, repr(due), attempts, error)

    def _end(self, job: Job, holder: str, state: State, error: str | None) -> None:
        now = self._clock()
        keys = [_job(job.id), *_sets("waiting", "leases", "outbox", "webhooks"), _document(job.id), _pages(job.id)]
        keys.append(_batch(job.order.batch, job.order.owner))
        expires, keep_ms = repr(now + self._keep_s), round(self._keep_s * 1e3)
        tell = "1" if job.order.webhook else ""
        self._run("end", keys, job.id, holder, str(state), error or "", repr(now), expires, keep_ms, tell)

    def _run(self, script: str, keys: Sequence[str], *values: Any) -> Any:
        with _explained("written"):
            return self._scripts[script](keys=keys, args=values)


_SCRIPTS: Final = {
    "add": _ADD,
    "claim": _CLAIM,
    "renew": _RENEW,
    "put_back": _PUT_BACK,
    "end": _END,
    "due": _DUE,
    "told": _TOLD,
}


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn what Redis says into what the operator can do."""
    try:
        yield
    except redis.RedisError as error:
        raise StoreError(
            f"jobs in Redis cannot be {what}: {error}; see that it runs where PLATOON_BROKER says, and has memory left"
        ) from error


def _job(job_id: str) -> str:
    return f"{_PREFIX}job:{job_id}"


def _document(job_id: str) -> str:
    return f"{_PREFIX}document:{job_id}"


def _pages(job_id: str) -> str:
    return f"{_PREFIX}pages:{job_id}"


def _batch(batch: str | None, owner: str) -> str:
    return "" if batch is None else f"{_PREFIX}batch:{json.dumps([owner, batch])}"


def _sets(*names: str) -> list[str]:
    return [f"{_PREFIX}{name}" for name in names]


def _job_in(fields: Mapping[bytes, bytes], done: int) -> Job:
    told = {name.decode(): value.decode() for name, value in fields.items()}

    def number(name: str) -> float | None:
        return float(told[name]) if name in told else None

    return Job(
        id=told["id"],
        secret=told["secret"],
        order=Order.from_json(json.loads(told["order"])),
        state=State(told["state"]),
        created=float(told["created"]),
        started=number("started"),
        ended=number("ended"),
        expires=number("expires"),
        attempts=int(told["attempts"]),
        total=int(told["total"]) if "total" in told else None,
        done=int(done),
        error=told.get("error"),
    )
