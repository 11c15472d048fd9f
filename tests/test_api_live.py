import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from platoon.api.live import ClientQueue, Texts
from platoon.api.serve import HttpServer
from platoon.media.source import SourceState
from platoon.metrics import Metrics
from platoon.settings import ApiSettings, Settings
from tests.fake_site import FakeSite, camera, event


def overlay(number: int) -> dict[str, Any]:
    return {"type": "overlay", "camera": "gate", "number": number}


def plate(number: int) -> dict[str, Any]:
    return {"type": "event", "event": event(str(number))}


def dropped(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("platoon_live_overlays_dropped_total")


async def taken(queue: ClientQueue, n: int) -> list[Any]:
    return [message.get("number", message["type"]) for message in [await queue.take() for _ in range(n)]]


def test_messages_leave_in_the_order_they_came() -> None:
    async def talk() -> None:
        queue = ClientQueue(Metrics())
        for message in (overlay(1), plate(1), overlay(2)):
            queue.offer(message)
        assert await taken(queue, 3) == [1, "event", 2]

    asyncio.run(talk())


def test_a_client_that_waits_is_woken_from_another_thread() -> None:
    async def talk() -> None:
        queue = ClientQueue(Metrics())
        waiting = asyncio.create_task(queue.take())
        await asyncio.sleep(0)
        await asyncio.to_thread(queue.offer, overlay(7))
        assert (await asyncio.wait_for(waiting, 30))["number"] == 7

    asyncio.run(talk())


def test_a_full_outbox_loses_its_oldest_overlays_and_counts_them() -> None:
    async def talk() -> None:
        metrics = Metrics()
        queue = ClientQueue(metrics, limit=3)
        for message in (plate(1), overlay(1), overlay(2), overlay(3), plate(2)):
            queue.offer(message)
        assert await taken(queue, 3) == ["event", 3, "event"]
        assert dropped(metrics) == 2
        assert not queue.overfull.is_set()

    asyncio.run(talk())


def test_an_event_without_room_ends_the_connection_instead_of_being_lost() -> None:
    async def talk() -> None:
        metrics = Metrics()
        queue = ClientQueue(metrics, limit=2)
        queue.offer(plate(1))
        queue.offer(plate(2))
        queue.offer(overlay(1))
        assert dropped(metrics) == 1
        queue.offer(plate(3))
        await asyncio.wait_for(queue.overfull.wait(), 30)

    asyncio.run(talk())


def test_a_message_is_turned_into_text_once_for_all_who_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    make = Mock(wraps=json.dumps)
    monkeypatch.setattr("platoon.api.live.json.dumps", make)
    texts = Texts()
    messages = [overlay(number) for number in range(200)]
    for message in messages:
        assert [json.loads(texts.of(message)) for _ in range(50)] == [message] * 50
    assert make.call_count == len(messages)
    assert len(texts._made) < len(messages)


@pytest.fixture
def site(tmp_path: Path) -> FakeSite:
    return FakeSite(tmp_path, camera("gate"), camera("yard"))


@pytest.fixture
def address(site: FakeSite) -> Iterator[str]:
    with HttpServer(site, Settings(api=ApiSettings(port=0))) as http_server:
        yield http_server.address.replace("http", "ws")


def heard(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(30))
    return message


def test_a_connection_starts_with_the_state_of_every_camera(address: str, site: FakeSite) -> None:
    with connect(f"{address}/api/ws") as socket:
        assert [heard(socket)["camera"]["id"] for _ in range(2)] == ["gate", "yard"]
        site.set_state("yard", SourceState.RECONNECTING)
        assert heard(socket)["camera"]["state"] == "reconnecting"
        site.record(event("e1"))
        assert heard(socket) == {"type": "event", "event": event("e1")}


def test_a_cameras_own_feed_is_about_nothing_else(address: str, site: FakeSite) -> None:
    with connect(f"{address}/api/cameras/yard/ws") as socket:
        assert heard(socket)["camera"]["id"] == "yard"
        site.record(event("e1", camera="gate"))
        site.record(event("e2", camera="yard"))
        assert heard(socket)["event"]["id"] == "e2"


def test_the_feed_of_an_unknown_camera_is_refused(address: str, site: FakeSite) -> None:
    with pytest.raises(InvalidStatus) as refusal, connect(f"{address}/api/cameras/no/ws"):
        pass
    assert refusal.value.response.status_code == 404


def test_pages_of_other_sites_may_not_listen(address: str) -> None:
    elsewhere = Origin("http://evil.example")
    with pytest.raises(InvalidStatus) as refusal, connect(f"{address}/api/ws", origin=elsewhere):
        pass
    assert refusal.value.response.status_code == 403


def test_a_client_that_leaves_is_forgotten(address: str, site: FakeSite) -> None:
    before = site.listeners()
    with connect(f"{address}/api/ws") as socket:
        heard(socket)
        assert site.listeners() == before + 1
    deadline = time.monotonic() + 30
    while site.listeners() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_client_that_stops_reading_is_cut_off_and_holds_up_nobody(address: str, site: FakeSite) -> None:
    bulky = [{"text": "X" * 20_000, "confidence": 0.1}]
    with (
        connect(f"{address}/api/ws", max_queue=1, compression=None) as stuck,
        connect(f"{address}/api/ws") as brisk,
    ):
        heard(stuck)
        for _ in range(2):
            heard(brisk)
        for number in range(2000):
            site.say({"type": "event", "event": event(str(number), candidates=bulky)})
            assert heard(brisk)["event"]["id"] == str(number)
        with pytest.raises(ConnectionClosed) as closed:
            for _ in range(2100):
                stuck.recv(30)
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1013
