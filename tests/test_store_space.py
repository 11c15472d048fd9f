import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from platoon.errors import StoreError
from platoon.settings import StoreSettings
from platoon.store import space
from platoon.store.event import Event
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore
from platoon.store.retention import Retention
from tests.fake_site import event
from tests.small_disk import fill, small_disk

MEGABYTE = 1_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 4 * MEGABYTE) as disk:
        yield disk


def test_what_fits_beside_the_reserve_is_let_in_and_more_is_not(disk: Path) -> None:
    reserve = MEGABYTE // 4
    room = space.free(disk) - reserve
    space.check_room(disk, room, reserve)
    with pytest.raises(StoreError, match=r"disk is full: .* do not fit .* kept for events"):
        space.check_room(disk, room + 1, reserve)


def test_of_a_small_disk_no_more_than_a_tenth_is_kept_free(disk: Path) -> None:
    space.check_room(disk / "not" / "made" / "yet", 3 * MEGABYTE, 200 * MEGABYTE)
    assert space.reserved(disk, 200 * MEGABYTE) <= 0.11 * 4 * MEGABYTE


def test_a_full_disk_is_known_by_trying(disk: Path) -> None:
    assert not space.is_full(disk)
    fill(disk)
    assert space.is_full(disk)
    assert not space.is_full(disk / "nowhere")


def test_a_quota_is_a_full_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exceeded(_descriptor: int) -> None:
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", exceeded)
    assert space.is_full(tmp_path)


def test_uploads_that_fill_a_small_disk_leave_room_for_events(disk: Path) -> None:
    events, crops, settings = EventStore(disk / "events.sqlite"), ObjectStore(disk / "crops"), StoreSettings()
    now = datetime.now(UTC)
    retention = Retention(events, crops, settings, clock=now.timestamp)
    retention.sweep()
    uploads = 0
    with pytest.raises(StoreError, match="disk is full"):
        while True:
            space.check_room(disk, 200_000, settings.reserve_bytes)
            (disk / f"upload{uploads}").write_bytes(bytes(200_000))
            uploads += 1
    assert uploads > 8
    for number in range(20):
        one = Event.of(event(str(number), time=now.isoformat(), crop=f"{number}.jpg"))
        for _ in range(5):  # as the writer does, while retention looks after the room
            try:
                crops.put(f"{number}.jpg", bytes(1000))
                events.put(one, crop_bytes=1000)
                break
            except StoreError:
                retention.sweep()
    assert events.count() == 20
    assert all(one["crop"] is not None for one in events.search(limit=20))
    events.close()
