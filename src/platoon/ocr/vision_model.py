"""A vision-language model that is asked about one picture at a time; see `engine.chat_server`."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Final

from platoon.engine.chat_server import ChatServer, Said, Server
from platoon.engine.request_context import RequestContext
from platoon.media.frame import Pixels, as_jpeg
from platoon.settings import GatewaySettings

_JPEG_QUALITY: Final = 95


class VisionModel:
    """Asks the model. Safe from any thread; `close` it.

    Args:
        settings: with a `vlm_url`.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        assert settings.vlm_url is not None
        self._server = ChatServer(
            Server(
                setting="gateway.vlm_model",
                url=settings.vlm_url,
                model=settings.vlm_model,
                key=None if settings.vlm_api_key is None else settings.vlm_api_key.get_secret_value(),
                max_requests=settings.vlm_max_requests,
                timeout_s=settings.vlm_timeout_s,
                health_timeout_s=settings.health_timeout_s,
            )
        )

    def ask(self, picture: Pixels, prompt: str, options: Mapping[str, Any], call: RequestContext) -> Future[Said]:
        """What the model says of a picture, unless the caller leaves; raises as `ChatServer.ask`.

        Args:
            options: of the request, beside the model and the messages.
        """
        url = f"data:image/jpeg;base64,{base64.b64encode(as_jpeg(picture, quality=_JPEG_QUALITY)).decode()}"
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": prompt},
        ]
        asked = self._server.ask(content, options, deadline=call.deadline)
        call.when_cancelled(asked.cancel)
        return asked

    def not_ready(self) -> list[str]:
        """Why it cannot be asked; waits as long as a health check may."""
        return self._server.not_ready()

    def close(self) -> None:
        """Take back all questions."""
        self._server.close()
