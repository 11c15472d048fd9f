"""Every request has an id: the caller's own in `X-Request-ID`, else a new one.

It comes back in the same header and stands in every log line about the request.
"""

import re
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from platoon.logs import REQUEST

_HEADER = "X-Request-ID"
_SOUND = re.compile(r"[\x21-\x7e]{1,128}")


class RequestId:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Name the request and pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(_HEADER, "")
        request_id = given if _SOUND.fullmatch(given) else uuid4().hex

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[_HEADER] = request_id
            await send(message)

        token = REQUEST.set(request_id)
        try:
            await self.app(scope, receive, send_with_id)
        finally:
            REQUEST.reset(token)
