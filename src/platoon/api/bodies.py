"""How large bodies may be: of each call, by default little; and of all that are under way together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from platoon.errors import Overloaded, TooLarge

SMALL_BODY_BYTES: Final = 65_536
"""Of any call whose route does not say otherwise."""
_LIMIT: Final = "platoon.body_limit"


class BodyLimit:
    """ASGI middleware: a body that is larger than its route may have raises TooLarge where it is read.

    So nothing that parses bodies gets more, and a new route has the small limit until it takes another with
    `limit_body`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, with what it receives counted."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = scope[_LIMIT] = _Limit(SMALL_BODY_BYTES)
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if announced.isdigit():
            limit.announced = int(announced[:20])

        async def counted() -> Message:
            limit.check(limit.announced)  # before it is sent
            message = await receive()
            limit.received += len(message.get("body", b""))
            limit.check(limit.received)
            return message

        await self.app(scope, counted, send)


class _Limit:
    """Of one body, in bytes."""

    def __init__(self, most: int) -> None:
        self.most, self.announced, self.received = most, 0, 0

    def check(self, n_bytes: int) -> None:
        if n_bytes > self.most:
            raise TooLarge(f"the body is larger than {self.most} bytes, which is all that this call takes")


def limit_body(request: Request, most: int) -> None:
    """Let this call have a body of so many bytes; to be said before it is read.

    Whoever takes large ones bounds them all together, with `WaitingBytes`.
    """
    if (limit := request.scope.get(_LIMIT)) is not None:
        limit.most = most


class WaitingBytes:
    """Counts the bytes of all bodies under way, whatever brings them. Safe from any thread.

    Args:
        most: there may be.
    """

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._lock = threading.Lock()

    def take(self, n_bytes: int) -> None:
        """So many more are here. Raises Overloaded, and takes none, where that would be too many."""
        with self._lock:
            if self._held + n_bytes > self._most:
                raise Overloaded("too many bytes of other calls are under way; try again in a moment")
            self._held += n_bytes

    def give(self, n_bytes: int) -> None:
        """So many have gone."""
        with self._lock:
            self._held -= n_bytes

    @contextmanager
    def holding(self, n_bytes: int) -> Iterator[None]:
        """So many are here as long as it lasts. Raises Overloaded."""
        self.take(n_bytes)
        try:
            yield
        finally:
            self.give(n_bytes)
