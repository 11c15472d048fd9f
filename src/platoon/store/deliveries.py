"""The outbox of events: what of them is to be delivered to whom, in the database of the events themselves."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from platoon.errors import PlatoonError
from platoon.metrics import Metrics
from platoon.redaction import redact
from platoon.settings import DeliverySettings
from platoon.store.clock import StoreClock
from platoon.store.database import Connection, transaction
from platoon.store.event import Event
from platoon.store.event_schema import events_at
from platoon.store.outbox import Delivery

LEASE_S: Final = 60.0
"""So long a delivery is nobody else's; twice what an attempt may take."""
_LONGEST_WAIT_S: Final = 60.0
"""Between two attempts of one delivery, and for a receiver that fails."""
_SWEEP_S: Final = 30.0
_CLOSE_S: Final = 5.0
_HOUR_S: Final = 3600.0

_log = logging.getLogger(__name__)


def join_clock(db: sqlite3.Connection, clock: StoreClock) -> None:
    """Let the clock go on from where the store was; on a connection that has just been opened."""
    try:
        with transaction(db):
            if clock.join(db):  # the machine was started anew: what was claimed before is nobody's
                db.execute("UPDATE delivery SET due = min(due, ?)", (clock(),))
    except BaseException:
        db.close()
        raise


def enqueue(db: sqlite3.Connection, deliveries: Sequence[DeliverySettings], event: Event, now: float) -> None:
    """Within the transaction that writes the event: have this state of it delivered to whom it is wanted by."""
    body: str | None = None
    for wanted in deliveries:
        if event.kind not in wanted.kinds or event.state not in wanted.states:
            continue
        body = body or json.dumps({"kind": event.kind, "event": event.to_json()}, ensure_ascii=False)
        # The same when an event is put again whose first commit seemed to fail.
        name = blake2b("\n".join((wanted.name, event.id, event.state, body)).encode(), digest_size=16).hexdigest()
        db.execute(
            "INSERT OR IGNORE INTO delivery (id, receiver, event, body, written, due) VALUES (?, ?, ?, ?, ?, ?)",
            (name, wanted.name, event.id, body, now, now),
        )


@dataclass
class _Receiver:
    """How deliveries to one receiver went lately."""

    settings: DeliverySettings
    failures: int = 0
    """In a row."""
    rests_until: float = 0.0
    """By the store's clock: so long nothing is tried."""


class EventOutbox:
    """Deliveries of events, for one `OutboxPublisher`. Several processes may take from one store.

    Of one event to one receiver the states come in their order, the next once the one before has arrived or is given
    up. A receiver that fails rests for 1, 2, 4 … seconds, at most a minute, so that what waits for it costs nothing.

    Args:
        path: the database of the events.
        unattended: as of `EventStore`.

    Raises:
        StoreError: from every method, when the file cannot be written or read; says what to do.
    """

    def __init__(
        self,
        path: Path,
        deliveries: Sequence[DeliverySettings],
        metrics: Metrics,
        *,
        clock: StoreClock | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        unattended: bool = False,
    ) -> None:
        self._clock, self._metrics = clock or StoreClock(), metrics
        self._database = events_at(path, unattended=unattended)
        self._monotonic = monotonic
        self._receivers = {one.name: _Receiver(one) for one in deliveries}
        self._swept_at = -_SWEEP_S
        self._writer = Connection(self._database, self._open_writer)
        self._reader = Connection(self._database)
        if not unattended:
            self._write("DELETE FROM delivery WHERE false")  # what cannot be used is found out now
        for name in self._receivers:
            for result in ("delivered", "failed", "expired", "full"):
                metrics.deliveries.labels(name, result)
            metrics.delivery_oldest.labels(name).set_function(partial(self._age, name))

    def claim(self, receivers: Collection[str], owners: Collection[str]) -> Delivery | None:
        """See `Outbox.claim`. An owner is a receiver here."""
        if self._monotonic() - self._swept_at >= _SWEEP_S:
            self._sweep()
        now = self._clock()
        wanted = [
            name
            for name, one in self._receivers.items()
            if name not in receivers and name not in owners and one.rests_until <= now
        ]
        found = [row for name in wanted for row in self._rows(_NEXT, name, now)]
        if not found:
            return None
        _, number = min(found)
        with self._writing() as db:
            row = db.execute(
                "UPDATE delivery SET due = ?, attempts = attempts + 1 WHERE number = ? AND due <= ? "
                "RETURNING id, receiver, body, attempts",
                (now + LEASE_S, number, now),
            ).fetchone()
        if row is None:  # another process was faster
            return None
        name, receiver, body, attempt = row
        message = json.dumps({"id": name, **json.loads(body)}, ensure_ascii=False).encode()
        address = self._receivers[receiver].settings.url.get_secret_value()
        return Delivery(id=name, receiver=receiver, owner=receiver, address=address, body=message, attempt=attempt)

    def delivered(self, delivery: Delivery) -> None:
        """See `Outbox.delivered`."""
        receiver = self._receivers[delivery.receiver]
        if receiver.failures:
            _log.info("delivery %s works again", delivery.receiver)
        receiver.failures, receiver.rests_until = 0, 0.0
        self._metrics.deliveries.labels(delivery.receiver, "delivered").inc()
        self._write("DELETE FROM delivery WHERE id = ?", delivery.id)

    def failed(self, delivery: Delivery, error: PlatoonError) -> None:
        """See `Outbox.failed`."""
        receiver, now = self._receivers[delivery.receiver], self._clock()
        if not receiver.failures:
            reason = redact(str(error))
            _log.warning("delivery %s fails, and is tried again with all that comes: %s", delivery.receiver, reason)
        receiver.failures += 1
        receiver.rests_until = now + _wait_s(receiver.failures)
        self._metrics.deliveries.labels(delivery.receiver, "failed").inc()
        # Nothing happens where it took so long that somebody else tries it meanwhile.
        self._write(
            "UPDATE delivery SET due = ? WHERE id = ? AND attempts = ?",
            now + _wait_s(delivery.attempt),
            delivery.id,
            delivery.attempt,
        )

    def waiting(self) -> int:
        """How many deliveries to the receivers of the settings have not arrived."""
        names = json.dumps([*self._receivers])
        query = "SELECT count(*) FROM delivery WHERE receiver IN (SELECT value FROM json_each(?))"
        return int(self._rows(query, names)[0][0])

    def close(self) -> None:
        """Let the file go."""
        self._writer.close(_CLOSE_S)
        self._reader.close(_CLOSE_S)

    def _sweep(self) -> None:
        """Give up what is too old or too much, and count it."""
        self._swept_at = self._monotonic()
        now = self._clock()
        for name, receiver in self._receivers.items():
            settings = receiver.settings
            old = self._write(
                "DELETE FROM delivery WHERE receiver = ? AND written < ?",
                name,
                now - settings.max_age_hours * _HOUR_S,
            )
            many = self._write(_EXCESS, name, name, settings.max_waiting)
            for result, count in (("expired", old), ("full", many)):
                if count:
                    self._metrics.deliveries.labels(name, result).inc(count)
                    _log.error("delivery %s: %d are given up (%s)", name, count, result)
        with self._writing() as db:
            self._clock.keep(db)

    def _age(self, name: str) -> float:
        try:
            oldest = self._rows("SELECT min(written) FROM delivery WHERE receiver = ?", name)[0][0]
        except PlatoonError:
            return float("nan")  # other metrics are shown all the same
        return 0.0 if oldest is None else max(0.0, self._clock() - oldest)

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._database.explained("read"), self._reader() as db:
            return db.execute(query, values).fetchall()

    def _open_writer(self) -> sqlite3.Connection:
        db = self._database.open()
        # A commit lost with the power is a delivery made again, and delivering must not load the events' disk.
        db.execute("PRAGMA synchronous = NORMAL")
        join_clock(db, self._clock)
        return db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._database.explained("written"), self._writer() as writer, transaction(writer) as db:
            yield db

    def _write(self, statement: str, *values: Any) -> int:
        with self._writing() as db:
            return db.execute(statement, values).rowcount


_NEXT: Final = """
SELECT due, number FROM delivery WHERE receiver = ? AND due <= ? AND NOT EXISTS (
    SELECT 1 FROM delivery AS earlier WHERE earlier.event = delivery.event
    AND earlier.receiver = delivery.receiver AND earlier.number < delivery.number
) ORDER BY due LIMIT 1
"""
_EXCESS: Final = """
DELETE FROM delivery WHERE receiver = ? AND number <= (
    SELECT number FROM delivery WHERE receiver = ? ORDER BY number DESC LIMIT 1 OFFSET ?
)
"""
"""All but the newest so many."""


def _wait_s(failures: int) -> float:
    return min(_LONGEST_WAIT_S, 2.0 ** min(failures - 1, 10))
