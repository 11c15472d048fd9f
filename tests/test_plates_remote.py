"""The remote reader against a service that runs, and against servers that fail in all the ways they can."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from platoon.media.frame import Pixels
from platoon.metrics import Metrics
from platoon.ocr.recognition import Candidate, TextLine
from platoon.plates.engine import PlateEngine
from platoon.plates.remote import BACKOFF_S, NotRead, RemoteReader
from platoon.settings import EngineSettings, PlateSettings, RemoteSettings, Settings, StoreSettings
from platoon.streams.pipeline import SharedSite
from platoon.streams.registry import CameraSpec
from tests.http_server import answering
from tests.serving import metric, serving
from tests.traffic import SIZE, write_traffic


def crop(text: str) -> Pixels:
    (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.3, 3)
    drawn = np.full((height + baseline + 8, width + 16, 3), 235, np.uint8)
    cv2.putText(drawn, text, (8, height + 6), cv2.FONT_HERSHEY_SIMPLEX, 1.3, (20, 20, 20), 3)
    return drawn


CROPS = [crop(text) for text in ("KA7351", "LS15EBC", "B2468XY")]
BLANK = np.full((40, 160, 3), 128, np.uint8)


class Bench:
    """A remote reader with a clock of its own."""

    def __init__(self, url: str, engine: PlateEngine, **settings: Any) -> None:
        self.now = 100.0
        self.metrics = Metrics()
        self.reader = RemoteReader(
            RemoteSettings(url=url, **{"timeout_s": 60.0, **settings}), engine, self.metrics, clock=lambda: self.now
        )

    def read(self, *crops: Pixels) -> list[TextLine]:
        return [reply.result(60) for reply in self.reader.read_plate_lines(crops)]

    def counted(self, what: str = "fallbacks") -> dict[str, float]:
        counter = {"fallbacks": self.metrics.remote_fallbacks, "held": self.metrics.remote_held}[what]
        samples = [sample for family in counter.collect() for sample in family.samples]
        return {sample.labels["cause"]: sample.value for sample in samples if sample.name.endswith("_total")}

    @property
    def read_there(self) -> float | None:
        return self.metrics.registry.get_sample_value("platoon_remote_reads_total")


@pytest.fixture
def make(text_engine: PlateEngine) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(url: str, **settings: Any) -> Bench:
        benches.append(Bench(url, text_engine, **settings))
        return benches[-1]

    yield make
    for bench in benches:
        bench.reader.close()


def local(engine: PlateEngine, *crops: Pixels) -> list[TextLine]:
    return [reply.result(60) for reply in engine.read_plate_lines(crops)]


def same(ours: list[TextLine], theirs: list[TextLine]) -> bool:
    """To the last bit, but for the places of characters, which no vote asks for."""
    parts = [[(line.text, line.confidence, line.weakest, line.characters) for line in some] for some in (ours, theirs)]
    return parts[0] == parts[1]


def test_a_running_service_reads_what_the_engine_reads_in_one_call(
    make: Callable[..., Bench], text_engine: PlateEngine
) -> None:
    crops = [*CROPS, BLANK]
    with serving(text_engine) as client:
        bench = make(str(client.base_url))
        assert same(bench.read(*crops), local(text_engine, *crops))
        assert metric(client, 'platoon_requests_total{contract="fleet-batch",status="200"}') == 1
    assert bench.read_there == len(crops)
    assert not bench.counted()


@pytest.mark.parametrize("path", ["", "/", "/ocr", "/ocr/batch"])
def test_the_address_may_name_the_call(make: Callable[..., Bench], text_engine: PlateEngine, path: str) -> None:
    with serving(text_engine) as client:
        bench = make(str(client.base_url).rstrip("/") + path)
        bench.read(CROPS[0])
    assert bench.read_there == 1


def test_no_crops_are_no_call(make: Callable[..., Bench]) -> None:
    assert make("http://127.0.0.1:9").read() == []


def test_the_key_travels_with_the_call(make: Callable[..., Bench], text_engine: PlateEngine) -> None:
    digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # of "secret"
    with serving(text_engine, keys=[{"name": "gate", "sha256": digest}]) as client:
        with_key, without = make(str(client.base_url), api_key="secret"), make(str(client.base_url))
        with_key.read(CROPS[0])
        without.read(CROPS[0])
    assert with_key.read_there == 1
    assert without.counted() == {"refused": 1}


class Script(ThreadingHTTPServer):
    """A server that answers each call as it was told to, and notes them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, Any, dict[str, str]]] = []
        self.connections = 0
        self.calls = 0
        self.go_on = threading.Event()
        """Until it is set, calls without an answer wait."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Script

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls += 1
        if not self.server.answers:
            self.server.go_on.wait(60)
            self.close_connection = True
            return
        status, body, headers = self.server.answers.pop(0)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002  its name there


@contextmanager
def scripted(*answers: Any) -> Iterator[Script]:
    """A server with these answers: a body, or (status, body), or (status, body, headers)."""
    server = Script()
    for answer in answers:
        status, body, *headers = answer if isinstance(answer, tuple) else (200, answer)
        server.answers.append((status, body, headers[0] if headers else {}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


def said(*characters: str) -> dict[str, Any]:
    """An answer in which each character has this one candidate, or these."""
    positions = [[[each, 0.9 - n / 10] for n, each in enumerate(candidates)] for candidates in characters]
    return {"lines": [{"text": "".join(c[0] for c in characters), "confidence": 0.9, "characters": positions}]}


def test_what_it_says_of_each_character_goes_into_the_vote(make: Callable[..., Bench]) -> None:
    with scripted([said("O0", "I")]) as server:
        (line,) = make(server.url).read(CROPS[0])
    assert line.text == "OI"
    assert line.characters == ((Candidate("O", 0.9), Candidate("0", 0.8)), (Candidate("I", 0.9),))


def test_stacked_lines_are_one_reading(make: Callable[..., Bench]) -> None:
    with scripted([{"lines": [*said("A", "B")["lines"], *said("1")["lines"]]}]) as server:
        (line,) = make(server.url).read(CROPS[0])
    assert (line.text, line.weakest) == ("AB1", 0.9)


def test_a_server_that_gives_no_characters_is_believed_as_far_as_it_is_sure(make: Callable[..., Bench]) -> None:
    with scripted([{"lines": [{"text": "ka-7 1", "confidence": 0.75}]}]) as server:
        (line,) = make(server.url).read(CROPS[0])
    assert (line.text, line.confidence) == ("KA71", 0.75)


def test_connections_are_used_again(make: Callable[..., Bench]) -> None:
    with scripted(*[[said("A")]] * 3) as server:
        bench = make(server.url)
        for _ in range(3):
            bench.read(CROPS[0])
        assert (server.calls, server.connections) == (3, 1)


def test_an_error_in_the_middle_is_read_here_and_nothing_else(
    make: Callable[..., Bench], text_engine: PlateEngine
) -> None:
    with scripted([said("A"), {"error": "cannot read", "code": "InvalidInput"}, said("C")]) as server:
        bench = make(server.url)
        lines = bench.read(*CROPS)
        assert [line.text for line in lines] == ["A", local(text_engine, CROPS[1])[0].text, "C"]
        assert (bench.counted(), bench.read_there) == ({"item": 1}, 2)
        server.answers.append((200, [said("D")], {}))
        assert bench.read(CROPS[0])[0].text == "D", "it is asked again at once"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ([said("A")], "malformed"),
        ([said("A")] * 4, "malformed"),
        (b"<html>", "malformed"),
        ({"lines": []}, "malformed"),
        ([{"lines": [{"text": "A", "confidence": 7}]}] * 3, "malformed"),
        (b'[{"lines": [{"text": "A", "confidence": NaN}]}]', "malformed"),
        ([{"lines": [{"text": "A", "confidence": 0.5, "characters": [[]]}]}] * 3, "malformed"),
        ([{"lines": [{"text": "A", "confidence": 0.5, "characters": [[["AB", 0.5]]]}]}] * 3, "malformed"),
        ([{"lines": [{"text": "A", "confidence": 0.5, "characters": [[["", 0.5]]]}]}] * 3, "malformed"),
        ([{"lines": [{"text": "A" * 1000, "confidence": 0.5}]}] * 3, "malformed"),
        (b"[" * 1_000_000, "malformed"),
        ((500, "broken"), "failed"),
        ((413, "too large"), "refused"),
        ((401, "who are you"), "refused"),
        ((429, "later"), "overloaded"),
        ((503, "warming up"), "overloaded"),
    ],
)
def test_what_a_server_does_not_read_is_read_here_and_counted(
    make: Callable[..., Bench], text_engine: PlateEngine, answer: Any, cause: str
) -> None:
    with scripted(answer) as server:
        bench = make(server.url)
        assert same(bench.read(*CROPS), local(text_engine, *CROPS))
    assert (bench.counted(), bench.read_there) == ({cause: 3}, 0)


def test_a_late_answer_is_not_waited_for(make: Callable[..., Bench], text_engine: PlateEngine) -> None:
    with scripted() as server:
        bench = make(server.url, timeout_s=0.2)
        assert same(bench.read(*CROPS), local(text_engine, *CROPS))
        assert bench.counted() == {"timeout": 3}


def test_an_answer_without_end_is_neither_kept_nor_waited_for(make: Callable[..., Bench]) -> None:
    class Drips(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(b" " * 65_536)

        def log_message(self, *_: object) -> None: ...

    with answering(Drips) as url:
        bench = make(url)
        bench.read(BLANK)
    assert bench.counted() == {"malformed": 1}


def test_a_call_that_fails_in_a_way_nobody_thought_of_is_read_here(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> Any:
        raise RuntimeError("the client is closed")

    bench = make("http://127.0.0.1:9")
    monkeypatch.setattr(bench.reader, "_call", fails)
    bench.read(BLANK)
    bench.read(BLANK)
    assert bench.counted() == {"unreachable": 1, "waiting": 1}


def test_connections_that_do_not_even_time_out_are_not_waited_for(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    async def blocks(*_: object) -> Any:
        go_on.wait(60)

    monkeypatch.setattr("platoon.plates.remote.GRACE_S", 0.05)
    bench = make("http://127.0.0.1:9", timeout_s=0.05)
    monkeypatch.setattr(bench.reader, "_call", blocks)
    bench.read(BLANK)
    assert bench.counted() == {"timeout": 1}
    go_on.set()


def test_a_server_that_is_not_there_is_asked_ever_more_rarely(make: Callable[..., Bench]) -> None:
    with scripted() as gone:
        url = gone.url
    bench = make(url)
    bench.read(CROPS[0])
    assert bench.counted() == {"unreachable": 1}
    asked = []
    for step in range(300):
        bench.now = 100 + step / 2.5
        before = bench.counted()["unreachable"]
        bench.read(BLANK)
        if bench.counted()["unreachable"] > before:
            asked.append(bench.now)
    waits = np.diff([100.0, *asked])
    shortest, longest = BACKOFF_S
    assert 0.75 * shortest <= waits[0] <= 1.25 * shortest + 0.4
    assert waits.max() <= 1.25 * longest + 0.4
    assert 5 <= len(asked) <= 9
    assert bench.counted()["waiting"] == 300 - len(asked)


def test_a_server_that_asks_for_patience_gets_it_and_is_believed_again(make: Callable[..., Bench]) -> None:
    with scripted((429, "later", {"Retry-After": "20"}), [said("A")], (500, ""), [said("B")]) as server:
        bench = make(server.url)
        bench.read(BLANK)
        bench.now += 14
        bench.read(BLANK)
        assert server.calls == 1
        bench.now += 12
        assert bench.read(BLANK)[0].text == "A"
        bench.read(BLANK)
        bench.now += 1.25 * BACKOFF_S[0] + 0.1
        assert bench.read(BLANK)[0].text == "B", "after a success the waits begin small again"


def test_held_crops_stay_unread_and_it_says_so(make: Callable[..., Bench]) -> None:
    with scripted([said("A"), {"error": "no"}], (500, ""), [said("B")]) as server:
        bench = make(server.url, on_failure="hold")
        first, second = bench.reader.read_plate_lines(CROPS[:2])
        assert first.result(0).text == "A"
        with pytest.raises(NotRead, match="item"):
            second.result(0)
        assert bench.reader.not_ready() == []
        (third,) = bench.reader.read_plate_lines(CROPS[:1])
        with pytest.raises(NotRead, match="failed"):
            third.result(0)
        assert bench.reader.not_ready() == ["remote reader: failed: HTTP 500"]
        bench.now += 10
        assert bench.read(CROPS[0])[0].text == "B"
        assert bench.reader.not_ready() == []
    assert bench.counted("held") == {"item": 1, "failed": 1}


class Run:
    """The events of a clip, read to its end."""

    def __init__(self, clip: Path, folder: Path, cache: Path, remote: RemoteSettings) -> None:
        width, height = SIZE
        settings = Settings(
            engine=EngineSettings(runtime="openvino", max_batch=4),
            plates=PlateSettings(input_width=width, input_height=height),
            store=StoreSettings(path=folder),
            cache=cache,
            remote=remote,
        )
        emitted: list[Any] = []
        site = SharedSite(settings, recorded=True, on_event=emitted.append)
        try:
            site.change([CameraSpec("gate", "Gate", str(clip), 0)])
            site.start()
            assert site.wait(120)
            self.metrics = site.metrics.exposition().decode()
        finally:
            site.stop()
        self.events = [{name: value for name, value in event.items() if name in _COMPARED} for event in emitted]


_COMPARED = {"state", "camera", "text", "raw", "confidence", "box", "reads", "agreement", "candidates"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_traffic(tmp_path_factory.mktemp("traffic") / "two.mp4", ["KX52 NHA", "YB19 TFE"])


@pytest.fixture(scope="module")
def here(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(clip, tmp_path_factory.mktemp("here"), tmp_path_factory.getbasetemp() / "cache", RemoteSettings())


def test_a_clip_gives_the_same_events_when_another_platoon_reads(
    clip: Path, here: Run, text_engine: PlateEngine, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert [event["text"] for event in here.events] == ["KX52NHA", "YB19TFE"]
    with serving(text_engine) as client:
        remote = RemoteSettings(url=str(client.base_url), timeout_s=60)
        there = Run(clip, tmp_path, tmp_path_factory.getbasetemp() / "cache", remote)
    assert there.events == here.events
    assert "platoon_remote_reads_total 0.0" not in there.metrics
    assert "platoon_remote_fallbacks_total{" not in there.metrics


def test_a_clip_gives_the_same_events_when_the_other_is_away_and_none_when_held(
    clip: Path, here: Run, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.getbasetemp() / "cache"
    with scripted() as gone:
        url = gone.url
    away = Run(clip, tmp_path / "away", cache, RemoteSettings(url=url))
    assert away.events == here.events
    assert 'platoon_remote_fallbacks_total{cause="unreachable"}' in away.metrics
    held = Run(clip, tmp_path / "held", cache, RemoteSettings(url=url, on_failure="hold"))
    assert held.events == []
    assert 'platoon_reads_rejected_total{camera="gate",gate="unread"}' in held.metrics
