"""What browsers are told and refused.

Pages of other sites may neither change anything here nor listen to the cameras: a request that a browser
sends for a page of another host (it says so in `Origin`) is refused where it could do either. Other ports of
this host are welcome, as operators' tools open the cameras' own ports. Our page loads nothing from elsewhere.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from platoon.api.problems import problem

_READING = {"GET", "HEAD", "OPTIONS"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class BrowserGuard:
    """ASGI middleware: refuses other sites' pages, and sends the headers that keep our own page closed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        changes_or_listens = scope["type"] == "websocket" or scope["method"] not in _READING
        if changes_or_listens and _from_another_host(Headers(scope=scope)):
            refusal = problem(403, "OtherSite", "a page of another site may not do this; open Platoon's own page")
            await refusal(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)


def _from_another_host(headers: Headers) -> bool:
    origin = headers.get("origin")
    if origin is None:
        return False  # no browser, or a page asking its own origin
    try:
        return urlsplit(origin).hostname != urlsplit(f"//{headers.get('host', '')}").hostname
    except ValueError:
        return True
