"""The one lock on every door: nothing of an application answers before its caller was looked at.

Whoever adds a route to an application says what it asks of its callers (`Doors`). `Guard`, around the application,
finds the route that a call is for as the application itself does, and lets in whom the route admits. What has no route
asks for a key too, and a route of which nothing was said lets nobody in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from platoon.api.access import Access, Need, admitted
from platoon.api.browser import SECURITY_HEADERS, Hosts
from platoon.api.problems import as_problem
from platoon.errors import PlatoonError
from platoon.metrics import Metrics

Refuse = Callable[[PlatoonError, HTTPConnection], Response]
"""Words a refusal in the form of a contract."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Door:
    """What a route asks."""

    need: Need | None
    """None: nobody is let in."""
    refuse: Refuse = lambda error, _: as_problem(error)


_NOWHERE: Final = Door("key")
_UNSAID: Final = Door(None)


class Doors:
    """The routes of an application, and what each asks of its callers."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self._doors: dict[int, Door] = {}
        """By the identity of the route."""

    def add(self, routes: APIRouter | Sequence[BaseRoute], need: Need, refuse: Refuse | None = None) -> None:
        """Add routes that all ask for this.

        Args:
            refuse: words refusals; none: as the interface has them.
        """
        before = len(self._app.routes)
        if isinstance(routes, APIRouter):
            assert isinstance(self._app, FastAPI)
            self._app.include_router(routes)
        else:
            self._app.router.routes.extend(routes)
        self.say(need, self._app.routes[before:], refuse)

    def say(self, need: Need, routes: Sequence[BaseRoute], refuse: Refuse | None = None) -> None:
        """What routes that are there ask for."""
        door = Door(need) if refuse is None else Door(need, refuse)
        self._doors.update((id(route), door) for route in routes)

    def check(self) -> None:
        """Raises ValueError where a route was added and nothing said of it."""
        unsaid = [str(getattr(route, "path", route)) for route in self._app.routes if id(route) not in self._doors]
        if unsaid:
            raise ValueError(f"these routes say nothing of whom they let in: {', '.join(unsaid)}")

    def of(self, scope: Scope) -> Door:
        """Of the route that answers a call, or would with another method."""
        other_method: BaseRoute | None = None
        for route in self._app.routes:
            match, _ = route.matches(scope)
            if match is Match.FULL:
                return self._doors.get(id(route), _UNSAID)
            if match is Match.PARTIAL and other_method is None:
                other_method = route
        return _NOWHERE if other_method is None else self._doors.get(id(other_method), _UNSAID)


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, doors: Doors, access: Access, hosts: Hosts, metrics: Metrics) -> None:
        self.app = app
        self._doors, self._access, self._hosts, self._metrics = doors, access, hosts, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        door = _NOWHERE

        async def send_uncached(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                # What holds no data may be kept, and is asked for again whether it still holds.
                headers.setdefault("Cache-Control", "no-cache" if door.need == "nothing" else "no-store")
                if scope["type"] == "websocket":  # servers send theirs only with what is no socket
                    headers.update(SECURITY_HEADERS)
            await send(message)

        try:
            self._hosts.check(scope)
            door = self._doors.of(scope)
            admitted(scope, self._admit(scope, door), partial(self._holds, scope, door))
        except PlatoonError as error:
            self._record_refusal(scope, error)
            await door.refuse(error, HTTPConnection(scope))(scope, receive, send_uncached)
        else:
            await self.app(scope, receive, send_uncached)

    def _admit(self, scope: Scope, door: Door) -> Any:
        if door.need is None:
            raise PlatoonError("this route lets nobody in")
        client = scope.get("client")
        return self._access.admit(Headers(scope=scope), client[0] if client else None, door.need)

    def _holds(self, scope: Scope, door: Door) -> bool:
        return door.need in ("nothing", "signature") or self._access.holds(Headers(scope=scope))

    def _record_refusal(self, scope: Scope, error: PlatoonError) -> None:
        cause = type(error).__name__
        self._metrics.calls_refused.labels(cause).inc()
        client = scope.get("client")
        _log.info("%s: refused to %s: %s", scope["path"], client[0] if client else "?", error, extra={"cause": cause})
