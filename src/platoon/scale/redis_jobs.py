"""Jobs in Redis, for workers on several machines.

Everything is in Redis: documents, jobs and pages. Each change is one script, so it happens whole or not at all, and one
that is sent twice, because its answer was lost with the connection, changes nothing more. What is to be
announced to workers is kept with them (an outbox): a message that is lost is sent again, and one that comes twice
claims nothing.

It is as durable as Redis is: with `appendonly yes` and `appendfsync always` nothing is lost that was taken. A Redis
that is started anew is not noticed; one that stays away is, and then nobody waits for it any more.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from platoon.documents.jobs import (
    LONGEST_WAIT_S,
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
from platoon.errors import MissingExtra, NotFound, StoreError, StoreUnusable
from platoon.scale.redis_scripts import SCRIPTS

try:
    import redis
    from redis.backoff import ExponentialBackoff, NoBackoff
    from redis.retry import Retry
except ImportError as missing:
    raise MissingExtra.of("a broker", "celery") from missing

_PAGES_AT_A_TIME: Final = 16
_TRIES: Final = 8
"""Of a command whose connection is lost, over some ten seconds: a Redis that is started anew is not noticed."""
_QUICK_S: Final = 1.0
"""How long is waited for a Redis that is known to be away."""
_SENDING_S: Final = 10.0
"""A message that was not sent by then is sent by somebody else."""
_PREFIX: Final = "platoon:"


@dataclass(frozen=True, slots=True)
class Announcement:
    """A job that is to be announced to workers, and until when by whoever has this."""

    job: Job
    until: str


class RedisJobs:
    """See `Jobs`.

    Args:
        url: `redis://host:port/database`, or `rediss://` over TLS.
        clock: seconds since 1970; none: those of the Redis server, so that all machines agree.

    Raises:
        StoreError: from every method but `not_ready`, when Redis cannot be reached, for longer than it takes to start
            it anew; at once while it is known to be away.
    """

    def __init__(self, url: str, limits: Limits, *, clock: Callable[[], float] | None = None) -> None:
        self.lease_s = limits.lease_s
        self._limits, self._clock = limits, clock
        retry = Retry(ExponentialBackoff(cap=3.0, base=0.1), _TRIES)
        lost = [redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError]
        self._patient: Any = redis.Redis.from_url(
            url, retry=retry, retry_on_error=lost, socket_timeout=30.0, socket_connect_timeout=5.0
        )
        self._quick: Any = redis.Redis.from_url(
            url, retry=Retry(NoBackoff(), 0), socket_timeout=_QUICK_S, socket_connect_timeout=_QUICK_S
        )
        self._away = False
        self._scripts = {name: self._patient.register_script(script) for name, script in SCRIPTS.items()}

    def not_ready(self) -> list[str]:
        """See `Jobs.not_ready`."""
        try:
            self._quick.ping()
        except redis.RedisError as error:
            return [_explanation(error, "read")]
        return []

    def check_room(self, owner: str, n_bytes: int) -> None:
        """See `Jobs.check_room`."""
        self._limits.check_room(n_bytes, self._load(owner))

    def add(self, order: Order, document: bytes) -> Job:
        """See `Jobs.add`."""
        job_id = uuid4().hex
        text = json.dumps(order.to_json(), ensure_ascii=False)
        fields = {
            "id": job_id,
            "secret": new_secret(),
            "owner": order.owner,
            "order": text,
            "state": str(State.PENDING),
            "attempts": "0",
        }
        if order.receiver is not None:
            fields["receiver"] = order.receiver
        n_bytes = len(document) + len(text.encode())
        flat = json.dumps([part for pair in fields.items() for part in pair])
        limits = self._limits
        most = limits.max_waiting, limits.max_waiting_of_one, limits.max_bytes, limits.max_bytes_of_one
        keys = [_document(job_id), _batch(order.batch, order.owner)]
        values = (job_id, order.owner, order.priority, n_bytes, *most, document, flat)
        while not self._run("add", keys, *values):
            self.check_room(order.owner, n_bytes)  # says why; what has become free meanwhile is taken
        job = self.get(job_id)
        assert job is not None
        return job

    def get(self, job_id: str) -> Job | None:
        """See `Jobs.get`."""
        with self._explained("read") as client:
            fields, time = client.pipeline().hgetall(_job(job_id)).time().execute()
        job = _job_in(fields) if fields else None
        now = self._clock() if self._clock else time[0] + time[1] / 1e6
        return None if job is not None and job.expires is not None and job.expires <= now else job

    def batch(self, batch: str, owner: str) -> list[Job]:
        """See `Jobs.batch`."""
        with self._explained("read") as client:
            ids = [job_id.decode() for job_id in client.zrange(_batch(batch, owner), 0, -1)]
        return [job for job in map(self.get, ids) if job is not None]

    def waiting(self) -> int:
        """See `Jobs.waiting`."""
        with self._explained("read") as client:
            return int(client.zcard(f"{_PREFIX}waiting"))

    def queue_position(self, job: Job) -> int | None:
        """See `Jobs.queue_position`."""
        return int(self._run("queue_position", [], job.id)) or None

    def document(self, job_id: str) -> bytes:
        """See `Jobs.document`."""
        with self._explained("read") as client:
            found = client.get(_document(job_id))
        if found is None:
            raise NotFound(f"no document of the job {job_id!r:.60}: it was cancelled, or has outlived its time")
        return bytes(found)

    def pages(self, job_id: str) -> Iterator[Page]:
        """See `Jobs.pages`."""
        indices = sorted(self.indices(job_id))
        for first in range(0, len(indices), _PAGES_AT_A_TIME):
            with self._explained("read") as client:
                bodies = client.hmget(_pages(job_id), indices[first : first + _PAGES_AT_A_TIME])
            yield from (Page.from_json(json.loads(body)) for body in bodies if body is not None)

    def page(self, job_id: str, index: int) -> Page | None:
        """See `Jobs.page`."""
        with self._explained("read") as client:
            body = client.hget(_pages(job_id), index)
        return None if body is None else Page.from_json(json.loads(body))

    def indices(self, job_id: str) -> set[int]:
        """See `Jobs.indices`."""
        with self._explained("read") as client:
            return {int(index) for index in client.hkeys(_pages(job_id))}

    def due(self) -> bool:
        """See `Jobs.due`. Of what waits; that a lease ran out is seen by `unannounced`."""
        return self.waiting() > 0

    def claim(self, holder: str, job_id: str | None = None) -> Claim | None:
        """See `Jobs.claim`. Of the jobs that wait; one whose lease ran out waits again after `unannounced`."""
        while True:
            values = job_id or "", holder, self.lease_s, self._limits.max_attempts, uuid4().hex
            outcome, found = self._run("claim", [], *values)
            job = self.get(found.decode()) if outcome else None
            if job is None:
                return None
            if outcome > 0:
                return Claim(job, holder)
            self._end(job, "", State.FAILURE, too_often(job.attempts))

    def renew(self, claim: Claim) -> bool:
        """See `Jobs.renew`."""
        return bool(self._renew(claim))

    def begin(self, claim: Claim, total: int) -> None:
        """See `Jobs.begin`."""
        if not self._renew(claim, total=total):
            raise Lost

    def keep(self, claim: Claim, page: Page) -> None:
        """See `Jobs.keep`."""
        text = json.dumps(page.to_json(), ensure_ascii=False)
        outcome = self._renew(claim, index=page.index, page=text)
        if not outcome:
            raise Lost
        if outcome < 0:
            owner = claim.job.order.owner
            self._limits.check_growth(len(text.encode()), self._load(owner))
            self.keep(claim, page)  # there is room again

    def finish(self, claim: Claim, error: str | None = None) -> None:
        """See `Jobs.finish`."""
        self._end(claim.job, claim.holder, State.SUCCESS if error is None else State.FAILURE, error)

    def retry(self, claim: Claim, error: str) -> None:
        """See `Jobs.retry`."""
        job = self.get(claim.job.id)
        if job is None:
            return
        if job.attempts >= self._limits.max_attempts:
            self._end(job, claim.holder, State.FAILURE, error)
        else:
            self._put_back(claim, backoff_s(job.attempts), job.attempts, error)

    def release(self, claim: Claim, error: str | None = None, *, behind: bool = False) -> None:
        """See `Jobs.release`."""
        job = self.get(claim.job.id)
        if job is not None:
            wait_s = OUTAGE_WAIT_S if error else 0
            self._put_back(claim, wait_s, max(0, job.attempts - 1), error or "", behind=behind)

    def cancel(self, job_id: str) -> None:
        """See `Jobs.cancel`."""
        job = self.get(job_id)
        if job is not None:
            self._end(job, "", State.REVOKED, None)

    def sweep(self) -> int:
        """See `Jobs.sweep`."""
        gone = 0
        while more := int(self._run("forget", [])):
            gone += more
        return gone

    def due_webhook(self, receivers: Collection[str] = (), owners: Collection[str] = ()) -> Job | None:
        """See `Jobs.due_webhook`."""
        skipped = json.dumps([*receivers]), json.dumps([*owners])
        found = self._run("webhook", [], self.lease_s, LONGEST_WAIT_S, WEBHOOK_ATTEMPTS, *skipped).decode()
        return self.get(found) if found else None

    def notified(self, job_id: str) -> None:
        """See `Jobs.notified`."""
        with self._explained("written") as client:
            client.zrem(f"{_PREFIX}webhooks", job_id)

    def unannounced(self) -> list[Announcement]:
        """Jobs that are due and not announced to workers yet; announce them, then call `announced`."""
        until, ids = self._run("due", [], _SENDING_S, self.lease_s, LONGEST_WAIT_S)
        jobs = (self.get(job_id.decode()) for job_id in ids)
        return [Announcement(job, until.decode()) for job in jobs if job is not None]

    def announced(self, announcement: Announcement) -> None:
        """Workers have been notified. Nothing happens where the job is to be announced again since."""
        self._run("announced", [], announcement.job.id, announcement.until)

    def announce_again(self, job_id: str) -> None:
        """A job was announced to a worker that cannot take it; nothing happens unless it waits still."""
        self._run("announce_again", [], job_id)

    def check_durable(self) -> None:
        """Warn where Redis would lose jobs."""
        try:
            kept = self._quick.config_get("appendonly").get("appendonly")
        except redis.RedisError:
            return  # it does not say
        if kept != "yes":
            logging.getLogger(__name__).warning("Redis forgets jobs when it ends: set `appendonly yes` there")

    def close(self) -> None:
        """Let the connections go."""
        self._patient.close()
        self._quick.close()

    def _load(self, owner: str) -> Load:
        return Load(*map(int, self._run("load", [], owner)))

    def _renew(self, claim: Claim, *, total: int | str = "", index: int | str = "", page: str = "") -> int:
        most = self._limits.max_bytes, self._limits.max_bytes_of_one
        keys = [_pages(claim.job.id)]
        return int(self._run("renew", keys, claim.job.id, claim.holder, self.lease_s, total, index, page, *most))

    def _put_back(self, claim: Claim, wait_s: float, attempts: int, error: str, *, behind: bool = False) -> None:
        self._run("put_back", [], claim.job.id, claim.holder, wait_s, attempts, error, "1" if behind else "")

    def _end(self, job: Job, holder: str, state: State, error: str | None) -> None:
        keys = [_document(job.id), _pages(job.id), _batch(job.order.batch, job.order.owner)]
        notify = "1" if job.order.webhook else ""
        self._run("end", keys, job.id, holder, str(state), error or "", self._limits.keep_s, notify)

    def _run(self, script: str, keys: Sequence[str], *values: Any) -> Any:
        now = repr(self._clock()) if self._clock else ""
        with self._explained("written") as client:
            return self._scripts[script](keys=[_PREFIX, *keys], args=[now, *values], client=client)

    @contextmanager
    def _explained(self, what: str) -> Iterator[Any]:
        """The connections to use; what Redis says becomes what the operator can do."""
        try:
            yield self._quick if self._away else self._patient
        except redis.RedisError as error:
            self._away = isinstance(error, (redis.ConnectionError, redis.TimeoutError))
            kind = StoreUnusable if self._away else StoreError
            raise kind(_explanation(error, what)) from error
        self._away = False


def _explanation(error: redis.RedisError, what: str) -> str:
    return f"jobs in Redis cannot be {what}: {error}; see that it runs where PLATOON_BROKER says, and has memory left"


def _job(job_id: str) -> str:
    return f"{_PREFIX}job:{job_id}"


def _document(job_id: str) -> str:
    return f"{_PREFIX}document:{job_id}"


def _pages(job_id: str) -> str:
    return f"{_PREFIX}pages:{job_id}"


def _batch(batch: str | None, owner: str) -> str:
    return "" if batch is None else f"{_PREFIX}batch:{json.dumps([owner, batch])}"


def _job_in(fields: Mapping[bytes, bytes]) -> Job:
    values = {name.decode(): value.decode() for name, value in fields.items()}

    def number(name: str) -> float | None:
        return float(values[name]) if name in values else None

    return Job(
        id=values["id"],
        secret=values["secret"],
        order=Order.from_json(json.loads(values["order"])),
        state=State(values["state"]),
        created=float(values["created"]),
        started=number("started"),
        ended=number("ended"),
        expires=number("expires"),
        attempts=int(values["attempts"]),
        total=int(values["total"]) if "total" in values else None,
        done=int(values.get("done", 0)),
        error=values.get("error"),
    )
