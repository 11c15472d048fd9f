"""What the benchmark of cameras before which nothing moves shows them, and what it counts."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from benchmarks import attention
from benchmarks.attention import Glance, Site, accuracy, figures, glance
from benchmarks.stills import SUBSTREAM_FPS, Still, lengthen, substream
from benchmarks.usual_motion import MotionDetector
from prometheus_client.parser import text_string_to_metric_families

from tests.clips import bar_position, write_clip


def positions(path: Path) -> list[int]:
    """Where the bar stands in each picture of a clip."""
    with av.open(str(path)) as container:
        stamps, shown = [], []
        for frame in container.decode(video=0):
            stamps.append(frame.time or 0.0)
            shown.append(bar_position(frame.to_ndarray(format="rgb24").astype(np.uint8)))
    assert np.all(np.diff(stamps) > 0)
    return shown


@pytest.mark.parametrize("whole", [True, False])
def test_a_stream_is_a_clip_that_stays_at_a_part_of_it_for_a_while(tmp_path: Path, whole: bool) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=15, fps=10, keyframe_every=5)
    lengthen(clip, (0.5, 1.0), 3, tmp_path / "long.mp4", whole=whole)
    assert positions(tmp_path / "long.mp4") == [*range(10), *range(5, 10), *range(5, 10), *[10, 11, 12, 13, 14] * whole]


def test_a_substream_has_the_same_pictures_but_fewer(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=15, fps=15)
    substream(clip, tmp_path / "sub.mp4")
    assert positions(tmp_path / "sub.mp4") == [0, 3, 6, 9, 12]
    with av.open(str(tmp_path / "sub.mp4")) as container:
        assert container.streams.video[0].average_rate == SUBSTREAM_FPS


def still(kind: str, *plates: str) -> Still:
    return Still(kind, Path("a.mp4"), Path("b.mp4"), plates, 60.0)


def site() -> Site:
    traffic = Still("traffic", Path("a.mp4"), Path("b.mp4"), None, 0.0)
    return Site([traffic, still("rain", "M KX 204"), still("rain"), still("snow")])


def at(seconds: float, exposition: str, cpu_s: float, quiet: frozenset[str]) -> Glance:
    samples = [one for family in text_string_to_metric_families(exposition) for one in family.samples]
    found = glance(samples, cpu_s, quiet)
    return Glance(seconds, found.cpu_s, found.analysed, found.decoded, found.wakes, found.causes, found.asleep)


def test_only_wake_ups_of_cameras_without_vehicles_are_false_and_none_by_being_connected() -> None:
    cameras = site()
    start = at(100.0, 'platoon_camera_wakeups_total{camera="camera2",cause="doubt"} 1\n', 10.0, cameras.quiet)
    later = """\
platoon_frames_analysed_total{camera="camera0"} 600
platoon_frames_decoded_total{camera="camera0"} 900
platoon_frames_decoded_total{camera="camera2"} 60
platoon_camera_asleep{camera="camera2"} 0
platoon_camera_asleep{camera="camera3"} 1
platoon_camera_wakeups_total{camera="camera1",cause="motion"} 9
platoon_camera_wakeups_total{camera="camera2",cause="doubt"} 3
platoon_camera_wakeups_total{camera="camera2",cause="motion"} 2
platoon_camera_wakeups_total{camera="camera3",cause="start"} 7
"""
    end = at(160.0, later, 40.0, cameras.quiet)
    found = figures(start, end, [start.asleep, end.asleep], cameras)
    assert (found["cpu_percent"], found["busy_frames_per_s"], found["decoded_per_s"]) == (50.0, [10.0], 16.0)
    assert found["false_wakes_by_kind"] == {"rain": 4.0, "snow": 0.0}
    assert found["false_wakes_per_minute"] == 2.0
    assert found["false_wakes_by_cause"] == {"doubt": 2, "motion": 2}
    assert found["awake"] == 0.75


def test_a_vehicle_is_right_if_it_has_one_event_and_nothing_else_of_its_camera() -> None:
    plates = {"camera1": ["M KX 204", "AB-12"], "camera2": ["CD34", "EF 56"], "camera3": []}
    finals = [
        ("camera1", "MKX204"),
        ("camera2", "CD34"),
        ("camera2", "CD34"),
        ("camera2", "AB12"),
        ("camera3", "X1"),
        ("camera0", "Y2"),
    ]
    assert accuracy(plates, finals) == {
        "vehicles": 4,
        "right": 1,
        "missing": ["camera1: AB12", "camera2: EF56"],
        "twice": ["camera2: CD34"],
        "false": ["camera2: AB12", "camera3: X1"],
    }


def test_the_quiet_cameras_are_numbered_anew_where_they_are_alone() -> None:
    assert [(camera, stream.kind) for camera, stream in site().alone().streams.items()] == [
        ("camera0", "rain"),
        ("camera1", "snow"),
    ]


def test_aims_are_of_the_way_that_sleeps_as_far_as_it_got() -> None:
    auto = {"right": 9, "vehicles": 10, "busy_frames_per_s": [7.0, 5.0], "false_wakes_per_minute": 1.0, "alone": {}}
    met = [(one["reached"], one["met"]) for one in attention.aims({"auto": auto, "full": {"failed": "too slow"}})]
    assert met == [(0.9, False), (5.0, True), (1.0, True)]
    assert attention.aims({"auto": auto | {"failed": "it ended"}}) == []


def test_the_usual_detection_sees_what_moves_and_not_the_light() -> None:
    rng = np.random.default_rng(1)
    place = cv2.resize(rng.integers(60, 160, (9, 16)).astype(np.uint8), (320, 180))
    motion = MotionDetector()
    assert not any(motion.moves(place) for _ in range(20))
    assert not motion.moves(place + np.uint8(60))
    assert not any([motion.moves(place) for _ in range(40)][-5:])
    place[60:100, 100:160] = 250
    assert motion.moves(place)
