import logging
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.media.failures import SourceError
from platoon.media.sampling import Sampler
from platoon.media.source import Pace, SourceFailure, SourceState, backoff_s
from platoon.settings import SourceSettings
from tests.clips import bar_position, cut, whole, write_clip
from tests.clock import Clock
from tests.rtsp_server import Clip, RtspServer
from tests.source_watch import PATIENCE_S, Watch

NOBODY = "rtsp://user:S3cret@127.0.0.1:1/cam"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=32)


def test_a_clip_at_full_speed_gives_every_frame_and_ends(clip: Path) -> None:
    with Watch(clip) as watch:
        frames = watch.frames()
    assert [bar_position(whole(frame)) for frame in frames] == [number % 16 for number in range(32)]
    assert [frame.media_time for frame in frames] == pytest.approx([number / 30 for number in range(32)])
    assert [status.state for status in watch.states] == [
        SourceState.CONNECTING,
        SourceState.LIVE,
        SourceState.ENDED,
    ]
    assert watch.states[-1].cause is None


def test_the_status_describes_the_stream(clip: Path) -> None:
    with Watch(clip) as watch:
        watch.frames()
        status = watch.source.status
    assert (status.width, status.height, status.source_fps, status.codec) == (160, 96, 30, "h264")
    assert status.decoded == 32


def test_frames_of_a_real_time_clip_come_no_sooner_than_they_are_due(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=6, fps=20)
    with Watch(clip, pace=Pace.REAL_TIME) as watch:
        frames = watch.frames()
    elapsed = frames[-1].captured_at - frames[0].captured_at
    assert elapsed > 0.95 * (frames[-1].media_time - frames[0].media_time) > 0.2


def test_decoding_goes_on_when_nobody_takes_frames(clip: Path) -> None:
    with Watch(clip, keep_all=False) as watch:
        watch.wait_for(SourceState.ENDED)
        newest = watch.slot.take()
    assert newest is not None
    assert newest.media_time == pytest.approx(31 / 30)
    assert watch.count("platoon_frames_decoded_total") == 32
    assert watch.count("platoon_frames_dropped_total", cause="replaced") == 31


def test_frames_that_are_not_wanted_are_counted_as_sampled(clip: Path) -> None:
    with Watch(clip, sampler=Sampler(fps=10)) as watch:
        frames = watch.frames()
    assert [frame.media_time for frame in frames] == pytest.approx([n / 10 for n in range(11)], abs=1e-3)
    assert watch.count("platoon_frames_dropped_total", cause="sampled") == 21


def test_a_loop_goes_on_in_time(clip: Path) -> None:
    with Watch(clip, loop=True) as watch:
        frames = watch.frames(80)
    assert [frame.media_time for frame in frames] == pytest.approx([number / 30 for number in range(80)])
    assert [bar_position(whole(frame)) for frame in frames[32:40]] == list(range(8))
    assert [status.state for status in watch.states].count(SourceState.LIVE) == 1


def test_a_cut_off_clip_ends_with_its_cause_after_what_it_has(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mkv", frames=90)
    with Watch(cut(whole, 0.5, tmp_path / "cut.mkv")) as watch:
        frames = watch.frames()
    assert len(frames) > 10
    assert (watch.states[-1].state, watch.states[-1].cause) == (SourceState.ENDED, SourceFailure.CORRUPT)
    assert watch.count("platoon_camera_failures_total", cause="corrupt") == 1


def test_a_missing_file_ends_at_once_with_its_name(tmp_path: Path) -> None:
    with Watch(tmp_path / "gone.mp4") as watch:
        assert watch.frames() == []
    assert (watch.states[-1].state, watch.states[-1].cause) == (SourceState.ENDED, SourceFailure.NO_FILE)
    assert "gone.mp4" in watch.states[-1].message


def test_pictures_may_change_their_size(tmp_path: Path) -> None:
    parts = [Clip.load(write_clip(tmp_path / f"{width}.mp4", width=width, frames=8)) for width in (160, 320, 96)]
    changing = tmp_path / "changing.h264"
    changing.write_bytes(b"".join(b"\0\0\0\1" + nal for part in parts for unit in part.units for nal in unit.nals))
    with Watch(changing) as watch:
        frames = watch.frames()
        status = watch.source.status
    assert [frame.width for frame in frames] == [160] * 8 + [320] * 8 + [96] * 8
    assert status.width == 96
    assert whole(frames[-1]).shape == (96, 96, 3)


def test_a_camera_that_is_down_is_tried_again_and_again() -> None:
    settings = SourceSettings(backoff_min_s=0.001, backoff_max_s=0.002)
    with Watch(NOBODY, settings=settings) as watch:
        watch.wait(lambda: len(watch.states) >= 6)
    first, *others = watch.states[:6]
    assert first.state is SourceState.CONNECTING
    for status in others:
        assert (status.state, status.cause) == (SourceState.RECONNECTING, SourceFailure.REFUSED)
        assert status.retry_at is not None
    assert watch.count("platoon_camera_failures_total", cause="refused") >= 5


def test_a_camera_or_clip_that_finds_no_descriptor_left_says_so_and_is_tried_until_there_is_one(clip: Path) -> None:
    settings = SourceSettings(backoff_min_s=0.001, backoff_max_s=0.05)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with RtspServer({"/gate": clip}) as server:
        places = (server.url("/gate"), server.url("/gate").replace("127.0.0.1", "localhost"), clip)
        watches = [Watch(place, settings=settings, keep_all=False, loop=True) for place in places]
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            for watch in watches:
                watch.source.start()
            for watch in watches:
                status = watch.wait_for(SourceState.RECONNECTING)
                assert (status.cause, status.retry_at is not None) == (SourceFailure.NO_DESCRIPTORS, True)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for watch in watches:
            watch.wait_for(SourceState.LIVE)
            watch.__exit__()


def test_stopping_does_not_wait_for_the_next_attempt() -> None:
    settings = SourceSettings(backoff_min_s=3600, backoff_max_s=7200)
    with Watch(NOBODY, settings=settings) as watch:
        watch.wait_for(SourceState.RECONNECTING)
        watch.source.stop()
        assert watch.source.join(PATIENCE_S)
    assert watch.states[-1].state is SourceState.STOPPED


def test_stopping_frees_a_source_that_waits_for_its_taker(clip: Path) -> None:
    with Watch(clip, loop=True) as watch:
        watch.wait(lambda: watch.slot.filled)
        watch.source.stop()
        assert watch.source.join(PATIENCE_S)


def test_stopping_ends_the_wait_for_a_frame_that_is_due_much_later(tmp_path: Path) -> None:
    slow = write_clip(tmp_path / "slow.mp4", frames=3, fps=1)
    with Watch(slow, pace=Pace.REAL_TIME, loop=True) as watch:
        watch.frames(1)
    assert watch.states[-1].state is SourceState.STOPPED


def test_the_state_gauge_shows_the_present_state_alone(clip: Path) -> None:
    settings = SourceSettings(backoff_min_s=3600, backoff_max_s=7200)
    with Watch(NOBODY, settings=settings) as watch:
        watch.wait_for(SourceState.RECONNECTING)
        assert watch.state_series() == {("reconnecting", "refused"): 1}
    assert watch.state_series() == {}
    with Watch(clip) as watch:
        watch.frames()
        assert watch.source.join(PATIENCE_S)
        assert watch.state_series() == {("ended", ""): 1}


def test_no_message_and_no_log_line_holds_a_credential(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = SourceSettings(backoff_min_s=0.001, backoff_max_s=0.002)
    with caplog.at_level(logging.DEBUG), Watch(NOBODY, settings=settings) as watch:
        watch.wait(lambda: len(watch.states) >= 3)
    printed = capfd.readouterr()
    everything = "".join([caplog.text, printed.out, printed.err, *(str(status) for status in watch.states)])
    assert "127.0.0.1" in everything
    assert "S3cret" not in everything


def test_an_unexpected_failure_has_a_name_and_a_log_entry(
    clip: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("rtsp://user:S3cret@camera went mad")

    monkeypatch.setattr("platoon.media.source.planar_frame", fail)
    with Watch(clip) as watch:
        watch.frames()
    assert (watch.states[-1].state, watch.states[-1].cause) == (SourceState.ENDED, SourceFailure.FAILED)
    assert "went mad" in caplog.text
    assert "S3cret" not in caplog.text


@given(st.integers(1, 1000), st.floats(0.01, 10), st.floats(0.01, 100), st.integers(0, 9))
def test_waits_stay_between_the_shortest_and_the_longest(
    failures: int, shortest: float, longest: float, seed: int
) -> None:
    settings = SourceSettings(backoff_min_s=shortest, backoff_max_s=longest)
    wait = backoff_s(failures, settings, Random(seed))
    assert shortest <= wait <= max(shortest, longest)


def test_waits_grow_and_cameras_that_failed_together_part() -> None:
    settings = SourceSettings(backoff_min_s=0.5, backoff_max_s=30)
    waits = [[backoff_s(failures, settings, Random(seed)) for seed in range(200)] for failures in (1, 3, 12)]
    means = [sum(row) / len(row) for row in waits]
    assert means[0] < means[1] < means[2]
    assert all(len(set(row)) > 190 for row in waits)


class _Stamped:
    """A live `OpenInput` of 20 pictures a second by arrival, whose time stamps are a function of that."""

    live, codec, fps, lag = True, "h264", 20.0, 0.0

    def __init__(self, stamps: Callable[[float], float], clock: Clock, *, count: int) -> None:
        self._stamps, self._clock, self._count = stamps, clock, count

    def pictures(self) -> Iterator[tuple[av.VideoFrame, float | None]]:
        for _ in range(self._count):
            self._clock.now += 0.05
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            yield picture.reformat(format="yuv420p"), self._stamps(self._clock.now)
        raise SourceError("it ended", failure=SourceFailure.CLOSED, final=True)

    def detections(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize(
    "stamps", [lambda _: 7.0, lambda at: at / 90, lambda at: at * 30], ids=["still", "slow", "fast"]
)
def test_a_camera_whose_time_stamps_are_wrong_is_analysed_by_arrival_and_says_so(
    stamps: Callable[[float], float], clock: Clock
) -> None:
    def open_input(*_: object, **_how: object) -> _Stamped:
        return _Stamped(stamps, clock, count=600)

    sampler = Sampler(fps=2)
    with Watch("rtsp://camera", open_input=open_input, sampler=sampler, now=lambda: clock.now) as camera:
        frames = camera.frames()
    assert len(frames) > 50
    times = [frame.media_time for frame in frames[-45:]]  # it takes two seconds to see what is wrong with them
    assert np.diff(times) == pytest.approx(0.5, abs=0.06)
    assert [status.by_arrival for status in camera.states if status.state is SourceState.LIVE][-1]
