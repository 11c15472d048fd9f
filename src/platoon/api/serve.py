"""Many ports in one event loop: the main port, and one for each camera that has its own.

All first ports are bound before anything starts, so that a port in use is an error and no half-running site.
Cameras come and go while the site runs, and their ports with them. uvicorn's protocols speak HTTP and WebSocket, within
the limits of `connections`; its `Server` is left out, as each wakes up ten times a second, and a site may have many
ports.
"""

import asyncio
import errno
import logging
import math
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from types import TracebackType
from typing import Final, Self

import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from platoon.api.access import Access, check_listening
from platoon.api.app import create_app
from platoon.api.bodies import WaitingBytes
from platoon.api.browser import SECURITY_HEADERS, Hosts
from platoon.api.camera_port import create_camera_app
from platoon.api.connections import Acceptor, Connection, Connections
from platoon.api.health import Part
from platoon.api.paddlex.pipelines.pipeline import Pipeline
from platoon.api.protocols import HttpConnection, WebSocketConnection
from platoon.documents.job_service import JobService
from platoon.errors import InvalidSettings, PlatoonError, Unavailable
from platoon.metrics import Metrics
from platoon.ocr.service import OcrService
from platoon.settings import ApiSettings, Settings
from platoon.streams.site import Message, Site

_LOOK_S: Final = 0.02
_FLUSH_S: Final = 1.0  # for what was written before a port closes
_BACKLOG: Final = 512
_MAX_SENT_BYTES: Final = 65_536  # by a WebSocket client: none has anything to say

_HEADERS: Final = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

log = logging.getLogger(__name__)


def bind(host: str, port: int, *, way_out: str) -> socket.socket:
    """A listening socket on `host`; `way_out` says what to do when there is none to have.

    Raises:
        Unavailable: the port is in use. InvalidSettings: this user or machine cannot have it.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        # With the protocol named, asyncio sends what it has at once (TCP_NODELAY). Without, a reply's body waits until
        # its head was confirmed, which clients put off for 40 ms.
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InvalidSettings(f"cannot listen on {host}: {error.strerror or error}; {way_out}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise Unavailable(f"port {port} on {host} is in use by another program; {way_out}") from error
        raise InvalidSettings(f"cannot listen on port {port} of {host}: {error.strerror}; {way_out}") from error
    bound.setblocking(False)
    return bound


@dataclass(frozen=True, slots=True)
class _Port:
    config: uvicorn.Config
    acceptor: Acceptor


class Listeners:
    """Open ports and what answers on each. Belongs to one event loop."""

    def __init__(self, settings: ApiSettings, metrics: Metrics) -> None:
        self.connections = Connections(settings, metrics)
        self._drain_s = settings.drain_s
        self._ports: dict[int, _Port] = {}
        self._clock = asyncio.create_task(self._tick())

    def open(self, bound: socket.socket, app: ASGIApp) -> int:
        """Let `app` answer on a socket from `bind`; returns its port."""
        config = uvicorn.Config(
            app,
            ws=WebSocketConnection,
            lifespan="off",
            log_config=None,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=math.ceil(self.connections.settings.idle_timeout_s),
            ws_max_size=_MAX_SENT_BYTES,
            ws_per_message_deflate=False,  # takes more time for each socket than all else that is done for it
        )
        config.load()
        port: int = bound.getsockname()[1]
        self._ports[port] = _Port(
            config, Acceptor(bound, self.connections, partial(HttpConnection, config, self.connections))
        )
        return port

    async def close(self, *ports: int) -> None:
        """Take no new connections on these, let replies under way end by the deadline, then cut what is left."""
        await self._close(ports, self._drain_s)

    async def drain(self) -> None:
        """Answer 503 to what is new, until what is under way has ended or the deadline has passed; then close all."""
        self.connections.drain()
        await self._end(lambda: [one for one in self.connections.all() if one.owes_an_answer], self._drain_s)
        await self._close(tuple(self._ports), 0.0)
        self._clock.cancel()
        with suppress(asyncio.CancelledError):
            await self._clock

    async def _close(self, ports: Sequence[int], grace_s: float) -> None:
        closing = [self._ports.pop(port) for port in ports]
        configs = [port.config for port in closing]
        for port in closing:
            port.acceptor.close()
        await self._end(lambda: [one for one in self.connections.all() if one.config in configs], grace_s)

    @staticmethod
    async def _end(connections: Callable[[], Sequence[Connection]], grace_s: float) -> None:
        """End them, with what they owe answered if that is done within `grace_s`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        while (left := connections()) and loop.time() < deadline + 2 * _FLUSH_S:
            late_s = loop.time() - deadline
            for one in left:
                if late_s < 0:
                    one.shutdown()
                elif late_s < _FLUSH_S:
                    one.cut()
                else:
                    one.transport.abort()
            await asyncio.sleep(_LOOK_S)

    async def _tick(self) -> None:
        while True:
            self.connections.default_headers = [(b"date", formatdate(usegmt=True).encode()), *_HEADERS]
            self.connections.look()
            await asyncio.sleep(1)


class HttpServer:
    """HTTP and WebSocket on all ports of a site, served from one thread between `__enter__` and `__exit__`.

    Args:
        site: none: there are no cameras, only the service.
        service: the OCR service, on the main port.
        job_service: takes documents for the service to read in the background.
        pipeline: parses documents while their callers wait.
        access: says who may call, if other servers share it.
        bodies: counts the bytes of all bodies under way, if other servers share it.
        event_file: says why it cannot be written, if there is one.

    Raises:
        InvalidSettings: others reach the address, and nothing keeps strangers out.
        PlatoonError: on entering, when a port cannot be had; nothing was started then.
    """

    def __init__(
        self,
        site: Site | None,
        settings: Settings,
        *,
        service: OcrService | None = None,
        job_service: JobService | None = None,
        pipeline: Pipeline | None = None,
        access: Access | None = None,
        event_file: Part | None = None,
        bodies: WaitingBytes | None = None,
    ) -> None:
        self._site, self._settings, self._service, self._job_service = site, settings, service, job_service
        self._pipeline, self._event_file, self._bodies = pipeline, event_file, bodies
        check_listening(settings.api.host, settings.service)
        self._access = access or Access(settings.service, settings.store.path)
        self._hosts = Hosts(settings.api, settings.service)
        self._host = settings.api.host
        self._metrics = next((part.metrics for part in (site, service) if part is not None), Metrics())
        self._changed = asyncio.Event()
        self._stopping = False
        self._refused: set[int] = set()
        self.address = ""
        """Where the page is, once entered: `http://host:port`."""

    def __enter__(self) -> Self:
        wanted = self._wanted()
        bound: list[socket.socket] = []
        try:
            bound.append(bind(self._host, self._settings.api.port, way_out="choose another with PLATOON_API__PORT"))
            bound.extend(self._bind_for(camera, port) for port, camera in wanted.items())
        except PlatoonError:
            for one in bound:
                one.close()
            raise
        self.address = _address(self._host, bound[0].getsockname()[1])
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, args=(bound, wanted, started), name="http", daemon=True)
        self._thread.start()
        self._loop = started.result()
        self._unsubscribe = self._site.subscribe(self._on_message) if self._site else lambda: None
        self._follow_soon()  # cameras may have come or gone since their ports were bound
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unsubscribe()
        self.drain()
        self._thread.join()

    def drain(self) -> None:
        """Begin to end, and return at once: see `Listeners.drain`. Leaving waits until that is done."""
        self._stopping = True
        self._follow_soon()

    def _run(
        self, bound: list[socket.socket], wanted: dict[int, str], started: Future[asyncio.AbstractEventLoop]
    ) -> None:
        try:
            asyncio.run(self._serve(bound, wanted, started))
        except BaseException as error:
            if started.done():
                raise
            for one in bound:
                one.close()
            started.set_exception(error)

    async def _serve(
        self, bound: list[socket.socket], wanted: dict[int, str], started: Future[asyncio.AbstractEventLoop]
    ) -> None:
        listeners = Listeners(self._settings.api, self._metrics)
        main, *cameras = bound
        app = create_app(
            self._site,
            self._settings,
            access=self._access,
            service=self._service,
            job_service=self._job_service,
            pipeline=self._pipeline,
            connections=listeners.connections,
            bodies=self._bodies,
            event_file=self._event_file,
        )
        listeners.open(main, app)
        for one, camera in zip(cameras, wanted.values(), strict=True):
            listeners.open(one, self._camera_app(camera))
        started.set_result(asyncio.get_running_loop())
        while not self._stopping:
            await self._changed.wait()
            self._changed.clear()
            if not self._stopping:
                wanted = await self._follow(listeners, wanted)
        await listeners.drain()

    async def _follow(self, listeners: Listeners, served: dict[int, str]) -> dict[int, str]:
        """Open and close camera ports as the registry has them now; returns which camera answers on which."""
        wanted = await run_in_threadpool(self._wanted)
        gone = [port for port, camera in served.items() if wanted.get(port) != camera]
        await listeners.close(*gone)
        now = {port: camera for port, camera in served.items() if port not in gone}
        for port, camera in wanted.items():
            if port in now:
                continue
            try:
                listeners.open(self._bind_for(camera, port), self._camera_app(camera))
            except PlatoonError as error:
                if port not in self._refused:
                    log.warning("camera %s runs without a port of its own: %s", camera, error)
                self._refused.add(port)
            else:
                self._refused.discard(port)
                now[port] = camera
        return now

    def _wanted(self) -> dict[int, str]:
        """Which camera has which port of its own."""
        cameras = self._site.cameras() if self._site else ()
        return {status.port: status.id for status in cameras if status.enabled and status.port}

    def _camera_app(self, camera: str) -> ASGIApp:
        assert self._site is not None
        return create_camera_app(self._site, camera, access=self._access, hosts=self._hosts)

    def _bind_for(self, camera: str, port: int) -> socket.socket:
        way_out = f"give camera {camera!r} another port in the registry, or 0 for none"
        return bind(self._host, port, way_out=way_out)

    def _on_message(self, message: Message) -> None:
        if message["type"] in ("camera", "removed"):
            self._follow_soon()

    def _follow_soon(self) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._changed.set)


def _address(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
