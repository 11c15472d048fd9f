"""A file of lines of JSON that follows the events of a store, for whoever reads files.

What is missing in the file is known from the store, not from memory: a file that could not be written for a time, or a
process that was killed between store and file, costs no line. The store remembers how far each file has come.
"""

import json
import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from platoon.errors import StoreError
from platoon.store.events import EventStore
from platoon.store.lines import JsonLines

RETRY_S = 2.0
HANGS_S = 10.0
"""A write that takes longer is reported."""
_AT_ONCE: Final = 64
"""Events between two notes of how far the file has come: so many last lines are compared after a kill."""
_CLOSE_S: Final = 5.0

_log = logging.getLogger(__name__)


class EventFile:
    """Appends what the store gets from now on, and what it got since this file was last followed.

    It has a thread and a connection of its own between `__enter__` and `__exit__`, so that a file that cannot be
    written or a pipe that nobody reads holds up nobody else. An event that changes twice before it is written has one
    line.

    Args:
        path: the file; one that is new follows from now on; or from the beginning of a store that cannot be read now.
        store: the database of the events.
    """

    def __init__(self, path: Path, store: Path) -> None:
        self._path = path
        self._events = EventStore(store, unattended=True)
        self._memo = f"event file {path.absolute()}"
        with suppress(StoreError):  # raised when something is to be written
            if self._events.memo(self._memo) is None:
                self._events.remember(self._memo, self._events.memo("revision"))
        self._noted: int | None = None
        """What was noted last, if nothing failed since: all lines are there, and none of a later event."""
        self._lines: JsonLines | None = None
        self._wake = threading.Event()
        self._wake.set()
        self._stopping = False
        self._error: Exception | None = None
        self._began: float | None = None
        """When the write began that goes on now, seconds of the monotonic clock."""
        self._thread = threading.Thread(target=self._run, name="event-file", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._wake.set()
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            _log.error("the event file %s hangs; what it lacks is written at the next start", self._path)

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take a message of a site: where it is of an event, there is one to be written. Returns at once."""
        if "event" in message:
            self._wake.set()

    def not_ready(self) -> list[str]:
        """Why the file cannot be written now; empty while it can."""
        if self._error is not None:
            return [f"event file: {self._error}; events are stored, and written there later"]
        if (began := self._began) is not None and (lasts := time.monotonic() - began) > HANGS_S:
            return [f"event file: a write to {self._path} has lasted {lasts:.0f} s; events are stored meanwhile"]
        return []

    def _run(self) -> None:
        try:
            while True:
                self._wake.wait(None if self._error is None else RETRY_S)
                self._wake.clear()
                stopping = self._stopping
                self._try()
                if stopping:
                    return
        finally:
            self._close()
            self._events.close()

    def _try(self) -> None:
        self._began = time.monotonic()
        try:
            while self._follow():
                self._began = time.monotonic()
        except Exception as error:
            if self._error is None:
                _log.error("%s; tried again every %g s, events are stored meanwhile", error, RETRY_S)
            self._error, self._noted = error, None
            self._close()
            return
        finally:
            self._began = None
        if self._error is not None:
            _log.info("the event file %s is written again", self._path)
        self._error = None

    def _follow(self) -> bool:
        """Write the next events; whether there were any. Of processes that share a file, one at a time does."""
        lines = self._opened()  # also where there is nothing to write, so that a wrong path is reported at once
        with lines.held():
            come = self._events.memo(self._memo) or 0  # a store that was begun anew has no note
            rows = self._events.written_since(come, _AT_ONCE)
            known = {json.dumps(row) for row in lines.last(_AT_ONCE)} if rows and come != self._noted else set()
            for _, row in rows:
                if json.dumps(row) not in known:
                    lines.append(row)
            if rows:
                self._noted = rows[-1][0]
                self._events.remember(self._memo, self._noted)
        return bool(rows)

    def _opened(self) -> JsonLines:
        """The file, opened anew where somebody has moved it away."""
        if self._lines is not None and self._lines.is_at(self._path):
            return self._lines
        self._close()
        lines = JsonLines(self._path)
        self._lines = lines.__enter__()
        return lines

    def _close(self) -> None:
        if self._lines is not None:
            self._lines.__exit__(None, None, None)
            self._lines = None
