"""What wakes a sleeping camera: sizes of packets, made by seeded models and by encoders, and small pictures."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from platoon.media.activity import LOOK_S, MAX_PACKETS, MAX_SLOTS, Looks, PacketActivity, PictureChange
from platoon.media.synthetic.encoding import Encoding
from platoon.media.synthetic.still import still_clip, still_scene
from platoon.media.synthetic.unrest import Unrest

FPS = 25
LEARNT_S = 60.0
Car = tuple[float, float]
"""When one comes and goes, in seconds."""


@dataclass(frozen=True)
class Stream:
    """Sizes of a camera's packets when nothing moves: level, how it strays, and what happens at times."""

    level: float = 900.0
    spread: float = 0.15
    spikes: float = 0.0
    """Share of packets that are several times as large for the encoder's own reasons."""
    b_frames: int = 0
    group_s: float = 2.0
    course: Callable[[float], float] = lambda time: 1.0
    """By what the level is multiplied at a time."""
    keyframe: int = 40_000
    car_bytes: float = 800.0
    seed: int = 0

    def packets(self, seconds: float, cars: tuple[Car, ...] = ()) -> Iterator[tuple[int, bool, float]]:
        rng = np.random.default_rng(self.seed)
        group = round(self.group_s * FPS)
        for number in range(round(seconds * FPS)):
            time = number / FPS
            if number % group == 0:
                yield int(self.keyframe * rng.lognormal(0, 0.02)), True, time
                continue
            is_b = self.b_frames and number % group % (self.b_frames + 1) != 1
            falls = 1 + 1.5 * np.exp(-(number % group) / 5)
            size = self.level * falls * self.course(time) * rng.lognormal(0, self.spread) * (0.15 if is_b else 1)
            size += sum(self.car_bytes * (0.3 if is_b else 1) for start, end in cars if start <= time < end)
            yield int(size * (4 if rng.random() < self.spikes else 1)), False, time


def alarms(stream: Stream, seconds: float, cars: tuple[Car, ...] = ()) -> list[float]:
    """The times of packets at which something was said to move."""
    activity = PacketActivity()
    return [
        time
        for size, keyframe, time in stream.packets(seconds, cars)
        if activity.packet(size, keyframe=keyframe, time=time)
    ]


def wakes(stream: Stream, seconds: float) -> int:
    """How often a camera that stays awake for four seconds is woken, once it is known."""
    said = [time for time in alarms(stream, seconds) if time > LEARNT_S]
    return sum(i == 0 or time - said[i - 1] > 4 for i, time in enumerate(said))


def gusts(time: float) -> float:
    return float(1.2 + 0.2 * np.sin(time / 1.7) + 0.2 * np.sin(time / 0.9))


STREAMS = {
    "still": Stream(),
    "long groups": Stream(group_s=4.0),
    "b-frames": Stream(b_frames=3),
    "b-frames in long groups": Stream(b_frames=2, group_s=4.0),
    "spikes": Stream(spikes=0.2),
    "gusts": Stream(course=gusts, car_bytes=1500),
    "few bits": Stream(level=60, spread=0.4, car_bytes=400),
    "held rate": Stream(level=8000, spread=0.02, spikes=0.2, car_bytes=1500),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_car_that_is_seen_for_little_more_than_a_second_wakes_its_camera(name: str) -> None:
    for start in (LEARNT_S + 0.3, LEARNT_S + 0.9, LEARNT_S + 1.5):
        during = [time for time in alarms(STREAMS[name], LEARNT_S + 5, ((start, start + 1.2),)) if time > LEARNT_S]
        assert during, f"nothing for a car from {start}"
        group_s = STREAMS[name].group_s
        assert start <= during[0] < math.ceil((start + 1.2) / group_s) * group_s, "later, its pictures are gone"


@pytest.mark.parametrize("name", STREAMS)
def test_a_still_camera_sleeps(name: str) -> None:
    assert wakes(STREAMS[name], LEARNT_S + 300) <= 3, "in five minutes"


def test_what_grows_slowly_is_no_activity() -> None:
    """From day to night the noise takes three times the bits."""
    dusk = Stream(course=lambda time: 3 ** (time / 900))
    assert wakes(dusk, 900) <= 5, "in a quarter of an hour"


@pytest.mark.parametrize("factor", [2.5, 0.4], ids=["up", "down"])
def test_a_new_level_is_usual_within_half_a_minute(factor: float) -> None:
    """As after a switch to infrared, or when rain begins."""
    switched = Stream(course=lambda time: factor if time >= 100 else 1.0)
    said = [time for time in alarms(switched, 300) if time > LEARNT_S]
    assert bool(said) == (factor > 1)
    assert not [time for time in said if time > 130]


def test_a_car_is_seen_again_on_the_new_level() -> None:
    for factor in (2.0, 0.4):
        switched = Stream(course=lambda time, factor=factor: factor if time >= 100 else 1.0)  # type: ignore[misc]
        said = alarms(switched, 200, ((180, 182),))
        assert [time for time in said if 180 <= time < 182]


def test_cars_before_do_not_hide_the_next() -> None:
    cars = tuple((start, start + 5.0) for start in np.arange(60.0, 300.0, 15.0))
    said = alarms(Stream(), 300, cars)
    assert all(any(start <= time < end for time in said) for start, end in cars)


def test_nothing_is_known_of_a_new_camera() -> None:
    assert alarms(Stream(), 5) == []
    looks = due(Stream(), 12)
    assert np.diff(looks)[1:] == pytest.approx(1.0, abs=0.05), "half of its group: keyframes are looked at anyway"


def due(stream: Stream, seconds: float, cars: tuple[Car, ...] = ()) -> list[float]:
    """When looks are due, and keyframes come."""
    looks = Looks()
    return [
        time
        for size, keyframe, time in stream.packets(seconds, cars)
        if looks.packet(size, keyframe=keyframe, time=time) or (keyframe and time)
    ]


@pytest.mark.parametrize("group_s", [1.12, 2.0, 3.48, 4.0, 10.0])
def test_looks_are_no_farther_apart_than_a_vehicle_is_seen_and_none_comes_just_before_a_keyframe(
    group_s: float,
) -> None:
    apart = np.diff(due(Stream(level=25_000, spread=0.1, group_s=group_s), 60)[30:])
    assert apart.max() <= LOOK_S + 1 / FPS
    assert apart.min() >= LOOK_S / 2 - 1 / FPS


def test_where_sizes_show_that_nothing_moves_there_is_no_look_but_one_for_a_car() -> None:
    car = (LEARNT_S + 0.5, LEARNT_S + 1.7)
    looks = [time for time in due(Stream(), LEARNT_S + 2, (car,)) if time > 20 and time % 2]
    assert [time for time in looks if car[0] < time <= car[1] + 0.3]
    assert len([time for time in looks if time < car[0]]) <= 4, "in forty seconds"


def test_it_is_said_where_sizes_do_not_show_vehicles() -> None:
    def doubtful(stream: Stream) -> bool:
        activity = PacketActivity()
        for size, keyframe, time in stream.packets(LEARNT_S):
            activity.packet(size, keyframe=keyframe, time=time)
        return activity.doubtful

    assert not doubtful(Stream())
    assert not doubtful(Stream(b_frames=3, spikes=0.1))
    assert doubtful(Stream(level=25_000, spread=0.1)), "noise"
    assert doubtful(Stream(level=7_000, course=lambda time: gusts(time) ** 2)), "rain"


def test_a_clock_that_is_set_and_a_stream_without_keyframes_harm_nothing() -> None:
    activity = PacketActivity()
    for offset in (0.0, 5000.0, -700.0, 1e9):
        for size, keyframe, time in Stream().packets(30):
            activity.packet(size, keyframe=keyframe and time < 1, time=time + offset)
    assert len(activity._usual) <= MAX_SLOTS
    assert len(activity._window) == len(activity._sorted) <= MAX_PACKETS
    stopped = PacketActivity()
    for number in range(10_000):
        stopped.packet(900, keyframe=number % 50 == 0, time=7.0)
    assert len(stopped._window) <= MAX_PACKETS


def test_a_stream_of_keyframes_alone_is_left_to_its_pictures() -> None:
    activity = PacketActivity()
    said = [activity.packet(40_000 * (1 + n % 7), keyframe=True, time=n / FPS) for n in range(500)]
    assert not any(said[5:])
    assert activity.doubtful


@pytest.mark.parametrize(
    "encoding",
    [
        Encoding(),
        Encoding(group_s=4.0, b_frames=3, most_kbps=500),
        Encoding(codec="libx265", group_s=4.0, b_frames=2, preset="ultrafast", quality=28),
    ],
    ids=["x264", "b-frames", "hevc"],
)
@pytest.mark.parametrize("kind", [Unrest.CLOCK, Unrest.TREES])
def test_a_rendered_car_wakes_a_camera_by_the_sizes_of_its_packets(
    tmp_path: Path, kind: Unrest, encoding: Encoding
) -> None:
    scene = still_scene(seed=7, seconds=66, enters_s=[52.0], size=(320, 180), fps=10)
    truth = still_clip(tmp_path / "still.mp4", scene, kind, encoding)
    frames = truth.vehicles[0].quads
    activity = PacketActivity()
    said = []
    with av.open(str(tmp_path / "still.mp4")) as container:
        for packet in container.demux(video=0):
            if packet.dts is not None:
                time = float(packet.dts * packet.time_base)
                if activity.packet(packet.size, keyframe=packet.is_keyframe, time=time):
                    said.append(time)
    assert [time for time in said if 52 <= time <= max(frames) / 10]
    assert len([time for time in said if 30 < time < 52]) < 4 * 10, "awake for less than four seconds of twenty"


# Small pictures.


def background(seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    smooth: NDArray[np.float64] = cv2.GaussianBlur(rng.normal(0, 1, (54, 96)), (0, 0), 2)
    return 110 + 320 * smooth


def with_car(picture: NDArray[np.float64], left: int) -> NDArray[np.float64]:
    seen = picture.copy()
    cv2.rectangle(seen, (left, 24), (left + 13, 34), 60.0, -1)
    cv2.rectangle(seen, (left + 3, 25), (left + 10, 28), 160.0, -1)
    return seen


def taken(picture: NDArray[np.float64], rng: np.random.Generator, light: float = 1.0) -> NDArray[np.uint8]:
    return np.clip(picture * light + rng.normal(0, 0.8, picture.shape), 0, 255).astype(np.uint8)


def learnt(change: PictureChange, rng: np.random.Generator, pictures: int = 30) -> float:
    for number in range(pictures):
        change.differs(taken(background(), rng), number * 2.0)
    return pictures * 2.0


def test_a_vehicle_in_a_keyframe_differs() -> None:
    rng, change = np.random.default_rng(1), PictureChange()
    now = learnt(change, rng)
    assert change.differs(taken(with_car(background(), 40), rng), now)
    assert not change.differs(taken(background(), rng), now + 60)


def test_a_picture_of_the_same_place_does_not_differ() -> None:
    rng, change = np.random.default_rng(2), PictureChange()
    assert not any(change.differs(taken(background(), rng), n * 2.0) for n in range(300))


def test_another_light_does_not_differ() -> None:
    rng, change = np.random.default_rng(3), PictureChange()
    now = learnt(change, rng)
    lights = [1 + 0.25 * np.sin(n / 3) for n in range(60)]
    assert not any(change.differs(taken(background(), rng, light), now + n * 2) for n, light in enumerate(lights))


def test_a_camera_that_was_turned_differs_until_its_new_place_is_usual() -> None:
    rng, change = np.random.default_rng(4), PictureChange()
    now = learnt(change, rng)
    said = [change.differs(taken(background(seed=9), rng), now + n * 2) for n in range(60)]
    assert said[0]
    assert not any(said[30:])


def test_leaves_that_always_sway_do_not_differ_but_a_car_beside_them_does() -> None:
    rng, change = np.random.default_rng(5), PictureChange()
    leaves = cv2.GaussianBlur(rng.normal(0, 1, (24, 60)), (0, 0), 1.2) * 220

    def swaying(picture: NDArray[np.float64]) -> NDArray[np.float64]:
        aside = int(rng.integers(0, 6))
        seen = picture.copy()
        seen[:24, :40] += leaves[:, aside : aside + 40]
        return seen

    said = [change.differs(taken(swaying(background()), rng), n * 2.0) for n in range(120)]
    assert sum(said[60:]) <= 2
    assert change.differs(taken(swaying(with_car(background(), 60)), rng), 240.0)


def test_pictures_of_another_size_begin_anew() -> None:
    rng, change = np.random.default_rng(6), PictureChange()
    learnt(change, rng)
    assert not change.differs(np.full((90, 160), 120, np.uint8), 61.0)
