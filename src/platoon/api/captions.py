"""`/api/captions`: what was seen in cameras, in words: searched, and as it is emitted.

The stream is of server-sent events. Each caption has an id, by which a client that was cut off goes on where it was:
captions come from the store, so none is left out. What got no caption is sent as a `gap` while the client is there.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from platoon.api.access import still_admitted
from platoon.api.problems import described
from platoon.errors import NotFound, StoreError
from platoon.streams.site import Message, Site

_KIND: Final = "caption"
_PAGE: Final = 100
_GAPS_MOST: Final = 256
"""That wait for one client; of more the oldest are left out, which is said."""
_LOOK_S: Final = 1.0
"""Between two looks whether a session still holds, and whether the process is about to end."""
_ALIVE_LOOKS: Final = 15
"""After so many of them without a word one is sent that means nothing, so that the connection is known to live."""


def routes(site: Site, ends: Callable[[], bool] = lambda: False) -> APIRouter:
    """The captions of the main port.

    Args:
        ends: whether the process is about to end, so that streams do as well.
    """
    router = APIRouter(tags=["captions"], responses=described(StoreError))

    @router.get("/api/captions")
    def search_captions(
        q: Annotated[str | None, Query(max_length=200)] = None,
        camera: Annotated[str | None, Query(max_length=128)] = None,
        since: Annotated[float | None, Query(alias="from")] = None,
        until: Annotated[float | None, Query(alias="to")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> dict[str, list[dict[str, Any]]]:
        """Captions, newest first: `{"captions": [...]}`.

        `q` is any part of a caption; spaces, punctuation and case do not matter. `from` and `to` are seconds since
        1970, of the beginning of the segment; `to` is not included. `/api/events/{id}/crop.jpg` has the picture.
        """
        found = site.events.search(
            kind=_KIND, text=q or None, camera=camera or None, since=since, until=until, limit=limit
        )
        return {"captions": found}

    @router.get("/api/captions/stream", response_class=StreamingResponse, responses=described(NotFound))
    async def stream_captions(
        request: Request,
        camera: Annotated[str | None, Query(max_length=128)] = None,
        last_event_id: Annotated[int | None, Header(ge=0)] = None,
    ) -> StreamingResponse:
        """Captions as they are emitted, of one camera or of all, as server-sent events.

        `caption` has an `id`; with `Last-Event-ID` those since then come first. `gap` is a segment without a caption:
        `camera`, `time`, `until`, `state` (`superseded`, `expired`, `failed`, `skipped`), `cause` (of its end).
        `missed` says how many gaps a slow client did not get.
        """
        known = await run_in_threadpool(site.cameras)
        if camera is not None and camera not in {status.id for status in known}:
            raise NotFound(f"no camera {camera!r}")
        last = await run_in_threadpool(site.events.revision) if last_event_id is None else last_event_id
        feed = _Feed(site, camera, last)
        return StreamingResponse(
            _lines(feed, lambda: ends() or not still_admitted(request.scope)), media_type="text/event-stream"
        )

    return router


class _Feed:
    """What one client has yet to get. Belongs to the event loop it was made in, but for `hear`."""

    def __init__(self, site: Site, camera: str | None, last: int) -> None:
        self._site, self._camera, self._last = site, camera, last
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._gaps: deque[Message] = deque()
        self._missed = 0
        self._heard = asyncio.Event()
        self._heard.set()

    def subscribe(self) -> Callable[[], None]:
        """Hear of what is emitted until the returned function is called."""
        return self._site.subscribe(self.hear, self._camera)

    def hear(self, message: Message) -> None:
        """Take a message of the site, on any thread."""
        if message["type"] == "caption_gap":
            with self._lock:
                self._gaps.append({name: value for name, value in message.items() if name != "type"})
                if len(self._gaps) > _GAPS_MOST:
                    self._gaps.popleft()
                    self._missed += 1
        elif message["type"] != _KIND:
            return
        with suppress(RuntimeError):  # the loop has ended, and the client with it
            self._loop.call_soon_threadsafe(self._heard.set)

    async def wait(self) -> bool:
        """Whether there is something new, waiting for it a little."""
        try:
            async with asyncio.timeout(_LOOK_S):
                await self._heard.wait()
        except TimeoutError:
            return False
        self._heard.clear()
        return True

    def gaps(self) -> list[str]:
        """Those that wait, in order."""
        with self._lock:
            waiting, missed = list(self._gaps), self._missed
            self._gaps.clear()
            self._missed = 0
        said = [_event("missed", {"gaps": missed})] if missed else []
        return said + [_event("gap", gap) for gap in waiting]

    def captions(self) -> tuple[list[str], bool]:
        """The next ones that the store has, and whether it has more. Raises StoreError."""
        now = self._site.events.revision()
        if self._last > now:  # of a store that was begun anew since
            self._last = 0
        found = self._site.events.written_since(self._last, _PAGE, kind=_KIND)
        more = len(found) == _PAGE
        self._last = found[-1][0] if more else max([now, *(number for number, _ in found)])
        said = [_event(_KIND, event, number) for number, event in found if self._camera in (None, event["camera"])]
        return said, more


async def _lines(feed: _Feed, ends: Callable[[], bool]) -> AsyncIterator[str]:
    unsubscribe = feed.subscribe()
    silent = 0
    try:
        yield ": captions\n\n"
        while not ends():
            if not await feed.wait():
                silent += 1
                if silent % _ALIVE_LOOKS == 0:
                    yield ":\n\n"
                continue
            silent, more = 0, True
            while more:
                try:
                    said, more = await run_in_threadpool(feed.captions)
                except StoreError:
                    return  # the client connects again, and gets what it lacks
                for one in (*said, *feed.gaps()):
                    yield one
    finally:
        unsubscribe()


def _event(kind: str, data: Any, number: int | None = None) -> str:
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {kind}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"
