import asyncio
import ipaddress
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

import httpcore
import pytest

from platoon.api.addresses import Address, Resolver
from platoon.api.fetch import Fetcher
from platoon.errors import DeadlineExceeded, InvalidInput, TooLarge
from tests.http_server import answering


class Files(BaseHTTPRequestHandler):
    """`/file`, `/moved?to=URL`, `/large`, `/packed`, `/slow`, `/gone`."""

    may_end = threading.Event()
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path, _, query = self.path.partition("?")
        if path == "/file":
            self._answer(200, b"content")
        elif path == "/moved":
            self._answer(302, b"", Location=query.removeprefix("to="))
        elif path == "/large":
            self._answer(200, b"x" * 5000)
        elif path == "/packed":
            self._answer(200, b"x", **{"Content-Encoding": "gzip"})
        elif path == "/slow":
            self.may_end.wait(30)
            self._answer(200, b"late")
        else:
            self._answer(404, b"")

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def port() -> Iterator[int]:
    Files.asked.clear()
    Files.may_end.clear()
    with answering(Files) as address:
        yield int(address.rpartition(":")[2])
        Files.may_end.set()


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """What names resolve to, time after time; the last answer stays."""
    table: dict[str, list[list[str]]] = {"files.test": [["127.0.0.1"]], "inside.test": [["127.0.0.1"]]}

    async def addresses(_: Resolver, host: str) -> Sequence[Address]:
        answers = table.get(host, [[host]])
        return [ipaddress.ip_address(one) for one in (answers.pop(0) if len(answers) > 1 else answers[0])]

    monkeypatch.setattr(Resolver, "addresses", addresses)
    return table


def fetch(url: str, *, hosts: tuple[str, ...] = ("files.test",), timeout_s: float = 20) -> bytes:
    return asyncio.run(Fetcher(hosts=hosts, max_bytes=1000, timeout_s=timeout_s).fetch(url))


def test_a_file_is_fetched(port: int) -> None:
    assert fetch(f"http://files.test:{port}/file") == b"content"


def test_names_of_allowed_hosts_are_compared_without_case(port: int) -> None:
    assert fetch(f"http://FILES.test:{port}/file", hosts=("Files.Test",)) == b"content"


def test_redirects_are_followed_within_bounds(port: int) -> None:
    assert fetch(f"http://files.test:{port}/moved?to=/file") == b"content"
    with pytest.raises(InvalidInput, match="more than 5 redirects"):
        fetch(f"http://files.test:{port}/moved?to=/moved")


@pytest.mark.parametrize(
    "host", ["inside.test", "127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "0.0.0.0"]
)
def test_private_addresses_are_refused_without_being_asked(port: int, host: str, names: Any) -> None:
    names[host.strip("[]")] = [[host.strip("[]") if host != "inside.test" else "127.0.0.1"]]
    with pytest.raises(InvalidInput, match="not public"):
        fetch(f"http://{host}:{port}/file")
    assert Files.asked == []


def test_a_redirect_into_the_private_network_is_refused(port: int) -> None:
    with pytest.raises(InvalidInput, match=r"inside\.test is at an address that is not public"):
        fetch(f"http://files.test:{port}/moved?to=http://inside.test:{port}/file")
    assert Files.asked == [f"/moved?to=http://inside.test:{port}/file"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://files.test/x", "gopher://files.test/", "http://"])
def test_a_redirect_to_another_scheme_is_refused(port: int, target: str) -> None:
    with pytest.raises(InvalidInput):
        fetch(f"http://files.test:{port}/moved?to={target}")


def test_a_name_with_one_private_address_among_others_is_refused(names: Any) -> None:
    names["mixed.test"] = [["93.184.216.34", "192.168.0.1"]]
    with pytest.raises(InvalidInput, match="not public"):
        fetch("http://mixed.test/file")


def test_the_connection_goes_to_the_address_that_was_checked(names: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The name points into the private network as soon as it was looked at once.
    names["rebound.test"] = [["93.184.216.34"], ["127.0.0.1"]]
    connected: list[str] = []

    async def connect(_: Any, host: str, *__: Any) -> Any:
        connected.append(host)
        raise httpcore.ConnectError("unreachable in tests")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    with pytest.raises(InvalidInput, match="unreachable"):
        fetch("http://rebound.test/file")
    assert connected == ["93.184.216.34"]


def test_a_larger_file_is_refused_while_it_comes(port: int) -> None:
    with pytest.raises(TooLarge, match="larger than 1000 bytes"):
        fetch(f"http://files.test:{port}/large")


def test_a_file_that_comes_compressed_is_refused(port: int) -> None:
    with pytest.raises(InvalidInput, match="compressed"):
        fetch(f"http://files.test:{port}/packed")


def test_what_is_not_there_is_an_error(port: int) -> None:
    with pytest.raises(InvalidInput, match="status 404"):
        fetch(f"http://files.test:{port}/gone")


def test_a_slow_file_is_given_up(port: int) -> None:
    with pytest.raises(DeadlineExceeded, match=r"within 0\.2 s"):
        fetch(f"http://files.test:{port}/slow", timeout_s=0.2)


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://[",
        "http://[::1",
        "https://:80/x",
        "http://user:secret@files.test/",
        "file:///etc/passwd",
        "http://files.test:99999/",
        "http://files.test\r\nX: y/",
        "http://\ud800/",
        "http://files.test/\u00e4",
        "http://files.test/" + "x" * 9000,
    ],
)
def test_what_is_no_address_is_refused_without_showing_credentials(url: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        fetch(url)
    assert "secret" not in str(refusal.value)
    assert len(str(refusal.value)) < 400
