"""A process whose children put events and deliver them, each killed by SIGKILL at some statement or message of a seed:
`python -m tests.dying_deliveries FOLDER URL CHILDREN`. The last child is not killed, and delivers what is left. What
was put goes to `FOLDER/put`, a line of JSON each, once the store has said so.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from pydantic import SecretStr

from platoon.api.webhooks import EventTransport
from platoon.metrics import Metrics
from platoon.settings import DeliverySettings
from platoon.store.clock import StoreClock
from platoon.store.deliveries import LEASE_S, EventOutbox
from platoon.store.event import Event
from platoon.store.events import EventStore
from platoon.store.outbox import Delivery, OutboxPublisher
from tests.fake_site import event

STATES: Final[tuple[Literal["preview", "final"], ...]] = ("preview", "final")


class Killing(EventTransport):
    """Takes a step before each message and after its answer."""

    def __init__(self, way: DeliverySettings, step: Callable[[object], None]) -> None:
        super().__init__((way,))
        self._step = step

    async def send(self, delivery: Delivery) -> None:
        self._step(delivery)
        await super().send(delivery)
        self._step(delivery)


def live(folder: Path, way: DeliverySettings, number: int, steps: int | None) -> None:
    """Put events and deliver them: until `steps` are taken, or, where there is no such bound, all that wait."""
    lock = threading.Lock()
    left = steps or 0

    def step(_: object) -> None:
        nonlocal left
        with lock:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    clock = StoreClock(running=lambda: 1e6 + number * 2 * LEASE_S, boot=lambda: "one")
    store = EventStore(folder / "events.sqlite", (way,), clock=clock)
    outbox = EventOutbox(folder / "events.sqlite", (way,), Metrics(), clock=clock)
    for connection in (store._writer, outbox._writer):
        with connection() as db:
            db.set_trace_callback(step)
    with OutboxPublisher(outbox, Killing(way, step), what="events", deadline_s=30) as publisher:
        count = 0
        while steps is not None:
            for state in STATES:
                store.put(Event.of(event(f"{number}-{count}", state=state)))
                with (folder / "put").open("a") as put:
                    put.write(json.dumps([f"{number}-{count}", state]) + "\n")
                publisher.look()
            count += 1
            time.sleep(0.001)
        while outbox.waiting():
            publisher.look()
            time.sleep(0.01)


def main(folder: Path, url: str, children: int) -> None:
    """See above."""
    way = DeliverySettings(
        name="gate", url=SecretStr(url), secret=SecretStr("s" * 32), private=True, states=STATES, kinds=("plate",)
    )
    seeded = random.Random(children)
    for number in range(children + 1):
        steps = seeded.randrange(1, 150) if number < children else None
        child = os.fork()
        if not child:
            live(folder, way, number, steps)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        expected = signal.SIGKILL if steps else 0
        assert status == expected, f"child {number} ended with {status}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
