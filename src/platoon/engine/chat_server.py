"""A language model on an OpenAI-compatible server that is asked about pictures and video, whoever asks.

How many questions of all callers are under way is bounded. A server that is busy, away or too slow is asked again,
after ever longer waits, until the caller's time is up; a question may be taken back.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from platoon.errors import DeadlineExceeded, FailedBehind, InvalidInput, Overloaded, PlatoonError, Unavailable
from platoon.redaction import redact

ATTEMPTS: Final = 4
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 8.0
_BUSY: Final = 429
_MOST_BUSY_S: Final = 300.0
"""No server is believed that it is busy for longer."""
_AGAIN: Final = frozenset({408, 409, 425, 500, 502, 503, 504})
_PICTURE: Final = frozenset({400, 413, 415, 422})
"""Statuses that say that this one picture cannot be read."""
_NO_MODEL: Final = frozenset({400, 404, 500})
"""Statuses by which servers say, beside other things, that they do not serve a model: transformers, vLLM, others."""
_SHOWN = 200
_LISTED = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a model is asked for, and how."""

    setting: str
    """Which setting names the model, for people, as in `gateway.vlm_model`."""
    url: str
    model: str | None
    """Its name there; none: the first that the server lists."""
    key: str | None
    max_requests: int
    """Questions under way at once; more wait."""
    timeout_s: float
    """For so long it may be silent."""
    health_timeout_s: float


@dataclass(frozen=True, slots=True)
class Said:
    """An answer."""

    text: str
    whole: bool
    """Whether the model came to an end, and was not stopped."""
    prompt_tokens: int | None = None
    """What the question came to, if the server says it."""
    answer_tokens: int | None = None


class Unreadable(InvalidInput):
    """The server refuses one picture or clip."""


class ChatServer:
    """Asks the model. Safe from any thread; `close` it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._url = server.url.rstrip("/").removesuffix("/v1") + "/v1"
        self._name = server.model
        self._client = httpx.AsyncClient(
            headers={} if server.key is None else {"Authorization": f"Bearer {server.key}"},
            timeout=server.timeout_s,
            limits=httpx.Limits(max_connections=server.max_requests + 1),
            trust_env=False,  # pages and pictures of cameras go through no proxy
        )
        self._slots = asyncio.Semaphore(server.max_requests)
        self._closing = threading.Lock()
        """Held by whoever asks, so that nobody does while the loop ends."""
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="language model", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str | None:
        """The model that is asked; none: it is not known yet."""
        return self._name

    def ask(
        self,
        content: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
        *,
        deadline: float,
        attempts: int | None = None,
        wait_while_busy: bool = True,
    ) -> Future[Said]:
        """What the model answers; the result may be waited for in any thread, and be cancelled.

        Args:
            content: of one message, in parts.
            options: of the request, beside the model and the messages.
            deadline: a point of `time.monotonic()`.
            attempts: how often it is asked, at most; none: `ATTEMPTS`.
            wait_while_busy: ask again after status 429, too; otherwise that is raised at once.

        Raises (by the result):
            Unreadable: the server refuses this content. FailedBehind: it refuses all. Unavailable, DeadlineExceeded: it
            did not answer in time. Overloaded: it is busy, and says for how long.
        """
        body = {"messages": [{"role": "user", "content": list(content)}], **options}
        with self._closing:
            if self._closed:
                asked: Future[Said] = Future()
                asked.cancel()
                return asked
            asking = self._ask(body, deadline, attempts or ATTEMPTS, wait_while_busy=wait_while_busy)
            return asyncio.run_coroutine_threadsafe(asking, self._loop)

    def not_ready(self) -> list[str]:
        """Why it cannot be asked; waits as long as a health check may."""
        limit_s = self._server.health_timeout_s
        asked = asyncio.run_coroutine_threadsafe(asyncio.wait_for(self._chosen(), limit_s), self._loop)
        try:
            asked.result(limit_s + 1)
        except TimeoutError:
            return [f"VLM server: no answer within {limit_s:g} s"]
        except (PlatoonError, httpx.HTTPError) as error:
            return [f"VLM server: {redact(error) or type(error).__name__}"]
        return []

    def close(self) -> None:
        """Take back all questions, and those that are asked from now on."""
        with self._closing:
            self._closed = True
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

    async def _ask(self, body: dict[str, Any], deadline: float, attempts: int, *, wait_while_busy: bool) -> Said:
        wait_s = _FIRST_WAIT_S
        try:
            async with asyncio.timeout(max(0.0, min(deadline - time.monotonic(), threading.TIMEOUT_MAX))), self._slots:
                for attempt in range(1, attempts + 1):
                    least_s = 0.0
                    try:
                        return await self._once(body)
                    except (Overloaded, Unavailable, httpx.TransportError) as error:
                        if isinstance(error, Overloaded):
                            if not wait_while_busy:
                                raise
                            least_s = error.retry_after_s
                        if attempt == attempts:
                            times = "" if attempts == 1 else f" {attempts} times"
                            raise Unavailable(f"the VLM server failed{times}: {_of(error)}") from error
                        _log.warning("the VLM server is asked again: %s", redact(_of(error)))
                    await asyncio.sleep(max(least_s, wait_s * random.uniform(0.5, 1)))
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
            if reply.status_code == _BUSY:
                raise Overloaded(message, retry_after_s=_retry_after_s(reply.headers.get("retry-after")))
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
        usage = reply.json().get("usage")
        usage = usage if isinstance(usage, dict) else {}
        return Said(
            text,
            choice.get("finish_reason") != "length",
            _count(usage.get("prompt_tokens")),
            _count(usage.get("completion_tokens")),
        )

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
        reply = await self._client.get(f"{self._url}/models", timeout=self._server.health_timeout_s)
        if reply.status_code != 200:
            raise Unavailable(f"it answers with status {reply.status_code}: {reply.text[:_SHOWN]}")
        try:
            names = [str(model["id"]) for model in reply.json()["data"]]
        except (ValueError, LookupError, TypeError) as error:
            raise Unavailable(f"its list of models is none: {reply.text[:_SHOWN]}") from error
        if not names:
            raise Unavailable("it has no model at all")
        wanted = self._server.model or (self._name if self._name in names else names[0])
        if wanted not in names:
            served = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
            raise FailedBehind(
                500, f"it has no model {wanted}, but {served}; set {self._server.setting} to one of these"
            )
        return wanted


def _of(error: Exception) -> str:
    return str(error) or type(error).__name__


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _retry_after_s(header: str | None) -> float:
    """What the header says: seconds, or a date (RFC 9110); without a sense, one second."""
    try:
        return min(max(0.0, float(header or "")), _MOST_BUSY_S)
    except ValueError:
        pass
    try:
        wait_s = parsedate_to_datetime(header or "").timestamp() - time.time()
    except ValueError:
        return 1.0
    return min(max(0.0, wait_s), _MOST_BUSY_S)
