import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import pytest

from platoon.media.failures import SourceError, SourceFailure
from platoon.media.input import Input
from platoon.settings import SourceSettings
from tests.clips import bar_position, cut, picture, write_clip, write_sound
from tests.rtsp_server import Clip

SETTINGS = SourceSettings(open_timeout_s=5, read_timeout_s=5)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    return write_clip(folder / "clip.mp4", frames=60, container_options={"movflags": "faststart"})


def failure_of(url: str | Path, settings: SourceSettings = SETTINGS) -> SourceError:
    """What opening and playing `url` to its end raises."""
    with pytest.raises(SourceError) as caught, closing(Input(str(url), settings)) as source:
        for _ in source.pictures():
            pass
    return caught.value


def positions(url: str | Path) -> list[int]:
    with closing(Input(str(url), SETTINGS)) as source:
        return [bar_position(one.to_ndarray(format="rgb24")) for one, _ in source.pictures()]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi", ".mov"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_every_picture_of_a_clip_comes_in_order(tmp_path: Path, suffix: str, b_frames: int) -> None:
    clip = write_clip(tmp_path / f"clip{suffix}", frames=32, b_frames=b_frames)
    assert positions(clip) == [number % 16 for number in range(32)]


def test_a_clip_says_what_it_is(clip: Path) -> None:
    with closing(Input(str(clip), SETTINGS)) as source:
        assert (source.live, source.codec, source.fps) == (False, "h264", 30)


def test_time_stamps_are_seconds(clip: Path) -> None:
    with closing(Input(str(clip), SETTINGS)) as source:
        stamps = [stamp for _, stamp in source.pictures()]
    assert stamps == pytest.approx([number / 30 for number in range(60)])


def test_a_file_url_with_escapes_is_that_file(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "gate 1 #2.mp4", frames=3)
    assert len(positions(clip.as_uri())) == 3
    assert len(positions(clip)) == 3


def test_pictures_before_the_first_keyframe_are_left_out(tmp_path: Path) -> None:
    coded = Clip.load(write_clip(tmp_path / "clip.mp4", frames=30, keyframe_every=10))
    parameters = b"".join(b"\0\0\0\1" + nal for nal in (coded.sps, coded.pps))
    headless = tmp_path / "headless.h264"
    headless.write_bytes(parameters + b"".join(b"\0\0\0\1" + nal for unit in coded.units[4:] for nal in unit.nals))
    assert positions(headless) == [number % 16 for number in range(10, 30)]


@pytest.mark.parametrize(
    ("make", "failure", "words"),
    [
        (lambda path: None, SourceFailure.NO_FILE, "no such file"),
        (lambda path: path.mkdir(), SourceFailure.NO_FILE, "a folder"),
        (os.mkfifo, SourceFailure.NO_FILE, "not a regular file"),
        (lambda path: path.touch(), SourceFailure.CORRUPT, "empty"),
        (lambda path: path.write_text("camera 1\n" * 99), SourceFailure.UNSUPPORTED, "not a video"),
        (lambda path: path.write_bytes(random.Random(1).randbytes(99_999)), SourceFailure.UNSUPPORTED, "not a"),
        (write_sound, SourceFailure.NO_VIDEO, "no video"),
    ],
    ids=["missing", "folder", "pipe", "empty", "text", "noise", "sound"],
)
@pytest.mark.parametrize("suffix", [".wav", ".txt"])
def test_what_is_no_clip_is_named(
    tmp_path: Path, suffix: str, make: Callable[[Path], object], failure: SourceFailure, words: str
) -> None:
    path = tmp_path / f"thing{suffix}"
    if make is write_sound and suffix != ".wav":
        path = path.with_suffix(".mkv")
    make(path)
    error = failure_of(path)
    assert error.failure is failure
    assert words in str(error)
    assert str(path) in str(error)
    assert error.final


def test_a_playlist_does_not_lead_to_other_files(tmp_path: Path, clip: Path) -> None:
    playlist = tmp_path / "list.ffconcat"
    playlist.write_text(f"ffconcat version 1.0\nfile '{clip}'\n")
    assert failure_of(playlist).failure is SourceFailure.UNSUPPORTED


@pytest.mark.parametrize("url", ["concat:a.mp4|b.mp4", "pipe:0", "lavfi:testsrc", "data:video/mp4;base64,AAAA"])
def test_ffmpegs_own_schemes_are_names_of_files(url: str) -> None:
    assert failure_of(url).failure is SourceFailure.NO_FILE


def test_an_unknown_scheme_is_refused_with_what_fits() -> None:
    error = failure_of("gopher://user:secret@host/cam")
    assert error.failure is SourceFailure.UNSUPPORTED
    assert "rtsp" in str(error)
    assert "secret" not in str(error)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_cut_off_clip_gives_what_it_has_and_says_so(tmp_path: Path, suffix: str) -> None:
    whole = write_clip(
        tmp_path / f"whole{suffix}",
        frames=60,
        container_options={"movflags": "faststart"} if suffix == ".mp4" else None,
    )
    source = Input(str(cut(whole, 0.5, tmp_path / f"cut{suffix}")), SETTINGS)
    count = 0
    with closing(source), pytest.raises(SourceError, match=r"cut off|damaged") as caught:
        for _ in source.pictures():
            count += 1
    assert caught.value.failure is SourceFailure.CORRUPT
    assert 5 <= count < 60


def test_a_clip_without_its_index_cannot_be_read(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4")  # the index of an MP4 stands at its end
    assert failure_of(cut(whole, 0.9, tmp_path / "cut.mp4")).failure is SourceFailure.UNSUPPORTED


@pytest.mark.parametrize("seed", range(12))
def test_noise_in_a_clip_never_does_worse_than_a_named_failure(tmp_path: Path, clip: Path, seed: int) -> None:
    noise = random.Random(seed)
    data = bytearray(clip.read_bytes())
    for _ in range(20):
        at = noise.randrange(len(data) - 32)
        data[at : at + 32] = noise.randbytes(32)
    (tmp_path / "noisy.mp4").write_bytes(data)
    with suppress(SourceError), closing(Input(str(tmp_path / "noisy.mp4"), SETTINGS)) as source:
        for one, _ in source.pictures():
            assert one.width > 0


def test_pictures_over_the_limit_are_refused_before_they_are_decoded(clip: Path) -> None:
    error = failure_of(clip, SourceSettings(max_pixels=160 * 96 - 1))
    assert error.failure is SourceFailure.TOO_LARGE
    assert "160x96" in str(error)


def test_pictures_that_grow_over_the_limit_are_refused(tmp_path: Path) -> None:
    small = Clip.load(write_clip(tmp_path / "small.mp4"))
    large = Clip.load(write_clip(tmp_path / "large.mp4", width=320, height=192))
    growing = tmp_path / "growing.h264"
    growing.write_bytes(
        b"".join(b"\0\0\0\1" + nal for one in (small, large) for unit in one.units for nal in unit.nals)
    )
    error = failure_of(growing, SourceSettings(max_pixels=160 * 96))
    assert error.failure is SourceFailure.TOO_LARGE
    assert "320x192" in str(error)


class _Handler(BaseHTTPRequestHandler):
    """`/mjpeg` and `/live.ts` go on and stop; `/clip.mp4` has a length; `/mute` never answers."""

    clip: Path
    stream: Path
    released: threading.Event

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        with suppress(ConnectionError):
            match self.path:
                case "/clip.mp4":
                    self._start("video/mp4", len(self.clip.read_bytes()))
                    self.wfile.write(self.clip.read_bytes())
                case "/live.ts":
                    self._start("video/mp2t")
                    self.wfile.write(self.stream.read_bytes())
                case "/mjpeg":
                    self._start("multipart/x-mixed-replace; boundary=picture")
                    for number in range(10):
                        jpeg = cv2.imencode(".jpg", picture(number, 160, 96)[:, :, ::-1])[1].tobytes()
                        head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                        self.wfile.write(head.encode() + jpeg + b"\r\n")
                case "/text":
                    self._start("text/plain", 5000)
                    self.wfile.write(b"hello" * 1000)
                case "/mute":
                    self.released.wait(60)
                case "/stall":
                    self._start("video/mp2t")
                    data = self.stream.read_bytes()
                    self.wfile.write(data[: len(data) * 3 // 4])
                    self.released.wait(60)
                case "/locked":
                    self.send_error(401)
                case "/broken":
                    self.send_error(503)
                case _:
                    self.send_error(404)

    def _start(self, kind: str, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()


@pytest.fixture
def http(tmp_path: Path, clip: Path) -> Iterator[str]:
    released = threading.Event()
    stream = write_clip(tmp_path / "stream.ts", frames=60)
    handler = type("Handler", (_Handler,), {"clip": clip, "stream": stream, "released": released})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://user:secret@127.0.0.1:{server.server_address[1]}"
    released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "failure"),
    [
        ("/none", SourceFailure.NOT_FOUND),
        ("/locked", SourceFailure.UNAUTHORISED),
        ("/broken", SourceFailure.REJECTED),
        ("/text", SourceFailure.UNSUPPORTED),
        ("/mute", SourceFailure.OPEN_TIMEOUT),
        ("/stall", SourceFailure.READ_TIMEOUT),
        ("/live.ts", SourceFailure.CLOSED),
        ("/mjpeg", SourceFailure.CLOSED),
    ],
)
def test_failures_over_http_are_named_and_not_final(http: str, path: str, failure: SourceFailure) -> None:
    error = failure_of(http + path, SourceSettings(open_timeout_s=1, read_timeout_s=1))
    assert error.failure is failure
    assert not error.final
    assert "secret" not in str(error)


def test_a_stream_of_jpegs_is_live_and_timed_by_its_arrival(http: str) -> None:
    stamps, seen = [], []
    with closing(Input(http + "/mjpeg", SETTINGS)) as source, suppress(SourceError):
        assert (source.live, source.codec) == (True, "mjpeg")
        before = time.monotonic()
        for one, stamp in source.pictures():
            stamps.append(stamp)
            seen.append(bar_position(one.to_ndarray(format="rgb24")))
    after = time.monotonic()
    assert seen == list(range(10))
    assert all(stamp is not None and before <= stamp <= after for stamp in stamps)


def test_a_clip_over_http_is_a_recording_that_ends(http: str) -> None:
    with closing(Input(http + "/clip.mp4", SETTINGS)) as source:
        assert not source.live
        assert len(list(source.pictures())) == 60


def test_a_port_where_nobody_listens_refuses() -> None:
    error = failure_of("rtsp://user:secret@127.0.0.1:1/cam")
    assert error.failure is SourceFailure.REFUSED
    assert "secret" not in str(error)
    assert not error.final


def test_a_host_without_an_address_is_unreachable() -> None:
    assert failure_of("rtsp://no-such-host.invalid/cam").failure is SourceFailure.UNREACHABLE


def test_a_picture_that_stands_for_long_at_the_end_is_no_cut(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=10, fps=10)
    slow = tmp_path / "slow.mp4"
    with av.open(str(clip)) as source, av.open(str(slow), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                if packet.pts == 9 * packet.duration:
                    packet.duration *= 50
                packet.stream = stream
                target.mux(packet)
    assert len(positions(slow)) == 10


def test_a_clip_without_a_keyframe_is_damaged(tmp_path: Path) -> None:
    coded = Clip.load(write_clip(tmp_path / "clip.mp4", frames=10, keyframe_every=10))
    headless = tmp_path / "headless.h264"
    headless.write_bytes(b"".join(b"\0\0\0\1" + nal for unit in coded.units[1:] for nal in unit.nals))
    error = failure_of(headless)
    assert error.failure in (SourceFailure.CORRUPT, SourceFailure.UNSUPPORTED)


@pytest.mark.parametrize("url", ["rtsp://[::1/cam", "rtsp://", "http://:99999/", "rtsp://host:port/", "", "\0"])
def test_an_address_that_makes_no_sense_is_a_named_failure(url: str) -> None:
    assert isinstance(failure_of(url, SourceSettings(open_timeout_s=1)).failure, SourceFailure)


def test_damage_is_counted(tmp_path: Path, clip: Path) -> None:
    data = bytearray(clip.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    (tmp_path / "damaged.mp4").write_bytes(data)
    source = Input(str(tmp_path / "damaged.mp4"), SETTINGS)
    pictures = 0
    with closing(source), pytest.raises(SourceError, match="damaged"):
        for _ in source.pictures():
            pictures += 1
    assert source.damaged > 0
    assert pictures > 30
