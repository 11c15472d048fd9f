"""How many connections there may be, so that a site goes on whoever opens them.

One that only waits gives its slot to a newer one; where all are at work, one more gets 503. All ports of a site share
one `Connections`. What a single one may cost is said in `protocols`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Protocol, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from platoon.api.browser import SECURITY_HEADERS
from platoon.api.problems import is_out_of_descriptors
from platoon.metrics import Metrics
from platoon.settings import ApiSettings

_OPENING_AT_ONCE: Final = 64
_PAUSE_S: Final = 0.2
"""Before connections are accepted again that there is no descriptor for."""
_SAY_AGAIN_S: Final = 60.0
_REPLY_HEAD: Final = "".join(
    f"{name.lower()}: {value}\r\n"
    for name, value in {**SECURITY_HEADERS, "Content-Type": "application/json", "Connection": "close"}.items()
).encode()
_DESCRIPTORS: Final = 65_536
"""More are not asked of the system."""

log = logging.getLogger(__name__)


def raise_descriptor_limit() -> None:
    """Let this process open as many files and connections as the system allows it, within reason."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Connection(Protocol):
    """What is asked of one connection."""

    config: uvicorn.Config
    transport: asyncio.Transport

    @property
    def owes_an_answer(self) -> bool:
        """Whether a request has not been answered yet."""

    def look(self, now: float) -> None:
        """Close it if it has waited for its other end for too long; `now` as of `time.monotonic`."""

    def shutdown(self) -> None:
        """End it, once what it owes is answered."""

    def cut(self) -> None:
        """End it now."""


class Connections(ServerState):
    """All connections of a site, and what they share. Belongs to one event loop.

    Half of the descriptors of this process stay free for cameras, models and files.
    """

    def __init__(self, settings: ApiSettings, metrics: Metrics) -> None:
        super().__init__()
        self.settings = settings
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.most = max(1, min(settings.max_connections, descriptors // 2))
        self.most_websockets = max(1, min(settings.max_websockets, self.most // 2))
        self.idle: dict[Connection, None] = {}
        """Those that wait for a head, in the order in which they began to."""
        self.websockets = 0
        self.draining = False
        self._metrics = metrics
        self._proxies = [ipaddress.ip_network(one) for one in settings.proxies]
        self._open = 0
        self._by_caller: Counter[str] = Counter()
        self._said: dict[str, float] = {}
        self._opening: set[asyncio.Task[None]] = set()

    def admit(self, accepted: socket.socket, host: str, factory: Callable[[str], asyncio.Protocol]) -> None:
        """Let a protocol speak on a connection that was accepted, or turn it away with 503.

        Args:
            factory: makes it; what it is given is for `lost`.
        """
        caller = self._caller(host)
        if caller and self._by_caller[caller] >= self.settings.max_connections_per_address:
            self.refused("address")
            _turn_away(accepted, "too many connections from this address")
            return
        if self._open >= self.most and not self._make_room():
            self.refused("connections")
            _turn_away(accepted, "too many connections")
            return
        self._count(caller, 1)
        task = asyncio.get_running_loop().create_task(self._speak(accepted, caller, factory))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    @property
    def slots_to_open(self) -> int:
        """So many more may be admitted now: most must be open, as only those can give way to others."""
        return max(1, min(_OPENING_AT_ONCE, self.most // 4)) - len(self._opening)

    def lost(self, caller: str) -> None:
        """A connection that was admitted has ended."""
        self._count(caller, -1)

    def refused(self, cause: str) -> None:
        """Count a connection that was refused or cut, and say so now and then."""
        self._metrics.connections_refused.labels(cause).inc()
        now = time.monotonic()
        if now - self._said.get(cause, -_SAY_AGAIN_S) >= _SAY_AGAIN_S:
            self._said[cause] = now
            log.warning("connections are refused or cut (%s); see platoon_connections_refused_total", cause)

    def all(self) -> list[Connection]:
        """Those that are open now."""
        return cast("list[Connection]", list(self.connections))

    def look(self) -> None:
        """Close what has waited for its other end for too long. To be called once a second."""
        now = time.monotonic()
        for connection in self.all():
            connection.look(now)

    def drain(self) -> None:
        """Take no more requests: what waits is closed, what is under way is the last of its connection."""
        self.draining = True
        for connection in self.all():
            connection.shutdown()

    def not_ready(self) -> list[str]:
        """See `health.Part`."""
        return ["draining: this process is about to end"] if self.draining else []

    async def _speak(self, accepted: socket.socket, caller: str, factory: Callable[[str], asyncio.Protocol]) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(partial(factory, caller), accepted)
        except (OSError, asyncio.CancelledError):
            accepted.close()
            self._count(caller, -1)

    def _make_room(self) -> bool:
        """Whether one that only waited was closed for a newer one."""
        while self.idle:
            oldest = next(iter(self.idle))
            del self.idle[oldest]
            if not oldest.transport.is_closing():
                self.refused("replaced")
                oldest.transport.abort()
                return True
        return False

    def _count(self, caller: str, change: int) -> None:
        self._open += change
        self._metrics.connections.set(self._open)
        if caller:
            self._by_caller[caller] += change
            if not self._by_caller[caller]:
                del self._by_caller[caller]

    def _caller(self, host: str) -> str:
        """Whose slots a connection takes: an address, or of IPv6 a network; empty for a proxy, which has no limit."""
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return host
        if isinstance(address, ipaddress.IPv6Address):
            address = address.ipv4_mapped or address
        if any(address in network for network in self._proxies):
            return ""
        return str(address) if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


class Acceptor:
    """Accepts connections on a socket from `bind`, between its making and `close`.

    Without a free descriptor it answers 503 by one that it holds in reserve.

    Args:
        factory: see `Connections.admit`.
    """

    def __init__(
        self, bound: socket.socket, connections: Connections, factory: Callable[[str], asyncio.Protocol]
    ) -> None:
        self._bound, self._connections, self._factory = bound, connections, factory
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._spare = _spare()
        self._loop.add_reader(bound, self._accept)

    def close(self) -> None:
        """Accept no more."""
        self._loop.remove_reader(self._bound)
        if self._pause is not None:
            self._pause.cancel()
        self._bound.close()
        if self._spare is not None:
            os.close(self._spare)

    def _accept(self) -> None:
        for _ in range(self._connections.slots_to_open):
            try:
                accepted, address = self._bound.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._connections.refused("descriptors" if is_out_of_descriptors(error) else "system")
                if not self._turned_away_with_the_spare():
                    self._loop.remove_reader(self._bound)
                    self._pause = self._loop.call_later(_PAUSE_S, self._loop.add_reader, self._bound, self._accept)
                return
            accepted.setblocking(False)
            self._connections.admit(accepted, address[0], self._factory)

    def _turned_away_with_the_spare(self) -> bool:
        if self._spare is not None:
            os.close(self._spare)
            with suppress(OSError):
                accepted, _ = self._bound.accept()
                accepted.setblocking(False)
                _turn_away(accepted, "no file descriptors are left")
        had, self._spare = self._spare is not None, _spare()
        return had


def reply(status: int, message: str) -> bytes:
    """A refusal, as it is sent where no application is asked."""
    code = "Overloaded" if status == 503 else "Refused"
    body = json.dumps({"error": {"code": code, "message": message, "retry": status in (408, 503)}}).encode()
    retry = b"retry-after: 1\r\n" if status == 503 else b""
    return b"%s%s%scontent-length: %d\r\n\r\n%s" % (STATUS_LINE[status], _REPLY_HEAD, retry, len(body), body)


def _turn_away(accepted: socket.socket, message: str) -> None:
    """Answer 503 on a connection that is not served, and close it."""
    with accepted, suppress(OSError):
        accepted.setblocking(False)
        accepted.send(reply(503, f"{message}; try again in a moment"))
        accepted.shutdown(socket.SHUT_WR)
        accepted.recv(65_536)  # what is unread when it closes would take the answer along


def _spare() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
