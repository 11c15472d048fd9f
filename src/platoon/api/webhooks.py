"""Webhooks: what is delivered by HTTP, signed, and only to addresses that may be called.

The signature is HMAC-SHA256 with the secret of the settings over `TIMESTAMP.BODY`, in `X-Platoon-Signature:
t=TIMESTAMP,v1=HEX`: whoever checks it, and that the timestamp is recent, knows that it comes from here and is not sent
again by somebody else. `X-Platoon-Delivery` is the id of the delivery, by which its receiver drops what comes twice.
"""

from __future__ import annotations

import hmac
import json
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from platoon.api.addresses import CALLER
from platoon.api.fetch import Fetcher
from platoon.documents.jobs import Job, Jobs
from platoon.errors import PlatoonError, StoreError
from platoon.metrics import Metrics
from platoon.settings import DeliverySettings, Settings
from platoon.store.deliveries import LEASE_S, EventOutbox
from platoon.store.outbox import Delivery, OutboxPublisher

SIGNATURE: Final = "X-Platoon-Signature"
DELIVERY: Final = "X-Platoon-Delivery"
_LOOK_S: Final = 0.05

_log = logging.getLogger(__name__)


class Webhook:
    """Delivers by HTTP; a `Transport`."""

    def __init__(self, fetcher: Fetcher, secret: str) -> None:
        self._fetcher, self._secret = fetcher, secret

    async def send(self, delivery: Delivery) -> None:
        """See `Transport.send`."""
        headers = [
            ("Content-Type", "application/json"),
            (DELIVERY, delivery.id),
            (SIGNATURE, sign(delivery.body, self._secret, int(time.time()))),
        ]
        token = CALLER.set(delivery.owner)
        try:
            await self._fetcher.post(delivery.address, delivery.body, headers)
        finally:
            CALLER.reset(token)


class EventTransport:
    """Delivers events to each receiver of the settings in its own way; a `Transport`."""

    def __init__(self, deliveries: Sequence[DeliverySettings]) -> None:
        self._ways = {one.name: Webhook(_fetcher_of(one), one.secret.get_secret_value()) for one in deliveries}

    async def send(self, delivery: Delivery) -> None:
        """See `Transport.send`."""
        await self._ways[delivery.receiver].send(delivery)


class JobOutbox:
    """The webhooks of jobs, which their store keeps with them; an `Outbox`.

    The store puts off what is claimed, so that a failure needs nothing more. A job is delivered once, under its own id.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def claim(self, receivers: Collection[str], owners: Collection[str]) -> Delivery | None:
        """See `Outbox.claim`."""
        job = self._jobs.due_webhook(receivers, owners)
        if job is None:
            return None
        order = job.order
        assert order.webhook is not None
        body = json.dumps(message(job), ensure_ascii=False).encode()
        return Delivery(id=job.id, receiver=order.receiver or "", owner=order.owner, address=order.webhook, body=body)

    def delivered(self, delivery: Delivery) -> None:
        """See `Outbox.delivered`."""
        self._jobs.notified(delivery.id)

    def failed(self, delivery: Delivery, error: PlatoonError) -> None:
        """See `Outbox.failed`."""
        _log.warning("the webhook of job %s was not notified: %s", delivery.id, error)


def job_webhooks(jobs: Jobs, fetcher: Fetcher, secret: str) -> OutboxPublisher:
    """Notifies the webhooks of jobs."""
    return OutboxPublisher(JobOutbox(jobs), Webhook(fetcher, secret), what="webhooks of jobs", deadline_s=LEASE_S / 2)


@contextmanager
def event_deliveries(
    store: Path, settings: Settings, metrics: Metrics, *, patience_s: float = 0.0, unattended: bool = False
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Delivers the events in the database `store` as the settings say, as long as it lasts.

    Args:
        patience_s: so long leaving waits for what waits; what then does is delivered after the next start.
        unattended: as of `EventStore`.

    Yields:
        What takes the messages of a site: where one is of an event, there is one to be delivered. Returns at once.

    Raises:
        StoreError: the events cannot be opened.
    """
    if not settings.deliveries:
        yield lambda _message: None
        return
    transport = EventTransport(settings.deliveries)
    with (
        closing(EventOutbox(store, settings.deliveries, metrics, unattended=unattended)) as outbox,
        OutboxPublisher(outbox, transport, what="events", deadline_s=LEASE_S / 2) as publisher,
    ):
        yield lambda message: publisher.look() if "event" in message else None
        deadline = time.monotonic() + patience_s
        try:
            while (left := outbox.waiting()) and time.monotonic() < deadline:
                publisher.look()
                time.sleep(_LOOK_S)
            if left:
                _log.warning("%d deliveries of events wait for the next start with %s", left, store)
        except StoreError as error:
            _log.warning("what of events is left to deliver waits for the next start: %s", error)


def message(job: Job) -> dict[str, Any]:
    """What the webhook of a job gets."""
    return {
        "task_id": job.id,
        "status": job.state,
        "progress": {"pages": job.total, "done": job.done},
        "error": job.error,
    }


def sign(body: bytes, secret: str, timestamp: int) -> str:
    """The value of the header."""
    digest = hmac.digest(secret.encode(), b"%d.%s" % (timestamp, body), "sha256").hex()
    return f"t={timestamp},v1={digest}"


def _fetcher_of(delivery: DeliverySettings) -> Fetcher:
    host = urlsplit(delivery.url.get_secret_value()).hostname or ""
    return Fetcher(
        hosts=(host,) if delivery.private else (),
        max_bytes=1,
        timeout_s=delivery.timeout_s,
        way_out=f"`private = true` in deliveries, at {delivery.name}, allows it",
    )
