"""What cameras do wrong, done by a real RTSP server on loopback, seen by one `Source`."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from platoon.media.source import SourceFailure, SourceState
from platoon.settings import SourceSettings
from tests.clips import bar_position, write_clip
from tests.rtsp_server import Clip, Fault, RtspServer
from tests.source_watch import PATIENCE_S, Watch

SETTINGS = SourceSettings(open_timeout_s=2, read_timeout_s=1, backoff_min_s=0.05, backoff_max_s=0.4)
PATIENT = SETTINGS.model_copy(update={"open_timeout_s": PATIENCE_S, "read_timeout_s": PATIENCE_S})
"""For cameras that do nothing wrong: a busy machine is no fault."""


def watch(url: str, settings: SourceSettings = SETTINGS) -> Watch:
    return Watch(url, settings=settings, keep_all=False)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return Clip.load(write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=32, keyframe_every=16))


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    path = tmp_path_factory.mktemp("clips") / "larger.mp4"
    return Clip.load(write_clip(path, width=320, height=192, frames=32, keyframe_every=16, b_frames=2))


@pytest.fixture
def server(clip: Clip) -> Iterator[RtspServer]:
    with RtspServer({"/gate": clip, "/yard": clip}) as server:
        yield server


def test_a_camera_gives_its_pictures_in_order_and_over_its_loops(server: RtspServer) -> None:
    with watch(server.url("/gate"), PATIENT) as camera:
        frames = camera.frames(40)
        status = camera.source.status
    for before, after in pairwise(frames):
        step = round((after.media_time - before.media_time) * 30)
        assert bar_position(after.picture()) == (bar_position(before.picture()) + step) % 16
    assert (status.state, status.codec, status.width, status.height) == (SourceState.LIVE, "h264", 160, 96)


def test_sixteen_cameras_play_side_by_side(clip: Clip) -> None:
    paths = [f"/cam{number}" for number in range(16)]
    with RtspServer(dict.fromkeys(paths, clip)) as server, ThreadPoolExecutor(16) as pool:
        cameras = [watch(server.url(path)) for path in paths]

        def take_some(camera: Watch) -> int:
            with camera:
                return len(camera.frames(10))

        assert list(pool.map(take_some, cameras)) == [10] * 16


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault.STALL, SourceFailure.READ_TIMEOUT),
        (Fault.GARBAGE, SourceFailure.READ_TIMEOUT),
        (Fault.DAMAGE, SourceFailure.CORRUPT),
        (Fault.DROP, SourceFailure.CLOSED),
        (Fault.REFUSE, SourceFailure.CLOSED),
    ],
)
def test_a_camera_that_fails_is_named_and_comes_back(server: RtspServer, fault: Fault, cause: SourceFailure) -> None:
    with watch(server.url("/gate")) as camera:
        camera.frames(3)
        known = len(camera.states)
        server.fault("/gate", fault)
        assert camera.wait_for(SourceState.RECONNECTING, after=known).cause is cause
        server.heal("/gate")
        assert camera.wait_for(SourceState.LIVE, after=known).reconnects == 1
        assert camera.frames(3)
    assert camera.count("platoon_camera_failures_total", cause=cause) >= 1


def test_media_time_goes_on_over_a_reconnection(server: RtspServer) -> None:
    with watch(server.url("/gate")) as camera:
        before = camera.frames(3)[-1]
        server.fault("/gate", Fault.DROP)
        camera.wait_for(SourceState.RECONNECTING)
        after = camera.frames(4)[-1]
    passed = after.captured_at - before.captured_at
    assert 0 < after.media_time - before.media_time < passed + 2


def test_the_fault_of_one_camera_is_nothing_to_another(server: RtspServer) -> None:
    with watch(server.url("/gate")) as gate, watch(server.url("/yard"), PATIENT) as yard:
        gate.frames(1)
        yard.frames(1)
        server.fault("/gate", Fault.STALL)
        gate.wait_for(SourceState.RECONNECTING)
        yard.frames(5)
        server.heal("/gate")
    states = [status.state for status in yard.states]
    assert states == [SourceState.CONNECTING, SourceState.LIVE, SourceState.STOPPED]


def test_a_camera_may_be_off_at_the_start_and_go_off_later(clip: Clip) -> None:
    with RtspServer({"/gate": clip}) as server:
        server.shut()
        with watch(server.url("/gate")) as camera:
            assert camera.wait_for(SourceState.RECONNECTING).cause is SourceFailure.REFUSED
            server.listen()
            camera.frames(3)
            known = len(camera.states)
            server.shut()
            camera.wait(lambda: any(s.cause is SourceFailure.REFUSED for s in camera.states[known:]))
            server.listen()
            assert camera.wait_for(SourceState.LIVE, after=known).reconnects == 1


def test_a_camera_that_never_answers_runs_into_the_deadline(server: RtspServer) -> None:
    server.fault("/gate", Fault.MUTE)
    with watch(server.url("/gate"), SETTINGS.model_copy(update={"open_timeout_s": 0.5})) as camera:
        assert camera.wait_for(SourceState.RECONNECTING).cause is SourceFailure.OPEN_TIMEOUT


def test_a_missing_path_and_an_overloaded_camera_are_told_apart(server: RtspServer) -> None:
    server.fault("/yard", Fault.REFUSE)
    with watch(server.url("/none")) as missing, watch(server.url("/yard")) as busy:
        assert missing.wait_for(SourceState.RECONNECTING).cause is SourceFailure.NOT_FOUND
        assert busy.wait_for(SourceState.RECONNECTING).cause is SourceFailure.REJECTED


@pytest.mark.parametrize("digest", [False, True], ids=["basic", "digest"])
def test_passwords_open_and_lock_and_never_show(
    clip: Clip, digest: bool, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with RtspServer({"/gate": clip}, user="guard", password="p@ss/w#rd?", digest=digest) as server:
        with watch(server.url("/gate", user="guard", password="p%40ss%2Fw%23rd%3F")) as camera:
            camera.frames(2)
        with watch(server.url("/gate", user="guard", password="letmein")) as stranger:
            assert stranger.wait_for(SourceState.RECONNECTING).cause is SourceFailure.UNAUTHORISED
        with watch(server.url("/gate")) as nobody:
            assert nobody.wait_for(SourceState.RECONNECTING).cause is SourceFailure.UNAUTHORISED
    printed = capfd.readouterr()
    messages = [status.message for one in (camera, stranger, nobody) for status in one.states]
    everything = "".join([caplog.text, printed.out, printed.err, *messages])
    assert "/gate" in everything
    assert "p%40ss" not in everything
    assert "letmein" not in everything


def test_pictures_begin_with_a_keyframe_where_the_stream_does_not(server: RtspServer) -> None:
    server.fault("/gate", Fault.MID_GOP)
    with watch(server.url("/gate")) as camera:
        first, *others = camera.frames(6)
    assert bar_position(first.picture()) in range(16)
    for frame in (first, *others):
        bars = (frame.picture().astype(int).mean(axis=(0, 2)) > 160).mean()
        assert bars == pytest.approx(1 / 16, abs=0.02), "a picture decoded without its keyframe is smeared"


def test_the_picture_may_change_its_size_and_back_in_one_connection(
    server: RtspServer, clip: Clip, larger: Clip
) -> None:
    with watch(server.url("/gate"), PATIENT) as camera:
        for other, width in ((larger, 320), (clip, 160)):
            server.switch("/gate", other)
            while camera.frames(1)[0].width != width:
                pass
            assert camera.source.status.width == width
    assert camera.source.status.reconnects == 0


def test_stopping_a_stalled_camera_takes_no_longer_than_its_read_deadline(server: RtspServer) -> None:
    with watch(server.url("/gate")) as camera:
        camera.frames(2)
        server.fault("/gate", Fault.STALL)
        camera.source.stop()
        assert camera.source.join(PATIENCE_S)
    assert camera.states[-1].state is SourceState.STOPPED


def test_the_server_runs_by_itself(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    command = [sys.executable, "-m", "tests.rtsp_server", f"/gate={clip}"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with watch(url) as camera:
            camera.frames(2)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
