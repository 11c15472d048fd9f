"""Keeps the process of one camera running: listens to it, ends it when it hangs, and starts it again."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as NoReply
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from platoon.errors import DeadlineExceeded, PlatoonError, Unavailable
from platoon.media.source import SourceFailure, SourceState, SourceStatus
from platoon.redaction import redact
from platoon.settings import Settings
from platoon.streams.camera_process import run_camera
from platoon.streams.pipe_writer import PipeWriter
from platoon.streams.registry import CameraSpec
from platoon.streams.site import CameraStatus, Message, not_live

_log = logging.getLogger(__name__)

RESTART_S = (1.0, 30.0)
"""Wait before a dead process is started again: at first, and at most; doubled each time it dies early."""
START_S = 120.0
"""How long a process may take until it says something for the first time."""
HANG_S = 30.0
"""One that says nothing for so long, or whose analysis stands still, hangs. It sends its figures every second."""
STOP_S = 10.0
"""How long a process may take to end when asked; then it is terminated, and after `KILL_S` more killed."""
KILL_S = 2.0
_STARTING = ("its process is starting",)
_LOOK_S = 0.25
"""How often it is looked at."""


class Keeper:
    """The process of one camera, and how it is doing. Safe from any thread.

    Args:
        hear: called with the messages of the process, on a thread of the keeper's.
    """

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
        self.missing: Sequence[str] = _STARTING
        """Why it cannot work now, as its process says; empty once it can."""
        self.warnings: Sequence[str] = ()
        """What somebody should look after although it works, as its process says."""
        self.failure: PlatoonError | None = None
        self.exposition = b""
        """The metrics that its process gave last."""
        self._arguments = (settings, spec, recorded, loop)
        # Finding and reading may each wait for a server that does not answer.
        self._still_s = max(HANG_S, 3 * settings.engine.triton_timeout_s, 3 * settings.remote.timeout_s)
        self._hear = hear
        self._context = multiprocessing.get_context("spawn")
        self._numbers = itertools.count()
        self._calls: dict[int, Future[Any]] = {}
        self._writer: PipeWriter | None = None
        self._heard_at: float | None = None
        """None: this process has not said anything yet."""
        self._quiet_s = 0.0
        """How long its analysis had stood still, as it said last."""
        self._stopping = threading.Event()
        self._asked_at = 0.0
        self._status = _status(spec, SourceState.CONNECTING if spec.enabled else SourceState.STOPPED)
        self._thread = threading.Thread(target=self._run, name=f"keeper {spec.id}", daemon=True)

    def start(self) -> None:
        """Start the process, and again whenever it dies or hangs."""
        self._thread.start()

    def status(self) -> CameraStatus:
        """As its process last sent it."""
        return self._status

    def join(self, timeout_s: float | None) -> bool:
        """Whether it has ended for good or was never started, waiting for it so long."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def ask_to_stop(self) -> None:
        """Tell the process to end; returns at once. It ends within `STOP_S` and `KILL_S`, by force if need be."""
        if not self._stopping.is_set():
            self._asked_at = time.monotonic()
            self._stopping.set()
        if (writer := self._writer) is not None:
            writer.put("stop", 0, ())

    def stop(self) -> None:
        """End the process and wait for that; what it had emitted is stored."""
        self.ask_to_stop()
        self.join(None)

    def ask(self, name: str, *arguments: Any) -> Future[Any]:
        """Ask the process for something; the future has its answer, its PlatoonError, or Unavailable if it is gone."""
        number, reply = next(self._numbers), Future[Any]()
        writer = self._writer
        self._calls[number] = reply
        reply.add_done_callback(lambda _: self._calls.pop(number, None))
        if writer is None:
            reply.set_exception(not_live(self.spec.id, self._status.source))
        elif not writer.put(name, number, arguments) or writer is not self._writer:
            _fail(reply, f"camera {self.spec.id!r}: its process does not answer; it will be started again")
        return reply

    def call(self, name: str, timeout_s: float, *arguments: Any) -> Any:
        """What the process answers within that time; raises DeadlineExceeded, and what `ask` has."""
        reply = self.ask(name, *arguments)
        try:
            return reply.result(timeout_s)
        except NoReply:
            raise DeadlineExceeded(f"camera {self.spec.id!r}: its process did not answer in time") from None
        finally:
            reply.cancel()

    def _run(self) -> None:
        wait_s = RESTART_S[0]
        while self.spec.enabled and not self._stopping.is_set():
            started = time.monotonic()
            code, why = self._run_process()
            if self._stopping.is_set() or self._recorded_to_end(code):
                return
            if time.monotonic() - started > RESTART_S[1]:
                wait_s = RESTART_S[0]
            message = f"its process ended ({why}); starting again in {wait_s:g} s"
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

    def _run_process(self) -> tuple[int, str]:
        """Start the process and hear it out; its exit code, and why it ended."""
        self.failure = None
        self._heard_at, self._quiet_s = None, 0.0
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=run_camera, args=(*self._arguments, theirs), name=f"platoon {self.spec.id}", daemon=True
        )
        process.start()
        started = time.monotonic()
        theirs.close()
        listening = threading.Thread(target=self._listen, args=(ours,), name=f"hearing {self.spec.id}", daemon=True)
        listening.start()
        writer = self._writer = PipeWriter(ours)
        if self._stopping.is_set():
            self.ask_to_stop()
        hung = ""
        while listening.is_alive():
            listening.join(_LOOK_S)
            if self._stopping.is_set():
                _end(process, since=self._asked_at)
            elif not hung and (hung := self._hangs(started)):
                process.kill()
        self.missing, self._writer = _STARTING, None
        writer.close(KILL_S)
        ours.close()
        for reply in list(self._calls.values()):
            _fail(reply, f"camera {self.spec.id!r}: its process ended")
        gone = time.monotonic()
        while process.is_alive():
            process.join(_LOOK_S)
            _end(process, since=gone)
        code = process.exitcode or 0
        if hung or self.failure:
            return code, hung or str(self.failure)
        return code, f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

    def _hangs(self, started: float) -> str:
        """What shows that the process hangs; empty if nothing does."""
        now = time.monotonic()
        if self._heard_at is None:
            return f"it said nothing in its first {START_S:g} s" if now - started > START_S else ""
        if now - self._heard_at > HANG_S:
            return f"it hung: it said nothing for {HANG_S:g} s"
        return f"it hung: its analysis stood still for {self._still_s:g} s" if self._quiet_s > self._still_s else ""

    def _listen(self, pipe: Connection) -> None:
        try:
            while True:
                self._take(*pipe.recv())
                self._heard_at = time.monotonic()
        except (EOFError, OSError):
            pass

    def _take(self, kind: str, number: int, value: Any) -> None:
        if kind == "message":
            self._hear(self.spec.id, value)
        elif kind == "status":
            self._status, self.missing, self.warnings, self._quiet_s = value
        elif kind == "failure":
            self.failure = value
        elif (reply := self._calls.get(number)) is not None:
            with suppress(InvalidStateError):  # nobody waits any more
                if kind == "error":
                    reply.set_exception(value)
                else:
                    reply.set_result(value)


def _fail(reply: Future[Any], why: str) -> None:
    with suppress(InvalidStateError):  # it was answered in the last moment
        reply.set_exception(Unavailable(why))


def _end(process: BaseProcess, *, since: float) -> None:
    """End a process that should have ended `since` then, by as much force as the time that has passed calls for."""
    late_s = time.monotonic() - since - STOP_S
    if late_s > KILL_S:
        process.kill()
    elif late_s > 0:
        process.terminate()


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
