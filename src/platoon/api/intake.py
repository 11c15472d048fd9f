"""How a call of the OCR service comes in and leaves, whatever its contract: admitted or not, its body within
limits, watched while it is worked on, answered in its contract's form, counted, logged and traced.

A contract says what a body means and how answers and errors look; it is left to modules of their own.
"""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response

from platoon.api.access import caller_of
from platoon.api.addresses import CALLER
from platoon.api.bodies import WaitingBytes, limit_body
from platoon.api.problems import public_error
from platoon.errors import DeadlineExceeded, InvalidInput, Overloaded, PlatoonError, TooLarge, Unsupported
from platoon.metrics import Metrics
from platoon.settings import ServiceSettings
from platoon.tracing import Tracing

CALLER_LEFT = 499
"""The status that nobody sees, as nginx counts it."""
_MAX_FIELDS = 64

_log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[Response]]


class Contract(Protocol):
    """One of the ways in which others' clients speak to the service."""

    name: str
    """For metrics and logs."""

    def refuse(self, error: PlatoonError, incoming: Incoming) -> Response:
        """An error in this contract's form."""


class Endpoint(Contract, Protocol):
    """What answers at an address, in one contract, or first of all in the form that several have in common."""

    async def take(self, incoming: Incoming) -> Work:
        """Read the body, and refuse what does not fit; the work that is left is done while the caller waits.

        Raises:
            PlatoonError: for `refuse`; so may the work.
        """


class Intake:
    """Takes calls. Belongs to one event loop.

    Args:
        bodies: counts the bytes of those that other servers take, too; none: there are no others.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        metrics: Metrics,
        tracing: Tracing | None = None,
        *,
        bodies: WaitingBytes | None = None,
    ) -> None:
        self._settings, self._metrics, self._tracing = settings, metrics, tracing or Tracing()
        self._under_way = 0
        self._of_callers: Counter[str] = Counter()
        self._bytes = bodies or WaitingBytes(settings.max_waiting_bytes)

    async def serve(self, request: Request, endpoint: Endpoint) -> Response:
        """The answer to one call; never raises but when cancelled."""
        with self._tracing.request(request.scope):
            return await self._serve(request, endpoint)

    async def _serve(self, request: Request, endpoint: Endpoint) -> Response:
        incoming = Incoming(request, endpoint, self)
        CALLER.set(incoming.caller)
        limit_body(request, self._settings.max_body_bytes)
        response: Response
        self._under_way += 1
        self._of_callers[incoming.caller] += 1
        try:
            response = await self._answer(incoming, endpoint)
        except PlatoonError as error:
            response = incoming.contract.refuse(error, incoming)
        except (CallerLeft, ClientDisconnect):
            response = Response(status_code=CALLER_LEFT)
        except Exception as error:
            _log.exception("a call failed")
            response = incoming.contract.refuse(public_error(error), incoming)
        finally:
            self._under_way -= 1
            self._of_callers[incoming.caller] -= 1
            self._bytes.give(incoming.n_held)
        self._record(incoming, response.status_code)
        return response

    async def _answer(self, incoming: Incoming, endpoint: Endpoint) -> Response:
        request, settings = incoming.request, self._settings
        if self._under_way > settings.max_requests:
            raise Overloaded(f"{settings.max_requests} calls are under way, the most there may be; try again")
        own, free = self._of_callers[incoming.caller], max(0, settings.max_requests - self._under_way)
        if len(settings.keys) > 1 and own > free + 1:
            raise Overloaded(
                f"{own - 1} calls of your key are under way, and the other places are for others; try again"
            )
        try:
            async with asyncio.timeout(settings.deadline_s):
                work = await endpoint.take(incoming)
        except DeadlineExceeded:
            raise
        except TimeoutError as error:
            raise DeadlineExceeded(f"the body did not arrive within {settings.deadline_s:g} s") from error
        return await while_there(request, work)

    def count(self, incoming: Incoming, n_bytes: int) -> None:
        """So many more bytes of a body have come. Raises TooLarge or Overloaded."""
        if incoming.n_bytes + n_bytes > self._settings.max_body_bytes:
            raise TooLarge(f"the body is larger than {self._settings.max_body_bytes} bytes")
        self.hold(incoming, n_bytes)
        incoming.n_bytes += n_bytes

    def hold(self, incoming: Incoming, n_bytes: int) -> None:
        """So many more are held for a call until it ends. Raises Overloaded."""
        self._bytes.take(n_bytes)
        incoming.n_held += n_bytes

    def expect(self, incoming: Incoming) -> None:
        """Raises TooLarge for a body that says it will be: before it is sent."""
        declared = incoming.request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._settings.max_body_bytes:
            raise TooLarge(f"the body is larger than {self._settings.max_body_bytes} bytes")

    def _record(self, incoming: Incoming, status: int) -> None:
        name = incoming.contract.name
        seconds = time.monotonic() - incoming.started
        self._tracing.answered(status, contract=name, caller=incoming.caller, bytes=incoming.n_bytes)
        self._metrics.requests.labels(name, str(status)).inc()
        self._metrics.request_bytes.labels(name).inc(incoming.n_bytes)
        self._metrics.request_seconds.labels(name).observe(seconds)
        _log.log(
            _level(incoming.request.method, status),
            "%s %s: %d in %.0f ms",
            incoming.request.url.path,
            name,
            status,
            seconds * 1e3,
            extra={
                "path": incoming.request.url.path,
                "contract": name,
                "status": status,
                "seconds": round(seconds, 4),
                "bytes": incoming.n_bytes,
                "caller": incoming.caller,
            },
        )


class Incoming:
    """One call while it is served."""

    def __init__(self, request: Request, contract: Contract, intake: Intake) -> None:
        self.request, self.contract = request, contract
        """The contract may become another one, once the body is known."""
        self.started = time.monotonic()
        self.caller = caller_of(request.scope).name
        self.n_bytes = self.n_held = 0
        """Of its body; and what is counted against all that is under way, with what was unpacked from it."""
        self.log_id: str | None = None
        """The caller's own name for this call, if its contract has one."""
        self._intake = intake

    def hold(self, n_bytes: int) -> None:
        """So many bytes were unpacked from its body. May be called from the thread that does. Raises Overloaded."""
        self._intake.hold(self, n_bytes)

    async def body(self) -> bytes:
        """The whole body. Raises TooLarge, Overloaded."""
        # As one growing block, which becomes the body as it is: pieces that are joined take twice the memory.
        whole = io.BytesIO()
        async for chunk in self._stream():
            whole.write(chunk)
        return whole.getvalue()

    async def fields(self, name: str, *, most: int = 1) -> Fields:
        """The fields of a multipart body, of which `name` holds files, at most so many.

        Raises:
            Unsupported: it is none. InvalidInput: it is damaged. TooLarge: it has more files.
            TooLarge, Overloaded: as `body`.
        """
        kind = content_type(self.request)
        if kind != "multipart/form-data":
            raise Unsupported(f"Content-Type: {kind[:60] or 'none'!r} is not taken here; send multipart/form-data")
        parser = _InMemory(
            self.request.headers, self._stream(), max_files=most, max_fields=_MAX_FIELDS, max_part_size=65_536
        )
        try:
            form = await parser.parse()
            try:
                texts: dict[str, str] = {}
                files: dict[str, list[bytes]] = {}
                for name, value in form.multi_items():
                    if isinstance(value, UploadFile):
                        files.setdefault(name, []).append(await value.read())
                    else:
                        texts[name] = value
                return Fields(texts, files)
            finally:
                await form.close()
        except MultiPartException as error:
            if "Too many files" in error.message:
                raise TooLarge(f"{name}: at most {most} files at once") from error
            raise InvalidInput(f"the form cannot be read: {error.message}") from error
        except (FormParserError, ValueError, LookupError) as error:
            if isinstance(error, PlatoonError):
                raise
            raise InvalidInput(f"the form cannot be read: {error}") from error

    async def _stream(self) -> AsyncGenerator[bytes, None]:
        self._intake.expect(self)
        async for chunk in self.request.stream():
            self._intake.count(self, len(chunk))
            yield chunk


@dataclass(frozen=True, slots=True)
class Fields:
    """A multipart body."""

    texts: Mapping[str, str]
    files: Mapping[str, Sequence[bytes]]

    def __contains__(self, name: str) -> bool:
        return name in self.texts or name in self.files

    def file(self, name: str) -> bytes:
        """The file `name`. Raises InvalidInput, naming it, where there is none or more than one."""
        found = self.files.get(name, ())
        if len(found) != 1 or name in self.texts:
            raise InvalidInput(f"{name}: send one picture as a file in this field")
        return found[0]

    def text(self, name: str) -> str:
        """The text `name`, empty if it is missing. Raises InvalidInput, naming it, where it is a file."""
        if name in self.files:
            raise InvalidInput(f"{name}: text is expected here, and no file")
        return self.texts.get(name, "")


class CallerLeft(Exception):
    """Nobody waits for the answer any more."""


async def while_there(request: Request, work: Work) -> Response:
    """What `work` gives; it is cancelled when its caller leaves.

    Raises:
        CallerLeft: it did.
    """
    working = asyncio.ensure_future(work())
    watching = asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CallerLeft
        return working.result()
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)
        # Its error keeps this frame: with the task that keeps the error, the body would stay until it is collected.
        del working, watching, task


def content_type(request: HTTPConnection) -> str:
    """What the body is said to be, without parameters; empty if nothing is said."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def body_of(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The body that a call must have, for the API's description; `schemas` by content type."""
    content = {kind: {"schema": schema} for kind, schema in schemas.items()}
    return {"requestBody": {"required": True, "content": content}}


def _level(method: str, status: int) -> int:
    """How loud the line in the log is: clients look every second how far their jobs are."""
    if status >= 500:
        return logging.WARNING
    return logging.DEBUG if method == "GET" and status < 400 else logging.INFO


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _InMemory(MultiPartParser):
    spool_max_size = 1 << 40  # bodies are bounded as they come, so nothing has to go to the disk
