"""Delivering what has been written: at least once, each delivery with an id by which repeats are known.

What is to be delivered is written in the transaction of what it announces, into an `Outbox`; an `OutboxPublisher` takes
it from there and hands it to a `Transport`. So a process may be killed at any moment, and whoever writes waits for no
receiver. Many are delivered at once, but of one receiver and one owner only some: who answers slowly, or never, delays
nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol, Self

from platoon.errors import DeadlineExceeded, PlatoonError

AT_ONCE: Final = 64
"""Deliveries under way at the same time."""
AT_ONCE_OF_RECEIVER: Final = 2
AT_ONCE_OF_OWNER: Final = 16
_LOOK_S: Final = 1.0
_GRACE_S: Final = 2.0
"""For answers under way at a stop."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one receiver."""

    id: str
    """The same whenever it comes again."""
    receiver: str
    """Who is sent only some at once."""
    owner: str
    """On whose behalf, who has only some sent at once."""
    address: str
    """Where to, as its transport takes it."""
    body: bytes
    attempt: int = 1
    """Which attempt this is."""


class Outbox(Protocol):
    """What is to be delivered, kept durably. Called from any thread; may wait for a disk."""

    def claim(self, receivers: Collection[str], owners: Collection[str]) -> Delivery | None:
        """One that is due, which is nobody else's for a while; it is due again later unless it is `delivered`.

        Args:
            receivers, owners: of whom none is wanted now.
        """

    def delivered(self, delivery: Delivery) -> None:
        """It has arrived, and is delivered no more."""

    def failed(self, delivery: Delivery, error: PlatoonError) -> None:
        """It has not arrived, and is tried again as the outbox sees fit."""


class Transport(Protocol):
    """A way to receivers."""

    async def send(self, delivery: Delivery) -> None:
        """Return once the receiver has it.

        Raises:
            PlatoonError: it may not have it.
        """


class OutboxPublisher:
    """Publishes an outbox from a thread of its own, between `__enter__` and `__exit__`.

    Args:
        what: is published, for the thread's name and the log.
        deadline_s: an attempt that takes longer has failed; well below what the outbox grants.
    """

    def __init__(self, outbox: Outbox, transport: Transport, *, what: str, deadline_s: float) -> None:
        self._outbox, self._transport, self._what, self._deadline_s = outbox, transport, what, deadline_s
        self._trouble = ""
        self._thread = threading.Thread(target=self._work, name=what, daemon=True)
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, asyncio.Event]] = Future()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        loop, stop, _wake = self._started.result()
        with suppress(RuntimeError):  # it has died, and its loop with it
            loop.call_soon_threadsafe(stop.set)
        self._thread.join()

    def look(self) -> None:
        """There may be something due; returns at once. It is found within a second without."""
        if self._started.done():
            loop, _, wake = self._started.result()
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(wake.set)

    def _work(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        stop, wake = asyncio.Event(), asyncio.Event()
        self._started.set_result((asyncio.get_running_loop(), stop, wake))
        stopping = asyncio.create_task(stop.wait())
        sending: dict[asyncio.Task[None], Delivery] = {}
        while not stop.is_set():
            wake.clear()
            delivery = await self._next(sending) if len(sending) < AT_ONCE else None
            if delivery is not None:
                sending[asyncio.create_task(self._send(delivery))] = delivery
                continue
            woken = asyncio.create_task(wake.wait())
            await asyncio.wait({stopping, woken, *sending}, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            woken.cancel()
            sending = {task: delivery for task, delivery in sending.items() if not task.done()}
        if sending:
            await asyncio.wait(sending, timeout=_GRACE_S)
        for task in sending:
            task.cancel()  # delivered again after the next start
        await asyncio.gather(*sending, return_exceptions=True)

    async def _next(self, sending: Mapping[asyncio.Task[None], Delivery]) -> Delivery | None:
        """A delivery that is due, and neither its receiver nor its owner has as much under way as may be."""
        receivers = Counter(delivery.receiver for delivery in sending.values())
        owners = Counter(delivery.owner for delivery in sending.values())
        busy = [receiver for receiver, count in receivers.items() if count >= AT_ONCE_OF_RECEIVER]
        full = [owner for owner, count in owners.items() if count >= AT_ONCE_OF_OWNER]
        try:
            delivery = await asyncio.to_thread(self._outbox.claim, busy, full)
        except Exception as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                unforeseen = not isinstance(error, PlatoonError)
                _log.warning("no %s are delivered: %s", self._what, error, exc_info=unforeseen)
            return None
        self._trouble = ""
        return delivery

    async def _send(self, delivery: Delivery) -> None:
        try:
            try:
                async with asyncio.timeout(self._deadline_s):
                    await self._transport.send(delivery)
            except TimeoutError as error:
                failure = error if isinstance(error, DeadlineExceeded) else DeadlineExceeded("no answer in time")
                await asyncio.to_thread(self._outbox.failed, delivery, failure)
            except PlatoonError as error:
                await asyncio.to_thread(self._outbox.failed, delivery, error)
            else:
                await asyncio.to_thread(self._outbox.delivered, delivery)
        except PlatoonError as error:  # of the outbox, which delivers it again
            _log.warning("delivery %s of %s: %s", delivery.id, self._what, error)
        except Exception:
            _log.exception("delivery %s of %s", delivery.id, self._what)
