"""The life of a camera's process in the isolated deployment: a site of one camera, heard and called over a pipe."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from platoon.errors import PlatoonError
from platoon.settings import Settings
from platoon.streams.pipe_writer import PipeWriter
from platoon.streams.pipeline import SharedSite
from platoon.streams.registry import CameraSpec
from platoon.streams.site import Message

_log = logging.getLogger(__name__)

STATUS_S = 1.0
"""How often it sends its figures, by which its supervisor knows that it lives."""
EVENT_WAIT_S = 30.0
"""How long an event waits for a supervisor that does not read."""
LAST_WORDS_S = 5.0
"""How long it may take to send what it knew when it ended."""


LANES = 1
"""A process has one camera, and as many others compete with it for the cores."""


def run_camera(settings: Settings, spec: CameraSpec, recorded: bool, loop: bool, pipe: Connection) -> None:
    """The life of a camera's process: a site of one camera whose messages go into `pipe`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor gets it too, and says what to do
    asked_to_end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.set())  # service managers tell every process of a service
    writer = PipeWriter(pipe)

    def send(kind: str, number: int, value: Any) -> None:
        writer.put(kind, number, value, wait_s=LAST_WORDS_S if kind == "failure" else 0.0)

    def hand_on(message: Message) -> None:
        # Overlays are out of date when the supervisor reads again; events are on the disk, and should be emitted too.
        writer.put("message", 0, message, wait_s=EVENT_WAIT_S if message["type"] == "event" else 0.0)

    def answer(number: int, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            send("reply", number, call(*arguments))
        except PlatoonError as error:
            send("error", number, error)
        except Exception as error:
            _log.exception("a call failed")
            send("error", number, PlatoonError(f"camera {spec.id!r}: {type(error).__name__}: {error}"))

    try:
        site = SharedSite(settings, recorded=recorded, loop=loop, lanes=LANES)
    except PlatoonError as error:
        send("failure", 0, error)
        writer.close(LAST_WORDS_S)
        raise SystemExit(1) from None
    calls: dict[str, Callable[..., Any]] = {
        "sight": lambda: site.sight(spec.id),
        "preview": lambda width, wake: site.preview(spec.id, width=width, wake=wake),
        "wake": lambda for_s: site.wake(spec.id, for_s),
        "exposition": site.metrics.exposition,
    }
    site.subscribe(hand_on)
    site.change([spec])
    site.start()
    failed = False
    try:
        while not asked_to_end.is_set() and not site.wait(0.0):
            send("status", 0, (site.cameras()[0], site.not_ready(), site.warnings(), site.quiet_s()))
            if not pipe.poll(STATUS_S):
                continue
            name, number, arguments = pipe.recv()
            if name == "stop":
                break
            threading.Thread(target=answer, args=(number, calls[name], arguments), daemon=True).start()
        send("status", 0, (site.cameras()[0], [], [], 0.0))
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
    writer.close(LAST_WORDS_S)
    if failed:
        raise SystemExit(1)
