"""`kill -9` while events are written: whatever was emitted is there afterwards, with its picture."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import cv2
import numpy as np
import pytest

from platoon.store.event import STATES
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore
from tests.rtsp_server import Clip, RtspServer
from tests.running import Place
from tests.traffic import GATE, write_traffic

CAMERAS = 3
KILLS = 2


@pytest.fixture
def street(quick: Place) -> Iterator[Place]:
    """Cameras on which plates pass all the time, each another at any moment."""
    clips = {}
    for first in range(CAMERAS):
        path = quick.folder / f"{first}.mp4"
        clips[f"/cam{first}"] = Clip.load(write_traffic(path, [*GATE[first:], *GATE[:first]]))
    with RtspServer(clips) as server:
        quick.register(*(f"cam{n}|Camera {n}|{server.url(f'/cam{n}')}|0" for n in range(CAMERAS)))
        yield quick


def test_every_event_that_was_emitted_is_kept_with_its_crop(street: Place) -> None:
    emitted: list[dict[str, Any]] = []
    kept_before: set[str] = set()
    for kill in range(1, KILLS + 1):
        emitted += kill_while_writing(street, emitted)
        lines = street.event_file.read_text().splitlines(keepends=True)
        written = [json.loads(line) for line in lines if line.endswith("\n")]
        assert kept_before <= {event["id"] for event in written}, "the event file catches up with the store"
        assert len({json.dumps(event) for event in written}) == len(written), "and no line is there twice"
        emitted += written
        assert len({event["id"] for event in emitted}) >= 3 * kill

        with closing(sqlite3.connect(street.store / "events.sqlite")) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        store, crops = EventStore(street.store / "events.sqlite"), ObjectStore(street.store / "crops")
        for event in emitted:
            kept = store.get(event["id"])
            assert kept is not None
            assert kept == event or rank(kept) > rank(event)
            assert event["id"] in {found["id"] for found in store.search(text=kept["text"], limit=1000)}
            jpeg = crops.get(kept["crop"])  # that of a preview goes when its final's is there
            assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) is not None
        kept_before = {event["id"] for event in store.search(limit=1000)}
        store.close()


def kill_while_writing(street: Place, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run until some events are emitted, then kill it; the events that a WebSocket client heard."""
    with street.start("run", street.registry, "--fps", "4", "--events", street.event_file) as running:
        for event in before:
            assert rank(running.get(f"/api/events/{event['id']}")) >= rank(event)
        with running.listen() as listener:
            running.until(lambda: len(listener.events()) >= 6, "events are written")
            running.kill()
    return listener.events()


def rank(event: dict[str, Any]) -> int:
    return STATES.index(event["state"])
