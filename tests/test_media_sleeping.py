"""A camera that sleeps, from its packets to the frames that are handed on."""

import threading
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from platoon.media.activity import Looks
from platoon.media.attention import Level, Reason
from platoon.media.frame import Frame, Pixels
from platoon.media.opencv_pixels import OpenCvPixels
from platoon.media.sampling import Sampler
from platoon.media.slot import NewestSlot
from platoon.media.source import Source, SourceState
from platoon.metrics import Metrics, PixelMeter
from platoon.settings import SourceSettings
from tests.clock import Clock
from tests.stepped_stream import PATIENCE_S, SteppedBacklog, SteppedInput

FPS, GROUP = 10, 40
"""A keyframe every four seconds."""
SIZE = (320, 192)
CAR = range(2 * GROUP + 10, 2 * GROUP + 22)
"""The pictures that show the car: 1.2 s between two keyframes."""
STREAMS = {
    "plain": ("libx264", 0, {"x264-params": "scenecut=0:keyint=40:min-keyint=40"}),
    "B-frames": ("libx264", 2, {"x264-params": "scenecut=0:keyint=40:min-keyint=40:b-adapt=0"}),
    "open GOP": ("libx264", 2, {"x264-params": "scenecut=0:keyint=40:min-keyint=40:b-adapt=0:open-gop=1"}),
    "HEVC": ("libx265", 2, {"x265-params": "scenecut=0:keyint=40:min-keyint=40:b-adapt=0:open-gop=0:log-level=none"}),
}
LARGE = 100
"""More bytes than a packet in which nothing moves has."""


def drawn(number: int, noise: np.random.Generator, ground: Pixels) -> Pixels:
    rgb = ground.copy()
    if number in CAR:
        left = (number - CAR.start) * 20
        cv2.rectangle(rgb, (left, 90), (left + 80, 150), (230, 40, 30), -1)
        cv2.rectangle(rgb, (left + 20, 120), (left + 60, 134), (250, 250, 250), -1)
    return np.clip(rgb + noise.normal(0, 1.5, rgb.shape), 0, 255).astype(np.uint8)


def encoded(path: Path, codec: str, b_frames: int, options: dict[str, str]) -> Path:
    """The pictures of two still groups, one with the car, and a still one."""
    noise = np.random.default_rng(7)
    ground = cv2.resize(noise.integers(40, 200, (6, 10, 3), dtype=np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        out = container.add_stream(codec, rate=FPS, options={"preset": "veryfast", **options})
        out.width, out.height, out.pix_fmt = *SIZE, "yuv420p"
        out.gop_size, out.max_b_frames = GROUP, b_frames
        out.codec_context.time_base = Fraction(1, FPS)
        for number in range(4 * GROUP):
            frame = av.VideoFrame.from_ndarray(drawn(number, noise, ground), format="rgb24")
            frame.pts, frame.pict_type = number, 0
            container.mux(out.encode(frame))
        container.mux(out.encode())
    return path


@pytest.fixture(scope="module", params=STREAMS)
def stream(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoded(tmp_path_factory.mktemp("streams") / "stream.mkv", *STREAMS[request.param])


class LargePackets:
    """In the place of `Looks`: knows what is large here."""

    def packet(self, size: int, *, keyframe: bool, time: float) -> bool:
        return not keyframe and size > LARGE


class Doubt(Looks):
    """Knows nothing of sizes."""

    def packet(self, size: int, *, keyframe: bool, time: float) -> bool:
        return super().packet(1000, keyframe=keyframe, time=time)


class Sleeper:
    """A source that plays groups of `stream` in some order, and all frames that it hands on."""

    def __init__(
        self,
        path: Path,
        groups: Sequence[int],
        monkeypatch: pytest.MonkeyPatch,
        *,
        looks: type[LargePackets | Looks] = LargePackets,
        **settings: object,
    ) -> None:
        monkeypatch.setattr("platoon.media.input.Backlog", SteppedBacklog)
        monkeypatch.setattr("platoon.media.input.Looks", looks)
        self.clock = Clock()
        self.metrics = Metrics(PixelMeter())
        self.ready = threading.Condition()
        slot = NewestSlot(ready=self.ready)
        self.looks: list[Frame] = []
        self.levels: list[Level] = []
        self.source = Source(
            "gate",
            str(path),
            slot,
            Sampler(fps=None),
            settings=SourceSettings.model_validate({"backoff_min_s": 3600, "backoff_max_s": 3600, **settings}),
            pixels=OpenCvPixels(self.metrics.pixels),
            metrics=self.metrics,
            on_look=self.looks.append,
            on_status=self._note,
            open_input=partial(SteppedInput, groups=groups, clock=self.clock),
            now=self.clock,
        )
        self.frames: list[Frame] = []
        self.over = False
        self.source.start()
        while True:
            with self.ready:
                assert self.ready.wait_for(lambda: slot.filled or self.over, PATIENCE_S)
            if (frame := slot.take()) is None:
                break
            self.frames.append(frame)
        self.source.stop()
        assert self.source.join(PATIENCE_S)

    def _note(self, status: object) -> None:
        self.levels.append(self.source.attention.level)
        if self.source._status.state is SourceState.ENDED:  # its file is no camera
            with self.ready:
                self.over = True
                self.ready.notify_all()

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"camera": "gate", **labels}) or 0.0

    def numbers(self) -> list[int]:
        """Which pictures of the stream were handed on, by their media time."""
        return [round(frame.media_time * FPS) for frame in self.frames]


@pytest.mark.parametrize("long", [6])
def test_a_car_between_two_keyframes_is_handed_on_whole_after_a_long_sleep(
    stream: Path, monkeypatch: pytest.MonkeyPatch, long: int
) -> None:
    groups = [0, 1, *[1] * long, 2, 3, *[1] * 3]
    everything = Sleeper(stream, groups, monkeypatch, attention="full").numbers()
    sleeper = Sleeper(stream, groups, monkeypatch)
    begin = long * GROUP  # of what is played, where picture 0 of the file would be
    car = {begin + number for number in CAR} & set(everything)
    assert len(car) >= len(CAR) / 2, "an open group after another than its own loses some"
    seen = sleeper.numbers()
    assert car <= set(seen)
    assert seen == sorted(set(seen)), "no picture twice, and none before another"
    assert len(seen) < len(everything) / 2
    assert sleeper.count("platoon_frames_dropped_total", cause="asleep") > long * GROUP / 2
    assert sleeper.count("platoon_frames_dropped_total", cause="behind") == 0
    assert sleeper.count("platoon_frames_dropped_total", cause="replaced") <= 4
    assert sleeper.count("platoon_camera_wakeups_total", cause=Reason.CHANGE) >= 1


def test_a_car_that_sizes_do_not_show_is_seen_at_a_glance_and_handed_on_whole(
    stream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = [0, *[1] * 6, 2, 3, *[1] * 3]
    everything = Sleeper(stream, groups, monkeypatch, attention="full").numbers()
    sleeper = Sleeper(stream, groups, monkeypatch, looks=Doubt)
    begin = 5 * GROUP
    car = {begin + number for number in CAR} & set(everything)
    assert len(car) >= len(CAR) / 2, "an open group after another than its own loses some"
    seen = sleeper.numbers()
    assert car <= set(seen)
    assert seen == sorted(set(seen)), "no picture twice, and none before another"
    assert len(seen) < len(everything) / 2, "what is decoded for a glance is not handed on"
    assert sleeper.count("platoon_camera_wakeups_total", cause=Reason.CHANGE) == 1


def test_glances_at_what_stays_as_it_is_wake_nobody(stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = Sleeper(stream, [0, *[1] * 12], monkeypatch, looks=Doubt)
    assert sleeper.levels[-2] is Level.IDLE
    assert sleeper.count("platoon_camera_wakeups_total", cause=Reason.CHANGE) == 0


def test_where_it_may_not_sleep_every_picture_is_handed_on(stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [0, 1, 1, 1, 1]
    sleeper = Sleeper(stream, groups, monkeypatch, camera_attention={"gate": "watch"})
    everything = Sleeper(stream, groups, monkeypatch, attention="full").numbers()
    # Where a group ends a decoder may give two pictures at once, of which the first may be replaced.
    assert len(set(sleeper.numbers()) ^ set(everything)) <= len(groups)
    assert sleeper.count("platoon_frames_dropped_total", cause="asleep") == 0
    assert sleeper.looks == []


def test_a_stream_of_a_single_keyframe_never_sleeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    single = {"x264-params": "scenecut=0:keyint=10000:min-keyint=10000"}
    sleeper = Sleeper(encoded(tmp_path / "single.mkv", "libx264", 0, single), [0], monkeypatch)
    assert sleeper.numbers() == list(range(4 * GROUP))
    assert Level.IDLE not in sleeper.levels


def test_a_car_before_a_camera_that_sends_keyframes_alone_is_handed_on_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    intra = encoded(tmp_path / "intra.mkv", "libx264", 0, {"x264-params": "keyint=1"})
    sleeper = Sleeper(intra, range(4 * GROUP), monkeypatch)
    seen = sleeper.numbers()
    assert set(CAR) <= set(seen)
    assert len(seen) < 3.5 * GROUP
    assert sleeper.count("platoon_frames_dropped_total", cause="asleep") > 0
    assert sleeper.count("platoon_camera_wakeups_total", cause=Reason.CHANGE) >= 1
