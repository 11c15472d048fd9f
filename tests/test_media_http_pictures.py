"""Cameras over HTTP that FFmpeg does not recognise by itself: snapshots, streams without a first boundary, HLS."""

import io
import itertools
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from PIL import Image

from platoon.media.attention import Taker
from platoon.media.challenges import unsupported_login
from platoon.media.failures import SourceError, SourceFailure
from platoon.media.http_pictures import Snapshots, open_stream
from platoon.settings import SourceSettings
from tests.clips import bar_position, picture, write_clip
from tests.http_server import answering

SETTINGS = SourceSettings(open_timeout_s=5, read_timeout_s=5)


def jpeg(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(number, 160, 96)).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


class Camera(BaseHTTPRequestHandler):
    asked = itertools.count()
    hls = Path()

    def do_GET(self) -> None:
        with suppress(ConnectionError):
            self._answer()

    def _answer(self) -> None:
        if self.path == "/snapshot.jpg":
            self._whole("image/jpeg", jpeg(next(self.asked)))
        elif self.path == "/unsized.cgi":
            self._head("text/plain")
            self.wfile.write(jpeg(next(self.asked)))
        elif self.path == "/cut.jpg":
            self._whole("image/jpeg", jpeg(3)[:700])
        elif self.path == "/noinit":
            self._head("multipart/x-mixed-replace; boundary=frame")
            for number in range(200):
                part = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n--frame\r\n"
                self.wfile.write(part % (len(jpeg(number)), jpeg(number)))
        elif self.path == "/login.html":
            self._whole("text/html", b"<html>Login</html>" * 200)
        elif self.path.startswith("/hls/"):
            self._whole("application/octet-stream", (self.hls / self.path[5:]).read_bytes())
        elif self.path == "/files.m3u8":
            clip = next(self.hls.glob("*.ts")).as_uri().encode()
            self._whole("application/octet-stream", b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n%b\n" % clip)
        elif self.path == "/sha":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Digest realm="x", nonce="1", algorithm=SHA-256')
            self.end_headers()
        else:
            self.send_error(404)

    def _head(self, kind: str, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _whole(self, kind: str, data: bytes) -> None:
        self._head(kind, len(data))
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    Camera.hls = tmp_path_factory.mktemp("hls")
    with answering(Camera) as address:
        yield address


def fails(url: str) -> SourceError:
    with pytest.raises(SourceError) as caught, closing(open_stream(url, SETTINGS)) as source:
        next(source.pictures())
    return caught.value


@pytest.mark.parametrize("path", ["/snapshot.jpg", "/unsized.cgi"])
def test_a_snapshot_is_asked_for_again_and_again(camera: str, path: str) -> None:
    taker = Taker(rate=50)
    with closing(open_stream(camera + path, SETTINGS, taker=taker)) as source:
        assert isinstance(source, Snapshots)
        assert (source.live, source.fps) == (True, 5)
        shown, times = zip(*itertools.islice(source.pictures(), 3), strict=True)
    places = [bar_position(one.to_ndarray(format="rgb24")) for one in shown]
    assert places == [(places[0] + step) % 16 for step in range(3)]
    assert times[2] - times[0] == pytest.approx(0.4, abs=0.39)


def test_a_snapshot_that_is_damaged_or_gone_is_a_failure_that_is_no_end(camera: str) -> None:
    for path, failure in (("/cut.jpg", SourceFailure.CORRUPT), ("/nothing.jpg", SourceFailure.NOT_FOUND)):
        error = fails(camera + path)
        assert not error.final
        assert error.failure in (failure, SourceFailure.UNSUPPORTED)


def test_pictures_without_a_first_boundary_are_a_stream(camera: str) -> None:
    with closing(open_stream(camera + "/noinit", SETTINGS)) as source:
        assert source.live
        places = [bar_position(one.to_ndarray(format="rgb24")) for one, _ in itertools.islice(source.pictures(), 12)]
    assert places == [(places[0] + step) % 16 for step in range(12)]


def test_a_page_is_neither(camera: str) -> None:
    error = fails(camera + "/login.html")
    assert (error.failure, error.final) == (SourceFailure.UNSUPPORTED, False)


def segments(folder: Path, *, ends: bool) -> None:
    write_clip(folder / "index.m3u8", frames=60, fps=20, keyframe_every=20, container_options={"hls_time": "1"})
    index = folder / "index.m3u8"
    if not ends:
        index.write_text(index.read_text().replace("#EXT-X-ENDLIST\n", ""))


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_a_playlist_over_http_is_read(camera: str, scheme: str) -> None:
    segments(Camera.hls, ends=True)
    with closing(open_stream(camera.replace("http", scheme, 1) + "/hls/index.m3u8", SETTINGS)) as source:
        assert not source.live
        assert sum(1 for _ in source.pictures()) == 60


def test_a_live_playlist_comes_at_its_own_pace(camera: str) -> None:
    segments(Camera.hls, ends=False)
    with closing(open_stream(camera + "/hls/index.m3u8", SETTINGS)) as source:
        assert source.live
        came = [one.opaque.at for one, _ in itertools.islice(source.pictures(), 30)]
    assert came[-1] - came[0] > 0.9, "30 pictures of 20 a second that were there at once"


def test_a_playlist_does_not_lead_to_files(camera: str) -> None:
    segments(Camera.hls, ends=True)
    assert fails(camera + "/files.m3u8").failure is not None


class Unwilling(socketserver.StreamRequestHandler):
    challenges: tuple[str, ...] = ()

    def handle(self) -> None:
        while line := self.rfile.readline():
            number = b"1"
            while line.strip():
                if line.lower().startswith(b"cseq:"):
                    number = line[5:].strip()
                line = self.rfile.readline()
            said = "".join(f"WWW-Authenticate: {one}\r\n" for one in self.challenges)
            self.wfile.write(b"RTSP/1.0 401 Unauthorized\r\nCSeq: %b\r\n%b\r\n" % (number, said.encode()))


@pytest.fixture
def unwilling(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """An RTSP camera that lets nobody in, and asks for logins of these kinds."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Unwilling) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()

        def asks(*challenges: str) -> str:
            monkeypatch.setattr(Unwilling, "challenges", challenges)
            return f"rtsp://admin:S3cret@127.0.0.1:{server.server_address[1]}/cam"

        yield asks
        server.shutdown()
        thread.join()


SHA = 'Digest realm="cameras", nonce="abcdef", algorithm="SHA-256", stale="FALSE"'
MD5 = 'Digest realm="cameras", nonce="abcdef"'


@pytest.mark.parametrize(
    ("challenges", "reason"),
    [
        ((SHA,), "SHA-256 Digest, which is not supported"),
        ((SHA.replace("SHA-256", "SHA-512-256"),), "SHA-512-256 Digest"),
        (("Negotiate abc",), "Negotiate, which is not supported"),
        ((MD5,), "not accepted"),
        ((SHA, MD5), "not accepted"),
        (("Basic realm=x",), "not accepted"),
        ((), "not accepted"),
    ],
)
def test_a_login_of_an_unknown_kind_is_named(
    unwilling: Callable[..., str], challenges: tuple[str, ...], reason: str
) -> None:
    error = fails(unwilling(*challenges))
    assert error.failure is SourceFailure.UNAUTHORISED
    assert reason in str(error)
    assert "S3cret" not in str(error)


def test_so_it_is_over_http(camera: str) -> None:
    assert "SHA-256" in str(fails(camera.replace("http://", "http://admin:S3cret@") + "/sha"))


@pytest.mark.parametrize("url", ["rtsp://127.0.0.1:1/x", "rtsp://[::1/x", "rtsp://:99999/", "ftp://h/x", "x", ""])
def test_who_cannot_be_asked_wants_nothing(url: str) -> None:
    assert unsupported_login(url) is None
