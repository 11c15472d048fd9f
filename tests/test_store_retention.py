import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from platoon.settings import StoreSettings
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore
from platoon.store.retention import Retention, Swept
from tests.fake_site import event

DAY_S = 86_400.0
MEGABYTE = 1_000_000


class Kept:
    """Both stores, and the moment that the test says it is."""

    def __init__(self, folder: Path) -> None:
        self.events = EventStore(folder / "events.db")
        self.crops = ObjectStore(folder / "crops")
        self.now = datetime.now(UTC).timestamp()

    def add(self, name: str, *, days_old: float, n_bytes: int = 10) -> None:
        moment = datetime.fromtimestamp(self.now - days_old * DAY_S, UTC)
        self.crops.put(f"{name}.jpg", b"x" * n_bytes)
        self.events.put(event(name, time=moment.isoformat(), crop=f"{name}.jpg"))

    def retention(self, *, max_age_days: float = 30, max_bytes: int = 10 * MEGABYTE) -> Retention:
        limits = StoreSettings(max_age_days=max_age_days, max_bytes=max_bytes)
        return Retention(self.events, self.crops, limits, clock=lambda: self.now)

    def pictures(self) -> set[str]:
        return {stored.key for chunk in self.crops.list() for stored in chunk}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path)
    yield kept
    kept.events.close()


def test_events_past_their_age_go_with_their_crops(kept: Kept) -> None:
    kept.add("old", days_old=31)
    kept.add("young", days_old=29)
    assert kept.retention().sweep() == Swept(events=1, strays=0, crops=0, kept_bytes=10)
    assert [one["id"] for one in kept.events.search()] == ["young"]
    assert kept.pictures() == {"young.jpg"}


def test_more_than_one_transaction_of_old_events_goes_in_one_sweep(kept: Kept) -> None:
    for number in range(600):
        kept.events.put(event(str(number), time="2020-01-01T00:00:00Z"))
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


def test_a_crop_that_no_event_names_goes_once_it_is_old(kept: Kept) -> None:
    kept.crops.put("stray.jpg", b"x")
    assert kept.retention().sweep().strays == 0
    kept.now += 31 * DAY_S
    assert kept.retention().sweep().strays == 1
    assert kept.pictures() == set()


def test_a_crop_that_is_already_missing_stops_no_sweep(kept: Kept) -> None:
    kept.add("old", days_old=31)
    kept.crops.delete(["old.jpg"])
    assert kept.retention().sweep().events == 1


def test_the_thread_sweeps_at_once_and_ends_when_asked(kept: Kept) -> None:
    kept.add("old", days_old=31)
    gone = threading.Event()
    delete = kept.events.delete
    kept.events.delete = lambda ids: (delete(ids), gone.set())[0]  # type: ignore[method-assign, func-returns-value]
    with kept.retention():
        assert gone.wait(30)
    assert kept.events.search() == []
