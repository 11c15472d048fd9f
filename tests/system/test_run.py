"""`platoon run CAMERAS --once --events FILE`: recorded clips from file to event."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore
from tests.recordings import events_of
from tests.running import Place

FIELDS = {"id", "state", "camera", "text", "confidence", "time", "box", "reads", "agreement", "candidates"}
HIGHWAY, ROADSIDE = ["JLN390", "JMH552"], ["LS15EBC"]


def texts(events: list[dict[str, Any]]) -> dict[str, list[str]]:
    """What was emitted of each camera, in alphabetical order."""
    read: dict[str, list[str]] = {}
    for event in events:
        read.setdefault(event["camera"], []).append(event["text"])
    return {camera: sorted(said) for camera, said in read.items()}


def test_real_clips_give_each_vehicle_once_and_nothing_else(place: Place, video: Path) -> None:
    place.register(f"highway|Highway|{video}/highway.mp4|0", f"roadside|Roadside|{video}/roadside.mp4|0")
    done = place.run("run", place.registry, "--once", "--events", place.event_file)
    assert done.code == 0, done
    events = place.emitted()
    assert texts(events) == {"highway": HIGHWAY, "roadside": ROADSIDE}
    assert Counter(event["state"] for event in events) == {"final": 3}


def test_eight_cameras_in_one_run_give_eight_times_the_same(place: Place, video: Path) -> None:
    place.register(
        *(f"highway{n}|Highway {n}|{video}/highway.mp4|0" for n in range(4)),
        *(f"roadside{n}|Roadside {n}|{video}/roadside.mp4|0" for n in range(4)),
    )
    done = place.run("run", place.registry, "--once", "--every", "3", "--events", place.event_file)
    assert done.code == 0, done
    events = place.emitted()
    expected = {f"highway{n}": HIGHWAY for n in range(4)} | {f"roadside{n}": ROADSIDE for n in range(4)}
    assert texts(events) == expected
    assert {event["state"] for event in events} == {"final"}


def test_real_clips_give_the_same_events_at_any_number_of_lanes(tmp_path: Path, video: Path) -> None:
    clips = {"highway": video / "highway.mp4", "roadside": video / "roadside.mp4", "again": video / "highway.mp4"}
    alone = events_of(tmp_path, clips, lanes=1, every=3)
    assert texts(alone["highway"]) == {"highway": HIGHWAY}
    assert events_of(tmp_path, clips, lanes=4, every=3) == alone


def test_an_event_is_a_line_of_json_with_the_crop_that_was_read(quick: Place, traffic: Path) -> None:
    quick.register(f"gate|The gate|{traffic}|0")
    done = quick.run("run", quick.registry, "--once", "--events", quick.event_file)
    assert done.code == 0, done
    events = quick.emitted()
    ids = [event["id"] for event in events]
    assert len(set(ids)) == len(ids) == 3
    store, crops = EventStore(quick.store / "events.sqlite"), ObjectStore(quick.store / "crops")
    for event in events:
        assert event.keys() >= FIELDS
        assert event["state"] == "final"
        assert event["camera"] == "gate"
        assert 0.5 < event["confidence"] <= 1
        assert 0.5 < event["agreement"] <= 1
        assert event["reads"] >= 2
        assert event["candidates"][0]["text"] == event["text"]
        left, top, right, bottom = event["box"]
        assert 0 <= left < right <= event["width"] == 512
        assert 0 <= top < bottom <= event["height"] == 288
        crop = cv2.imdecode(np.frombuffer(crops.get(event["crop"]), np.uint8), cv2.IMREAD_COLOR)
        assert crop is not None
        assert crop.shape[1] / crop.shape[0] == pytest.approx((right - left) / (bottom - top), rel=0.25)
        assert store.get(event["id"]) == event
    store.close()


def test_events_are_added_to_a_file_that_holds_some_already(quick: Place, traffic: Path) -> None:
    quick.register(f"gate|The gate|{traffic}|0")
    quick.event_file.write_text(json.dumps({"id": "of yesterday"}) + "\n")
    assert quick.run("run", quick.registry, "--once", "--every", "2", "--events", quick.event_file).code == 0
    before, *added = quick.emitted()
    assert before["id"] == "of yesterday"
    assert len(added) == 3


def test_a_disabled_camera_is_left_out(quick: Place, traffic: Path) -> None:
    quick.register(f"gate|The gate|{traffic}|0", f"yard|The yard|{traffic}|0|disabled")
    done = quick.run("run", quick.registry, "--once", "--every", "3", "--events", quick.event_file)
    assert done.code == 0, done
    assert set(texts(quick.emitted())) == {"gate"}
