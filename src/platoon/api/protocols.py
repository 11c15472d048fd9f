"""HTTP and WebSocket as uvicorn speaks them, with what it leaves open: a bounded head, and an end for whoever keeps us
waiting. How many connections there may be is said in `connections`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

import httptools
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from platoon.api.connections import Connections, reply
from platoon.api.problems import problem

MAX_HEAD_BYTES: Final = 65_536
"""Of a request's head; and of all that frames its body: sizes of chunks, their extensions, trailers."""
MAX_HEAD_FIELDS: Final = 256
_MAX_PIPELINED: Final = 16
"""Requests that a connection may send ahead of their answers."""
_MOVED_BYTES: Final = 16_384
"""A body or an answer that so many bytes of went by has moved on."""
_LINGER_S: Final = 2.0
"""What still comes after a refusal is thrown away for so long: closing at once would take the refusal along."""
_REST_S: Final = 5.0
_REST_BYTES: Final = 16_777_216
"""The same for the rest of a body that was answered before its end, as long as it is not more than this."""
_ANSWERED_WHILE_DRAINING: Final = {"/health", "/health/ready", "/metrics"}


class Patience:
    """How long one connection may keep us waiting.

    Args:
        waiting: for what it waits for the other end (none: it does not), and how far that is.
    """

    def __init__(
        self,
        limits: dict[str, float],
        waiting: Callable[[], tuple[str, int] | None],
        give_up: Callable[[str], None],
    ) -> None:
        self._limits, self._waiting, self._give_up = limits, waiting, give_up
        self._for, self._amount, self._since = "", 0, 0.0

    def look(self, now: float) -> None:
        """Give up if nothing has moved for too long."""
        what, amount = self._waiting() or ("", 0)
        least = _MOVED_BYTES if what in ("body", "reading") else 1
        if what != self._for or amount - self._amount >= least:
            self._for, self._amount, self._since = what, amount, now
        elif what and now - self._since >= self._limits[what]:
            self._give_up(what)

    def moved(self) -> None:
        """Something has."""
        self._for = ""


class HttpConnection(HttpToolsProtocol):
    """A connection that speaks HTTP, until it becomes a `WebSocketConnection`."""

    server_state: Connections

    def __init__(self, config: uvicorn.Config, connections: Connections, caller: str) -> None:
        super().__init__(config, connections, {})
        self._caller = caller
        settings = connections.settings
        stall_s = settings.stall_timeout_s
        self._patience = Patience(
            {"idle": settings.idle_timeout_s, "head": stall_s, "body": stall_s, "reading": stall_s, "rest": _REST_S},
            self._waiting,
            self._give_up,
        )
        self._framing = 0
        """Bytes that came for the present message and are not of its body."""
        self._in_head = self._in_body = self._deaf = False
        self._received = self._requests = self._rest = 0

    @property
    def owes_an_answer(self) -> bool:
        """See `Connection`, as the following."""
        return self.cycle is not None and not self.cycle.response_complete

    def look(self, now: float) -> None:
        """As above."""
        self._patience.look(now)

    def cut(self) -> None:
        """As above: with 503 if nothing was answered yet."""
        if not self.owes_an_answer:
            self.transport.close()
        elif self.cycle.response_started:
            self.transport.abort()
        else:
            self._refuse("draining", 503, "this process had to end before the answer was there; try again")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`, as the following."""
        super().connection_made(cast("asyncio.Transport", transport))
        self.server_state.idle[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """As above."""
        super().connection_lost(exc)
        self.server_state.idle.pop(self, None)
        self.server_state.lost(self._caller)

    def data_received(self, data: bytes) -> None:
        """As above: never more at once than the head may still have."""
        self._unset_keepalive_if_required()
        left = memoryview(data)
        while left and not self._deaf:
            room = MAX_HEAD_BYTES - self._framing
            piece, left = left[:room], left[room:]
            self._framing += len(piece)
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                    return
            except httptools.HttpParserError:
                self._refuse("malformed", 400, "this is no HTTP that can be read")
            if self._framing >= MAX_HEAD_BYTES:
                status = 414 if self._in_head and len(self.url) > MAX_HEAD_BYTES // 2 else 431
                self._refuse("head", status, f"a request's head has at most {MAX_HEAD_BYTES} bytes")

    def resume_writing(self) -> None:
        """As above."""
        super().resume_writing()
        self._patience.moved()

    def on_message_begin(self) -> None:
        """A callback of the parser, as the following."""
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """As above."""
        if len(self.headers) < MAX_HEAD_FIELDS:
            super().on_header(name, value)
        else:
            self._refuse("head", 431, f"a request's head has at most {MAX_HEAD_FIELDS} fields")

    def on_headers_complete(self) -> None:
        """As above."""
        self._in_head, self._in_body, self._rest = False, True, 0
        self._requests += 1
        self.server_state.idle.pop(self, None)
        if self._deaf:
            return
        if len(self.pipeline) >= _MAX_PIPELINED:
            self.server_state.refused("pipelined")
            self._deaf = True
            self.transport.abort()
            return
        if self.server_state.draining:
            self.app = _Draining(self.config.loaded_app)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """As above: each byte of a body allows one more of what frames it."""
        self._framing = max(0, self._framing - 2 * len(body))
        self._received += len(body)
        if self._deaf:
            return
        if self.owes_an_answer:
            super().on_body(body)
            return
        self._rest += len(body)
        if self._rest > _REST_BYTES:
            self.server_state.refused("rest")
            self._deaf = True
            self.transport.abort()

    def on_message_complete(self) -> None:
        """As above."""
        # Where the next one began in what came last is not known: it is counted from the next piece on.
        self._in_body, self._framing = False, 0
        if not self._deaf:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """A callback of the answer."""
        super().on_response_complete()
        if not self.owes_an_answer:
            self.server_state.idle[self] = None

    def handle_websocket_upgrade(self) -> None:
        """Go on as a WebSocket, if there is room for one more."""
        state = self.server_state
        state.idle.pop(self, None)
        if self._deaf:
            return
        if state.draining:
            self._refuse("draining", 503, "this process is about to end; connect again")
        elif state.websockets >= state.most_websockets:
            self._refuse("websockets", 503, "too many WebSockets are open; try again later")
        else:
            super().handle_websocket_upgrade()
            cast("WebSocketConnection", self.transport.get_protocol()).begin(self._caller)

    def _waiting(self) -> tuple[str, int] | None:
        if self._deaf:
            return None
        if (unsent := self.transport.get_write_buffer_size()) > 0:
            return "reading", -unsent
        if self._in_head:
            return "head", self._requests
        if not self.owes_an_answer:
            return ("rest" if self._in_body else "idle"), self._requests
        if self._in_body and not self.flow.read_paused:
            return "body", self._received
        return None

    def _give_up(self, what: str) -> None:
        if what != "idle":
            self.server_state.refused(f"slow {what}")
        if what == "head" or (what == "body" and not self.cycle.response_started):
            self._refuse("", 408, f"the rest of the request's {what} did not come")
        else:
            self.transport.abort()

    def _refuse(self, cause: str, status: int, message: str) -> None:
        """The last words on this connection, if they were not said yet; what still comes is thrown away."""
        if self._deaf:
            return
        if cause:
            self.server_state.refused(cause)
        self._deaf = True
        if self.owes_an_answer:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started or self.pipeline:
                self.transport.abort()  # in the midst of an answer there is nothing that could be said
                return
        self.transport.write(reply(status, message))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(_LINGER_S, self.transport.abort)


class WebSocketConnection(WebSocketsSansIOProtocol):
    """A connection that has become a WebSocket."""

    def __init__(self, config: uvicorn.Config, server_state: Connections, app_state: dict[str, object]) -> None:
        super().__init__(config, server_state, app_state)
        self._state, self.caller = server_state, ""
        self._state.websockets += 1
        self._patience = Patience({"reading": server_state.settings.stall_timeout_s}, self._waiting, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`, as the following."""
        super().connection_lost(exc)
        self._state.websockets -= 1
        self._state.lost(self.caller)

    def resume_writing(self) -> None:
        """As above."""
        super().resume_writing()
        self._patience.moved()

    async def send(self, message: Any) -> None:
        """As in ASGI. A handshake that the application refused is complete: uvicorn would log each as an error.

        So it would each message for whoever was closed meanwhile, as he did not answer pings.
        """
        if self.close_sent:
            raise ClientDisconnected
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True

    @property
    def owes_an_answer(self) -> bool:
        """See `Connection`, as the following."""
        return False

    def look(self, now: float) -> None:
        """As above."""
        self._patience.look(now)

    def shutdown(self) -> None:
        """As above: with code 1012, by which clients know that they may connect again."""
        if not self.transport.is_closing():
            super().shutdown()

    def cut(self) -> None:
        """As above."""
        self.shutdown()

    def begin(self, caller: str) -> None:
        """Go on where the `HttpConnection` ended; a handshake that could not be read is refused."""
        self.caller = caller
        if not self.handshake_initiated:
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def _waiting(self) -> tuple[str, int] | None:
        unsent = self.transport.get_write_buffer_size()
        return ("reading", -unsent) if unsent else None

    def _give_up(self, what: str) -> None:
        self._state.refused(f"slow {what}")
        self.transport.abort()


class _Draining:
    """What answers instead of `app` once the process is about to end. ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say so; health and metrics are answered to the last."""
        if scope["path"] in _ANSWERED_WHILE_DRAINING:
            await self._app(scope, receive, send)
            return
        refusal = problem(503, "Draining", "this process is about to end; try again in a moment", retry=True)
        refusal.headers.update({"Retry-After": "1", "Connection": "close"})
        await refusal(scope, receive, send)
