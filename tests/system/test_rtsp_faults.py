"""What cameras do wrong, done by a real RTSP server on loopback, seen by one `Source`."""

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from platoon.media.sampling import Sampler
from platoon.media.source import SourceFailure, SourceState
from platoon.settings import SourceSettings
from tests.clips import bar_position, whole, write_clip
from tests.rtsp_server import Clip, Fault, Play, RtspServer
from tests.running import wait_until
from tests.source_watch import PATIENCE_S, Watch

SETTINGS = SourceSettings(open_timeout_s=2, read_timeout_s=1, backoff_min_s=0.05, backoff_max_s=0.4, attention="full")
"""Everything is decoded: what these cameras show again and again is what sleeping cameras show."""
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
        assert bar_position(whole(after)) == (bar_position(whole(before)) + step) % 16
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
        (Fault.TYPE, SourceFailure.READ_TIMEOUT),
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


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault.DAMAGE, SourceFailure.CORRUPT),
        (Fault.ENCRYPT, SourceFailure.READ_TIMEOUT),
        (Fault.KEYLESS, SourceFailure.CORRUPT),
        (Fault.TYPE, SourceFailure.READ_TIMEOUT),
        (Fault.CODEC, SourceFailure.READ_TIMEOUT),
    ],
)
def test_a_stream_that_cannot_be_decoded_from_the_start_has_a_cause(
    server: RtspServer, fault: Fault, cause: SourceFailure
) -> None:
    server.fault("/gate", fault)
    with watch(server.url("/gate")) as camera:
        status = camera.wait_for(SourceState.RECONNECTING)
        assert status.cause in (cause, SourceFailure.OPEN_TIMEOUT)  # a busy machine may not even get it open
        server.heal("/gate")
        camera.wait_for(SourceState.LIVE)
        assert camera.frames(3)


class Slow(Sampler):
    """Takes so long over every frame that is decoded, as a slow machine does."""

    def __init__(self, *, seconds: float) -> None:
        super().__init__(fps=None)
        self.seconds = seconds

    def wants(self, media_time: float) -> bool:
        threading.Event().wait(self.seconds)
        return super().wants(media_time)


def test_a_frame_was_captured_when_its_packet_arrived_however_late_it_is_decoded(larger: Clip) -> None:
    plays: list[Play] = []
    with (
        RtspServer({"/gate": larger}, on_play=plays.append) as server,
        Watch(server.url("/gate"), settings=PATIENT, keep_all=False, sampler=Slow(seconds=0.1)) as camera,
    ):
        frames = camera.frames(45)
    (play,) = plays
    late = sorted(frame.captured_at - play.began - frame.media_time for frame in frames)
    assert late[len(late) // 2] < 1  # a third of the speed: decoding drifts by 2 s in 3
    assert late[0] > -0.2


def test_a_decoder_that_is_too_slow_is_seen_and_stays_with_its_camera(clip: Clip) -> None:
    plays: list[Play] = []
    slow = Slow(seconds=0.1)
    with (
        RtspServer({"/gate": clip}, on_play=plays.append) as server,
        Watch(server.url("/gate"), settings=PATIENT, keep_all=False, sampler=slow) as camera,
    ):
        wait_until(lambda: camera.source.status.lag > 0.4, "it is behind")
        assert camera.count("platoon_source_lag_seconds") > 0
        while camera.count("platoon_frames_dropped_total", cause="behind") < 40:
            (frame,) = camera.frames(1)
        behind_s = time.time() - plays[0].began - frame.media_time
        assert behind_s < 2.5  # forty frames of 30 a second that were not skipped take 4 s
        slow.seconds = 0.0
        wait_until(lambda: camera.source.status.lag < 0.1, "it has caught up")
        assert any(state.state is SourceState.LIVE and state.lag >= PATIENT.max_lag_s for state in camera.states)
        assert camera.source.status.reconnects == 0
    assert camera.metrics.registry.get_sample_value("platoon_source_lag_seconds", {"camera": "gate"}) is None


@pytest.mark.parametrize(
    "stamps",
    [lambda _: 90_000, lambda stamp: stamp // 20, lambda stamp: 20 * stamp, lambda stamp: stamp * 7919 % 2**32],
    ids=["stand still", "crawl", "race", "jump"],
)
def test_a_camera_whose_clock_is_wrong_is_not_taken_for_one_that_is_decoded_too_slowly(
    server: RtspServer, stamps: Callable[[int], int]
) -> None:
    server.restamp("/gate", stamps)
    with watch(server.url("/gate"), PATIENT.model_copy(update={"max_lag_s": PATIENCE_S})) as camera:
        frames = camera.frames(30)
        assert frames[-1].captured_at == pytest.approx(time.time(), abs=PATIENCE_S)
        assert frames[-1].captured_at - frames[0].captured_at > 0.5
        wait_until(lambda: camera.source.status.lag < 0.1, "it keeps up")
        assert camera.source.status.reconnects == 0
    assert camera.count("platoon_frames_dropped_total", cause="behind") == 0


def test_a_slow_decoder_without_keyframes_to_go_on_from_opens_the_stream_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platoon.media.backlog.MAX_WAIT_S", 1.0)
    endless = Clip.load(write_clip(tmp_path / "endless.mp4", frames=600, keyframe_every=600))
    slow = Slow(seconds=0.1)
    with (
        RtspServer({"/gate": endless}) as server,
        Watch(server.url("/gate"), settings=PATIENT, keep_all=False, sampler=slow) as camera,
    ):
        assert camera.wait_for(SourceState.RECONNECTING).cause is SourceFailure.BEHIND
        slow.seconds = 0.0
        known = len(camera.states)
        camera.wait_for(SourceState.LIVE, after=known)


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


def test_a_missing_path_and_an_overloaded_camera_are_distinguished(server: RtspServer) -> None:
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
    assert bar_position(whole(first)) in range(16)
    for frame in (first, *others):
        bars = (whole(frame).astype(int).mean(axis=(0, 2)) > 160).mean()
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
    plays = tmp_path / "plays.jsonl"
    command = [sys.executable, "-m", "tests.rtsp_server", f"/gate={clip}", "--plays", str(plays)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with watch(url) as camera:
            camera.frames(2)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    (play,) = plays.read_text().splitlines()
    assert json.loads(play)["path"] == "/gate"
