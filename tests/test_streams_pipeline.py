import pytest

from platoon.plates.events import PlateWatch
from platoon.plates.grammar import Grammar
from platoon.streams.pipeline import Camera
from platoon.streams.registry import CameraSpec


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
