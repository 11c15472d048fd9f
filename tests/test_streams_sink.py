import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from platoon.errors import StoreError
from platoon.media.frame import Pixels
from platoon.metrics import Metrics
from platoon.plates.events import EventState, PlateEvent, PlatePipeline
from platoon.plates.grammar import Grammar
from platoon.store import spill as spills
from platoon.store.event import Event
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore
from platoon.store.spill import Spill, Spilled
from platoon.streams import sink as sinks
from platoon.streams.sink import EventSink
from tests.plate_scripts import drive, passing
from tests.running import wait_until
from tests.small_disk import fill, small_disk


@pytest.fixture
def event() -> PlateEvent:
    (event,) = drive(PlatePipeline("gate", Grammar(), hold_finals=True), passing("AB123CD")).events
    return event


class Place:
    """A store that fails as the test says, and what it emitted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events = _Store(folder / "events.sqlite")
        self.crops = ObjectStore(folder / "crops")
        self.metrics = Metrics()
        self.emitted: list[str] = []
        self.spill = Spill(folder / "spill")

    def sink(self, on_event: Callable[[Any], None] | None = None, *, give_up: bool = False) -> EventSink:
        hear = on_event or (lambda row: self.emitted.append(row["id"]))
        return EventSink(self.events, self.crops, self.metrics, on_event=hear, give_up=give_up)

    def kept(self) -> list[str]:
        return [one["id"] for one in reversed(self.events.search(limit=10_000))]

    def spilled(self) -> list[str]:
        return [str(self.spill.get(name).event["id"]) for name in self.spill.names()]

    def pictures(self) -> set[str]:
        return {stored.key.rpartition("/")[2] for chunk in self.crops.walk() for stored in chunk}

    def count(self, name: str, cause: str) -> float:
        labels = {"camera": "gate", "cause": cause}
        return self.metrics.registry.get_sample_value(f"platoon_events_{name}_total", labels) or 0.0


class _Store(EventStore):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.before_put: Callable[[Any], None] = lambda _event: None

    def put(self, event: Event, *, crop_bytes: int | None = None) -> None:
        self.before_put(event.to_json())
        super().put(event, crop_bytes=crop_bytes)


def full(_event: Any) -> None:
    raise StoreError("events.sqlite: disk is full")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(sinks, "RETRY_S", 0.01)
    place = Place(tmp_path)
    yield place
    place.events.close()


def numbered(event: PlateEvent, count: int) -> list[PlateEvent]:
    return [replace(event, id=f"e{number}", time=event.time + number) for number in range(count)]


def test_an_event_is_emitted_only_after_its_crop_and_row_are_kept(place: Place, event: PlateEvent) -> None:
    kept: list[tuple[bool, bytes]] = []

    def on_event(row: Any) -> None:
        kept.append((place.events.get(row["id"]) is not None, place.crops.get(row["crop"])))

    sink = place.sink(on_event)
    sink.put(event)
    sink.close()
    ((in_store, jpeg),) = kept
    assert in_store
    picture = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(picture.astype(int) - event.crop).max() <= 4


def test_while_the_disk_is_full_events_wait_in_order_and_none_is_lost(place: Place, event: PlateEvent) -> None:
    tries: list[str] = []

    def full_at_first(row: Any) -> None:
        tries.append(row["id"])
        if len(tries) < 10:
            full(row)

    place.events.before_put = full_at_first
    sink = place.sink()
    for one in numbered(event, 3):
        sink.put(one)
    sink.wait()
    assert sink.error is None
    assert sorted(place.emitted) == ["e0", "e1", "e2"]
    assert place.spilled() == []
    sink.close()


@pytest.mark.parametrize(
    "change",
    [
        {"crop": np.zeros((0, 0, 3), np.uint8)},
        {"crop": "no picture"},
        {"crop": np.zeros((9, 9, 3), np.float64)},
        {"camera": "\udc80"},
        {"camera": "gate/../../other"},
        {"time": float("nan")},
        {"time": 1e300},
        {"box": None},
        {"plate": None},
    ],
    ids=["empty", "text", "floats", "surrogate", "traversal", "nan", "far", "no_box", "no_plate"],
)
def test_an_event_that_cannot_be_stored_costs_itself_only(
    place: Place, event: PlateEvent, change: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, sinks.__name__)  # a run in several processes ends at a surrogate in a log
    sink = place.sink()
    first, bad, last = numbered(event, 3)
    for one in (first, replace(bad, **change), last):
        sink.put(one)
    sink.wait()
    assert set(place.emitted) == {"e0", "e2"}
    assert place.spilled() == ["e1"]
    assert sum(sample.value for sample in _samples(place.metrics.events_spilled)) == 1
    assert sink.not_ready() == []
    (warning,) = sink.warnings()
    assert warning.startswith("store: 1 events")
    sink.close()


def _samples(counter: Any) -> list[Any]:
    return [sample for family in counter.collect() for sample in family.samples if sample.name.endswith("_total")]


@pytest.mark.parametrize(
    "error", [TypeError("a"), OSError(5, "I/O"), MemoryError(), KeyError("x"), cv2.error("assertion"), RuntimeError()]
)
def test_no_error_of_any_kind_ends_the_writer(place: Place, event: PlateEvent, error: Exception) -> None:
    def fails_for_one(row: Any) -> None:
        if row["id"] == "e1":
            raise error

    place.events.before_put = fails_for_one
    sink = place.sink()
    for one in numbered(event, 4):
        sink.put(one)
    sink.wait()
    sink.close()
    assert place.emitted == ["e0", "e2", "e3"]
    assert place.spilled() == ["e1"]
    assert place.count("spilled", "event") == 1


def test_an_event_that_the_store_refuses_while_it_takes_others_holds_up_nobody(place: Place, event: PlateEvent) -> None:
    def refuses_one(row: Any) -> None:
        if row["id"] == "e0":
            raise StoreError("crops: File name too long")

    place.events.before_put = refuses_one
    sink = place.sink()
    for one in numbered(event, 4):
        sink.put(one)
    sink.wait()
    assert sorted(place.emitted) == ["e1", "e2", "e3"]
    assert place.spilled() == ["e0"]
    assert sink.error is None
    sink.close()


def test_what_was_spilled_is_taken_in_once_at_the_next_start(place: Place, event: PlateEvent) -> None:
    place.events.before_put = full
    sink = place.sink()
    for one in numbered(event, 3):
        sink.put(one)
    with pytest.raises(StoreError, match=r"3 events could not be stored .* 3 lie in .*spill .* disk is full"):
        sink.close()
    assert place.spilled() == ["e0", "e1", "e2"]
    assert place.emitted == []

    place.events.before_put = lambda _row: None
    sink = place.sink()
    until(lambda: place.spilled() == [] and len(place.emitted) == 3)
    until(lambda: sink.warnings() == [])
    sink.close()
    assert place.emitted == place.kept() == ["e0", "e1", "e2"]
    jpeg = place.crops.get(str((place.events.get("e1") or {})["crop"]))
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) is not None
    place.sink().close()
    assert len(place.emitted) == 3


@dataclass(frozen=True)
class Caption:
    """What a scene shows, as an analysis to come may emit it."""

    id: str
    crop: Pixels
    state: str = "final"
    camera: str = "gate"
    time: float = 1_769_860_800.0
    emitted_at: float = 1_769_860_800.0

    def to_json(self, *, crop_key: str | None) -> dict[str, Any]:
        fields = {"kind": "caption", "id": self.id, "state": self.state, "camera": self.camera}
        return {**fields, "time": "2026-01-31T12:00:00Z", "text": "a red car", "crop": crop_key}


def test_events_of_other_kinds_go_the_same_way_also_through_the_spill(place: Place, event: PlateEvent) -> None:
    captions = [Caption(f"c{number}", event.crop) for number in range(2)]
    place.events.before_put = full
    sink = place.sink()
    sink.put(captions[0])
    with pytest.raises(StoreError, match="1 events could not be stored"):
        sink.close()
    place.events.before_put = lambda _event: None
    sink = place.sink()
    sink.put(captions[1])
    wait_until(lambda: len(place.kept()) == 2, "both are stored")
    sink.close()
    assert [one["kind"] for one in place.events.search(kind="caption")] == ["caption", "caption"]
    assert place.pictures() == {"c0-final.jpg", "c1-final.jpg"}
    assert sorted(place.emitted) == ["c0", "c1"]


def test_a_spilled_event_that_the_store_already_has_is_not_emitted_again(place: Place, event: PlateEvent) -> None:
    place.events.before_put = full
    sink = place.sink()
    sink.put(event)
    with pytest.raises(StoreError):
        sink.close()
    place.events.before_put = lambda _row: None
    again = [place.spill.get(name) for name in place.spill.names()]
    sink = place.sink()
    until(lambda: place.emitted == [event.id])
    sink.close()
    place.spill.put(again[0])  # as if the process had been killed before it was removed
    sink = place.sink()
    until(lambda: place.spilled() == [])
    sink.close()
    assert place.emitted == place.kept() == [event.id]


def test_beyond_the_bounds_the_oldest_go_to_the_spill_and_come_back_by_themselves(
    place: Place, event: PlateEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = event.crop.nbytes + 2048
    monkeypatch.setattr(sinks, "WAITING_BYTES", 3 * each)
    works = threading.Event()
    place.events.before_put = lambda row: None if works.is_set() else full(row)
    sink = place.sink()
    for one in numbered(event, 12):
        sink.put(one)
        until(lambda: sink._waiting_bytes <= 3 * each)
    assert place.count("lost", "full") == 0
    assert place.spilled() == [f"e{number}" for number in range(9)]
    assert "9 events" in sink.warnings()[0]
    works.set()
    until(lambda: len(place.emitted) == 12)
    assert sorted(place.emitted) == sorted(place.kept())
    until(lambda: sink.warnings() == [])
    sink.close()


def test_where_neither_store_nor_spill_can_be_written_what_waits_is_bounded_and_what_is_lost_is_counted(
    place: Place, event: PlateEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "WAITING_MOST", 3)
    monkeypatch.setattr(Spill, "put", lambda _self, _spilled: full(None))
    works = threading.Event()
    place.events.before_put = lambda row: None if works.is_set() else full(row)
    sink = place.sink()
    for one in numbered(event, 10):
        sink.put(one)
    assert place.count("lost", "full") == 4
    works.set()
    sink.wait()
    assert place.kept() == [f"e{number}" for number in range(6)]
    sink.close()


def test_a_write_that_hangs_is_reported_and_does_not_hold_the_stop(
    place: Place, event: PlateEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(_row: Any) -> None:
        hangs.set()
        assert goes_on.wait(60)

    place.events.before_put = hang
    sink = place.sink()
    for one in numbered(event, 3):
        sink.put(one)
    assert hangs.wait(30)
    monkeypatch.setattr(sinks, "HANGS_S", 0.0)
    (reason,) = sink.not_ready()
    assert "a write has lasted" in reason
    assert "3 events wait" in reason
    monkeypatch.setattr(sinks, "CLOSE_S", 0.05)
    with pytest.raises(StoreError, match=r"3 events could not be stored .* 3 lie in .*spill"):
        sink.close()
    assert place.spilled() == ["e0", "e1", "e2"]
    goes_on.set()
    sink._thread.join(30)


def test_a_writer_that_died_is_seen(place: Place, event: PlateEvent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EventSink, "_write", lambda _self, _event: False)
    sink = place.sink()
    sink.put(event)
    sink._thread.join(30)
    assert any("writer of events has died" in reason for reason in sink.not_ready())


def test_the_crop_of_a_preview_goes_when_that_of_its_final_is_there(place: Place, event: PlateEvent) -> None:
    sink = place.sink()
    preview, final = replace(event, state=EventState.PREVIEW), event
    sink.put(preview)
    sink.wait()
    assert place.pictures() == {f"{event.id}-preview.jpg"}
    sink.put(final)
    sink.put(preview)
    sink.wait()
    sink.close()
    assert place.pictures() == {f"{event.id}-final.jpg"}


@pytest.mark.parametrize("error", [StoreError("events.jsonl cannot be written"), TypeError("a listener")])
def test_who_cannot_hear_of_an_event_keeps_none_from_being_stored(
    place: Place, event: PlateEvent, error: Exception
) -> None:
    def on_event(_row: Any) -> None:
        raise error

    sink = place.sink(on_event)
    for one in numbered(event, 3):
        sink.put(one)
    sink.close()
    assert place.kept() == ["e0", "e1", "e2"]


def test_a_store_on_a_full_disk_takes_everything_once_there_is_room(
    tmp_path: Path, event: PlateEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "RETRY_S", 0.01)
    with small_disk(tmp_path / "disk", 4_000_000) as disk:
        place = Place(disk)
        sink = place.sink()
        filling = fill(disk)
        for one in numbered(event, 20):
            sink.put(one)
        until(lambda: sink.error is not None)
        assert "disk is full" in sink.not_ready()[0]
        filling.unlink()
        sink.wait()
        sink.close()
        assert sorted(place.emitted) == sorted(place.kept()) == sorted(one.id for one in numbered(event, 20))
        place.events.close()


def test_a_run_over_recorded_files_stops_at_the_first_failure(place: Place, event: PlateEvent) -> None:
    place.events.before_put = full
    sink = place.sink(give_up=True)
    sink.put(event)
    with pytest.raises(StoreError, match="disk is full"):
        sink.close()


def until(condition: Callable[[], bool]) -> None:
    """Return once it holds; fail after half a minute."""
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came to be")


def test_nothing_that_somebody_put_into_the_spill_keeps_what_was_spilled_from_being_taken_in(
    place: Place, event: PlateEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "LOOK_S", 0.05)
    monkeypatch.setattr(spills, "COUNT_S", 0.0)
    place.events.before_put = full
    sink = place.sink()
    for one in numbered(event, 3):
        sink.put(one)
    with pytest.raises(StoreError):
        sink.close()

    folder = place.spill.folder
    (folder / "0-folder.json").mkdir()
    os.mkfifo(folder / "0-pipe.json")
    (folder / "0-link.json").symlink_to("/dev/zero")
    (folder / "0-text.json").write_text("[" * 100_000)
    with (folder / "0-large.json").open("wb") as file:
        file.truncate(10**12)
    (folder / "0-killed.part").write_bytes(b"half of an event")
    os.utime(folder / "0-killed.part", (1e9, 1e9))

    place.events.before_put = lambda _row: None
    sink = place.sink()
    until(lambda: sorted(place.emitted) == ["e0", "e1", "e2"])
    until(lambda: not (folder / "0-killed.part").exists())
    assert sink.not_ready() == []
    assert sink.warnings()[0].startswith("store: 2 events")
    for name in ("0-text.json", "0-large.json"):
        (folder / name).unlink()
    until(lambda: sink.warnings() == [])
    sink.close()


def test_an_event_is_spilled_while_another_process_takes_one_in(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (Spilled(event={"id": name, "state": "final"}, cause="", picture=None) for name in ("e0", "e1"))
    entries, name = Spill._entries, place.spill.put(one)

    def taken_in_meanwhile(spill: Spill) -> list[os.DirEntry[str]]:
        seen = entries(spill)
        (spill.folder / name).unlink(missing_ok=True)
        return seen

    monkeypatch.setattr(Spill, "_entries", taken_in_meanwhile)
    Spill(place.spill.folder).put(other)
    assert place.spilled() == ["e1"]


def test_what_lies_in_the_spill_is_not_counted_with_each_event_that_goes_or_comes(
    place: Place, event: PlateEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.events.before_put = full
    monkeypatch.setattr(sinks, "WAITING_MOST", 1)
    looked: list[str] = []
    monkeypatch.setattr(Spill, "_entries", _counted(Spill._entries, looked))
    sink = place.sink()
    for one in numbered(event, 300):
        sink.put(one)
        until(lambda: len(sink._waiting) <= 1)
    place.events.before_put = lambda _row: None
    until(lambda: len(place.emitted) == 300)
    sink.close()
    assert len(looked) < 100


def _counted(call: Callable[[Spill], Any], calls: list[str]) -> Callable[[Spill], Any]:
    def counted(spill: Spill) -> Any:
        calls.append("looked")
        return call(spill)

    return counted
