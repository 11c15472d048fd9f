"""A site whose server goes and comes, and one camera of which fails: nothing ends, and all is back by itself."""

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from platoon.errors import ModelError, PlatoonError, Unavailable
from platoon.media.source import SourceState
from platoon.plates import remote
from platoon.settings import RemoteSettings
from platoon.streams import lanes
from tests.http_server import answering
from tests.running import PATIENCE_S, wait_until
from tests.scripted_frames import PLATES, SIZE
from tests.scripted_site import CAMERAS, Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(tmp_path, monkeypatch)
    yield bench
    bench.stop()


def test_a_server_away_at_the_start_is_named_and_frames_are_counted_until_it_is_there(bench: Bench) -> None:
    bench.engine.away = Unavailable("Triton is away")
    bench.start()
    wait_until(lambda: bench.site.not_ready() == ["analysis: Triton is away"] or None, "the cause")
    for number in range(CAMERAS):
        bench.more(lambda number=number: bench.dropped("unavailable", number))  # type: ignore[misc]
    assert not bench.site.wait(0.0)
    with pytest.raises(Unavailable, match="Triton is away"):
        bench.site.manual_read("camera 0")
    bench.engine.away = None
    wait_until(lambda: len(bench.finals()) == CAMERAS or None, "events")
    assert bench.site.not_ready() == []


def test_a_server_that_goes_ends_nothing_and_loses_no_event_however_many_batches_fail(bench: Bench) -> None:
    bench.start()
    wait_until(lambda: all(bench.analysed(number) for number in range(CAMERAS)) or None, "frames")
    bench.engine.away = Unavailable("Triton is away")
    wait_until(lambda: bench.site.not_ready() == ["analysis: Triton is away"] or None, "the cause")
    asked = bench.engine.asked
    bench.more(lambda: bench.dropped("unavailable"), 200)
    assert bench.engine.asked - asked < 100, "it is not asked for every frame"
    assert not bench.site.wait(0.0)
    assert all(bench.source(number).status.state is SourceState.LIVE for number in range(CAMERAS))
    assert {camera.dropped["unavailable"] > 0 for camera in bench.site.cameras()} == {True}
    bench.engine.away = None
    bench.more(bench.analysed)
    assert bench.site.not_ready() == []
    wait_until(lambda: bench.finals() == sorted(PLATES[:CAMERAS]) or None, "one event of each vehicle")


def test_events_of_vehicles_that_have_gone_are_emitted_while_the_server_is_away(bench: Bench) -> None:
    reads: list[int] = []

    def goes(stage: str, number: int) -> None:
        if stage == "read" and number == 1:
            reads.append(number)
            if len(reads) == 2:  # enough, but only once the vehicle has gone
                bench.engine.away = Unavailable("Triton is away")

    bench.engine.fails = goes
    bench.start()
    wait_until(lambda: PLATES[1] in bench.finals() or None, "its event", patience_s=60)
    assert bench.site.not_ready() == ["analysis: Triton is away"]


@pytest.mark.parametrize("stage", ["scale", "cut", "detect", "read"])
def test_one_camera_whose_frames_raise_leaves_the_others_and_the_site_alone(bench: Bench, stage: str) -> None:
    def fails(at: str, number: int = 1) -> None:
        if at == stage and number == 1:
            raise ValueError("poison")

    bench.start()
    bench.source(1).fails = fails
    bench.engine.fails = fails
    bench.more(lambda: bench.dropped("failed", 1), 60)
    for number in (0, 2):
        bench.more(lambda number=number: bench.analysed(number))  # type: ignore[misc]
        assert bench.dropped("failed", number) == 0
    assert bench.site.not_ready() == []
    assert not bench.site.wait(0.0)
    bench.source(1).fails = lambda _stage: None
    bench.engine.fails = lambda _stage, _number: None
    wait_until(lambda: bench.finals() == sorted(PLATES[:CAMERAS]) or None, "events of all, also of the one that failed")


def test_vehicles_of_one_camera_that_cannot_be_emitted_leave_the_others_and_the_site_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise ValueError("poison")

    monkeypatch.setattr(lanes, "QUIET_S", 0.05)
    bench.start()
    wait_until(lambda: all(bench.analysed(number) for number in range(CAMERAS)) or None, "frames")
    failing = bench.site._cameras["camera 1"]
    failing.watch.finish = fails
    bench.source(1).stop()
    wait_until(lambda: failing.came_at == math.inf or None, "its vehicles")
    bench.site.change([spec for spec in bench.site._specs if spec.id != "camera 1"])
    assert [status.id for status in bench.site.cameras()] == ["camera 0", "camera 2"]
    bench.more(bench.analysed)
    assert bench.site.not_ready() == []


def test_frames_of_all_cameras_that_raise_are_not_the_engines_fault(bench: Bench) -> None:
    def fails(_stage: str) -> None:
        raise ValueError("poison")

    bench.start()
    for number in range(CAMERAS):
        bench.source(number).fails = fails
    for number in range(CAMERAS):
        bench.more(lambda number=number: bench.dropped("failed", number), 60)  # type: ignore[misc]
    assert bench.site.not_ready() == []
    assert not bench.site.wait(0.0)


def test_an_engine_that_fails_for_every_frame_is_named(bench: Bench) -> None:
    bench.start()
    bench.more(bench.analysed)
    bench.engine.away = ModelError("out of memory")
    wait_until(lambda: bench.site.not_ready() == ["analysis: out of memory"] or None, "the cause")
    bench.more(lambda: bench.dropped("unavailable"), 20)
    bench.engine.away = None
    bench.more(bench.analysed)
    assert bench.site.not_ready() == []


def test_a_model_that_cannot_be_loaded_ends_the_site_and_says_why(bench: Bench) -> None:
    bench.engine.away = ModelError("no weights")
    bench.start()
    with pytest.raises(PlatoonError, match="no weights"):
        wait_until(lambda: bench.site.wait(0.01) or None, "the end")
    assert bench.site.not_ready() == ["analysis: stopped: no weights"]


def test_the_vehicle_before_a_camera_that_falls_silent_is_emitted_without_waiting_for_its_return(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []

    def falls_silent(stage: str, number: int) -> None:
        if stage == "read" and number == 1:
            reads.append(number)
            if len(reads) == 2:  # enough, but only once the vehicle has gone
                bench.source(1).stop()

    monkeypatch.setattr(lanes, "QUIET_S", 0.2)
    bench.engine.fails = falls_silent
    bench.start()
    wait_until(lambda: PLATES[1] in bench.finals() or None, "its event", patience_s=60)
    bench.more(bench.analysed)


class Other(BaseHTTPRequestHandler):
    """A remote reader of the plate of camera 0, which may hang."""

    protocol_version = "HTTP/1.1"
    works = threading.Event()
    asked = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked += 1
        if not self.works.is_set():
            self.works.wait(60)
            self.close_connection = True
            return
        body = json.dumps([{"lines": [{"text": PLATES[0], "confidence": 0.97}]}]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def test_a_remote_reader_that_hangs_is_named_and_its_frames_counted_until_it_reads_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "BACKOFF_S", (0.05, 0.2))
    monkeypatch.setattr(Other, "works", threading.Event())
    monkeypatch.setattr(Other, "asked", 0)
    with answering(Other) as url:
        bench.start(cameras=1, remote=RemoteSettings(url=url, timeout_s=0.2, on_failure="hold"))
        wait_until(
            lambda: bench.site.not_ready() == ["remote reader: timeout: no answer within 0.2 s"] or None, "the cause"
        )
        bench.more(lambda: bench.dropped("unread"), 40)
        assert Other.asked < bench.dropped("unread") / 2
        assert bench.source(0).status.state is SourceState.LIVE
        assert not bench.site.wait(0.0)
        Other.works.set()
        wait_until(lambda: bench.finals() == PLATES[:1] or None, "its event")
        assert bench.site.not_ready() == []


def test_one_camera_that_cannot_be_shown_is_analysed_with_the_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start()
    bench.site.subscribe(lambda _message: None)
    monkeypatch.setattr(bench.site._cameras["camera 1"].watch, "overlay", lambda: 1 / 0)
    for number in range(CAMERAS):
        bench.more(lambda number=number: bench.analysed(number))  # type: ignore[misc]


def test_while_a_server_lets_a_batch_wait_the_site_answers_and_cameras_are_taken(bench: Bench) -> None:
    hanging, answered = threading.Event(), threading.Event()

    def hangs(stage: str, _number: int) -> None:
        if stage == "detect":
            hanging.set()
            answered.wait(PATIENCE_S)

    bench.start()
    wait_until(lambda: all(bench.analysed(number) for number in range(CAMERAS)) or None, "frames")
    bench.engine.fails = hangs
    try:
        assert hanging.wait(PATIENCE_S)
        for number in range(CAMERAS):
            bench.more(lambda number=number: bench.source(number).given)  # type: ignore[misc]
            assert bench.site.sight(f"camera {number}").picture.shape == (*SIZE, 3)
        assert [camera.source.state for camera in bench.site.cameras()] == [SourceState.LIVE] * CAMERAS
        assert bench.site.not_ready() == []
    finally:
        answered.set()
    bench.more(bench.analysed)
