"""The WebSocket interfaces: overlays, events and camera states as they happen, as `streams.site.Message` has them.

A connection first gets the state of each camera, then every message. One that reads too slowly loses the
oldest overlays (counted); an event or a state is never left out: when there is no room for one, the
connection is closed with code 1013, and the client fetches from `/api/events` what it missed. It is closed with 1008
when the session ends that it was opened with.
"""

import asyncio
import json
import threading
from collections import deque
from contextlib import suppress

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from platoon.api.access import still_admitted
from platoon.api.problems import as_problem
from platoon.errors import NotFound
from platoon.metrics import Metrics
from platoon.streams.site import Message, Site

_WAITING_MESSAGES = 256
"""Of one client, a few kilobytes each: an overlay has at most `plates.events.BOXES_MOST` boxes."""
_TRY_AGAIN_LATER = 1013
_NOT_ALLOWED = 1008
_CLOSE_TIMEOUT_S = 1.0
_LOOK_S = 1.0
"""Between two looks whether a session still holds."""
_KEPT_TEXTS = 64


class ClientQueue:
    """What one client has yet to get: filled by any thread, emptied by the event loop it was made in."""

    def __init__(self, metrics: Metrics, *, limit: int = _WAITING_MESSAGES) -> None:
        self._metrics, self._limit = metrics, limit
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: deque[Message] = deque()
        self._asleep = False
        self._filled = asyncio.Event()
        self._overfull = False
        self.overfull = asyncio.Event()
        """Set once something that must not be left out had no room."""

    def offer(self, message: Message) -> None:
        """Add a message, if need be in place of the oldest overlay; returns at once."""
        with self._lock:
            if self._overfull:
                return
            if len(self._waiting) < self._limit or self._drop_oldest_overlay():
                self._waiting.append(message)
            elif message["type"] == "overlay":
                self._metrics.live_dropped.inc()
            else:
                self._overfull = True
                self._notify(self.overfull)
            if self._asleep:
                self._asleep = False
                self._notify(self._filled)

    async def take(self) -> Message:
        """The next message, in order; waits for one."""
        while True:
            with self._lock:
                if self._waiting:
                    return self._waiting.popleft()
                self._asleep = True
                self._filled.clear()
            await self._filled.wait()

    def _drop_oldest_overlay(self) -> bool:
        for index, message in enumerate(self._waiting):
            if message["type"] == "overlay":
                del self._waiting[index]
                self._metrics.live_dropped.inc()
                return True
        return False

    def _notify(self, event: asyncio.Event) -> None:
        with suppress(RuntimeError):  # the loop has ended, and the client with it
            self._loop.call_soon_threadsafe(event.set)


class Texts:
    """What messages look like on the wire, made once for all clients that get them. Belongs to one event loop."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Message, str]] = {}
        """By the identity of the message, which is kept with it; oldest first."""

    def of(self, message: Message) -> str:
        """The text of a message."""
        if (made := self._made.get(id(message))) is not None:
            return made[1]
        if len(self._made) >= _KEPT_TEXTS:
            del self._made[next(iter(self._made))]
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        self._made[id(message)] = message, text
        return text


def routes(site: Site) -> APIRouter:
    """The WebSockets of the main port."""
    router, texts = APIRouter(), Texts()

    @router.websocket("/api/ws")
    async def all_cameras(websocket: WebSocket) -> None:
        await feed(websocket, site, texts)

    @router.websocket("/api/cameras/{camera}/ws")
    async def one_camera(websocket: WebSocket, camera: str) -> None:
        await feed(websocket, site, texts, camera)

    return router


async def feed(websocket: WebSocket, site: Site, texts: Texts, camera: str | None = None) -> None:
    """Serve one connection until either side ends it. An unknown camera is refused with 404.

    Args:
        texts: of all connections of its port.
    """
    queue = ClientQueue(site.metrics)
    unsubscribe = site.subscribe(queue.offer, camera)
    try:
        now = [status for status in await run_in_threadpool(site.cameras) if camera in (None, status.id)]
        if camera is not None and not now:
            await websocket.send_denial_response(as_problem(NotFound(f"no camera {camera!r}")))
            return
        await websocket.accept()
        with site.metrics.live_clients.track_inprogress():
            first: list[Message] = [{"type": "camera", "camera": status.to_json()} for status in now]
            await _converse(websocket, queue, texts, first)
    finally:
        unsubscribe()


async def _converse(websocket: WebSocket, queue: ClientQueue, texts: Texts, first: list[Message]) -> None:
    shut_out = asyncio.create_task(_until_shut_out(websocket))
    tasks = {
        asyncio.create_task(_send(websocket, queue, texts, first)),
        asyncio.create_task(_until_gone(websocket)),
        asyncio.create_task(queue.overfull.wait()),
        shut_out,
    }
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception) and not isinstance(error, WebSocketDisconnect):
            raise error
    if not shut_out.cancelled():
        await _close(websocket, _NOT_ALLOWED, "the session has ended; log in again")
    elif queue.overfull.is_set():
        await _close(websocket, _TRY_AGAIN_LATER, "too slow: events would have been left out; connect again")


async def _close(websocket: WebSocket, code: int, why: str) -> None:
    with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await websocket.close(code, why)


async def _send(websocket: WebSocket, queue: ClientQueue, texts: Texts, first: list[Message]) -> None:
    for message in first:
        await websocket.send_text(texts.of(message))
    while True:
        await websocket.send_text(texts.of(await queue.take()))
        await asyncio.sleep(0)  # one message each: others are served in between, however many wait here


async def _until_shut_out(websocket: WebSocket) -> None:
    while still_admitted(websocket.scope):  # noqa: ASYNC110 - a time that is over notifies nobody
        await asyncio.sleep(_LOOK_S)


async def _until_gone(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass  # clients have nothing to say
