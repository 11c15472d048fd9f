"""Where events go: crop and row to the store first, then to whoever listens.

One thread writes, so that the analysis never waits for a disk. An event is emitted only once it is durable.
While the store cannot be written, events wait in memory, in order and within bounds; beyond them, and when an event
itself cannot be stored or the site is stopped, they go to the spill (`store.spill`), from which they are taken in when
the store works again, or at the next start. Nothing that a single event does ends the thread.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np

from platoon.errors import PlatoonError, StoreError
from platoon.media.frame import Pixels, as_jpeg
from platoon.metrics import Metrics
from platoon.store.event import STATES, Event
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore
from platoon.store.spill import Spill, Spilled

_log = logging.getLogger(__name__)

JPEG_QUALITY = 92
RETRY_S = 2.0
WAITING_MOST = 10_000
"""Events in memory; more go to the spill. So many again are kept while they do."""
WAITING_BYTES = 128_000_000
"""The same in bytes, most of which are pixels of crops."""
HANGS_S = 10.0
"""A write that takes longer is reported."""
CLOSE_S = 5.0
"""What is not written so long after the stop is spilled."""
SPILL_S = 2.0
"""How long that may take; both are well below what a camera's process has for its end (`keeper.STOP_S`)."""
TRIES = 3
"""An event that fails so often, where the next one does not, is at fault itself."""
DROPPED_AT_ONCE = 16
LOOK_S = 10.0
"""How soon it is seen that somebody has taken away what cannot be taken in."""


class Emitted(Protocol):
    """An event of any kind as an analysis emits it, with its picture still in memory."""

    @property
    def id(self) -> str:
        """The same in all its states."""

    @property
    def state(self) -> str:
        """One of `store.event.STATES`."""

    @property
    def camera(self) -> str:
        """Its id."""

    @property
    def time(self) -> float:
        """When what it is of was seen, seconds since 1970."""

    @property
    def emitted_at(self) -> float | None:
        """When the frame was received that decided it was to be emitted; None: whoever emits it counts it, and how
        late it is.
        """

    @property
    def crop(self) -> Pixels:
        """Its picture."""

    def to_json(self, *, crop_key: str | None) -> Mapping[str, Any]:
        """See `store.event.Event.of`."""


class EventSink:
    """The writer of one site's events.

    Args:
        on_event: called with each event's JSON after it was stored; raises StoreError if it could not keep it.
        give_up: raise the first StoreError in `close` and write no more, as a run over recorded files should.
    """

    def __init__(
        self,
        events: EventStore,
        crops: ObjectStore,
        metrics: Metrics,
        *,
        on_event: Callable[[Mapping[str, Any]], None],
        give_up: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._events, self._crops, self._metrics = events, crops, metrics
        self._on_event, self._give_up, self._now = on_event, give_up, now
        self._spill = Spill(events.path.parent / "spill")
        self._changed = threading.Condition()
        """Guards what waits, and notifies the writer of it."""
        self._waiting: deque[Emitted] = deque()
        """The first is being written."""
        self._waiting_bytes = 0
        self._stopping = False
        self._began: float | None = None
        """When the write began that goes on now, seconds of the monotonic clock."""
        self._spilling = True
        """Whether the spill can be written, as far as is known."""
        self._left = 0
        """Events that the stop left to the spill."""
        self._look_at = None if give_up else time.monotonic()
        """When the spill is looked through next."""
        self._refused: dict[str, str] = {}
        """Spilled events that cannot be taken in, and why; tried again at the next start."""
        self._lies = (0, 0)
        """Events in the spill and their bytes, as they were counted last: readiness must not wait for a disk."""
        self.error: StoreError | None = None
        """Why the store cannot be written now; None while it can."""
        self._thread = threading.Thread(target=self._run, name="event-sink", daemon=True)
        self._thread.start()

    def put(self, event: Emitted) -> None:
        """Take an event; returns at once. Beyond twice the bounds it is lost, which is said and counted."""
        with self._changed:
            if not self._exceeds(2, event):
                self._waiting.append(event)
                self._waiting_bytes += _bytes(event)
                self._changed.notify_all()
                return
        self._lose(event, "full", f"{len(self._waiting)} events wait for the store already: {self.error}")

    def wait(self) -> None:
        """Until all events taken so far are stored or spilled."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or not self._thread.is_alive())

    def not_ready(self) -> list[str]:
        """Why events cannot be stored now; empty while they can."""
        reasons = []
        began, waiting = self._began, len(self._waiting)
        if not self._thread.is_alive() and not self._stopping:
            reasons.append("store: the writer of events has died; start again")
        if self.error is not None:
            reasons.append(f"store: {self.error}")
        if began is not None and (lasts := time.monotonic() - began) > HANGS_S:
            reasons.append(f"store: a write has lasted {lasts:.0f} s, {waiting} events wait for it; check its disk")
        return reasons

    def warnings(self) -> list[str]:
        """What somebody should look after although events are stored: of those that lie in the spill, or in files that
        were set aside.
        """
        aside = self._events.warnings()
        spilled, n_bytes = self._lies
        if not spilled:
            return aside
        cause = next(iter(self._refused.copy().values()), "they are taken in when the store works again")
        return [*aside, f"store: {spilled} events ({n_bytes} bytes) lie in {self._spill.folder}: {cause}"]

    def close(self) -> None:
        """Write what waits, then stop; what is not written in time is spilled.

        Raises:
            StoreError: events could not be written; says how many, and where they are.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            spilling = threading.Thread(
                target=self._spill_all, args=(f"a write lasted over {CLOSE_S:g} s",), daemon=True
            )
            spilling.start()
            spilling.join(SPILL_S)
        if self._give_up:
            if self.error is not None:
                raise self.error
            return
        with self._changed:
            lost = list(self._waiting)
        for event in lost:
            self._lose(event, "stop", "it could be neither stored nor spilled before the stop")
        if lost or self._left:
            raise StoreError(
                f"{len(lost) + self._left} events could not be stored before the stop: {self._left} lie in "
                f"{self._spill.folder} until the next start, {len(lost)} are lost: {self.error or 'a write hangs'}"
            )

    def _run(self) -> None:
        while (event := self._next()) is not None:
            try:
                if not self._write(event):
                    return
            except Exception as error:
                _log.exception("event %s of camera %s cannot be stored", event.id, event.camera)
                if not self._spilled(event, error, "event"):
                    self._lose(event, "event", error)
                self._leave(event)

    def _next(self) -> Emitted | None:
        """The event to be written next; None at the end. What was spilled is taken in while nothing waits."""
        while True:
            with self._changed:
                while not self._waiting and not self._stopping and not self._look_due():
                    self._changed.wait(None if self._look_at is None else self._look_at - time.monotonic())
                if self._waiting:
                    return self._waiting[0]
                if self._stopping:
                    return None
            self._look()

    def _write(self, event: Emitted) -> bool:
        """Store an event, or leave it to the spill; False when no more is to be written."""
        tries = 0
        while self._is_first(event):
            if self._stored(event):
                self._leave(event)
                return True
            if self._give_up:
                return False
            if self._stopping:
                self._spill_all("the store could not be written at the stop")
                return False
            tries += 1
            if (
                tries >= TRIES
                and self._next_is_stored()
                and (self._stored(event) or self._spilled(event, self.error, "event"))
            ):
                self._leave(event)
                self.error = None
                return True
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or (self._spilling and self._exceeds(1)), RETRY_S)
            self._spilling = self._spill_excess()
        return True

    def _next_is_stored(self) -> bool:
        """Whether the store takes the event after the one that failed."""
        with self._changed:
            second = self._waiting[1] if len(self._waiting) > 1 else None
        if second is None or not self._stored(second):
            return False
        self._leave(second)
        return True

    def _stored(self, event: Emitted) -> bool:
        """Whether the store took the event; anything but a fault of the store is raised."""
        self._began = time.monotonic()
        try:
            row = event.to_json(crop_key=_key(event))
            self._keep(Event.of(row), as_jpeg(event.crop, quality=JPEG_QUALITY))
            self._announce(row)
        except StoreError as error:
            self._fail(error)
            return False
        finally:
            self._began = None
        self.error = None
        if event.emitted_at is not None:
            self._metrics.events.labels(event.camera, event.state).inc()
            self._metrics.capture_to_event.observe(max(0.0, self._now() - event.emitted_at))
        return True

    def _fail(self, error: StoreError) -> None:
        """The store cannot be written."""
        if self.error is None and not self._give_up:
            _log.error("events are not stored, tried again every %g s: %s", RETRY_S, error)
        self.error = error

    def _keep(self, event: Event, crop: bytes) -> None:
        """Crop and row, durably; then away with the crop of the preview that this replaces."""
        assert event.crop is not None
        self._crops.put(event.crop, crop)
        self._events.put(event, crop_bytes=len(crop))
        try:
            if dropped := self._events.dropped(DROPPED_AT_ONCE):
                self._crops.delete(dropped)
                self._events.forget_dropped(dropped)
        except StoreError as error:
            _log.warning("replaced crops are deleted later: %s", error)

    def _announce(self, row: Mapping[str, Any]) -> None:
        """Emit an event that is stored. Who cannot hear it does not keep others from being stored."""
        try:
            self._on_event(row)
        except StoreError as error:
            if self._give_up:
                raise
            _log.error("event %s is stored, but could not be emitted: %s", row["id"], error)
        except Exception:
            _log.exception("event %s is stored, but could not be emitted", row["id"])

    def _look_due(self) -> bool:
        return self._look_at is not None and time.monotonic() >= self._look_at

    def _look(self) -> None:
        """See whether the store works, and take in what was spilled, until something waits."""
        self._look_at = None
        try:
            self._events.check()
            self.error = None
        except StoreError as error:
            self._fail(error)
            self._look_at = time.monotonic() + RETRY_S
            return
        try:
            self._lies = self._spill.size()
            with self._spill.claimed() as mine:
                names = self._spill.names() if mine else []
                for name in self._refused.keys() - names if mine else ():  # somebody has taken it away
                    del self._refused[name]
                for name in names:
                    if self._waiting or self._stopping:
                        self._look_at = time.monotonic()
                        return
                    if name not in self._refused:
                        self._take_in(name)
                if mine:
                    self._spill.tidy()
            self._lies = self._spill.size()
            if self._lies[0]:
                self._look_at = time.monotonic() + (LOOK_S if mine else RETRY_S)
        except StoreError as error:
            _log.warning("spilled events wait: %s", error)
            self._look_at = time.monotonic() + RETRY_S

    def _take_in(self, name: str) -> None:
        try:
            try:
                spilled = self._spill.get(name)
            except StoreError as error:  # of this file alone: the store may well work
                raise ValueError(str(error)) from error
            row = spilled.event
            kept = self._events.get(str(row["id"]))
            if kept is None or STATES.index(kept["state"]) < STATES.index(row["state"]):
                self._keep(Event.of(row), _as_jpeg(spilled.picture))
                self._spill.remove(name)
                self._announce(row)
                self._metrics.events.labels(row["camera"], row["state"]).inc()
            else:  # it was, before the process ended
                self._spill.remove(name)
            self._lies = self._spill.size()
            _log.info("event %s of camera %s is taken in from the spill", row["id"], row["camera"])
        except StoreError:
            raise
        except Exception as error:
            self._refused[name] = f"{type(error).__name__}: {error}"
            _log.error("the spilled event %s cannot be taken in: %s", self._spill.folder / name, self._refused[name])

    def _spill_excess(self) -> bool:
        """Spill the oldest until what waits is within its bounds; whether that works."""
        while True:
            with self._changed:
                if not self._exceeds(1):
                    return True
                oldest = self._waiting[0]
            if not self._spilled(oldest, self.error, "store"):
                return False
            self._leave(oldest)

    def _spill_all(self, cause: str) -> None:
        with self._changed:
            waiting = list(self._waiting)
        for event in waiting:
            if self._spilled(event, cause, "stop"):
                self._left += 1
                self._leave(event)

    def _spilled(self, event: Emitted, cause: object, kind: str) -> bool:
        """Whether the event lies in the spill now; `kind` of cause: its own (event), the store's, the stop."""
        try:
            row = event.to_json(crop_key=_key(event))
        except Exception:
            row = {"id": event.id, "state": str(event.state), "camera": event.camera, "what": repr(event)}
        try:
            name = self._spill.put(Spilled(event=row, cause=str(cause), picture=_picture(event)))
        except (PlatoonError, ValueError, TypeError) as error:
            level = logging.DEBUG if kind == "store" else logging.ERROR  # it waits on, and is tried again
            _log.log(level, "event %s cannot be spilled: %s", event.id, error)
            return False
        self._metrics.events_spilled.labels(event.camera, kind).inc()
        _log.error("event %s of camera %s is in %s: %s", event.id, event.camera, self._spill.folder, cause)
        if kind == "event":
            self._refused[name] = str(cause)
        if not self._give_up:
            self._look_at = time.monotonic() + (LOOK_S if kind == "event" else RETRY_S)
        self._lies = self._spill.size()
        return True

    def _lose(self, event: Emitted, cause: str, reason: object) -> None:
        self._metrics.events_lost.labels(event.camera, cause).inc()
        _log.error("event %s of camera %s is lost: %s", event.id, event.camera, reason)

    def _is_first(self, event: Emitted) -> bool:
        with self._changed:
            return bool(self._waiting) and self._waiting[0] is event

    def _leave(self, event: Emitted) -> None:
        """It waits no more."""
        with self._changed:
            for index, other in enumerate(self._waiting):
                if other is event:
                    del self._waiting[index]
                    self._waiting_bytes -= _bytes(event)
                    break
            self._changed.notify_all()

    def _exceeds(self, times: int, event: Emitted | None = None) -> bool:
        """Whether what waits, with `event`, exceeds the bounds so many times."""
        more, n_bytes = (0, 0) if event is None else (1, _bytes(event))
        return bool(self._waiting) and (
            len(self._waiting) + more > times * WAITING_MOST or self._waiting_bytes + n_bytes > times * WAITING_BYTES
        )


def _key(event: Emitted) -> str:
    day = datetime.fromtimestamp(event.time, UTC)
    return f"{event.camera}/{day:%Y/%m/%d}/{event.id}-{event.state}.jpg"


def _bytes(event: Emitted) -> int:
    """What it takes in memory, in bytes, roughly."""
    return int(getattr(event.crop, "nbytes", 0)) + 2048


def _picture(event: Emitted) -> bytes | None:
    """The crop as JPEG, or as an array where that cannot be made."""
    try:
        return as_jpeg(event.crop, quality=JPEG_QUALITY)
    except Exception:
        array = io.BytesIO()
        try:
            np.save(array, event.crop, allow_pickle=False)
        except (ValueError, TypeError):
            return None
        return array.getvalue()


def _as_jpeg(picture: bytes | None) -> bytes:
    if picture is None:
        raise ValueError("its picture could not be kept")
    if picture.startswith(b"\x93NUMPY"):
        return as_jpeg(np.load(io.BytesIO(picture), allow_pickle=False), quality=JPEG_QUALITY)
    return picture
