"""A vision-language model on an OpenAI-compatible server, asked about one picture at a time.

How many questions of all callers are under way is bounded. A server that is busy, away or too slow is asked again,
after ever longer waits, until the caller's time is up; a question is taken back when its caller leaves.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import random
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import httpx

from platoon.engine.request_context import RequestContext
from platoon.errors import DeadlineExceeded, FailedBehind, InvalidInput, PlatoonError, Unavailable
from platoon.media.frame import Pixels, as_jpeg
from platoon.redaction import redact
from platoon.settings import GatewaySettings

ATTEMPTS: Final = 4
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 8.0
_AGAIN: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_PICTURE: Final = frozenset({400, 413, 415, 422})
"""Statuses that say that this one picture cannot be read."""
_NO_MODEL: Final = frozenset({400, 404, 500})
"""Statuses by which servers say, beside other things, that they do not serve a model: transformers, vLLM, others."""
_JPEG_QUALITY = 95
_SHOWN = 200
_LISTED = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Said:
    """An answer."""

    text: str
    whole: bool
    """Whether the model came to an end, and was not stopped."""


class Unreadable(InvalidInput):
    """The server refuses one picture."""


class VisionModel:
    """Asks the model. Safe from any thread; `close` it.

    Args:
        settings: with a `vlm_url`.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        assert settings.vlm_url is not None
        self._settings = settings
        self._url = settings.vlm_url.rstrip("/").removesuffix("/v1") + "/v1"
        self._name = settings.vlm_model
        key = settings.vlm_api_key
        self._client = httpx.AsyncClient(
            headers={} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"},
            timeout=settings.vlm_timeout_s,
            limits=httpx.Limits(max_connections=settings.vlm_max_requests + 1),
            trust_env=False,  # pages go through no proxy
        )
        self._slots = asyncio.Semaphore(settings.vlm_max_requests)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vision model", daemon=True)
        self._thread.start()

    def ask(self, picture: Pixels, prompt: str, options: Mapping[str, Any], call: RequestContext) -> Future[Said]:
        """What the model says of a picture; its result may be waited for in any thread.

        Args:
            options: of the request, beside the model and the messages.

        Raises (by the result):
            Unreadable: the server refuses this picture. FailedBehind: it refuses all. Unavailable, DeadlineExceeded: it
            did not answer in time.
        """
        url = f"data:image/jpeg;base64,{base64.b64encode(as_jpeg(picture, quality=_JPEG_QUALITY)).decode()}"
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": prompt}]
        body = {"messages": [{"role": "user", "content": content}], **options}
        asked = asyncio.run_coroutine_threadsafe(self._ask(body, call.deadline), self._loop)
        call.when_cancelled(asked.cancel)
        return asked

    def not_ready(self) -> list[str]:
        """Why it cannot be asked; waits as long as a health check may."""
        limit_s = self._settings.health_timeout_s
        asked = asyncio.run_coroutine_threadsafe(asyncio.wait_for(self._chosen(), limit_s), self._loop)
        try:
            asked.result(limit_s + 1)
        except TimeoutError:
            return [f"VLM server: no answer within {limit_s:g} s"]
        except (PlatoonError, httpx.HTTPError) as error:
            return [f"VLM server: {redact(error) or type(error).__name__}"]
        return []

    def close(self) -> None:
        """Take back all questions."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.aclose()

    async def _ask(self, body: dict[str, Any], deadline: float) -> Said:
        wait_s = _FIRST_WAIT_S
        try:
            async with asyncio.timeout(max(0.0, min(deadline - time.monotonic(), threading.TIMEOUT_MAX))), self._slots:
                for attempt in range(1, ATTEMPTS + 1):
                    try:
                        return await self._once(body)
                    except (Unavailable, httpx.TransportError) as error:
                        if attempt == ATTEMPTS:
                            raise Unavailable(f"the VLM server failed {ATTEMPTS} times: {_of(error)}") from error
                        _log.warning("the VLM server is asked again: %s", redact(_of(error)))
                    await asyncio.sleep(wait_s * random.uniform(0.5, 1))
                    wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
                raise AssertionError
        except TimeoutError as error:
            raise DeadlineExceeded("the VLM server did not answer in time") from error

    async def _once(self, body: dict[str, Any]) -> Said:
        name = self._name = self._name or await self._chosen()
        reply = await self._client.post(f"{self._url}/chat/completions", json={"model": name, **body})
        if reply.status_code != 200:
            if reply.status_code in _NO_MODEL:
                await self._check(name)
            message = f"it answers with status {reply.status_code}: {reply.text[:_SHOWN]}"
            if reply.status_code in _AGAIN:
                raise Unavailable(message)
            if reply.status_code in _PICTURE:
                raise Unreadable(message)
            raise FailedBehind(500, f"the VLM server refuses: {message}")
        try:
            choice = reply.json()["choices"][0]
            text = choice["message"]["content"]
            if not isinstance(text, str):
                raise TypeError
        except (ValueError, LookupError, TypeError) as error:
            raise FailedBehind(500, f"the VLM server's answer is none: {reply.text[:_SHOWN]}") from error
        return Said(text, choice.get("finish_reason") != "length")

    async def _check(self, asked: str) -> None:
        """Whether a refusal is for want of the model `asked`; servers that list none are believed to have it.

        Raises:
            FailedBehind: it is the one in the settings. Unavailable: it was chosen here, and another one is now.
        """
        try:
            self._name = await self._chosen()
        except FailedBehind as error:
            raise FailedBehind(500, f"the VLM server refuses: {error}") from None
        except (Unavailable, httpx.HTTPError):
            return
        if self._name != asked:
            raise Unavailable(f"it has no model {asked} any more")

    async def _chosen(self) -> str:
        """The model that is to be asked: the one in the settings, else the one that was asked before, else the first.

        Raises:
            Unavailable: it does not say which it has, or has none. FailedBehind: it has others.
        """
        reply = await self._client.get(f"{self._url}/models", timeout=self._settings.health_timeout_s)
        if reply.status_code != 200:
            raise Unavailable(f"it answers with status {reply.status_code}: {reply.text[:_SHOWN]}")
        try:
            names = [str(model["id"]) for model in reply.json()["data"]]
        except (ValueError, LookupError, TypeError) as error:
            raise Unavailable(f"its list of models is none: {reply.text[:_SHOWN]}") from error
        if not names:
            raise Unavailable("it has no model at all")
        wanted = self._settings.vlm_model or (self._name if self._name in names else names[0])
        if wanted not in names:
            served = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
            raise FailedBehind(500, f"it has no model {wanted}, but {served}; set gateway.vlm_model to one of these")
        return wanted


def _of(error: Exception) -> str:
    return str(error) or type(error).__name__
