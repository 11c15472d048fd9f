"""Addresses of hosts that callers name: looked up without keeping anybody else waiting, and public or not.

Which are public is decided by IANA's registries of special-purpose addresses (IPv4 and IPv6, as of 2025), not by
`ipaddress.is_global`, whose answer changes with Python's version and knows no embedded addresses.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any, Final

from platoon.errors import InvalidInput, Overloaded

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LookUp = Callable[..., Sequence[tuple[Any, ...]]]
"""As `socket.getaddrinfo`."""

_AT_ONCE: Final = 256
"""Names looked up at the same time; each takes a thread, which mostly sleeps."""

CALLER: ContextVar[str] = ContextVar("caller", default="")
"""The name of the key for which names are looked up; empty: none."""


class Resolver:
    """Looks up names, each on a thread of its own, which nobody waits for longer than he likes.

    A look-up that a name server leaves unanswered cannot be ended. On the threads that all of the process share, some
    would be enough to keep every other call from being worked on. One name is looked up once at a time, and no key has
    more of them under way than it leaves free for others.

    Args:
        look_up: blocks for as long as it takes.
    """

    def __init__(self, look_up: LookUp = socket.getaddrinfo, *, at_once: int = _AT_ONCE) -> None:
        self._look_up, self._at_once = look_up, at_once
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[Sequence[Address]]] = {}
        self._of_callers: Counter[str] = Counter()

    async def addresses(self, host: str) -> Sequence[Address]:
        """The addresses of a host; may be cancelled at any time.

        Raises:
            InvalidInput: it has none. Overloaded: too many names are being looked up.
        """
        try:
            return [ipaddress.ip_address(host)]
        except ValueError:
            return await asyncio.shield(asyncio.wrap_future(self._begun(host)))

    def _begun(self, host: str) -> Future[Sequence[Address]]:
        with self._lock:
            if (found := self._under_way.get(host)) is not None:
                return found
            caller, free = CALLER.get(), self._at_once - len(self._under_way)
            if free <= 0:
                raise Overloaded(f"{self._at_once} names are being looked up; try again later", retry_after_s=5.0)
            if caller and self._of_callers[caller] >= free:
                raise Overloaded(
                    f"{self._of_callers[caller]} names are being looked up for your key; try again later",
                    retry_after_s=5.0,
                )
            self._of_callers[caller] += 1
            future = self._under_way[host] = Future()
        future.set_running_or_notify_cancel()  # whoever gives up gives up for himself only
        threading.Thread(target=self._find, args=(host, caller, future), name="look-up", daemon=True).start()
        return future

    def _find(self, host: str, caller: str, future: Future[Sequence[Address]]) -> None:
        outcome: Sequence[Address] | Exception
        try:
            found = self._look_up(host, None, type=socket.SOCK_STREAM)
            outcome = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        except (OSError, ValueError) as error:
            outcome = InvalidInput(f"{host} cannot be found: {error}")
        except Exception as error:
            outcome = error
        with self._lock:
            del self._under_way[host]
            self._of_callers[caller] -= 1
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet; of one that carries an IPv4 address, whether that does too."""
    if any(not is_public(inner) for inner in _carried(address)):
        return False
    if _is_in(address, _REACHABLE):
        return True
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return not _is_in(address, _SPECIAL)


def _carried(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """The IPv4 addresses that packets to an IPv6 address may end at."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    value = int(address)
    last = ipaddress.IPv4Address(value & 0xFFFF_FFFF)
    if address in _MAPPED or address in _NAT64:
        yield last
    if address in _SIX_TO_FOUR:
        yield ipaddress.IPv4Address(value >> 80 & 0xFFFF_FFFF)
    if value >> 32 & 0xFDFF_FFFF == _ISATAP:
        yield last


def _is_in(address: Address, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    return any(address in network for network in networks)


_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""All that is given out of IPv6. Outside lie `::/96` (IPv4-compatible), `64:ff9b:1::/48` (NAT64 of a network's own),
`100::/64`, `5f00::/16`, `fc00::/7`, `fe80::/10`, `fec0::/10`, `ff00::/8` and what nobody has yet."""
_MAPPED: Final = ipaddress.ip_network("::ffff:0:0/96")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_SIX_TO_FOUR: Final = ipaddress.ip_network("2002::/16")
_ISATAP: Final = 0x0000_5EFE
"""What stands before the IPv4 address, but for the bit that says that this is unique."""
_REACHABLE: Final = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.9/32",
        "192.0.0.10/32",
        "::ffff:0:0/96",  # by the address that it carries
        "64:ff9b::/96",
        "2001:1::1/128",
        "2001:1::2/128",
        "2001:1::3/128",
        "2001:3::/32",
        "2001:4:112::/48",
        "2001:20::/28",
        "2001:30::/28",
    )
]
"""What is reachable from everywhere within or beside the networks that are not."""
_SPECIAL: Final = [
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",  # with Teredo
        "2001:db8::/32",
        "3fff::/20",
    )
]
