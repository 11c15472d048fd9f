import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from platoon.api import serve
from platoon.api.serve import HttpServer, bind
from platoon.errors import InvalidSettings, Unavailable
from platoon.settings import ApiSettings, Settings
from tests.fake_site import FakeSite, camera, event
from tests.running import free_ports

ANY_PORT = Settings(api=ApiSettings(port=0))


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def answers(port: int) -> str | None:
    """Which camera answers on a port."""
    try:
        reply = httpx.post(f"http://127.0.0.1:{port}/manual-ocr")
    except httpx.TransportError:
        return None
    return str(reply.json().get("camera"))


def test_a_cameras_own_port_answers_for_this_camera(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    site = FakeSite(tmp_path, camera("gate", port=port), camera("yard"))
    with HttpServer(site, ANY_PORT):
        assert answers(port) == "gate"
        with connect(f"ws://127.0.0.1:{port}/ws") as own:
            assert json.loads(own.recv(30))["camera"]["id"] == "gate"
            site.record(event("e1", camera="yard"))
            site.record(event("e2", camera="gate"))
            assert json.loads(own.recv(30))["event"]["id"] == "e2"
        assert httpx.get(f"http://127.0.0.1:{port}/api/cameras").status_code == 404
    assert answers(port) is None


def test_nothing_that_is_sent_waits_for_what_was_sent_before() -> None:
    async def sends_at_once() -> bool:
        loop = asyncio.get_running_loop()
        accepted: asyncio.Future[socket.socket] = loop.create_future()

        class Accepting(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                accepted.set_result(transport.get_extra_info("socket"))

        listening = bind("127.0.0.1", 0, way_out="")
        async with await loop.create_server(Accepting, sock=listening):
            with socket.create_connection(listening.getsockname()):
                own = await asyncio.wait_for(accepted, 30)
                return bool(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    assert asyncio.run(sends_at_once())


def test_ports_come_go_and_change_hands_with_the_cameras(tmp_path: Path) -> None:
    first, second = free_ports(2)
    site = FakeSite(tmp_path, camera("gate", port=first))
    with HttpServer(site, ANY_PORT) as http_server:
        site.set_camera(camera("yard", port=second))
        until(lambda: answers(second) == "yard")
        with connect(f"ws://127.0.0.1:{second}/ws") as listening:
            site.remove_camera("yard")
            with pytest.raises(ConnectionClosed):
                while True:
                    listening.recv(30)
        until(lambda: answers(second) is None)
        site.remove_camera("gate")
        site.set_camera(camera("other", port=first))
        until(lambda: answers(first) == "other")
        assert httpx.get(f"{http_server.address}/health").status_code == 200


def test_a_main_port_in_use_stops_the_start_and_is_named(tmp_path: Path) -> None:
    site = FakeSite(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(Unavailable, match=rf"port {port} .* in use .*PLATOON_API__PORT"),
            HttpServer(site, Settings(api=ApiSettings(port=port))),
        ):
            pass


def test_a_camera_port_in_use_starts_nothing_at_all(tmp_path: Path) -> None:
    (main,) = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        site = FakeSite(tmp_path, camera("gate", port=port))
        with (
            pytest.raises(Unavailable, match=rf"port {port} .* camera 'gate' another port"),
            HttpServer(site, Settings(api=ApiSettings(port=main))),
        ):
            pass
    with socket.create_server(("127.0.0.1", main)):
        pass  # the main port is free again


def test_a_port_taken_while_running_leaves_the_rest_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    site = FakeSite(tmp_path, camera("gate"))
    with HttpServer(site, ANY_PORT) as http_server:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            site.set_camera(camera("yard", port=port))
            until(lambda: f"port {port}" in caplog.text)
        assert httpx.get(f"{http_server.address}/api/cameras/yard").status_code == 200
        site.set_camera(camera("yard", port=port))
        until(lambda: answers(port) == "yard")


def test_a_host_that_is_not_ours_is_named(tmp_path: Path) -> None:
    elsewhere = Settings(api=ApiSettings(host="192.0.2.1", port=0))
    with pytest.raises(InvalidSettings, match=r"192\.0\.2\.1"), HttpServer(FakeSite(tmp_path), elsewhere):
        pass


def test_replies_under_way_are_finished_before_the_ports_close(tmp_path: Path) -> None:
    site = FakeSite(tmp_path, camera("gate"))
    site.reads_may_end.clear()
    with ThreadPoolExecutor(1) as pool:
        with HttpServer(site, ANY_PORT) as http_server:
            address = f"{http_server.address}/api/cameras/gate/manual-ocr"
            reply = pool.submit(httpx.post, address, timeout=30)
            assert site.reading.acquire(timeout=30)
            threading.Timer(0.2, site.reads_may_end.set).start()
        assert reply.result(30).status_code == 200


def test_where_the_applications_cannot_be_made_the_ports_are_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no page")

    main, own = free_ports(2)
    monkeypatch.setattr(serve, "create_camera_app", fails)
    server = HttpServer(FakeSite(tmp_path, camera("gate", port=own)), Settings(api=ApiSettings(port=main)))
    with pytest.raises(RuntimeError, match="no page"):
        server.__enter__()
    for port in (main, own):
        bind("127.0.0.1", port, way_out="").close()
