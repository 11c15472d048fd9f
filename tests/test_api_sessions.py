"""Sessions of browsers: a key is shown once, a cookie stands for it, and that ends."""

import stat
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from platoon.api.serve import HttpServer
from platoon.api.sessions import Sessions
from platoon.settings import ApiKey, ApiSettings, ServiceSettings, Settings, StoreSettings
from tests.fake_site import FakeSite, camera
from tests.keys import key, shown
from tests.running import free_ports

GATE, YARD = key("gate-secret", scopes=("read",)), key("yard-secret", scopes=("operate",))
NOW = 1_800_000_000.0


def sessions(*keys: ApiKey, folder: Path | None = None, now: float = NOW, hours: float = 10) -> Sessions:
    return Sessions(ServiceSettings(keys=keys, session_hours=hours), folder, clock=lambda: now)


def test_a_session_stands_for_the_key_it_was_begun_with_until_its_time_is_over(tmp_path: Path) -> None:
    one = sessions(GATE, YARD, folder=tmp_path)
    cookie = f"theme=dark; {one.cookie}={one.begin(YARD)}"
    assert one.key_of(cookie) is YARD
    assert sessions(GATE, YARD, folder=tmp_path, now=NOW + 35_999).key_of(cookie) is YARD, "also after a restart"
    assert sessions(GATE, YARD, folder=tmp_path, now=NOW + 36_000).key_of(cookie) is None


def test_a_key_that_is_changed_or_gone_ends_its_sessions_and_no_others(tmp_path: Path) -> None:
    one = sessions(GATE, YARD, folder=tmp_path)
    gate, yard = (f"{one.cookie}={one.begin(key)}" for key in (GATE, YARD))
    changed = sessions(GATE, YARD.model_copy(update={"sha256": "0" * 64}), folder=tmp_path)
    assert changed.key_of(yard) is None
    assert changed.key_of(gate) is GATE
    assert sessions(YARD, folder=tmp_path).key_of(gate) is None
    assert sessions(folder=tmp_path).key_of(gate) is None


def test_a_session_that_was_ended_is_worth_nothing() -> None:
    one = sessions(GATE)
    first, second = (f"{one.cookie}={one.begin(GATE)}" for _ in range(2))
    one.end(first)
    assert one.key_of(first) is None
    assert one.key_of(second) is GATE


@pytest.mark.parametrize("change", [-1, 0, 5, 20, 30])
def test_no_character_of_a_session_can_be_changed(change: int) -> None:
    one = sessions(GATE)
    value = one.begin(GATE)
    other = "0" if value[change] != "0" else "1"
    at = change % len(value)
    assert one.key_of(f"{one.cookie}={value[:at]}{other}{value[at + 1 :]}") is None


@pytest.mark.parametrize(
    "value", ["", ".", "..", "a.b.c", "a.99999999999.", "é.99999999999.ü", "." * 5000, "a.²²²²²²²²²²²².x"]
)
def test_what_is_no_session_is_none(value: str) -> None:
    one = sessions(GATE)
    for cookies in (f"{one.cookie}={value}", f"platoon-={value}", value, one.cookie):
        assert one.key_of(cookies) is None


def test_the_secret_is_for_its_owner_alone_and_the_same_for_all_that_start(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "store"
    assert sessions(GATE, folder=folder).cookie == sessions(GATE, folder=folder).cookie
    assert stat.S_IMODE((folder / "session.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["session.key"]
    (folder / "session.key").write_bytes(b"cut short")
    assert sessions(GATE, folder=folder).cookie == sessions(GATE, folder=folder).cookie


def test_where_the_secret_cannot_be_kept_sessions_last_as_long_as_the_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    one = sessions(GATE, folder=tmp_path / "file" / "store")
    assert one.key_of(f"{one.cookie}={one.begin(GATE)}") is GATE
    assert "cannot be kept" in caplog.text


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def client(tmp_path: Path, port: int) -> Iterator[httpx.Client]:
    settings = Settings(
        api=ApiSettings(port=0),
        service=ServiceSettings(keys=(GATE, YARD)),
        store=StoreSettings(path=tmp_path / "store"),
    )
    with (
        HttpServer(FakeSite(tmp_path, camera("gate", port=port)), settings) as http_server,
        httpx.Client(base_url=http_server.address, timeout=60, trust_env=False) as client,
    ):
        yield client


def logged_in(client: httpx.Client, secret: str, **headers: str) -> dict[str, Any]:
    """The attributes of the cookie."""
    reply = client.post("/api/session", json={"key": secret}, headers=headers).raise_for_status()
    (cookie,) = SimpleCookie(reply.headers["set-cookie"]).values()
    assert secret not in reply.headers["set-cookie"]
    return dict(cookie)


def test_a_key_shown_once_opens_everything_that_it_may_do_and_a_cameras_port_too(
    client: httpx.Client, port: int
) -> None:
    assert client.get("/api/cameras").status_code == 401
    cookie = logged_in(client, "gate-secret")
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "strict", "/", "")
    assert client.get("/api/session").json() == {"key": "gate", "scopes": ["read"]}
    assert client.get("/api/cameras").status_code == 200
    assert client.post("/api/cameras/gate/manual-ocr").status_code == 403
    cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
    for address in (f"{client.base_url}/api/ws", f"http://127.0.0.1:{port}/ws"):
        with connect(address.replace("http", "ws", 1), additional_headers=cookies, proxy=None) as socket:
            assert socket.recv(60)


def test_a_socket_that_is_open_ends_with_its_session_and_no_other_does(client: httpx.Client) -> None:
    logged_in(client, "gate-secret")
    cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
    address = f"{client.base_url}/api/ws".replace("http", "ws", 1)
    with (
        connect(address, additional_headers=cookies, proxy=None) as socket,
        connect(address, additional_headers=shown("gate-secret"), proxy=None) as of_a_key,
    ):
        assert socket.recv(60)
        assert of_a_key.recv(60)
        assert client.delete("/api/session").status_code == 204
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(60)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        of_a_key.ping().wait(60)
        assert of_a_key.close_code is None


def test_a_key_in_a_header_counts_before_the_session(client: httpx.Client) -> None:
    logged_in(client, "gate-secret")
    assert client.post("/api/cameras/gate/manual-ocr", headers=shown("yard-secret")).status_code == 200
    assert client.get("/api/cameras", headers=shown("wrong")).status_code == 401


def test_after_logging_out_the_cookie_is_worth_nothing_to_whoever_copied_it(client: httpx.Client) -> None:
    logged_in(client, "gate-secret")
    cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
    assert client.delete("/api/session").status_code == 204
    assert not client.cookies
    assert client.get("/api/cameras", headers=cookies).status_code == 401
    with (
        pytest.raises(InvalidStatus),
        connect(f"{client.base_url}/api/ws".replace("http", "ws", 1), additional_headers=cookies, proxy=None),
    ):
        pass


def test_behind_https_the_cookie_is_secure(client: httpx.Client) -> None:
    assert logged_in(client, "gate-secret", **{"X-Forwarded-Proto": "https"})["secure"] is True


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"key": "wrong"}, 401),
        ({"key": ""}, 401),
        ({}, 422),
        ({"key": "x" * 2000}, 422),
        ({"key": ["gate-secret"]}, 422),
        ({"key": "gate-secret", "more": 1}, 422),
    ],
)
def test_who_shows_no_key_gets_no_session(client: httpx.Client, body: dict[str, Any], status: int) -> None:
    reply = client.post("/api/session", json=body)
    assert reply.status_code == status
    assert "set-cookie" not in reply.headers
    assert "gate-secret" not in reply.text


def test_another_site_logs_nobody_in_or_out(client: httpx.Client) -> None:
    foreign = {"Origin": "http://evil.example"}
    assert client.post("/api/session", json={"key": "gate-secret"}, headers=foreign).status_code == 403
    logged_in(client, "gate-secret")
    assert client.delete("/api/session", headers=foreign).status_code == 403
    assert client.get("/api/session").status_code == 200


def test_wrong_keys_are_counted_in_the_body_as_in_headers(client: httpx.Client) -> None:
    for number in range(20):
        assert client.post("/api/session", json={"key": f"guess-{number}"}).status_code == 401
    for reply in (
        client.post("/api/session", json={"key": "gate-secret"}),
        client.get("/api/cameras", headers=shown("gate-secret")),
    ):
        assert reply.status_code == 429
        assert 1 <= int(reply.headers["retry-after"]) <= 60


def test_without_keys_there_is_nothing_to_log_in_to(tmp_path: Path) -> None:
    with (
        HttpServer(FakeSite(tmp_path), Settings(api=ApiSettings(port=0))) as http_server,
        httpx.Client(base_url=http_server.address, trust_env=False) as client,
    ):
        assert client.get("/api/session").json()["key"] == ""
        assert "set-cookie" not in client.post("/api/session", json={"key": "any"}).headers
        assert client.delete("/api/session").status_code == 204
