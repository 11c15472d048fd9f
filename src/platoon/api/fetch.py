"""Fetching a file that a caller names by URL, without becoming the caller's way into our network.

Every connection, also after a redirect, goes to an address that was checked for this very connection: a name that
resolves to another address the next time (DNS rebinding) gains nothing. Proxies of the environment are not used,
as they would connect unchecked.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore

from platoon.api.addresses import Resolver, is_public
from platoon.errors import DeadlineExceeded, InvalidInput, TooLarge
from platoon.redaction import redact
from platoon.settings import ServiceSettings

_REDIRECTS = 5
_LONGEST = 8192
_SHOWN = 200
_MOVED = {301, 302, 303, 307, 308}


class Fetcher:
    """Fetches files over HTTP and HTTPS.

    Args:
        hosts: names whose addresses may be private.
        timeout_s: for one file, looking up names, redirects and all.
        resolver: none: a new one.
        way_out: what could let others be reached, for messages.
    """

    def __init__(
        self,
        *,
        hosts: Iterable[str],
        max_bytes: int,
        timeout_s: float,
        resolver: Resolver | None = None,
        way_out: str = "service.fetch_hosts could allow it",
    ) -> None:
        self._max_bytes, self._timeout_s = max_bytes, timeout_s
        allowed = frozenset(host.lower() for host in hosts)
        self._backend = _CheckedNetwork(allowed, resolver or Resolver(), way_out)
        self._tls = ssl.create_default_context()

    async def fetch(self, url: str) -> bytes:
        """The bytes at `url`.

        Raises:
            TooLarge: more than `max_bytes`. DeadlineExceeded: not there in time.
            InvalidInput: it cannot be fetched, or it, or where it redirects to, is at an address that is not public.
            Overloaded: too many names are being looked up.
        """
        with self._explained(url):
            async with (
                asyncio.timeout(self._timeout_s),
                httpcore.AsyncConnectionPool(self._tls, network_backend=self._backend) as pool,
            ):
                for _ in range(_REDIRECTS + 1):
                    found = await self._get(pool, url)
                    if isinstance(found, bytes):
                        return found
                    url = urljoin(url, found)
        raise InvalidInput(f"{redact(url)[:_SHOWN]} is one of more than {_REDIRECTS} redirects")

    async def post(self, url: str, body: bytes, headers: Sequence[tuple[str, str]]) -> None:
        """Send `body` to `url`. Redirects are not followed.

        Raises:
            DeadlineExceeded, InvalidInput, Overloaded: as `fetch`; so does an answer with another status than 2xx.
        """
        with self._explained(url):
            shown = check_url(url)
            async with (
                asyncio.timeout(self._timeout_s),
                httpcore.AsyncConnectionPool(self._tls, network_backend=self._backend) as pool,
                pool.stream("POST", url, headers=[("User-Agent", "platoon"), *headers], content=body) as response,
            ):
                if not 200 <= response.status < 300:
                    raise InvalidInput(f"{shown} answers with status {response.status}")

    @contextmanager
    def _explained(self, url: str) -> Iterator[None]:
        """Turn what connections raise into what the caller can do."""
        try:
            yield
        except TimeoutError as error:
            if isinstance(error, DeadlineExceeded):
                raise
            raise DeadlineExceeded(f"{redact(url)[:_SHOWN]} did not answer within {self._timeout_s:g} s") from error
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
            httpcore.UnsupportedProtocol,
            OSError,
            ValueError,  # InvalidInput is one too, and says what it has to say
        ) as error:
            if isinstance(error, InvalidInput):
                raise
            raise InvalidInput(f"{redact(url)[:_SHOWN]} cannot be reached: {error or type(error).__name__}") from error

    async def _get(self, pool: httpcore.AsyncConnectionPool, url: str) -> bytes | str:
        """The content at `url`, or where it redirects to."""
        shown = check_url(url)
        headers = [("Accept-Encoding", "identity"), ("User-Agent", "platoon")]
        async with pool.stream("GET", url, headers=headers) as response:
            answered = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            if response.status in _MOVED and "location" in answered:
                return answered["location"]
            if response.status != 200:
                raise InvalidInput(f"{shown} answers with status {response.status}")
            if answered.get("content-encoding", "identity") != "identity":
                raise InvalidInput(f"{shown} comes compressed, which was not asked for")
            content = bytearray()
            async for chunk in response.aiter_stream():
                content += chunk
                if len(content) > self._max_bytes:
                    raise TooLarge(f"{shown} is larger than {self._max_bytes} bytes")
            return bytes(content)


def fetcher_for(settings: ServiceSettings) -> Fetcher:
    """What the settings let be fetched."""
    return Fetcher(hosts=settings.fetch_hosts, max_bytes=settings.max_body_bytes, timeout_s=settings.fetch_timeout_s)


def check_url(url: str) -> str:
    """How to show the address in messages. Raises InvalidInput for one that is not asked."""
    shown = redact(url)[:_SHOWN]
    if len(url) > _LONGEST:
        raise InvalidInput(f"{shown} is longer than {_LONGEST} characters")
    parts = urlsplit(url)
    if not url.isascii() or parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"{shown} is no http or https address in ASCII")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(f"{shown} holds credentials; files are fetched without")
    return shown


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to public addresses, and to those of the hosts that are allowed."""

    def __init__(self, hosts: frozenset[str], resolver: Resolver, way_out: str) -> None:
        self._hosts, self._resolver, self._way_out = hosts, resolver, way_out
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first of the host's addresses that answers, if all may be connected to."""
        addresses = await self._resolver.addresses(host)
        if host.lower() not in self._hosts and not all(map(is_public, addresses)):
            raise InvalidInput(f"{host} is at an address that is not public; {self._way_out}")
        failure: Exception | None = None
        for address in addresses:
            try:
                return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        del timeout, socket_options
        raise InvalidInput(f"{path} is a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        """As any backend."""
        await asyncio.sleep(seconds)
