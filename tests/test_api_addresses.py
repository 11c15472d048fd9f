import asyncio
import ipaddress
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from platoon.api.addresses import CALLER, Resolver, is_public
from platoon.api.fetch import Fetcher
from platoon.errors import DeadlineExceeded, InvalidInput, Overloaded

PATIENCE_S = 30
PUBLIC = [
    "93.184.216.34",
    "192.0.0.9",
    "192.0.0.10",
    "192.31.196.1",
    "192.52.193.1",
    "192.175.48.1",
    "2606:2800:220:1::1",
    "2001:4860:4860::8888",
    "2001:4:112::1",
    "2001:20::1",
    "2620:4f:8000::1",
    "::ffff:93.184.216.34",
    "64:ff9b::5db8:d822",
    "2002:5db8:d822::1",
    "2606:2800:220:1:0:5efe:93.184.216.34",
]
NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.0.255",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::10.0.0.1",
    "::93.184.216.34",
    "::ffff:127.0.0.1",
    "::ffff:192.0.0.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::7f00:1",
    "64:ff9b:1::5db8:d822",
    "100::1",
    "100:0:0:1::1",
    "2001::1",
    "2001:0:5db8:d822::1",
    "2001:2::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:c000:8::1",
    "2606:2800:220:1:0:5efe:10.0.0.1",
    "2606:2800:220:1:200:5efe:192.168.0.1",
    "3fff::1",
    "3fff:fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "feff::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_public_internet_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_special_addresses_and_what_carries_one_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


def test_names_are_looked_up_by_the_system() -> None:
    resolver = Resolver()
    found = asyncio.run(resolver.addresses("localhost"))
    assert set(found) <= {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}
    for unknown in ("no.such.host.invalid", "x" * 300, "a..b"):
        with pytest.raises(InvalidInput, match="cannot be found"):
            asyncio.run(resolver.addresses(unknown))


class NameServer:
    """Answers for all names but those that begin with `dead`, until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, *_: Any, **__: Any) -> Any:
        self.asked.append(host)
        if host.startswith("dead"):
            self.released.wait()
            raise OSError("no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 0))]


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.released.set()


def test_a_name_that_nobody_answers_for_delays_neither_other_names_nor_other_work(server: NameServer) -> None:
    async def scenario() -> None:
        resolver = Resolver(server)
        dead = [asyncio.create_task(resolver.addresses(f"dead{number}.test")) for number in range(200)]
        async with asyncio.timeout(PATIENCE_S):
            assert await resolver.addresses("alive.test") == [ipaddress.ip_address("93.184.216.34")]
            assert await asyncio.to_thread(lambda: "worked on") == "worked on"
        assert not any(task.done() for task in dead)
        for task in dead:
            task.cancel()
        await asyncio.gather(*dead, return_exceptions=True)

    asyncio.run(scenario())


def test_names_that_nobody_answers_for_of_one_key_leave_look_ups_for_others(server: NameServer) -> None:
    async def scenario() -> None:
        resolver = Resolver(server, at_once=20)
        CALLER.set("busy")
        dead = [asyncio.create_task(resolver.addresses(f"dead{number}.test")) for number in range(40)]
        await asyncio.sleep(0)
        refused = [task.exception() for task in dead if task.done()]
        assert len(refused) == 30
        assert all(isinstance(error, Overloaded) for error in refused)
        CALLER.set("other")
        async with asyncio.timeout(PATIENCE_S):
            assert await resolver.addresses("alive.test")
        server.released.set()
        await asyncio.gather(*dead, return_exceptions=True)
        CALLER.set("busy")
        assert await resolver.addresses("alive.test")

    asyncio.run(scenario())


def test_waiting_for_a_name_counts_against_the_deadline(server: NameServer) -> None:
    fetcher = Fetcher(hosts=(), max_bytes=10, timeout_s=0.1, resolver=Resolver(server))
    with pytest.raises(DeadlineExceeded, match=r"dead\.test.* within 0\.1 s"):
        asyncio.run(fetcher.fetch("http://dead.test/file"))


def test_a_name_is_looked_up_once_however_many_ask_for_it_and_one_who_gives_up_does_so_alone(
    server: NameServer,
) -> None:
    async def scenario() -> None:
        resolver = Resolver(server)
        first, second = (asyncio.create_task(resolver.addresses("dead.test")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        server.released.set()
        with pytest.raises(InvalidInput, match="no answer"):
            await second

    asyncio.run(scenario())
    assert server.asked == ["dead.test"]


def test_more_names_than_can_be_looked_up_at_once_are_turned_away(server: NameServer) -> None:
    async def scenario() -> None:
        resolver = Resolver(server, at_once=2)
        dead = [asyncio.create_task(resolver.addresses(f"dead{number}.test")) for number in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="2 names"):
            await resolver.addresses("other.test")
        assert await resolver.addresses("93.184.216.34")
        server.released.set()
        await asyncio.gather(*dead, return_exceptions=True)
        assert await resolver.addresses("other.test")

    asyncio.run(scenario())
