from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from platoon.errors import Unavailable
from platoon.media.source import SourceFailure, SourceState, SourceStatus
from platoon.metrics import DroppedFrames
from platoon.plates.events import PlatePipeline
from platoon.plates.grammar import Grammar
from platoon.settings import Settings, StoreSettings
from platoon.streams.camera import RATE_FRAMES_MOST, Camera
from platoon.streams.pipeline import SharedSite
from platoon.streams.registry import CameraSpec
from tests import plate_scripts


@pytest.fixture
def camera() -> Camera:
    return Camera(CameraSpec("gate", "Gate", "rtsp://10.0.0.1/1", 0), PlatePipeline("gate", Grammar()), None)


def test_the_rate_of_a_camera_is_right_from_its_first_seconds_on(camera: Camera) -> None:
    assert camera.rate(1000.0) == 0
    for frame in range(1, 121):
        camera.count(1000.0 + frame / 4)
        if frame >= 8:
            assert camera.rate(1000.0 + frame / 4) == pytest.approx(4, rel=0.15)


def test_the_rate_of_a_camera_that_stalls_falls_to_nothing(camera: Camera) -> None:
    for frame in range(40):
        camera.count(1000.0 + frame / 4)
    assert camera.rate(1014.9) == pytest.approx(2, rel=0.15)
    assert camera.rate(1030.0) == 0
    assert camera.analysed == 40


class StatusOnly:
    """In the place of a source: its status is what the test says."""

    def __init__(self, state: SourceState, **known: Any) -> None:
        self.status = SourceStatus(state=state, **known)


def seen_at(camera: Camera, now: float) -> None:
    camera.see(plate_scripts.frame(now), now)


def test_a_live_camera_shows_its_last_frame_until_that_is_too_old(camera: Camera) -> None:
    camera.source = StatusOnly(SourceState.LIVE)  # type: ignore[assignment]
    with pytest.raises(Unavailable, match="'gate' has no picture yet"):
        camera.sees(1000.0, 10.0)
    seen_at(camera, 1000.0)
    assert camera.sees(1010.0, 10.0) is camera.last_frame
    with pytest.raises(Unavailable, match="'gate': no frame of it came for 11 s"):
        camera.sees(1011.0, 10.0)
    seen_at(camera, 1012.0)
    assert camera.sees(1013.0, 10.0) is camera.last_frame


@pytest.mark.parametrize("state", [state for state in SourceState if state is not SourceState.LIVE])
def test_a_camera_that_is_not_live_shows_no_old_picture_but_why(camera: Camera, state: SourceState) -> None:
    camera.source = StatusOnly(state, cause=SourceFailure.REFUSED, message="the port")  # type: ignore[assignment]
    seen_at(camera, 1000.0)
    with pytest.raises(Unavailable, match=rf"'gate' shows nothing now: {state} \(refused\): the port"):
        camera.sees(1000.1, 10.0)


def test_a_disabled_camera_says_that_it_is(camera: Camera) -> None:
    with pytest.raises(Unavailable, match="disabled in the registry"):
        camera.sees(1000.0, 10.0)


def test_what_is_kept_for_the_rate_of_a_camera_is_bounded(camera: Camera) -> None:
    for frame in range(3 * RATE_FRAMES_MOST):
        camera.count(1000.0 + frame / 10_000)
    assert len(camera._recent) == RATE_FRAMES_MOST


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SharedSite]:
    """One that is never started: its cameras are known, and not connected to."""
    site = SharedSite(Settings(store=StoreSettings(path=tmp_path), cache=tmp_path))
    yield site
    site.stop()


def specs(count: int) -> list[CameraSpec]:
    return [CameraSpec(f"c{n}", f"Camera {n}", "rtsp://10.0.0.1/1", 0, enabled=False) for n in range(count)]


def test_announcing_a_camera_costs_the_same_however_many_there_are(
    site: SharedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[str] = []

    def of(counts: DroppedFrames, camera: str) -> dict[str, int]:
        looked_at.append(camera)
        return {cause: count.value for cause, count in counts._counts.get(camera, {}).items()}

    def everything(*_: object) -> Any:
        raise AssertionError("all metrics of all cameras were gone through")

    site.change(specs(200))
    for number in range(200):
        site.metrics.frames_dropped.labels(f"c{number}", "stale").inc(number)
    heard: list[Any] = []
    site.subscribe(heard.append)
    monkeypatch.setattr(DroppedFrames, "of", of)
    monkeypatch.setattr(DroppedFrames, "collect", everything)
    monkeypatch.setattr(CollectorRegistry, "collect", everything)
    site._announce("c7")
    assert looked_at == ["c7"]
    assert [message["camera"]["dropped"] for message in heard] == [{"stale": 7}]


def test_a_state_that_nobody_hears_is_not_made(site: SharedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.change(specs(1))
    monkeypatch.setattr(site, "_status", lambda *_: 1 / 0)
    site._announce("c0")


def test_nothing_stays_of_a_camera_that_was_taken_out(site: SharedSite) -> None:
    cameras = specs(3)
    site.change(cameras)
    metrics = site.metrics
    for camera in cameras:
        metrics.frames_dropped.labels(camera.id, "failed").inc()
        metrics.rejected_reads.labels(camera.id, "still").inc()
        metrics.camera_failures.labels(camera.id, "refused").inc()
        metrics.camera_state.labels(camera.id, "live", "").set(1)
        for counter in (metrics.frames_decoded, metrics.frames_analysed):
            counter.labels(camera.id).inc()
        metrics.source_lag.labels(camera.id).set(1)
        metrics.events_lost.labels(camera.id, "full").inc()
        metrics.events_spilled.labels(camera.id, "full").inc()
    site.change(cameras[:1])
    metrics.events.labels("c1", "final").inc()  # its last event, written a moment later
    site.change(cameras[:1])
    shown = metrics.exposition().decode()
    assert 'camera="c0"' in shown
    assert 'camera="c1"' not in shown
    assert 'camera="c2"' not in shown
    assert [camera.id for camera in site.cameras()] == ["c0"]


def test_ids_that_come_and_go_leave_no_metric_behind(site: SharedSite) -> None:
    sizes = []
    for number in range(40):
        site.change([CameraSpec(f"x{number}", "X", "rtsp://10.0.0.1/1", 0, enabled=False)])
        for metric in (site.metrics.frames_decoded, site.metrics.source_lag):
            metric.labels(f"x{number}").inc()
        sizes.append(len(site.metrics.exposition()))
    assert sizes[-1] <= sizes[1] + 50
