"""Crops in a real S3-speaking server."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from platoon.errors import NotFound, StoreError
from platoon.metrics import Metrics
from platoon.plates.events import EventState, PlateEvent, PlatePipeline
from platoon.plates.grammar import Grammar
from platoon.settings import StoreSettings
from platoon.store import space
from platoon.store.event import Event
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore
from platoon.store.retention import Retention
from platoon.streams import sink as sinks
from platoon.streams.sink import EventSink
from tests.fake_site import event
from tests.plate_scripts import drive, passing
from tests.running import wait_until
from tests.s3_server import SECRET, S3Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def crops(server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ObjectStore:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return ObjectStore(f"{server.url}/{abs(hash(request.node.name))}")


@pytest.fixture
def events(tmp_path: Path) -> Iterator[EventStore]:
    store = EventStore(tmp_path / "events.sqlite")
    yield store
    store.close()


def keys(crops: ObjectStore) -> set[str]:
    return {found.key for folder in crops.walk() for found in folder}


def test_pictures_are_kept_found_listed_and_deleted(crops: ObjectStore) -> None:
    for key in ("gate/2026/01/31/a.jpg", "gate/2026/02/01/b.jpg", "yard/ö c.jpg"):
        crops.put(key, key.encode())
    assert crops.get("yard/ö c.jpg") == "yard/ö c.jpg".encode()
    assert (crops.size("gate/2026/01/31/a.jpg"), crops.size("gate/none.jpg")) == (21, 0)
    assert keys(crops) == {"gate/2026/01/31/a.jpg", "gate/2026/02/01/b.jpg", "yard/ö c.jpg"}
    crops.delete(["gate/none.jpg", "gate/2026/01/31/a.jpg", "yard/ö c.jpg"])
    assert keys(crops) == {"gate/2026/02/01/b.jpg"}
    with pytest.raises(NotFound, match="no picture"):
        crops.get("gate/none.jpg")


def test_the_crop_of_a_preview_goes_and_retention_deletes_what_is_old_or_of_no_event(
    crops: ObjectStore, events: EventStore
) -> None:
    (final,) = drive(PlatePipeline("gate", Grammar(), hold_finals=True), passing("AB123CD")).events
    sink = EventSink(events, crops, Metrics(), on_event=lambda _event: None)
    sink.put(replace(final, state=EventState.PREVIEW, time=time.time()))
    sink.put(replace(final, time=time.time()))
    sink.close()
    (kept,) = keys(crops)
    assert kept.endswith(f"{final.id}-final.jpg")
    crops.put("gate/old.jpg", b"x")
    crops.put("gate/stray.jpg", b"x")
    events.put(Event.of(event("old", time="2020-01-01T00:00:00Z", crop="gate/old.jpg")), crop_bytes=1)
    retention = Retention(events, crops, StoreSettings(max_age_days=1), clock=lambda: time.time() + 0.5 * 86_400)
    retention.sweep()
    assert keys(crops) == {kept, "gate/stray.jpg"}, "a stray is young yet"
    Retention(events, crops, StoreSettings(max_age_days=1e-4), clock=lambda: time.time() + 60).sweep()
    assert "gate/stray.jpg" not in keys(crops)


def test_a_wrong_secret_is_named_at_once_and_never_shown(
    server: S3Server, crops: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    with pytest.raises(StoreError, match="PLATOON_STORE__CROPS") as refused:
        ObjectStore(server.url).put("a.jpg", b"x")
    assert "not-the-secret" not in str(refused.value)
    assert SECRET not in str(refused.value)


def test_while_the_server_is_away_events_wait_and_none_is_lost(
    server: S3Server, crops: ObjectStore, events: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "RETRY_S", 0.1)
    (one,) = drive(PlatePipeline("gate", Grammar(), hold_finals=True), passing("AB123CD")).events
    many: list[PlateEvent] = [replace(one, id=f"e{number}") for number in range(3)]
    server.stop()
    try:
        sink = EventSink(events, crops, Metrics(), on_event=lambda _event: None)
        for each in many:
            sink.put(each)
        wait_until(lambda: sink.error, "it cannot be stored")
        assert any("pictures in s3://" in reason for reason in sink.not_ready())
        assert events.search() == []
    finally:
        server.start()
    sink.wait()
    sink.close()
    assert {found["id"] for found in events.search()} == {"e0", "e1", "e2"}
    assert len(keys(crops)) == 3


def test_a_full_disk_costs_no_crop_that_is_kept_elsewhere(
    tmp_path: Path, events: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    for crops, left in ((ObjectStore("memory:///"), 1), (ObjectStore(f"file://{tmp_path}/crops"), 0)):
        crops.put("gate/a.jpg", b"x" * 100)
        events.put(Event.of(event("e1", time=now.isoformat(), crop="gate/a.jpg")), crop_bytes=100)
        retention = Retention(events, crops, StoreSettings())
        retention.sweep()
        with monkeypatch.context() as patch:
            patch.setattr(space, "free", lambda _path: 0)
            Retention(events, crops, StoreSettings(), clock=lambda: time.time() + 3600).sweep()
        assert len(keys(crops)) == left
