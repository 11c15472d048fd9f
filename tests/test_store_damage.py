"""A file of events that cannot be used when a site starts by itself, or not any more while it runs."""

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from platoon.errors import StoreError, StoreUnusable
from platoon.metrics import Metrics
from platoon.plates.events import PlateEvent, PlatePipeline
from platoon.plates.grammar import Grammar
from platoon.settings import DeliverySettings
from platoon.store import damage
from platoon.store.deliveries import EventOutbox
from platoon.store.event import Event
from platoon.store.event_file import EventFile
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore
from platoon.streams import sink as sinks
from platoon.streams.sink import EventSink
from tests.fake_site import event as row
from tests.plate_scripts import drive, passing
from tests.running import wait_until
from tests.small_disk import fill, small_disk

MEGABYTE = 1_000_000


@pytest.fixture
def event() -> PlateEvent:
    (event,) = drive(PlatePipeline("gate", Grammar(), hold_finals=True), passing("AB123CD")).events
    return event


class Start:
    """What a site that starts by itself makes of its store."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "events.sqlite"
        self.events = EventStore(self.path, unattended=True)
        self.crops = ObjectStore(folder / "crops", unattended=True)
        self.emitted: list[Any] = []
        self.sink = EventSink(
            self.events, self.crops, Metrics(), on_event=lambda event: self.emitted.append(event["id"])
        )

    def unready(self, cause: str) -> bool:
        return any(cause in reason for reason in self.sink.not_ready())

    def ready(self) -> bool:
        return not self.sink.not_ready()

    def close(self) -> None:
        self.sink.close()
        self.events.close()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "RETRY_S", 0.05)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A file with events in it, and nothing beside it."""
    path = tmp_path / "store" / "events.sqlite"
    with closing(EventStore(path)) as store:
        for number in range(100):
            store.put(Event.of(row(str(number))))
    return path


def _garbage(path: Path) -> None:
    path.write_bytes(b"holiday pictures" * 5000)


def _truncated(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 + 100])


def _page_overwritten(path: Path) -> None:
    """One page of many, that of an index: nothing is wrong with the file until it is looked at."""
    with closing(sqlite3.connect(path)) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'event_by_time'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


DAMAGES = [_garbage, _truncated, _page_overwritten]


@pytest.mark.parametrize("spoil", DAMAGES)
def test_a_damaged_file_is_set_aside_whole_and_what_comes_meanwhile_is_stored(
    kept: Path, event: PlateEvent, spoil: Callable[[Path], None]
) -> None:
    spoil(kept)
    spoilt = kept.read_bytes()
    with closing(Start(kept.parent)) as start:
        start.sink.put(event)
        wait_until(lambda: start.emitted == [event.id], "the event is stored")
        assert start.ready()
        (aside,) = damage.lying(kept)
        assert aside.read_bytes() == spoilt
        (warning,) = start.sink.warnings()
        assert f"set aside as {aside}" in warning
        assert ".recover" in warning
    with closing(EventStore(kept)) as again:
        assert [one["id"] for one in again.search()] == [event.id]
        assert again.warnings() == [warning], "it lies there still"
    aside.unlink()
    with closing(EventStore(kept)) as again:
        assert again.warnings() == []


@pytest.mark.parametrize("spoil", DAMAGES)
def test_whoever_finds_the_damage_first_the_file_is_set_aside_once(kept: Path, spoil: Callable[[Path], None]) -> None:
    spoil(kept)
    receiver = DeliverySettings.model_validate({"name": "barrier", "url": "http://127.0.0.1:1/", "secret": "x" * 32})
    with (
        closing(EventStore(kept, (receiver,), unattended=True)) as writer,
        closing(EventStore(kept, unattended=True)) as other,
        closing(EventOutbox(kept, (receiver,), Metrics(), unattended=True)) as outbox,
    ):
        uses: tuple[Callable[[], object], ...] = (
            lambda: writer.put(Event.of(row("new"))),
            lambda: other.search(since=0.0),
        )
        stored = [False, False]
        for _ in range(3):  # each may find it in the middle of something, once
            for place, use in enumerate(uses):
                try:
                    use()
                    stored[place] = True
                except StoreUnusable as error:
                    assert "set aside" in str(error)
        assert stored == [True, True]
        assert len(damage.lying(kept)) == 1
        assert [one["id"] for one in other.search()] == ["new"]
        delivery = outbox.claim((), ())
        assert delivery is not None
        assert delivery.receiver == "barrier"


def test_with_somebody_at_hand_a_damaged_file_stays_where_it_is(kept: Path) -> None:
    _garbage(kept)
    with pytest.raises(StoreError, match="move it away"):
        EventStore(kept)
    assert damage.lying(kept) == []


def test_the_log_of_a_damaged_file_goes_with_it(kept: Path) -> None:
    with closing(sqlite3.connect(kept)) as db:
        db.execute("UPDATE memo SET value = value")
        log = kept.with_name("events.sqlite-wal").read_bytes()
        _garbage(kept)
        with closing(EventStore(kept, unattended=True)) as store:
            store.check()
            (aside,) = damage.lying(kept)
            assert aside.with_name(aside.name + "-wal").read_bytes() == log
            store.put(Event.of(row("new")))
    with closing(EventStore(kept)) as again:
        assert [one["id"] for one in again.search()] == ["new"]


def test_where_new_files_are_damaged_too_they_do_not_pile_up(kept: Path) -> None:
    for _ in range(damage.MOST):
        _garbage(kept)
        with closing(EventStore(kept, unattended=True)) as store:
            store.check()
    _garbage(kept)
    with closing(EventStore(kept, unattended=True)) as store, pytest.raises(StoreUnusable, match="move it away"):
        store.check()
    assert len(damage.lying(kept)) == damage.MOST


def test_events_wait_for_a_folder_that_cannot_be_made_and_the_cause_is_named(tmp_path: Path, event: PlateEvent) -> None:
    folder = tmp_path / "store"
    folder.write_text("in the way")
    with closing(Start(folder)) as start:
        wait_until(lambda: start.unready("cannot make the folder of events"), "the cause is named")
        start.sink.put(event)
        folder.unlink()
        wait_until(lambda: start.emitted == [event.id], "the event is stored")
        assert start.ready()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 4 * MEGABYTE) as disk:
        yield disk


def test_a_store_on_a_disk_that_is_mounted_read_only_works_once_it_is_not(disk: Path, event: PlateEvent) -> None:
    EventStore(disk / "events.sqlite").close()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with closing(Start(disk)) as start:
        wait_until(lambda: start.unready("let this user write the file and its folder"), "the cause is named")
        start.sink.put(event)
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        wait_until(lambda: start.emitted == [event.id], "the event is stored")
        assert start.ready()
    assert damage.lying(disk / "events.sqlite") == []


def test_a_store_that_is_begun_on_a_full_disk_works_once_there_is_room(disk: Path, event: PlateEvent) -> None:
    filling = fill(disk)
    with closing(Start(disk)) as start:
        wait_until(lambda: start.unready("disk is full"), "the cause is named")
        start.sink.put(event)
        filling.unlink()
        wait_until(lambda: start.emitted == [event.id], "the event is stored")
        assert start.ready()


def test_a_file_of_events_follows_a_store_that_was_begun_anew(kept: Path, tmp_path: Path) -> None:
    _garbage(kept)
    path = tmp_path / "events.jsonl"
    with closing(EventStore(kept, unattended=True)) as store, EventFile(path, kept) as file:
        store.put(Event.of(row("new")))
        file.hear({"type": "event", "event": {}})
        wait_until(lambda: path.exists() and '"new"' in path.read_text(), "the line is written")
