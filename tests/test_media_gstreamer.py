"""Cameras by GStreamer's own elements: files and an RTSP server on loopback, through one pipeline."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from platoon.media.attention import Taker
from platoon.media.gstreamer.configurations import Configurations
from platoon.media.gstreamer.elements import GSTREAMER
from platoon.media.gstreamer.input import PipelineInput
from platoon.media.gstreamer.pipeline import CameraPipeline
from platoon.media.input import Input
from platoon.media.source import Pace, SourceFailure, SourceState
from platoon.settings import SourceSettings
from tests.clips import bar_position, cut, write_clip, write_sound
from tests.gstreamer import bring
from tests.rtsp_server import Fault, RtspServer
from tests.source_watch import Watch

QUICK = SourceSettings(backoff_min_s=0.01, backoff_max_s=0.05)
IMPATIENT = QUICK.model_copy(update={"open_timeout_s": 1.0, "read_timeout_s": 1.0})


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=32)


@pytest.fixture
def pipeline() -> Iterator[CameraPipeline]:
    bring()
    pipeline = CameraPipeline(GSTREAMER, cameras=lambda: 1, configured=unconfigured)
    yield pipeline
    pipeline.close()


def unconfigured(_batch: int) -> Configurations:
    raise AssertionError("these elements read no files")


def watching(pipeline: CameraPipeline, url: str | Path, **options: Any) -> Watch:
    return Watch(url, open_input=partial(PipelineInput, pipeline), **options)


def bars(watch: Watch, count: int | None = None) -> list[int]:
    return [bar_position(frame.pixels.picture(frame)) for frame in watch.frames(count)]


def test_a_clip_gives_every_frame_in_order_and_ends(pipeline: CameraPipeline, clip: Path) -> None:
    with watching(pipeline, clip) as watch:
        frames = watch.frames()
        status = watch.source.status
    assert [bar_position(frame.pixels.picture(frame)) for frame in frames] == [number % 16 for number in range(32)]
    assert [frame.media_time for frame in frames] == pytest.approx([number / 30 for number in range(32)], abs=1e-6)
    assert [status.state for status in watch.states] == [SourceState.CONNECTING, SourceState.LIVE, SourceState.ENDED]
    assert (status.width, status.height, status.source_fps, status.codec) == (160, 96, 30, "h264")
    assert watch.states[-1].cause is None


@pytest.mark.parametrize(
    "form",
    [{}, {"pixel_format": "yuv444p"}, {"width": 162, "height": 98}, {"pixel_format": "yuvj420p"}, {"b_frames": 2}],
)
def test_pictures_are_those_that_ffmpeg_decodes(pipeline: CameraPipeline, tmp_path: Path, form: dict[str, Any]) -> None:
    clip = write_clip(tmp_path / "clip.mp4", **form)
    with watching(pipeline, clip) as ours, Watch(clip) as theirs:
        pairs = list(zip(ours.frames(), theirs.frames(), strict=True))
    assert len(pairs) == 30
    for our, their in pairs:
        apart = np.abs(our.pixels.picture(our).astype(int) - their.pixels.picture(their))
        assert (apart.mean() < 1) if "444" in str(form) else apart.max() <= 2  # at edges each scales chroma its own way


def test_planes_are_the_decoders_memory_and_live_as_long_as_their_frame(pipeline: CameraPipeline, clip: Path) -> None:
    with watching(pipeline, clip) as watch:
        frames = watch.frames()
    pipeline.close()
    assert [bar_position(frame.pixels.picture(frame)) for frame in frames] == [number % 16 for number in range(32)]


def test_a_loop_goes_on_in_time(pipeline: CameraPipeline, clip: Path) -> None:
    with watching(pipeline, clip, loop=True) as watch:
        frames = watch.frames(80)
    assert [frame.media_time for frame in frames] == pytest.approx([number / 30 for number in range(80)], abs=1e-4)


def test_what_is_no_video_ends_with_its_cause(pipeline: CameraPipeline, clip: Path, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.mp4"
    nonsense.write_text("this is no video, but a text of some length\n" * 100)
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{clip.as_uri()}\n#EXT-X-ENDLIST\n")
    whole = write_clip(tmp_path / "whole.mkv", frames=90)
    for path, cause in (
        (tmp_path / "gone.mp4", SourceFailure.NO_FILE),
        (nonsense, SourceFailure.UNSUPPORTED),
        (playlist, SourceFailure.UNSUPPORTED),
        (write_sound(tmp_path / "sound.wav"), SourceFailure.NO_VIDEO),
        (cut(whole, 0.5, tmp_path / "cut.mkv"), SourceFailure.CORRUPT),
    ):
        with watching(pipeline, path) as watch:
            watch.frames()
        assert (watch.states[-1].state, watch.states[-1].cause) == (SourceState.ENDED, cause), watch.states[-1]


def test_pictures_above_the_limit_are_refused(pipeline: CameraPipeline, clip: Path) -> None:
    with watching(pipeline, clip, settings=SourceSettings(max_pixels=160 * 96 - 1)) as watch:
        assert watch.frames() == []
    assert watch.states[-1].cause is SourceFailure.TOO_LARGE


def test_a_camera_that_goes_comes_back_with_its_time(pipeline: CameraPipeline, clip: Path) -> None:
    with (
        RtspServer({"/gate": clip}) as server,
        watching(pipeline, server.url("/gate"), settings=QUICK, keep_all=False) as watch,
    ):
        watch.wait_for(SourceState.LIVE)
        before = watch.frames(3)[-1]
        server.shut()
        lost = watch.wait_for(SourceState.RECONNECTING)
        refused = watch.wait_for(SourceState.RECONNECTING, after=watch.states.index(lost) + 1)
        server.listen()
        again = watch.wait_for(SourceState.LIVE, after=watch.states.index(lost))
        after = watch.frames(3)[-1]
    assert refused.cause in (SourceFailure.REFUSED, SourceFailure.CLOSED)
    assert again.reconnects == 1
    assert after.media_time - before.media_time == pytest.approx(after.captured_at - before.captured_at, abs=1.0)


def test_one_camera_that_fails_leaves_the_other_alone(pipeline: CameraPipeline, clip: Path) -> None:
    with (
        RtspServer({"/gate": clip, "/yard": clip}) as server,
        watching(pipeline, server.url("/gate"), settings=IMPATIENT, keep_all=False) as gate,
        watching(pipeline, server.url("/yard"), settings=QUICK, keep_all=False) as yard,
    ):
        gate.wait_for(SourceState.LIVE)
        yard.wait_for(SourceState.LIVE)
        server.fault("/gate", Fault.STALL)
        stalled = gate.wait_for(SourceState.RECONNECTING)
        assert stalled.cause is SourceFailure.READ_TIMEOUT
        yard.frames(20)
        server.heal("/gate")
        gate.wait_for(SourceState.LIVE, after=gate.states.index(stalled))
        gate.frames(3)
        yard.frames(3)
    assert [status.state for status in yard.states] == [SourceState.CONNECTING, SourceState.LIVE, SourceState.STOPPED]


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault.MUTE, SourceFailure.OPEN_TIMEOUT),
        (Fault.REFUSE, SourceFailure.REJECTED),
        (Fault.STALL, SourceFailure.READ_TIMEOUT),
        (Fault.KEYLESS, SourceFailure.CORRUPT),
    ],
)
def test_what_a_camera_does_wrong_has_its_name(
    pipeline: CameraPipeline, clip: Path, fault: Fault, cause: SourceFailure
) -> None:
    with RtspServer({"/gate": clip}) as server:
        server.fault("/gate", fault)
        with watching(pipeline, server.url("/gate"), settings=IMPATIENT, keep_all=False) as watch:
            assert watch.wait_for(SourceState.RECONNECTING).cause is cause, watch.states
            server.heal("/gate")
            watch.wait_for(SourceState.LIVE)


def test_wrong_addresses_have_their_names_and_no_message_holds_a_credential(
    pipeline: CameraPipeline, clip: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level("DEBUG"), RtspServer({"/gate": clip}, user="user", password="right") as server:
        for url, cause in (
            (server.url("/gate", user="user", password="S3cret"), SourceFailure.UNAUTHORISED),
            (server.url("/nowhere", user="user", password="right"), SourceFailure.NOT_FOUND),
            ("rtsp://user:S3cret@127.0.0.1:1/cam", SourceFailure.REFUSED),
            ("rtsp://user:S3cret@nobody.invalid/cam", SourceFailure.UNREACHABLE),
        ):
            with watching(pipeline, url, settings=IMPATIENT, keep_all=False) as watch:
                status = watch.wait_for(SourceState.RECONNECTING)
            assert status.cause is cause, status
            assert "S3cret" not in str(watch.states)
        with watching(pipeline, server.url("/gate", user="user", password="right"), keep_all=False) as watch:
            watch.wait_for(SourceState.LIVE)
    printed = capfd.readouterr()
    assert "S3cret" not in caplog.text + printed.out + printed.err


def test_frames_of_a_camera_are_known_by_when_their_packets_came(pipeline: CameraPipeline, clip: Path) -> None:
    with (
        RtspServer({"/gate": clip}) as server,
        watching(pipeline, server.url("/gate"), keep_all=False) as watch,
    ):
        frames = watch.frames(30)
        assert watch.source.lag < 5
    shifts = [frame.captured_at - frame.media_time for frame in frames]
    assert max(shifts) - min(shifts) < 2


def test_closing_the_pipeline_ends_who_waits_for_frames(pipeline: CameraPipeline, clip: Path) -> None:
    with watching(pipeline, clip, loop=True) as watch:
        watch.wait(lambda: watch.slot.filled)
        watch.source.stop()
        pipeline.close()


def test_an_input_counts_as_live_as_its_stream_is(pipeline: CameraPipeline, clip: Path) -> None:
    with RtspServer({"/gate": clip}) as server:
        for url in (str(clip), server.url("/gate")):
            ours = PipelineInput(pipeline, url, QUICK, taker=Taker())
            theirs = Input(url, QUICK)
            assert (ours.live, ours.codec) == (theirs.live, theirs.codec)
            ours.close()
            theirs.close()


def test_recordings_play_in_real_time(pipeline: CameraPipeline, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=6, fps=20)
    with watching(pipeline, clip, pace=Pace.REAL_TIME) as watch:
        frames = watch.frames()
    elapsed = frames[-1].captured_at - frames[0].captured_at
    assert elapsed > 0.95 * (frames[-1].media_time - frames[0].media_time) > 0.2
