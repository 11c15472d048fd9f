"""Several lanes analyse at once: each camera stays in order, and what is said does not depend on how many there are."""

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from platoon.engine.batched import Capacity
from platoon.plates.analysis import Analysis
from platoon.streams.registry import CameraSpec
from tests.recordings import events_of
from tests.running import wait_until
from tests.scripted_frames import PLATES
from tests.scripted_site import CAMERAS, Bench
from tests.traffic import GATE, SIZE, YARD, write_traffic

PATIENCE_S = 60


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(tmp_path, monkeypatch)
    yield bench
    bench.stop()


class Hold:
    """Keeps the frames of one camera at one stage until it is opened."""

    def __init__(self, bench: Bench, stage: str, camera: int) -> None:
        self.held, self._opened = threading.Event(), threading.Event()
        self._at = stage, camera
        bench.engine.fails = self
        bench.engine.plate_capacity = Capacity(executions=2, batch=1)  # otherwise others may share its batch

    def __call__(self, stage: str, number: int) -> None:
        if (stage, number) == self._at:
            self.held.set()
            assert self._opened.wait(PATIENCE_S)

    def open(self) -> None:
        self._opened.set()


@pytest.mark.parametrize("stage", ["detect", "read"])
def test_a_camera_that_is_held_up_in_one_lane_leaves_the_others_to_the_other_lanes(bench: Bench, stage: str) -> None:
    hold = Hold(bench, stage, 1)
    bench.start(lanes=2)
    assert hold.held.wait(PATIENCE_S)
    before = bench.analysed(1)
    for number in (0, 2):
        bench.more(lambda number=number: bench.analysed(number))  # type: ignore[misc]
    assert bench.analysed(1) == before
    assert bench.site.quiet_s() > 0
    hold.open()
    bench.more(lambda: bench.analysed(1))


def test_other_cameras_come_and_go_while_one_is_held_up(bench: Bench) -> None:
    hold = Hold(bench, "detect", 1)
    bench.start(lanes=2)
    assert hold.held.wait(PATIENCE_S)
    staying = [spec for spec in bench.site._specs if spec.id != "camera 2"]
    bench.site.change(staying)
    assert [camera.id for camera in bench.site.cameras()] == ["camera 0", "camera 1"]
    bench.site.change([*staying, CameraSpec("camera 3", "Camera 3", "rtsp://10.0.0.1/1", 0)])
    bench.more(lambda: bench.analysed(3))
    hold.open()


def test_a_camera_is_taken_out_only_once_no_lane_has_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = Hold(bench, "read", 1)
    bench.start(lanes=2)
    assert hold.held.wait(PATIENCE_S)
    watch = bench.site._cameras["camera 1"].watch
    finishing = Mock(wraps=watch.finish)
    monkeypatch.setattr(watch, "finish", finishing)
    staying = [spec for spec in bench.site._specs if spec.id != "camera 1"]
    changing = threading.Thread(target=bench.site.change, args=(staying,))
    changing.start()
    bench.more(bench.analysed)
    assert changing.is_alive()
    assert finishing.call_count == 0
    hold.open()
    changing.join(PATIENCE_S)
    assert not changing.is_alive()
    assert finishing.call_count == 1


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_no_camera_is_in_two_lanes_and_all_are_served(
    bench: Bench, lanes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, busy, twice, served = threading.Lock(), Counter[str](), list[str](), Counter[str]()
    analyse = Analysis.analyse

    def watched(analysis: Analysis, frames: Any, emit: Any) -> Any:
        cameras = [frame.camera for frame, _ in frames]
        with lock:
            busy.update(cameras)
            served.update(cameras)
            twice.extend(camera for camera in cameras if busy[camera] > 1)
        try:
            return analyse(analysis, frames, emit)
        finally:
            with lock:
                busy.subtract(cameras)

    monkeypatch.setattr(Analysis, "analyse", watched)
    bench.start(cameras=5, lanes=lanes)
    wait_until(lambda: len(served) == 5 and min(served.values()) >= 100, "frames of all")
    assert not twice


def test_what_fails_in_an_unforeseen_way_in_one_lane_ends_all_and_is_said(bench: Bench) -> None:
    bench.start(lanes=3)
    for number in range(CAMERAS):
        bench.more(lambda number=number: bench.analysed(number))  # type: ignore[misc]
    bench.site._cameras["camera 1"].count = lambda _now: 1 / 0
    wait_until(lambda: bench.site._lanes.join(0.01), "the end of all lanes")
    assert bench.site.not_ready() == ["analysis: stopped: analysis stopped by ZeroDivisionError: division by zero"]
    wait_until(lambda: len(bench.finals()) == CAMERAS, "events of who was in sight")


def test_recordings_end_once_all_frames_of_all_cameras_are_analysed(bench: Bench) -> None:
    bench.start(lanes=4, recorded=True)
    bench.more(bench.analysed)
    for number in range(CAMERAS):
        bench.source(number).stop()
    wait_until(lambda: bench.site.wait(0.01), "the end")
    wait_until(lambda: bench.finals() == sorted(PLATES[:CAMERAS]), "events of who was in sight")
    assert {bench.dropped(cause, number) for cause in ("failed", "unavailable") for number in range(CAMERAS)} == {0}


def test_the_same_recordings_give_the_same_events_at_any_number_of_lanes(tmp_path: Path) -> None:
    clips = {
        "gate": write_traffic(tmp_path / "gate.mp4", GATE[:3]),
        "yard": write_traffic(tmp_path / "yard.mp4", YARD[:2], country="FR"),
        "door": write_traffic(tmp_path / "door.mp4", GATE[3:5]),
    }
    alone = events_of(tmp_path, clips, lanes=1, size=SIZE)
    assert {camera: len(events) for camera, events in alone.items()} == {"gate": 3, "yard": 2, "door": 2}
    for lanes in (2, 4):
        assert events_of(tmp_path, clips, lanes=lanes, size=SIZE) == alone, f"{lanes} lanes"
