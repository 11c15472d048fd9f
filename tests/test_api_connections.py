"""Attacks on connections, by real sockets: bounded in number and time."""

import json
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from platoon.api.protocols import WebSocketConnection
from platoon.api.serve import HttpServer
from platoon.metrics import Metrics
from platoon.ocr.service import OcrService
from platoon.settings import ApiSettings, ServiceSettings, Settings
from tests.fake_site import FakeSite, camera, event
from tests.running import free_ports

PATIENCE_S = 30
KB = 1024


class Place:
    """A site that is served, and sockets to its ports."""

    def __init__(self, http_server: HttpServer, site: FakeSite, own_port: int) -> None:
        self.http_server, self.site, self.own_port = http_server, site, own_port
        self.port = httpx.URL(http_server.address).port or 80

    def open(self, port: int = 0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port or self.port), timeout=PATIENCE_S)

    def get(self, path: str = "/health") -> httpx.Response:
        return httpx.get(f"{self.http_server.address}{path}", timeout=PATIENCE_S, trust_env=False)

    def refused(self, cause: str) -> float:
        return self.site.metrics.registry.get_sample_value("platoon_connections_refused_total", {"cause": cause}) or 0.0

    def open_connections(self) -> float:
        return self.site.metrics.registry.get_sample_value("platoon_connections") or 0.0


@contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[Place]:
    (own,) = free_ports(1)
    site = FakeSite(folder, camera("gate", port=own))
    with HttpServer(site, Settings(api=ApiSettings(port=0, **settings))) as http_server:
        yield Place(http_server, site, own)
        site.reads_may_end.set()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with serving(tmp_path) as place:
        yield place


def until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def sent(wire: socket.socket, data: bytes, *, most: int = 64 << 20) -> int:
    """Send the data again and again, until the other side has had enough; how many bytes that took."""
    n_sent = 0
    with suppress(OSError):
        while n_sent < most:
            wire.settimeout(5)
            n_sent += wire.send(data)
            wire.setblocking(False)
            with suppress(BlockingIOError):
                if wire.recv(1, socket.MSG_PEEK):
                    break
    return n_sent


def answer(wire: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    wire.settimeout(PATIENCE_S)
    found = b""
    with suppress(ConnectionResetError):
        while chunk := wire.recv(65_536):
            found += chunk
    return found


def status(wire: socket.socket) -> int:
    """Of the answer; 0 where there is none."""
    words = answer(wire).split(None, 2)
    return int(words[1]) if len(words) > 1 else 0


START = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"POST /manual-ocr HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
HEADS = {
    "one long field": (START + b"X-Long: ", b"x" * 4096, 431),
    "many small fields": (START, b"a: b\r\n" * 700, 431),
    "a long line": (b"GET /", b"x" * 4096, 414),
    "a long field's name": (START, b"x" * 4096, 431),
    "empty lines": (b"\r\n", b"\r\n" * 2048, 431),
    "a WebSocket's head": (UPGRADE + b"X-Long: ", b"x" * 4096, 431),
    "a chunk's extension": (CHUNKED + b"1;", b"x" * 4096, 431),
    "trailers": (CHUNKED + b"0\r\n", b"X-Trailer: " + b"y" * 4096 + b"\r\n", 431),
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_that_never_ends_is_refused_at_64_kb(place: Place, kind: str) -> None:
    begin, more, expected = HEADS[kind]
    for port in (place.port, place.own_port):
        with place.open(port) as wire:
            wire.sendall(begin)
            n_sent = sent(wire, more)
            assert n_sent < 16 << 20, "what the system holds between the two, and no more"
            # A camera's own port knows what to read without a body, and may have answered before this one had no end.
            early = (200,) if begin.startswith(CHUNKED) and port == place.own_port else ()
            assert status(wire) in (expected, 422, *early)
    assert place.get().status_code == 200


def test_a_head_of_60_kb_is_served_and_one_of_70_kb_is_not(place: Place) -> None:
    for size, expected in ((60, 200), (70, 431)):
        with place.open() as wire:
            fields = b"".join(b"X-%d: %s\r\n" % (n, b"y" * (KB - 10)) for n in range(size))
            wire.sendall(START + fields + b"Connection: close\r\n\r\n")
            assert status(wire) == expected
    with place.open() as wire:
        wire.sendall(START + b"a: b\r\n" * 300 + b"\r\n")
        assert status(wire) == 431


def test_a_body_in_small_chunks_is_no_head(place: Place) -> None:
    with place.open() as wire:
        wire.sendall(CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        wire.sendall(b'F\r\n{"camera":"gate\r\n2\r\n"}\r\n' + b"8\r\n        \r\n" * 1900 + b"0\r\n\r\n")
        assert status(wire) == 200


def test_requests_far_ahead_of_their_answers_end_the_connection(place: Place) -> None:
    with place.open() as wire:
        with suppress(OSError):
            wire.sendall((START + b"\r\n") * 2000)
        assert answer(wire).count(b"HTTP/1.1 200") < 100
    until(lambda: place.refused("pipelined") == 1)
    with place.open() as wire:
        wire.sendall((START + b"\r\n") * 10 + START + b"Connection: close\r\n\r\n")
        assert answer(wire).count(b"HTTP/1.1 200") == 11


def test_a_websocket_whose_head_cannot_be_read_is_refused_and_closed(place: Place) -> None:
    with place.open(place.own_port) as wire:
        wire.sendall(UPGRADE + b"X-Long: " + b"x" * 20_000 + b"\r\n\r\n")
        assert status(wire) == 431
    with place.open(place.own_port) as wire:
        wire.sendall(UPGRADE + b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n")
        assert status(wire) == 431


@pytest.mark.parametrize("begun", [b"", b"GET /hea", START])
def test_who_sends_no_head_is_cut_off(tmp_path: Path, begun: bytes) -> None:
    with serving(tmp_path, idle_timeout_s=0.5, stall_timeout_s=0.5) as place, place.open() as wire:
        wire.sendall(begun)
        assert status(wire) in (0, 408)


def test_a_head_that_trickles_is_cut_off(tmp_path: Path) -> None:
    with serving(tmp_path, stall_timeout_s=1.0) as place, place.open() as wire:
        wire.sendall(START)
        deadline = time.monotonic() + PATIENCE_S
        with suppress(OSError):
            while time.monotonic() < deadline:
                wire.sendall(b"a: b\r\n")
                wire.settimeout(0.1)
                with suppress(TimeoutError):
                    assert b" 408 " in wire.recv(4096)
                    break
        assert place.refused("slow head") == 1


def test_a_body_that_trickles_is_cut_off_and_one_that_moves_on_is_not() -> None:
    service = OcrService(Mock(), ServiceSettings(), Metrics())
    settings = Settings(api=ApiSettings(port=0, stall_timeout_s=3.0))
    head = b"POST /ocr HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    with ExitStack() as stack:
        stack.callback(service.close)
        http_server = stack.enter_context(HttpServer(None, settings, service=service))
        address = ("127.0.0.1", httpx.URL(http_server.address).port or 80)
        slow, brisk = (stack.enter_context(socket.create_connection(address, timeout=PATIENCE_S)) for _ in range(2))
        for wire in (slow, brisk):
            wire.sendall(head + b"Content-Length: 128000\r\n\r\n")
        for _ in range(8):  # 23 KB a second, for longer than the limit
            brisk.sendall(b" " * 16_000)
            with suppress(OSError):
                slow.sendall(b" ")
            time.sleep(0.7)
        assert status(brisk) == 422
        assert status(slow) == 408


def test_who_does_not_read_his_answer_is_cut_off(tmp_path: Path) -> None:
    cameras = [camera(f"camera-{n}", name="x" * 400) for n in range(5000)]
    site = FakeSite(tmp_path, *cameras)
    settings = Settings(api=ApiSettings(port=0, stall_timeout_s=1.0))
    with HttpServer(site, settings) as http_server, socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.settimeout(PATIENCE_S)
        wire.connect(("127.0.0.1", httpx.URL(http_server.address).port or 80))
        wire.sendall(b"GET /api/cameras HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: site.metrics.registry.get_sample_value("platoon_connections") == 0)


def test_idle_connections_give_way_to_newer_ones(tmp_path: Path) -> None:
    with serving(tmp_path, max_connections=16) as place, ExitStack() as stack:
        for _ in range(60):
            wire = stack.enter_context(place.open())
            wire.sendall(b"GET /")
        assert place.get().status_code == 200
        until(lambda: place.open_connections() <= 17)
        assert place.refused("replaced") >= 44


def test_where_all_connections_are_at_work_one_more_gets_503(tmp_path: Path) -> None:
    with serving(tmp_path, max_connections=4) as place, ThreadPoolExecutor(4) as pool:
        place.site.reads_may_end.clear()
        address = f"{place.http_server.address}/manual-ocr"
        waiting = [pool.submit(httpx.post, address, json={"camera": "gate"}, timeout=PATIENCE_S) for _ in range(4)]
        for _ in waiting:
            assert place.site.reading.acquire(timeout=PATIENCE_S)
        refused = place.get()
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["retry"] is True
        place.site.reads_may_end.set()
        assert [one.result(PATIENCE_S).status_code for one in waiting] == [200] * 4
        until(lambda: place.open_connections() < 4)
        assert place.get().status_code == 200


def test_one_address_has_its_share_and_proxies_have_no_limit(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with serving(tmp_path / "a", max_connections_per_address=3, proxies=()) as place, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(place.open())
        until(lambda: place.open_connections() == 3)
        assert place.get().status_code == 503
    with serving(tmp_path / "b", max_connections_per_address=3) as place, ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(place.open())
        assert place.get().status_code == 200


def test_half_of_the_descriptors_stay_free_for_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    with serving(tmp_path) as place, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(place.open())
        assert place.get().status_code == 200
        until(lambda: place.open_connections() <= 33)


def test_without_a_free_descriptor_a_connection_gets_503_and_is_served_later(place: Place) -> None:
    assert place.get().status_code == 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as wires, ExitStack() as held:
        ready = [wires.enter_context(socket.socket()) for _ in range(10)]
        for wire in ready:
            wire.settimeout(PATIENCE_S)
        answers: list[int] = []
        highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, hard))
        try:
            while ready and answers.count(503) < 2:  # meanwhile others in this process may let go of one
                with suppress(OSError):
                    while True:
                        held.enter_context(Path(os.devnull).open())
                wire = ready.pop()
                wire.connect(("127.0.0.1", place.port))
                wire.sendall(START + b"\r\n")
                answers.append(status(wire))
        finally:
            held.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    # One whose refusal another thread's open file got in the way of is counted again.
    assert place.refused("descriptors") >= answers.count(503) == 2
    assert place.get().status_code == 200


def test_a_call_that_finds_no_descriptor_gets_503(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> bytes:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(place.site, "preview", full)
    refused = place.get("/api/cameras/gate/preview.jpg")
    assert (refused.status_code, refused.json()["error"]["retry"]) == (503, True)


def test_one_websocket_too_many_gets_503_and_metrics_are_answered(tmp_path: Path) -> None:
    with serving(tmp_path, max_websockets=8) as place, ExitStack() as stack:
        address = place.http_server.address.replace("http", "ws")
        live = [stack.enter_context(connect(f"{address}/api/ws", proxy=None)) for _ in range(8)]
        for _ in range(3):
            with pytest.raises(InvalidStatus) as refusal, connect(f"{address}/api/ws", proxy=None):
                pass
            assert refusal.value.response.status_code == 503
        assert place.get("/metrics").status_code == 200
        live[0].close()

        def one_more() -> bool:
            with suppress(InvalidStatus):
                stack.enter_context(connect(f"{address}/api/ws", proxy=None))
                return True
            return False

        until(one_more)


def test_messages_reach_many_websockets_while_metrics_are_answered(tmp_path: Path) -> None:
    n_sockets, n_messages = 100, 20
    with serving(tmp_path) as place, ExitStack() as stack:
        address = place.http_server.address.replace("http", "ws")
        live = [stack.enter_context(connect(f"{address}/api/ws", proxy=None)) for _ in range(n_sockets)]
        for number in range(n_messages):
            place.site.record(event(f"e{number}"))
        assert place.get("/metrics").status_code == 200
        for one in live:
            messages = [json.loads(one.recv(PATIENCE_S)) for _ in range(1 + n_messages)]
            assert [message["event"]["id"] for message in messages[1:]] == [f"e{n}" for n in range(n_messages)]


def test_who_does_not_answer_pings_is_closed_and_fills_no_log(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    schedule = WebSocketConnection.schedule_ping

    def soon(connection: WebSocketConnection) -> None:
        connection.ping_interval = connection.ping_timeout = 0.1
        schedule(connection)

    monkeypatch.setattr(WebSocketConnection, "schedule_ping", soon)
    handshake = UPGRADE + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    with place.open(place.own_port) as wire:
        wire.sendall(handshake)
        until(lambda: place.open_connections() == 1)

        def closed() -> bool:
            place.site.say({"type": "overlay", "camera": "gate"})
            return place.open_connections() == 0

        until(closed)
    assert "Exception in ASGI application" not in caplog.text


def test_while_draining_what_is_under_way_is_answered_and_what_is_new_gets_503(tmp_path: Path) -> None:
    with serving(tmp_path) as place, ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        place.site.reads_may_end.clear()
        stack.callback(place.site.reads_may_end.set)
        address = f"{place.http_server.address}/manual-ocr"
        waiting = pool.submit(httpx.post, address, json={"camera": "gate"}, timeout=PATIENCE_S)
        assert place.site.reading.acquire(timeout=PATIENCE_S)
        idle = stack.enter_context(place.open())
        live = stack.enter_context(connect(f"ws://127.0.0.1:{place.own_port}/ws", proxy=None))
        live.recv(PATIENCE_S)
        place.http_server.drain()
        assert answer(idle) == b""
        with pytest.raises(ConnectionClosed) as closed:
            live.recv(PATIENCE_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code in (1001, 1012)
        refused = place.get("/api/cameras")
        assert refused.status_code == 503
        assert (refused.headers["retry-after"], refused.headers["connection"]) == ("1", "close")
        ready = place.get("/health/ready")
        assert ready.status_code == 503
        assert "draining" in ready.json()["errorMsg"]
        assert place.get("/health").status_code == 200
        with pytest.raises(InvalidStatus), connect(f"ws://127.0.0.1:{place.own_port}/ws", proxy=None):
            pass
        place.site.reads_may_end.set()
        assert waiting.result(PATIENCE_S).status_code == 200


def test_what_outlasts_the_drain_is_answered_so(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        with serving(tmp_path, drain_s=0.3) as place:
            place.site.reads_may_end.clear()
            address = f"{place.http_server.address}/manual-ocr"
            waiting = pool.submit(httpx.post, address, json={"camera": "gate"}, timeout=PATIENCE_S)
            assert place.site.reading.acquire(timeout=PATIENCE_S)
            place.http_server.drain()
            late = waiting.result(PATIENCE_S)
        assert (late.status_code, late.json()["error"]["retry"]) == (503, True)
