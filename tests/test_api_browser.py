"""What a browser may be made to send here by somebody else's page."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from platoon.api.browser import Hosts, OtherSite, UnknownHost
from platoon.api.serve import HttpServer
from platoon.errors import InvalidInput
from platoon.settings import ApiSettings, ServiceSettings, Settings
from tests.fake_site import FakeSite, camera
from tests.running import free_ports

HOSTS = Hosts(
    ApiSettings(host="0.0.0.0", public_url="https://plates.example.org/"),
    ServiceSettings(open=True, hosts=("gate.local", "203.0.113.7")),
)


def scope(*hosts: str, server: tuple[str, int] = ("10.0.0.5", 8080), **more: Any) -> dict[str, Any]:
    """Of a call by GET, unless `method` or `type` say otherwise."""
    headers = [(b"host", host.encode()) for host in hosts]
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.pop("headers", {}).items()]
    return {"type": "http", "method": "GET", "server": server, "headers": headers, **more}


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:9999",
        "LOCALHOST",
        "127.0.0.1:8080",
        "127.9.9.9",
        "[::1]:8080",
        "10.0.0.5",
        "10.0.0.5:8080",
        "[::ffff:10.0.0.5]",
        "gate.local",
        "Gate.Local.:80",
        "203.0.113.7",
        "plates.example.org",
    ],
)
def test_this_machine_is_known_by_its_addresses_and_the_names_in_the_settings(host: str) -> None:
    HOSTS.check(scope(host))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil-localhost",
        "gate.local.evil.example",
        "10.0.0.6",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "2130706433",
        "0x7f000001",
        "[2001:db8::1]",
    ],
)
def test_a_name_that_nobody_gave_this_machine_is_refused_and_the_setting_named(host: str) -> None:
    for kind in (scope(host), scope(host, type="websocket")):
        with pytest.raises(UnknownHost, match=r"service\.hosts") as refusal:
            HOSTS.check(kind)
        assert refusal.value.status == 421


@pytest.mark.parametrize(
    "hosts",
    [
        (),
        ("",),
        ("localhost", "evil.example"),
        ("evil.example", "localhost"),
        ("user@localhost",),
        ("localhost/evil.example",),
        ("localhost:80:80",),
        ("localhost evil.example",),
        ("[::1",),
        ("localhost,evil.example",),
        ("loc\xe4lhost",),
    ],
)
def test_what_names_no_host_or_more_than_one_is_refused(hosts: tuple[str, ...]) -> None:
    with pytest.raises((InvalidInput, UnknownHost)):
        HOSTS.check(scope(*hosts))


def test_the_name_that_the_ports_are_bound_to_is_known_and_a_wildcard_names_nothing() -> None:
    Hosts(ApiSettings(host="gate-7"), ServiceSettings(open=True)).check(scope("gate-7:8080"))
    for wildcard in ("0.0.0.0", "::"):
        with pytest.raises(UnknownHost):
            Hosts(ApiSettings(host=wildcard), ServiceSettings(open=True)).check(scope("0.0.0.0"))


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://evil.example:8080",
        "null",
        "file://",
        "file://10.0.0.5",
        "ftp://10.0.0.5",
        "chrome-extension://10.0.0.5",
        "http://10.0.0.5.evil.example",
        "http://10.0.0.5@evil.example",
        "http://plates.example.org.evil.example",
        "http://[",
        "",
        "10.0.0.5",
    ],
)
def test_pages_of_other_sites_change_nothing_and_hear_nothing(origin: str) -> None:
    headers = {"origin": origin}
    kind: Any
    for kind in ({"method": "POST"}, {"method": "DELETE"}, {"method": "BREW"}, {"type": "websocket"}):
        with pytest.raises(OtherSite):
            HOSTS.check(scope("10.0.0.5:8080", headers=headers, **kind))


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("10.0.0.5:8080", "http://10.0.0.5:8080"),
        ("10.0.0.5:8080", "http://10.0.0.5:9001"),
        ("10.0.0.5:8080", "https://10.0.0.5"),
        ("gate.local", "http://GATE.local"),
        ("10.0.0.5:8080", "https://plates.example.org"),
        ("[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_our_own_pages_may_and_other_ports_of_this_host(host: str, origin: str) -> None:
    kind: Any
    for kind in ({"method": "POST"}, {"type": "websocket"}):
        HOSTS.check(scope(host, headers={"origin": origin}, **kind))


def test_who_is_no_browser_may() -> None:
    kind: Any
    for kind in ({"method": "POST"}, {"type": "websocket"}):
        HOSTS.check(scope("127.0.0.1", **kind))


@pytest.mark.parametrize(
    ("fetch", "may"),
    [
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"}, False),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "cors", "sec_fetch_dest": "empty"}, False),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}, False),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}, True),
        ({"sec_fetch_site": "same-origin", "sec_fetch_mode": "cors", "sec_fetch_dest": "empty"}, True),
        ({"sec_fetch_site": "same-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"}, True),
        ({"sec_fetch_site": "none", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}, True),
    ],
)
def test_parts_of_other_sites_pages_load_nothing_and_links_open(fetch: dict[str, str], may: bool) -> None:
    call = scope("10.0.0.5", headers=fetch)
    if may:
        HOSTS.check(call)
    else:
        with pytest.raises(OtherSite):
            HOSTS.check(call)


def test_addresses_in_answers_come_from_the_settings_or_the_address_that_was_reached() -> None:
    assert HOSTS.base_url(scope("evil.example")) == "https://plates.example.org"
    own = Hosts(ApiSettings(), ServiceSettings())
    assert own.base_url(scope("evil.example")) == "http://10.0.0.5:8080"
    assert own.base_url(scope("evil.example", server=("fe80::1", 80))) == "http://[fe80::1]:80"


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The main port and a camera's."""
    (port,) = free_ports(1)
    site = FakeSite(tmp_path_factory.mktemp("site"), camera("gate", port=port))
    with HttpServer(site, Settings(api=ApiSettings(port=0))) as http_server:
        yield http_server.address, f"http://127.0.0.1:{port}"


def test_all_ports_refuse_a_name_that_was_made_to_point_here(ports: tuple[str, str]) -> None:
    main, own = ports
    rebound = {"Host": "evil.example:8080"}
    for address in (f"{main}/", f"{main}/static/main.js", f"{main}/api/events", f"{main}/health", f"{own}/manual-ocr"):
        reply = httpx.get(address, headers=rebound, trust_env=False, timeout=60)
        assert (reply.status_code, reply.json()["error"]["code"]) == (421, "UnknownHost")
    for address in (f"{main}/api/ws", f"{own}/ws"):
        uri = address.replace("http://127.0.0.1", "ws://evil.example", 1)
        port = int(address.split(":")[2].partition("/")[0])
        with pytest.raises(InvalidStatus) as refusal, connect(uri, address=("127.0.0.1", port), proxy=None):
            pass
        assert refusal.value.response.status_code == 421


def test_no_address_in_an_answer_repeats_the_callers_host(ports: tuple[str, str]) -> None:
    for address in ports:
        for path in ("/docs/", "/static", "/api/events/", "/ws/", "/manual-ocr/"):
            reply = httpx.get(address + path, headers={"Host": "localhost:1"}, trust_env=False, timeout=60)
            assert reply.status_code in (404, 405)
            assert "location" not in reply.headers
