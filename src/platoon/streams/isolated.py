"""One process per camera, under a supervisor that starts again what dies.

The deployment that the shared pipeline replaces, kept for sites that want walls between cameras and as the baseline to
measure against. Each process runs a `SharedSite` of one camera; its messages come over a pipe, calls go the other way.
All write to the same store.
"""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoReply
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from platoon.errors import DeadlineExceeded, NotFound, PlatoonError, StoreError, Unavailable
from platoon.media.source import SourceFailure, SourceState, SourceStatus
from platoon.metrics import Metrics
from platoon.ocr.served import FOR_CALLERS, PLATE_DETECTION
from platoon.plates import open_engine
from platoon.plates.grammar import SiteGrammar
from platoon.redaction import redact
from platoon.settings import Settings
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore
from platoon.streams.hub import Hub
from platoon.streams.manual import Sight, read_sight
from platoon.streams.pipeline import SharedSite
from platoon.streams.registry import CameraSpec, changes
from platoon.streams.site import CameraStatus, Message

_log = logging.getLogger(__name__)

STATUS_S = 1.0
"""How often a camera's process tells its figures."""
RESTART_S = (1.0, 30.0)
"""Wait before a dead process is started again: at first, and at most; doubled each time it dies early."""
CALL_S = 2.0
"""How long a process may take for its figures."""
STOP_S = 15.0


class IsolatedSite:
    """A supervisor of camera processes; implements `site.Site`. Arguments as of `SharedSite`."""

    def __init__(
        self,
        settings: Settings,
        *,
        recorded: bool = False,
        loop: bool = False,
        callers: bool = False,
        tell: Callable[[Mapping[str, Any]], None] = lambda _event: None,
    ) -> None:
        self._callers = callers
        self._grammar = SiteGrammar(settings.plates)  # what it refuses would end each process instead
        self._settings, self._recorded, self._loop, self._tell = settings, recorded, loop, tell
        self.events = EventStore(settings.store.path / "events.sqlite")
        self.crops = ObjectStore(settings.store.path / "crops")
        self.metrics: Metrics = _MergedMetrics(self)
        self.engine = open_engine(settings, self.metrics)
        """For all who read beside the cameras, whose processes have their own."""
        self._hub = Hub()
        self._telling = threading.Lock()
        self._specs: list[CameraSpec] = []
        self._keepers: dict[str, _Keeper] = {}
        self._started = False
        self._failure: StoreError | None = None
        """What kept an event from being told."""

    def start(self) -> None:
        """Start the processes of all cameras."""
        self._started = True
        for keeper in self._keepers.values():
            keeper.start()
        if self._callers:
            self.engine.warm_up((*FOR_CALLERS, PLATE_DETECTION))

    def change(self, cameras: Sequence[CameraSpec]) -> None:
        """Make these the cameras of the site; the processes of those that stay the same go on."""
        stop, start = changes(self._specs, cameras)
        for spec in stop:
            self._keepers[spec.id].ask_to_stop()
        for spec in stop:
            self._keepers[spec.id].stop()
            if all(spec.id != other.id for other in cameras):
                del self._keepers[spec.id]
                self._hub.publish(spec.id, {"type": "removed", "camera": spec.id})
        for spec in start:
            keeper = self._keepers[spec.id] = _Keeper(
                spec, self._settings, recorded=self._recorded, loop=self._loop, hear=self._hear
            )
            if self._started:
                keeper.start()
        self._specs = list(cameras)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether all recorded sources were read to their end. Raises what stopped one of them, or the telling."""
        if self._failure is not None:
            raise self._failure
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for keeper in list(self._keepers.values()):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not keeper.join(left):
                return False
            if keeper.failure is not None:
                raise keeper.failure
        return True

    def stop(self) -> None:
        """End all processes; what they had decided is written."""
        keepers = list(self._keepers.values())
        for keeper in keepers:
            keeper.ask_to_stop()
        for keeper in keepers:
            keeper.stop()
        self.engine.close()
        self.events.close()

    def cameras(self) -> list[CameraStatus]:
        """See `Site.cameras`."""
        return [keeper.status() for spec in self._specs if (keeper := self._keepers.get(spec.id)) is not None]

    def not_ready(self) -> list[str]:
        """See `Site.not_ready`."""
        starting = [
            f"camera {camera}: its process is starting"
            for camera, keeper in list(self._keepers.items())
            if keeper.spec.enabled and not keeper.warm
        ]
        return starting + self.engine.not_ready()

    def subscribe(self, listener: Callable[[Message], None], camera: str | None = None) -> Callable[[], None]:
        """See `Site.subscribe`."""
        return self._hub.subscribe(listener, camera)

    def manual_read(self, camera: str, *, timeout_s: float = 10.0) -> dict[str, Any]:
        """See `Site.manual_read`."""
        began = time.monotonic()
        sight: Sight = self._keeper(camera).call("sight", min(CALL_S, timeout_s))
        left_s = timeout_s - (time.monotonic() - began)
        plates, grammar = self._settings.plates, self._grammar.of(camera)
        return read_sight(sight, camera, self.engine, plates, grammar, timeout_s=left_s)

    def preview(self, camera: str, *, width: int = 480) -> bytes:
        """See `Site.preview`."""
        picture: bytes = self._keeper(camera).call("preview", CALL_S, width)
        return picture

    def expositions(self) -> list[bytes]:
        """The metrics of every process; where one does not answer in time its last ones, so that no counter falls."""
        keepers = list(self._keepers.values())
        for keeper in keepers:
            try:
                keeper.exposition = keeper.call("exposition", CALL_S)
            except PlatoonError as error:
                _log.debug("no metrics: %s", error)
        return [keeper.exposition for keeper in keepers]

    def _keeper(self, camera: str) -> _Keeper:
        keeper = self._keepers.get(camera)
        if keeper is None:
            raise NotFound(f"no camera {camera!r}")
        return keeper

    def _hear(self, camera: str, message: Message) -> None:
        if message["type"] == "event":
            with self._telling:
                if self._failure is None:
                    try:
                        self._tell(message["event"])
                    except StoreError as error:
                        self._failure = error
        self._hub.publish(camera, message)


class _Keeper:
    """Keeps the process of one camera running."""

    def __init__(
        self,
        spec: CameraSpec,
        settings: Settings,
        *,
        recorded: bool,
        loop: bool,
        hear: Callable[[str, Message], None],
    ) -> None:
        self.spec = spec
        self.warm = False
        self.failure: PlatoonError | None = None
        self.exposition = b""
        """The metrics that its process gave last."""
        self._arguments = (settings, spec, recorded, loop)
        self._hear = hear
        self._context = multiprocessing.get_context("spawn")
        self._numbers = itertools.count()
        self._calls: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        """Held while writing to the pipe or changing it."""
        self._pipe: Connection | None = None
        self._process: BaseProcess | None = None
        self._stopping = threading.Event()
        self._status = _status(spec, SourceState.CONNECTING if spec.enabled else SourceState.STOPPED)
        self._thread = threading.Thread(target=self._run, name=f"keeper {spec.id}", daemon=True)

    def start(self) -> None:
        """Start the process, and again whenever it dies."""
        self._thread.start()

    def status(self) -> CameraStatus:
        """As its process last told it."""
        return self._status

    def join(self, timeout_s: float | None) -> bool:
        """Whether it has ended for good or was never started, waiting for it so long."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def ask_to_stop(self) -> None:
        """Tell the process to end; returns at once."""
        self._stopping.set()
        with self._lock:
            if self._pipe is not None:
                _send(self._pipe, ("stop", 0, ()))

    def stop(self) -> None:
        """End the process and wait for it; one that hangs is killed, what it had told is stored."""
        self.ask_to_stop()
        if not self.join(STOP_S) and self._process is not None:
            self._process.kill()
        self.join(None)

    def call(self, name: str, timeout_s: float, *arguments: Any) -> Any:
        """What the process answers to a call. Raises its PlatoonError, or Unavailable or DeadlineExceeded."""
        number, reply = next(self._numbers), Future[Any]()
        with self._lock:
            if self._pipe is None:
                raise Unavailable(f"camera {self.spec.id!r}: its process is not running; it will be started again")
            self._calls[number] = reply
            _send(self._pipe, (name, number, arguments))
        try:
            return reply.result(timeout_s)
        except NoReply:
            raise DeadlineExceeded(f"camera {self.spec.id!r}: its process did not answer in time") from None
        finally:
            self._calls.pop(number, None)

    def _run(self) -> None:
        wait_s = RESTART_S[0]
        while self.spec.enabled and not self._stopping.is_set():
            started = time.monotonic()
            code = self._run_process()
            if self._stopping.is_set() or (self._recorded_to_end(code)):
                return
            if time.monotonic() - started > RESTART_S[1]:
                wait_s = RESTART_S[0]
            reason = str(self.failure or f"exit code {code}") if code >= 0 else f"signal {signal.Signals(-code).name}"
            message = f"its process ended ({reason}); starting again in {wait_s:g} s"
            _log.error("camera %s: %s", self.spec.id, message)
            self._status = _status(
                self.spec,
                SourceState.RECONNECTING,
                message,
                SourceFailure.FAILED,
                retry_at=time.time() + wait_s,
            )
            self._hear(self.spec.id, {"type": "camera", "camera": self._status.to_json()})
            self._stopping.wait(wait_s)
            wait_s = min(wait_s * 2, RESTART_S[1])

    def _recorded_to_end(self, code: int) -> bool:
        return self._arguments[2] and (code == 0 or self.failure is not None)

    def _run_process(self) -> int:
        """Start the process and hear it out; its exit code."""
        self.failure = None
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=run_camera, args=(*self._arguments, theirs), name=f"platoon {self.spec.id}", daemon=True
        )
        process.start()
        self._process = process
        theirs.close()
        with self._lock:
            self._pipe = ours
        if self._stopping.is_set():
            self.ask_to_stop()
        try:
            while True:
                self._take(*ours.recv())
        except (EOFError, OSError):
            pass
        finally:
            self.warm = False
            with self._lock:
                self._pipe = None
            ours.close()
            for reply in list(self._calls.values()):
                if not reply.done():
                    reply.set_exception(Unavailable(f"camera {self.spec.id!r}: its process ended"))
        process.join(STOP_S)
        if process.exitcode is None:
            process.kill()
            process.join()
        return process.exitcode or 0

    def _take(self, kind: str, number: int, value: Any) -> None:
        if kind == "message":
            self._hear(self.spec.id, value)
        elif kind == "status":
            self._status, self.warm = value
        elif kind == "failure":
            self.failure = value
        elif (reply := self._calls.get(number)) is not None and not reply.done():
            if kind == "error":
                reply.set_exception(value)
            else:
                reply.set_result(value)


def run_camera(settings: Settings, spec: CameraSpec, recorded: bool, loop: bool, pipe: Connection) -> None:
    """The life of a camera's process: a site of one camera whose messages go into `pipe`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor gets it too, and says what to do
    asked_to_end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.set())  # service managers tell every process of a service
    writing = threading.Lock()

    def send(kind: str, number: int, value: Any) -> None:
        with writing:
            _send(pipe, (kind, number, value))

    def answer(number: int, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            send("reply", number, call(*arguments))
        except PlatoonError as error:
            send("error", number, error)
        except Exception as error:
            _log.exception("a call failed")
            send("error", number, PlatoonError(f"camera {spec.id!r}: {type(error).__name__}: {error}"))

    try:
        site = SharedSite(settings, recorded=recorded, loop=loop)
    except PlatoonError as error:
        send("failure", 0, error)
        raise SystemExit(1) from None
    calls: dict[str, Callable[..., Any]] = {
        "sight": lambda: site.sight(spec.id),
        "preview": lambda width: site.preview(spec.id, width=width),
        "exposition": site.metrics.exposition,
    }
    site.subscribe(lambda message: send("message", 0, message))
    site.change([spec])
    site.start()
    failed = False
    try:
        while not asked_to_end.is_set() and not site.wait(0.0):
            send("status", 0, (site.cameras()[0], not site.not_ready()))
            if not pipe.poll(STATUS_S):
                continue
            name, number, arguments = pipe.recv()
            if name == "stop":
                break
            threading.Thread(target=answer, args=(number, calls[name], arguments), daemon=True).start()
        send("status", 0, (site.cameras()[0], True))
    except PlatoonError as error:
        failed = True
        send("failure", 0, error)
    except (EOFError, OSError):
        pass  # the supervisor has gone
    try:
        site.stop()
    except PlatoonError as error:
        failed = True
        send("failure", 0, error)
    if failed:
        raise SystemExit(1)


class _MergedMetrics(Metrics):
    """The sum of all processes' metrics."""

    def __init__(self, site: IsolatedSite) -> None:
        super().__init__()
        self._site = site

    def exposition(self) -> bytes:
        """See `Metrics.exposition`."""
        return merge_expositions([super().exposition(), *self._site.expositions()])


def merge_expositions(texts: Sequence[bytes]) -> bytes:
    """Prometheus texts as one: samples of equal name and labels are added up."""
    heads: dict[str, str] = {}
    sums: dict[str, dict[str, float]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text.decode()):
            if family.name.endswith("_created"):
                continue
            name = f"{family.name}_total" if family.type == "counter" else family.name
            heads[name] = f"# HELP {name} {family.documentation}\n# TYPE {name} {family.type}\n"
            samples = sums.setdefault(name, {})
            for sample in family.samples:
                labels = ",".join(f"{key}={_quoted(value)}" for key, value in sample.labels.items())
                series = f"{sample.name}{{{labels}}}" if labels else sample.name
                samples[series] = samples.get(series, 0.0) + sample.value
    lines = []
    for name, samples in sums.items():
        lines.append(heads[name])
        lines += [f"{series} {value!r}\n" for series, value in samples.items()]
    return "".join(lines).encode()


def _quoted(value: str) -> str:
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'


def _send(pipe: Connection, parcel: tuple[str, int, Any]) -> None:
    """Write to a process that may have gone: its end is noticed where its messages are read."""
    try:
        pipe.send(parcel)
    except (OSError, ValueError):
        _log.debug("the other end of a pipe has gone")


def _status(
    spec: CameraSpec,
    state: SourceState,
    message: str = "its process is starting",
    cause: SourceFailure | None = None,
    retry_at: float | None = None,
) -> CameraStatus:
    """What is known of a camera whose process says nothing."""
    return CameraStatus(
        id=spec.id,
        name=spec.name,
        url=redact(spec.url),
        port=spec.port,
        enabled=spec.enabled,
        source=SourceStatus(
            state=state,
            cause=cause,
            message=message if spec.enabled else "disabled in the registry",
            since=time.time(),
            retry_at=retry_at,
        ),
        analysed_fps=0.0,
        analysed=0,
        dropped={},
        last_event_at=None,
    )
