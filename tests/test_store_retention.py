import errno
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from platoon.settings import StoreSettings
from platoon.store import retention as retention_module
from platoon.store import space
from platoon.store.event import Event
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore
from platoon.store.pace import why_less
from platoon.store.retention import Retention, Swept
from tests.fake_site import event
from tests.small_disk import fill, small_disk

DAY_S = 86_400.0
MEGABYTE = 1_000_000


class Kept:
    """Both stores, and the moment that the test says it is; the clock has been looked at a moment ago."""

    def __init__(self, folder: Path) -> None:
        self.events = EventStore(folder / "events.db")
        self.crops = ObjectStore(folder / "crops")
        with self.events._writer() as db:
            db.execute("PRAGMA synchronous = OFF")  # no power fails here
        self.now = datetime.now(UTC).timestamp()
        self.retention().sweep()

    def add(self, name: str, *, days_old: float, n_bytes: int = 10, state: str = "final") -> None:
        self.crops.put(f"{name}.jpg", b"x" * n_bytes)
        self.events.put(
            Event.of(event(name, time=self.ago(days_old), crop=f"{name}.jpg", state=state)), crop_bytes=n_bytes
        )

    def add_without_crop(self, name: str, *, days_old: float) -> None:
        self.events.put(Event.of(event(name, time=self.ago(days_old))))

    def ago(self, days: float) -> str:
        return datetime.fromtimestamp(self.now - days * DAY_S, UTC).isoformat()

    def retention(self, *, max_age_days: float = 30, max_bytes: int = 10 * MEGABYTE) -> Retention:
        limits = StoreSettings(max_age_days=max_age_days, max_bytes=max_bytes, reserve_bytes=0)
        return Retention(self.events, self.crops, limits, clock=lambda: self.now)

    def pictures(self) -> set[str]:
        return {stored.key for chunk in self.crops.walk() for stored in chunk}

    def names(self) -> set[str]:
        return {one["id"] for one in self.events.search(limit=10_000)}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path)
    yield kept
    kept.events.close()


def test_events_past_their_age_go_with_their_crops(kept: Kept) -> None:
    kept.add("old", days_old=31)
    kept.add("young", days_old=29)
    assert kept.retention().sweep() == Swept(events=1, strays=0, crops=0, kept_bytes=10)
    assert kept.names() == {"young"}
    assert kept.pictures() == {"young.jpg"}


def test_more_than_one_transaction_of_old_events_goes_in_one_sweep(kept: Kept) -> None:
    for number in range(600):
        kept.events.put(Event.of(event(str(number), time="2020-01-01T00:00:00Z")))
    assert kept.retention().sweep().events == 600
    assert kept.events.search() == []


def test_beyond_the_size_the_oldest_crops_go_and_their_events_say_so(kept: Kept) -> None:
    for days_old in (3, 1, 2):
        kept.add(f"d{days_old}", days_old=days_old, n_bytes=MEGABYTE // 2)
    swept = kept.retention(max_bytes=MEGABYTE).sweep()
    assert swept == Swept(events=0, strays=0, crops=1, kept_bytes=MEGABYTE)
    assert {one["id"]: one["crop"] for one in kept.events.search()} == {
        "d1": "d1.jpg",
        "d2": "d2.jpg",
        "d3": None,
    }
    assert kept.pictures() == {"d1.jpg", "d2.jpg"}


def test_previews_that_became_nothing_go_before_any_final_but_not_while_they_may_still_become_one(kept: Kept) -> None:
    kept.add("final", days_old=3, n_bytes=MEGABYTE // 2)
    kept.add("abandoned", days_old=1, n_bytes=MEGABYTE // 2, state="preview")
    kept.add("passing", days_old=0, n_bytes=MEGABYTE // 2, state="preview")
    kept.retention(max_bytes=MEGABYTE).sweep()
    assert kept.pictures() == {"final.jpg", "passing.jpg"}


def test_crops_whose_size_an_older_version_did_not_note_are_measured(kept: Kept) -> None:
    for days_old in (2, 1):
        name = f"d{days_old}"
        kept.add(name, days_old=days_old, n_bytes=MEGABYTE)
        kept.events.put(Event.of(kept.events.get(name) or {}))
    assert kept.retention(max_bytes=MEGABYTE).sweep().kept_bytes == MEGABYTE
    assert kept.pictures() == {"d1.jpg"}


def test_what_a_final_replaced_goes_even_if_the_writer_could_not_delete_it(kept: Kept) -> None:
    kept.add("e1", days_old=1, state="preview")
    kept.crops.put("final.jpg", b"x")
    kept.events.put(Event.of({**(kept.events.get("e1") or {}), "state": "final", "crop": "final.jpg"}))
    assert kept.events.dropped(10) == ["e1.jpg"]
    kept.retention().sweep()
    assert kept.pictures() == {"final.jpg"}
    assert kept.events.dropped(10) == []


def test_a_crop_that_no_event_names_goes_once_it_is_old(kept: Kept) -> None:
    kept.crops.put("gate/2026/01/31/stray.jpg", b"x")
    retention = kept.retention()
    for _ in range(31):
        kept.add("young", days_old=0)
        assert retention.sweep().strays == 0
        kept.now += DAY_S
    assert retention.sweep().strays == 1
    assert kept.pictures() == {"young.jpg"}


def test_no_sweep_lists_the_whole_store(kept: Kept) -> None:
    for day in range(1, 31):
        kept.crops.put(f"gate/2026/01/{day:02d}/x.jpg", b"x")
    retention = kept.retention()
    looked: list[str | None] = []
    list_folder = kept.crops._store.list_with_delimiter
    kept.crops._store = _Listing(list_folder, looked)  # type: ignore[assignment]
    retention.sweep()
    assert 0 < len(looked) <= 8
    for _ in range(4):
        retention.sweep()
    assert {f"gate/2026/01/{day:02d}" for day in range(1, 31)} <= set(looked), "in time all of it is looked through"


class _Listing:
    def __init__(self, list_folder: Any, looked: list[str | None]) -> None:
        self._list_folder, self._looked = list_folder, looked

    def list_with_delimiter(self, folder: str | None) -> Any:
        self._looked.append(folder)
        return self._list_folder(folder)


def test_a_crop_that_is_already_missing_stops_no_sweep(kept: Kept) -> None:
    kept.add("old", days_old=31)
    kept.add("older", days_old=32)
    kept.crops.delete(["older.jpg"])
    assert kept.retention().sweep().events == 2
    assert kept.pictures() == set()


def test_an_event_that_is_replaced_while_its_old_self_expires_stays(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.add("e1", days_old=31, state="preview")
    delete = kept.crops.delete

    def delete_and_replace(keys: Iterable[str]) -> None:
        delete(keys)
        if kept.events.get("e1") is not None:
            kept.add("e1", days_old=0)

    monkeypatch.setattr(kept.crops, "delete", delete_and_replace)
    assert kept.retention().sweep().events == 0
    assert kept.names() == {"e1"}


@pytest.mark.parametrize("days", [40, 3650, -40])
def test_a_clock_that_jumped_makes_age_wait_a_day_and_then_take_a_tenth_a_day(kept: Kept, days: int) -> None:
    for number in range(100):
        kept.add_without_crop(str(number), days_old=number * 0.2)
    if days < 0:  # it was ahead, and has been set right
        kept.now += 40 * DAY_S
        kept.retention().sweep()
    kept.now += days * DAY_S
    swept = kept.retention().sweep()
    assert swept.events == 0
    assert f"clock is {abs(days)} days {'ahead' if days > 0 else 'behind'}" in swept.waits
    assert why_less(kept.events) == swept.waits
    kept.now += 0.9 * DAY_S
    assert kept.retention().sweep().events == 0, "a restart does not shorten the wait"
    for _ in range(5):
        before = len(kept.names())
        for _ in range(4):
            kept.now += 0.25 * DAY_S
            kept.retention().sweep()
        assert before - len(kept.names()) <= (before + 9) // 10 * 2 - 1
    if days < 0:
        assert len(kept.names()) == 100, "nothing of it is old"
        assert why_less(kept.events) == ""


@pytest.mark.parametrize(("days", "gone"), [(0, 1), (40, 0), (-40, 0)])
def test_a_store_that_no_sweep_has_seen_yet_knows_a_jump_by_when_it_was_written(
    tmp_path: Path, days: int, gone: int
) -> None:
    kept = Kept(tmp_path)
    for days_old in (31, 20, 10):
        kept.add_without_crop(str(days_old), days_old=days_old)
    with kept.events._writer() as db:
        db.execute("DELETE FROM memo WHERE name = 'retention'")
    kept.now += days * DAY_S
    assert kept.retention().sweep().events == gone
    kept.events.close()


def test_a_clock_that_is_set_right_again_costs_nothing(kept: Kept) -> None:
    for number in range(20):
        kept.add_without_crop(str(number), days_old=number)
    for jump in (40, -40):
        kept.now += jump * DAY_S
        for _ in range(20):
            kept.retention().sweep()
            kept.now += 900
    assert len(kept.names()) == 20


def test_a_site_that_was_off_for_sixty_days_forgets_what_is_old_within_weeks(kept: Kept) -> None:
    for number in range(120):
        kept.add_without_crop(f"before {number}", days_old=number * 0.25)
    kept.now += 60 * DAY_S
    most = 0
    for day in range(30):
        for number in range(4):
            kept.add_without_crop(f"after {day} {number}", days_old=0)
        before = len(kept.names())
        swept = kept.retention().sweep()
        most = max(most, swept.events)
        assert swept.events <= max(1, before // 10)
        kept.now += DAY_S
    assert most > 1
    assert {name.split()[0] for name in kept.names()} == {"after"}
    assert why_less(kept.events) == ""


@pytest.mark.parametrize("max_age_days", [1, 5, 30])
def test_ordinary_expiry_keeps_up_with_a_steady_inflow(kept: Kept, max_age_days: float) -> None:
    retention = kept.retention(max_age_days=max_age_days)
    for day in range(40):
        for number in range(6 if day != 4 else 60):
            kept.add_without_crop(f"{day} {number}", days_old=0)
        kept.now += DAY_S
        retention.sweep()
        oldest = min(int(name.split()[0]) for name in kept.names()) if kept.names() else day
        assert oldest >= day - max_age_days


def test_after_a_jump_a_short_age_catches_up_with_a_steady_inflow(kept: Kept) -> None:
    for number in range(50):
        kept.add_without_crop(f"before {number}", days_old=number / 10)
    retention = kept.retention(max_age_days=5)
    kept.now += 20 * DAY_S
    for day in range(30):
        for number in range(10):
            kept.add_without_crop(f"{day} {number}", days_old=0)
        retention.sweep()
        kept.now += DAY_S
    assert why_less(kept.events) == ""
    assert len(kept.names()) <= 60


def test_pages_of_deleted_events_are_given_back(kept: Kept) -> None:
    for number in range(200):
        kept.events.put(Event.of(event(str(number), time="2020-01-01T00:00:00Z", raw="x" * 20_000)))
    with kept.events._writer() as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = kept.events.path.stat().st_size
    kept.retention().sweep()
    assert kept.events.path.stat().st_size < before / 10


def test_the_thread_sweeps_at_once_and_ends_when_asked(kept: Kept) -> None:
    kept.add("old", days_old=31)
    gone = threading.Event()
    delete = kept.events.delete
    kept.events.delete = lambda ids, **rest: (delete(ids, **rest), gone.set())[0]  # type: ignore
    with kept.retention():
        assert gone.wait(30)
    assert kept.events.search() == []


def test_a_disk_that_cannot_be_looked_at_ends_no_thread(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_module, "_LOOK_S", 0.01)
    looks = iter(range(1000))
    looked, swept = threading.Event(), threading.Event()

    def free(_path: Path) -> int:
        if swept.is_set() and next(looks) < 20:
            looked.set()
            raise OSError(errno.EIO, "Input/output error")
        return 0 if looked.is_set() else 10**12

    monkeypatch.setattr(space, "free", free)
    retention = Retention(kept.events, kept.crops, StoreSettings())
    sweep = retention.sweep
    sweeps = threading.Semaphore(0)
    retention.sweep = lambda: (sweep(), swept.set(), sweeps.release())[0]  # type: ignore
    with retention:
        assert sweeps.acquire(timeout=30)
        assert sweeps.acquire(timeout=30)  # as the disk has no room left


class Disk:
    """A small disk with a store on it, and its retention."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events = EventStore(folder / "events.db")
        self.crops = ObjectStore(folder / "crops")
        self.now = datetime.now(UTC).timestamp()
        self.retention = Retention(self.events, self.crops, StoreSettings(), clock=lambda: self.now)

    def add(self, name: str, days_old: float, n_bytes: int = 1000) -> None:
        moment = datetime.fromtimestamp(self.now - days_old * DAY_S, UTC)
        self.crops.put(f"{name}.jpg", b"x" * n_bytes)
        self.events.put(Event.of(event(name, time=moment.isoformat(), crop=f"{name}.jpg")), crop_bytes=n_bytes)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", 4 * MEGABYTE) as folder:
        disk = Disk(folder)
        yield disk
        disk.events.close()


def test_expiry_works_on_a_disk_without_a_single_free_byte(disk: Disk) -> None:
    disk.retention.sweep()
    for number in range(50):
        disk.events.put(Event.of(event(str(number), time="2020-01-01T00:00:00Z")))
    fill(disk.folder)
    assert space.free(disk.folder) == 0
    assert disk.retention.sweep().events == 50
    disk.events.put(Event.of(event("new")))


def test_crops_of_a_disk_that_others_fill_make_room_for_events_a_tenth_of_them_a_day(disk: Disk) -> None:
    disk.retention.sweep()
    for number in range(100):
        disk.add(str(number), days_old=number / 10)
    fill(disk.folder, "others")
    assert disk.retention.sweep().crops == 0, "there is still the room that was held for this"
    fill(disk.folder, "others, again")
    assert disk.retention.sweep().crops == 10
    assert disk.retention.sweep().crops == 0
    assert {one["id"] for one in disk.events.search(limit=100) if one["crop"] is None} == {
        str(number) for number in range(90, 100)
    }
    disk.events.put(Event.of(event("new", time=datetime.fromtimestamp(disk.now, UTC).isoformat())))
    fill(disk.folder, "others, still")
    disk.now += DAY_S
    assert 0 < disk.retention.sweep().crops <= 9


def test_a_database_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    old = sqlite3.connect(path)
    old.executescript(FIRST_SCHEMA)
    body = json.dumps({key: value for key, value in event("old").items() if key != "crop"})
    old.execute(
        "INSERT INTO event (id, state, rank, camera, plate, time, crop, body) VALUES "
        "('old', 'final', 1, 'gate', 'LS15EBC', 1.0, 'old.jpg', ?)",
        [body],
    )
    old.commit()
    old.close()
    store = EventStore(path)
    assert store.get("old") == event("old", crop="old.jpg")
    assert [one["id"] for one in store.search(text="15EB")] == ["old"]
    assert store.unmeasured(10) == [("old", "old.jpg")]
    assert store.written_since(0, 10) == []
    store.put(Event.of(event("new")))
    assert [(number, one["id"]) for number, one in store.written_since(0, 10)] == [(1, "new")]
    for number in range(100):
        store.put(Event.of(event(str(number), raw="x" * 20_000)))
    store.delete(map(str, range(100)))
    store.give_back()
    assert path.stat().st_size < MEGABYTE
    store.close()


FIRST_SCHEMA = """
CREATE TABLE event (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL, rank INTEGER NOT NULL,
    camera TEXT NOT NULL, plate TEXT NOT NULL, time REAL NOT NULL, crop TEXT, body TEXT NOT NULL);
CREATE INDEX event_by_time ON event (time);
CREATE INDEX event_by_camera ON event (camera, time);
CREATE INDEX event_with_crop ON event (time) WHERE crop IS NOT NULL;
CREATE VIRTUAL TABLE plate_index USING fts5 (plate, content='event', content_rowid='number', tokenize='trigram');
CREATE TRIGGER event_added AFTER INSERT ON event BEGIN
    INSERT INTO plate_index (rowid, plate) VALUES (new.number, new.plate);
END;
CREATE TRIGGER event_removed AFTER DELETE ON event BEGIN
    INSERT INTO plate_index (plate_index, rowid, plate) VALUES ('delete', old.number, old.plate);
END;
CREATE TRIGGER event_replaced AFTER UPDATE OF plate ON event BEGIN
    INSERT INTO plate_index (plate_index, rowid, plate) VALUES ('delete', old.number, old.plate);
    INSERT INTO plate_index (rowid, plate) VALUES (new.number, new.plate);
END;
PRAGMA application_id = 0x504C4154;
PRAGMA user_version = 1;
"""
