from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from platoon.errors import StoreError
from platoon.metrics import Metrics
from platoon.plates.events import PlateEvent, PlateWatch
from platoon.plates.grammar import Grammar
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore
from platoon.streams.sink import EventSink
from tests.plate_scripts import drive, passing


@pytest.fixture
def event() -> PlateEvent:
    (event,) = drive(PlateWatch("gate", Grammar(), hold_finals=True), passing("AB123CD")).events
    return event


class FailingStore(EventStore):
    """A store whose disk is full for the first writes."""

    failures = 2

    def put(self, event: Any) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreError(f"{self.path}: disk full")
        super().put(event)


def test_an_event_is_told_only_after_its_crop_and_row_are_kept(tmp_path: Path, event: PlateEvent) -> None:
    store, crops = EventStore(tmp_path / "events.sqlite"), ObjectStore(tmp_path / "crops")
    kept: list[tuple[bool, bytes]] = []

    def tell(row: Any) -> None:
        kept.append((store.get(row["id"]) is not None, crops.get(row["crop"])))

    sink = EventSink(store, crops, Metrics(), tell=tell)
    sink.put(event)
    sink.close()
    ((in_store, jpeg),) = kept
    assert in_store
    picture = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(picture.astype(int) - event.crop).max() <= 4
    store.close()


def test_while_the_disk_is_full_events_wait_and_none_is_lost(
    tmp_path: Path, event: PlateEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platoon.streams.sink.RETRY_S", 0.01)
    store, metrics = FailingStore(tmp_path / "events.sqlite"), Metrics()
    told: list[str] = []
    sink = EventSink(store, ObjectStore(tmp_path / "crops"), metrics, tell=lambda row: told.append(row["id"]))
    sink.put(event)
    sink.wait()
    assert sink.error is None
    assert told == [event.id]
    sink.close()
    store.close()


def test_a_run_over_recorded_files_stops_at_the_first_failure(tmp_path: Path, event: PlateEvent) -> None:
    store = FailingStore(tmp_path / "events.sqlite")
    sink = EventSink(store, ObjectStore(tmp_path / "crops"), Metrics(), tell=lambda _row: None, give_up=True)
    sink.put(event)
    with pytest.raises(StoreError, match="disk full"):
        sink.close()
    store.close()
