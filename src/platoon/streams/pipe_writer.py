"""What one process sends another over a pipe, without ever waiting for it."""

from __future__ import annotations

import queue
import threading
from multiprocessing.connection import Connection
from typing import Any

MOST_WAITING = 256
"""Parcels that wait for a process which does not read."""

Parcel = tuple[str, int, Any]
"""What it is, to which call it belongs (0: none), and the value."""


class PipeWriter:
    """Writes parcels into a pipe, on a thread of its own, so that no caller and no lock waits for the other end."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._waiting: queue.Queue[Parcel | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._write, name="pipe writer", daemon=True)
        self._thread.start()

    def put(self, kind: str, number: int, value: Any, *, wait_s: float = 0.0) -> bool:
        """Whether it will be written: false if too much waits already, and still does after `wait_s`."""
        try:
            self._waiting.put((kind, number, value), wait_s > 0, wait_s)
        except queue.Full:
            return False
        return True

    def close(self, timeout_s: float) -> None:
        """Write what waits, for so long at most."""
        try:
            self._waiting.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _write(self) -> None:
        gone = False
        while (parcel := self._waiting.get()) is not None:
            if gone:
                continue  # nobody reads any more, which is noticed where its messages are read
            try:
                self._pipe.send(parcel)
            except (OSError, ValueError):
                gone = True
