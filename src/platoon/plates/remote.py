"""Plates read by another Platoon: the crops of one collection go there in one call, and text comes back.

It has the face of the `PlateEngine` in whose place it stands. A server that is away costs one wait of `timeout_s`
and is then left alone for ever longer; what it did not read is read here, or stays unread, as the settings say.
Either is counted with its cause.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, TypeVar

import cv2
import httpx
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from platoon.arrays import Array, on_host
from platoon.engine.batcher import Priority, Reply
from platoon.errors import PlatoonError, Unavailable
from platoon.media.frame import Pixels
from platoon.metrics import Metrics
from platoon.ocr.recognition import PLATE, Candidate, TextLine, line_of
from platoon.plates.engine import PlateEngine
from platoon.settings import RemoteSettings

BACKOFF_S = (1.0, 30.0)
"""How long a server that failed is left alone, at first and at most; doubled each time."""
GRACE_S = 1.0
"""How much longer than its timeout a call may take to let go; then it is left to itself."""
ANSWER_BYTES = 65_536
"""Of one crop; more is none. A plate with all its candidates takes two thousand."""
CHARACTERS_MOST = 256
"""In one line, for the same reason."""

_WHOLE: Mapping[str, str] = {"mode": "whole-plate"}
_LINES: Mapping[str, str] = {"mode": "plate", "find": "false"}
"""What the server is asked for: crops are whole plates, or lines of plates."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Cause(StrEnum):
    """Why a crop was not read there."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    OVERLOADED = "overloaded"
    """It asks for patience (429, 503)."""
    REFUSED = "refused"
    """It does not want to: the key, the size (other 4xx)."""
    FAILED = "failed"
    """It cannot (other 5xx)."""
    MALFORMED = "malformed"
    """Its answer is none that this call could have."""
    ITEM = "item"
    """It has read the others of the same call."""
    WAITING = "waiting"
    """It failed a moment ago and was not asked."""


class NotRead(Unavailable):
    """A crop stays unread, as `on_failure = "hold"` wants it."""


class RemoteReader:
    """Stands in the place of a `PlateEngine` for whoever reads plates; safe from any thread.

    Args:
        settings: with a `url`.
        local: reads what the server does not, unless the settings say to hold. It stays its owner's.
        clock: seconds.
    """

    def __init__(
        self,
        settings: RemoteSettings,
        local: PlateEngine,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert settings.url is not None
        self._settings, self._local, self._metrics, self._clock = settings, local, metrics, clock
        self._url = re.sub(r"(/ocr(/batch)?)?/?$", "", settings.url) + "/ocr/batch"
        self._wait_s, self._retry_at = 0.0, 0.0
        self._trouble = ""
        self._lock = threading.Lock()
        """Of what is remembered of failures."""
        key = settings.api_key
        self._client = httpx.AsyncClient(
            headers={} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"},
            timeout=None,  # the whole call has one, which its parts share
            trust_env=False,  # pictures of vehicles go through no proxy
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="remote reader", daemon=True)
        self._thread.start()

    def read_plates(
        self, crops: Sequence[Array], *, priority: Priority = Priority.VIDEO, deadline: float | None = None
    ) -> list[Reply[TextLine]]:
        """See `PlateEngine.read_plates`. Waits for the server, `timeout_s` at most.

        Held crops raise NotRead as they are asked for.
        """
        return self._read(crops, _WHOLE, partial(self._local.read_plates, priority=priority), deadline)

    def read_plate_lines(
        self, crops: Sequence[Array], *, priority: Priority = Priority.VIDEO, deadline: float | None = None
    ) -> list[Reply[TextLine]]:
        """See `PlateEngine.read_plate_lines`; otherwise as `read_plates`."""
        return self._read(crops, _LINES, partial(self._local.read_plate_lines, priority=priority), deadline)

    def _read(
        self,
        crops: Sequence[Array],
        what: Mapping[str, str],
        locally: Callable[..., list[Reply[TextLine]]],
        deadline: float | None,
    ) -> list[Reply[TextLine]]:
        if not crops:
            return []
        outcomes = self._ask(crops, what, deadline)
        read = [outcome for outcome in outcomes if isinstance(outcome, TextLine)]
        self._metrics.remote_reads.inc(len(read))
        left = [(crop, cause) for crop, cause in zip(crops, outcomes, strict=True) if isinstance(cause, Cause)]
        counter = self._metrics.remote_held if self._holds else self._metrics.remote_fallbacks
        for _, cause in left:
            counter.labels(cause).inc()
        if self._holds:
            return [_done(outcome) for outcome in outcomes]
        replies = iter(locally([crop for crop, _ in left], deadline=deadline))
        return [_done(outcome) if isinstance(outcome, TextLine) else next(replies) for outcome in outcomes]

    def not_ready(self) -> list[str]:
        """Why plates are not read at the moment; nothing where they are read here instead."""
        return [f"remote reader: {self._trouble}"] if self._trouble and self._holds else []

    def close(self) -> None:
        """Let go of the connections."""
        with suppress(Exception):
            self._await(self._client.aclose(), GRACE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(GRACE_S)
        if not self._thread.is_alive():
            self._loop.close()

    @property
    def _holds(self) -> bool:
        return self._settings.on_failure == "hold"

    def _ask(
        self, crops: Sequence[Array], what: Mapping[str, str], deadline: float | None
    ) -> Sequence[TextLine | Cause]:
        """What the server says of each crop, or why it says nothing."""
        timeout_s = self._settings.timeout_s
        if deadline is not None:
            timeout_s = min(timeout_s, deadline - time.monotonic())
        if self._clock() < self._retry_at:
            return [Cause.WAITING] * len(crops)
        files = [("images", (f"{number}.png", png(on_host(crop)), "image/png")) for number, crop in enumerate(crops)]
        try:
            lines = self._await(self._call(files, what, timeout_s), timeout_s + GRACE_S)
        except Exception as error:  # whatever it is, the crop is not read there, and the analysis goes on
            failure = error if isinstance(error, _Failure) else _Failure(Cause.UNREACHABLE, f"{error!r}")
            self._leave_alone(failure)
            return [failure.cause] * len(crops)
        with self._lock:
            if self._trouble:
                _log.warning("the OCR server at %s reads again", self._url)
            self._wait_s, self._trouble = 0.0, ""
        return lines

    async def _call(self, files: Sequence[Any], what: Mapping[str, str], timeout_s: float) -> list[TextLine | Cause]:
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._client.stream("POST", self._url, data=what, files=files) as reply,
            ):
                content = await _body(reply, ANSWER_BYTES * len(files))
        except TimeoutError as error:
            raise _Failure(Cause.TIMEOUT, f"no answer within {timeout_s:g} s") from error
        except httpx.HTTPError as error:
            raise _Failure(Cause.UNREACHABLE, str(error) or type(error).__name__) from error
        if reply.status_code != 200:
            raise _Failure(_cause_of(reply.status_code), f"HTTP {reply.status_code}", _seconds(reply))
        try:
            answers = _ANSWERS.validate_json(content)
        except ValidationError as error:
            raise _Failure(Cause.MALFORMED, f"not the answer of an OCR server: {error.errors()[0]['msg']}") from error
        if len(answers) != len(files):
            raise _Failure(Cause.MALFORMED, f"{len(answers)} answers for {len(files)} crops")
        return [Cause.ITEM if isinstance(answer, _Error) else _line(answer) for answer in answers]

    def _leave_alone(self, failure: _Failure) -> None:
        shortest, longest = BACKOFF_S
        with self._lock:
            if self._clock() < self._retry_at:
                return  # of several calls that failed together it is left alone for the first
            self._wait_s = min(longest, max(shortest, 2 * self._wait_s, failure.wait_s))
            self._retry_at = self._clock() + self._wait_s * random.uniform(0.75, 1.25)
            if not self._trouble:
                meanwhile = "plates stay unread" if self._holds else "plates are read here"
                _log.warning("the OCR server at %s does not read: %s; %s meanwhile", self._url, failure, meanwhile)
            self._trouble = f"{failure.cause}: {failure}"

    def _await(self, work: Coroutine[Any, Any, T], most_s: float) -> T:
        """What `work` gives on the thread of the connections; that nothing there is waited for without end."""
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result(most_s)
        except TimeoutError as error:
            running.cancel()
            raise _Failure(Cause.TIMEOUT, f"no answer within {most_s:g} s, and no end of it") from error


def png(crop: Pixels) -> bytes:
    """A crop as PNG, so that the server sees the very pixels.

    JPEG of quality 95 changed the text of 13 of 153 real plates, for 5 instead of 16 kB and 0.1 instead of 0.8 ms.
    """
    _, data = cv2.imencode(".png", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return data.tobytes()


class _Failure(PlatoonError):
    """A whole call failed."""

    def __init__(self, cause: Cause, message: object, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.cause, self.wait_s = cause, wait_s


Probability = Annotated[float, Field(ge=0, le=1)]


Character = Annotated[str, Field(min_length=1, max_length=1)]
Candidates = Annotated[list[tuple[Character, Probability]], Field(min_length=1, max_length=64)]


class _Line(BaseModel):
    text: Annotated[str, Field(max_length=CHARACTERS_MOST)]
    confidence: Probability
    characters: Annotated[list[Candidates], Field(max_length=CHARACTERS_MOST)] | None = None


class _Answer(BaseModel):
    lines: Annotated[list[_Line], Field(max_length=16)]


class _Error(BaseModel):
    error: str


_ANSWERS = TypeAdapter(list[_Error | _Answer])


def _line(answer: _Answer) -> TextLine:
    """All lines of a plate as one."""
    return line_of(position for line in answer.lines for position in _characters(line))


def _characters(line: _Line) -> Iterable[tuple[Candidate, ...]]:
    """The candidates of each; from a server that tells none, the text, all of it as sure as the line."""
    if line.characters is None:
        return [(Candidate(character, line.confidence),) for character in line.text.upper() if character in PLATE]
    return [tuple(Candidate(*candidate) for candidate in position) for position in line.characters]


async def _body(reply: httpx.Response, most: int) -> bytes:
    """What the server answers. Raises _Failure for more than `most` bytes."""
    parts: list[bytes] = []
    size = 0
    async for part in reply.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > most:
            raise _Failure(Cause.MALFORMED, f"an answer of more than {most} bytes")
    return b"".join(parts)


def _done(outcome: TextLine | Cause) -> Reply[TextLine]:
    reply: Reply[TextLine] = Reply()
    if isinstance(outcome, TextLine):
        reply.set_result(outcome)
    else:
        reply.set_exception(NotRead(f"the OCR server has not read this crop: {outcome}"))
    return reply


def _cause_of(status: int) -> Cause:
    if status in (429, 503):
        return Cause.OVERLOADED
    return Cause.REFUSED if status < 500 else Cause.FAILED


def _seconds(reply: httpx.Response) -> float:
    """For how long the server wants to be left alone."""
    asked = reply.headers.get("retry-after", "")
    return float(asked) if asked.isdecimal() else 0.0
