from typing import Any

import pytest

from platoon.errors import Unavailable
from platoon.media.source import SourceFailure, SourceState, SourceStatus
from platoon.plates.events import PlateWatch
from platoon.plates.grammar import Grammar
from platoon.streams.pipeline import Camera
from platoon.streams.registry import CameraSpec
from tests import plate_scripts


@pytest.fixture
def camera() -> Camera:
    return Camera(CameraSpec("gate", "Gate", "rtsp://10.0.0.1/1", 0), PlateWatch("gate", Grammar()), None)


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


class Tells:
    """In the place of a source: its status is what the test says."""

    def __init__(self, state: SourceState, **known: Any) -> None:
        self.status = SourceStatus(state=state, **known)


def seen_at(camera: Camera, now: float) -> None:
    camera.last_frame = plate_scripts.frame(now)
    camera.count(now)


def test_a_live_camera_shows_its_last_frame_until_that_is_too_old(camera: Camera) -> None:
    camera.source = Tells(SourceState.LIVE)  # type: ignore[assignment]
    with pytest.raises(Unavailable, match="'gate' has no picture yet"):
        camera.sees(1000.0, 10.0)
    seen_at(camera, 1000.0)
    assert camera.sees(1010.0, 10.0) is camera.last_frame
    with pytest.raises(Unavailable, match="'gate': nothing of it was analysed for 11 s"):
        camera.sees(1011.0, 10.0)
    seen_at(camera, 1012.0)
    assert camera.sees(1013.0, 10.0) is camera.last_frame


@pytest.mark.parametrize("state", [state for state in SourceState if state is not SourceState.LIVE])
def test_a_camera_that_is_not_live_shows_no_old_picture_but_why(camera: Camera, state: SourceState) -> None:
    camera.source = Tells(state, cause=SourceFailure.REFUSED, message="the port")  # type: ignore[assignment]
    seen_at(camera, 1000.0)
    with pytest.raises(Unavailable, match=rf"'gate' shows nothing now: {state} \(refused\): the port"):
        camera.sees(1000.1, 10.0)


def test_a_disabled_camera_says_that_it_is(camera: Camera) -> None:
    with pytest.raises(Unavailable, match="disabled in the registry"):
        camera.sees(1000.0, 10.0)
