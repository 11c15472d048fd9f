"""What is delivered of events, by a clock that stands still unless it is set."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from platoon.errors import InvalidInput, Unavailable
from platoon.metrics import Metrics
from platoon.settings import DeliverySettings
from platoon.store.clock import StoreClock
from platoon.store.deliveries import LEASE_S, EventOutbox
from platoon.store.event import Event
from platoon.store.events import EventStore
from platoon.store.outbox import AT_ONCE_OF_RECEIVER, Delivery, OutboxPublisher
from tests.clock import Clock
from tests.fake_site import event
from tests.running import wait_until

PATIENCE_S = 60


def to(name: str, **given: Any) -> DeliverySettings:
    return DeliverySettings(
        name=name, url=SecretStr(f"https://{name}.test/events"), secret=SecretStr("s" * 32), **given
    )


class Kept:
    """A store whose events are delivered, and its receivers: what each heard."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "events.sqlite"
        self.clock = Clock()
        self.boot = "first"
        self.metrics = Metrics()
        self.opened: list[EventStore | EventOutbox] = []
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.hanging: list[str] = []
        self.answer: Callable[[Delivery], object] = lambda _delivery: None

    def store(self, *deliveries: DeliverySettings) -> EventStore:
        self.opened.append(store := EventStore(self.path, deliveries, clock=self._clock()))
        return store

    def outbox(self, *deliveries: DeliverySettings) -> EventOutbox:
        self.opened.append(
            outbox := EventOutbox(
                self.path, deliveries, self.metrics, clock=self._clock(), monotonic=self.clock.running
            )
        )
        return outbox

    async def send(self, delivery: Delivery) -> None:
        if delivery.receiver == "hangs":
            self.hanging.append(delivery.id)
            await asyncio.Event().wait()
        self.answer(delivery)
        self.heard.append((delivery.receiver, json.loads(delivery.body)))

    def publisher(self, outbox: EventOutbox) -> OutboxPublisher:
        return OutboxPublisher(outbox, self, what="events", deadline_s=PATIENCE_S)

    def delivered(self, receiver: str) -> list[tuple[str, str]]:
        return [(one["event"]["id"], one["event"]["state"]) for name, one in self.heard if name == receiver]

    def count(self, delivery: str, result: str) -> float:
        labels = {"delivery": delivery, "result": result}
        return self.metrics.registry.get_sample_value("platoon_deliveries_total", labels) or 0.0

    def oldest_s(self, delivery: str) -> float:
        value = self.metrics.registry.get_sample_value("platoon_delivery_oldest_seconds", {"delivery": delivery})
        assert value is not None
        return value

    def _clock(self) -> StoreClock:
        return StoreClock(self.clock, self.clock.running, lambda: self.boot)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path)
    yield kept
    for one in kept.opened:
        one.close()


def put(store: EventStore, name: str, *states: str, **fields: Any) -> None:
    for state in states or ("final",):
        store.put(Event.of(event(name, state=state, **fields)))


def test_each_receiver_gets_the_kinds_and_states_that_it_wants(kept: Kept) -> None:
    ways = to("all", kinds=("plate", "alert"), states=("preview", "final", "revised")), to("plates")
    store = kept.store(*ways)
    put(store, "e1", "preview", "final", "preview", "revised")
    put(store, "a1", "preview", kind="alert")
    put(store, "c1", kind="caption")
    outbox = kept.outbox(*ways)
    with kept.publisher(outbox):
        wait_until(lambda: not outbox.waiting(), "all is delivered", patience_s=PATIENCE_S)
    assert sorted(kept.delivered("all")) == [("a1", "preview"), ("e1", "final"), ("e1", "preview"), ("e1", "revised")]
    assert sorted(kept.delivered("plates")) == [("e1", "final"), ("e1", "revised")]
    body = next(body for name, body in kept.heard if body["event"]["state"] == "revised")
    assert body == {"id": body["id"], "kind": "plate", "event": store.get("e1")}


def test_an_event_and_its_deliveries_are_written_together_or_not_at_all(kept: Kept) -> None:
    store = kept.store(to("gate"))
    breaker = sqlite3.connect(kept.path)
    breaker.execute("CREATE TRIGGER fails BEFORE INSERT ON delivery BEGIN SELECT RAISE(ABORT, 'no'); END")
    breaker.close()
    with pytest.raises(Exception, match="no"):
        put(store, "e1")
    assert store.get("e1") is None


def test_a_receiver_that_hangs_delays_no_event_and_no_other_receiver(kept: Kept) -> None:
    ways = to("hangs"), to("answers")
    store, outbox = kept.store(*ways), kept.outbox(*ways)
    with kept.publisher(outbox):
        put(store, "first")
        wait_until(lambda: kept.hanging, "one hangs", patience_s=PATIENCE_S)
        for number in range(100):
            put(store, str(number))
        wait_until(lambda: len(kept.delivered("answers")) == 101, "the other has heard all", patience_s=PATIENCE_S)
        assert len(kept.hanging) <= AT_ONCE_OF_RECEIVER
    assert outbox.waiting() == 101


def test_the_states_of_an_event_come_in_their_order_also_where_the_first_fails(kept: Kept) -> None:
    way = to("gate", states=("preview", "final"))
    store, outbox = kept.store(way), kept.outbox(way)
    put(store, "e1", "preview", "final")
    first = outbox.claim([], [])
    assert first is not None
    assert json.loads(first.body)["event"]["state"] == "preview"
    assert outbox.claim([], []) is None, "the final waits for the preview"
    outbox.failed(first, Unavailable("no"))
    kept.clock.now += 5
    again = outbox.claim([], [])
    assert again is not None
    assert (again.id, again.body, again.attempt) == (first.id, first.body, 2)
    outbox.delivered(again)
    final = outbox.claim([], [])
    assert final is not None
    assert json.loads(final.body)["event"]["state"] == "final"
    assert final.id != first.id


def test_of_two_processes_only_one_delivers_until_the_other_is_given_up(kept: Kept) -> None:
    way = to("gate")
    store = kept.store(way)
    one, other = kept.outbox(way), kept.outbox(way)
    for number in range(40):
        put(store, str(number))
    claimed: list[str] = []

    def claim(outbox: EventOutbox) -> None:
        while delivery := outbox.claim([], []):
            claimed.append(delivery.id)

    threads = [threading.Thread(target=claim, args=(outbox,)) for outbox in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while delivery := one.claim([], []):  # a claim lost to the other ends its loop
        claimed.append(delivery.id)
    assert len(claimed) == len(set(claimed)) == 40
    kept.clock.now += LEASE_S
    again = other.claim([], [])
    assert again is not None
    assert again.id in claimed


def test_what_was_claimed_is_free_after_a_restart_of_the_machine(kept: Kept) -> None:
    way = to("gate")
    put(kept.store(way), "e1")
    first = kept.outbox(way).claim([], [])
    kept.boot, kept.clock.now = "second", 5.0
    again = kept.outbox(way).claim([], [])
    assert first is not None
    assert again is not None
    assert first.id == again.id


def test_a_clock_that_is_set_gives_nothing_up_and_delays_nothing(kept: Kept) -> None:
    way = to("gate")
    put(kept.store(way), "e1")
    for ahead in (1e9, -1e9):
        kept.clock.ahead = ahead
        with closing(EventOutbox(kept.path, (way,), Metrics(), clock=kept._clock())) as outbox:
            delivery = outbox.claim([], [])
            assert delivery is not None
            outbox.failed(delivery, Unavailable("no"))
        kept.clock.now += 10


def test_a_receiver_that_fails_rests_ever_longer_and_hears_all_once_it_answers(kept: Kept) -> None:
    way = to("gate")
    store, outbox = kept.store(way), kept.outbox(way)
    for number in range(50):
        put(store, str(number))
    tried = 0
    for _ in range(600):
        while (delivery := outbox.claim([], [])) is not None:
            tried += 1
            outbox.failed(delivery, Unavailable("no"))
        kept.clock.now += 1
    assert 12 <= tried <= 20, "in ten minutes, whatever waits"
    assert kept.oldest_s("gate") == 600
    assert kept.count("gate", "failed") == tried
    kept.clock.now += 60
    delivered = 0
    while (delivery := outbox.claim([], [])) is not None:
        outbox.delivered(delivery)
        delivered += 1
    assert delivered == 50 == kept.count("gate", "delivered")
    assert kept.oldest_s("gate") == 0


def test_one_delivery_that_is_never_taken_holds_up_no_other(kept: Kept) -> None:
    way = to("gate")
    store, outbox = kept.store(way), kept.outbox(way)
    for number in range(20):
        put(store, str(number))
    arrived: set[str] = set()
    for _ in range(100):
        while (delivery := outbox.claim([], [])) is not None:
            name = json.loads(delivery.body)["event"]["id"]
            if name == "0":
                outbox.failed(delivery, InvalidInput("answers with status 400"))
            else:
                outbox.delivered(delivery)
                arrived.add(name)
        kept.clock.now += 1
    assert len(arrived) == 19


def test_what_is_too_old_or_too_much_is_given_up_and_counted(kept: Kept) -> None:
    ways = to("short", max_age_hours=1), to("few", max_waiting=5)
    store = kept.store(*ways)
    for number in range(8):
        put(store, str(number))
    outbox = kept.outbox(*ways)
    assert outbox.claim([], ["short", "few"]) is None
    assert (kept.count("few", "full"), kept.count("short", "expired"), outbox.waiting()) == (3, 0, 13)
    kept.clock.now += 3601
    delivery = outbox.claim([], [])
    assert delivery is not None
    assert (kept.count("short", "expired"), delivery.receiver) == (8, "few")
    assert json.loads(delivery.body)["event"]["id"] in set("34567"), "the oldest go first"


def test_an_event_that_is_put_again_is_delivered_under_the_same_id(kept: Kept) -> None:
    way = to("gate")
    store, outbox = kept.store(way), kept.outbox(way)
    ids = set()
    for _ in range(2):  # as the writer does where the first commit only seemed to fail
        put(store, "e1")
        delivery = outbox.claim([], [])
        assert delivery is not None
        outbox.delivered(delivery)
        ids.add(delivery.id)
    assert len(ids) == 1


def test_deliveries_of_events_that_have_outlived_their_time_go_with_them(kept: Kept) -> None:
    way = to("gate")
    store = kept.store(way)
    put(store, "e1")
    store.delete(["e1"])
    assert kept.outbox(way).waiting() == 0
