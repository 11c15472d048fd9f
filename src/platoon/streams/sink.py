"""Where events go: crop and row to the store first, then to whoever listens.

One thread writes, so that the analysis never waits for a disk. An event is told to listeners only once it is durable.
While the store cannot be written (disk full), events wait in memory and are tried again; nothing written before is
lost.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from platoon.errors import StoreError
from platoon.media.frame import as_jpeg
from platoon.metrics import Metrics
from platoon.plates.events import PlateEvent
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore

_log = logging.getLogger(__name__)

JPEG_QUALITY = 92
RETRY_S = 2.0
WAITING_MOST = 10_000


class EventSink:
    """The writer of one site's events.

    Args:
        tell: called with each event's JSON after it was stored; raises StoreError if it could not keep it.
        give_up: raise the first StoreError in `close` and write no more, as a run over recorded files should.
    """

    def __init__(
        self,
        events: EventStore,
        crops: ObjectStore,
        metrics: Metrics,
        *,
        tell: Callable[[Mapping[str, Any]], None],
        give_up: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._events, self._crops, self._metrics = events, crops, metrics
        self._tell, self._give_up, self._now = tell, give_up, now
        self._waiting: queue.Queue[PlateEvent | None] = queue.Queue(WAITING_MOST)
        self._stopping = threading.Event()
        self.error: StoreError | None = None
        """Why the store cannot be written now; None while it can."""
        self._thread = threading.Thread(target=self._run, name="event-sink", daemon=True)
        self._thread.start()

    def put(self, event: PlateEvent) -> None:
        """Take an event; returns at once. A full queue loses the event, says so and counts it."""
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._metrics.events_lost.labels(event.camera).inc()
            _log.error("event %s of camera %s lost: the store has failed for too long", event.id, event.camera)

    def wait(self) -> None:
        """Until all events taken so far are stored."""
        self._waiting.join()

    def close(self) -> None:
        """Write what waits, then stop. Raises StoreError if events could not be written."""
        self._stopping.set()
        self._waiting.put(None)
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        while (event := self._waiting.get()) is not None:
            while not self._store(event):
                if self._give_up or self._stopping.wait(RETRY_S):
                    return
            self._waiting.task_done()

    def _store(self, event: PlateEvent) -> bool:
        day = datetime.fromtimestamp(event.time, UTC)
        key = f"{event.camera}/{day:%Y/%m/%d}/{event.id}-{event.state}.jpg"
        try:
            row = event.to_json(crop_key=key)
            self._crops.put(key, as_jpeg(event.crop, quality=JPEG_QUALITY))
            self._events.put(row)
            self._tell(row)
        except StoreError as error:
            if self.error is None and not self._give_up:
                _log.error("event not stored, tried again every %g s: %s", RETRY_S, error)
            self.error = error
            return False
        self.error = None
        self._metrics.events.labels(event.camera, event.state).inc()
        self._metrics.capture_to_event.observe(max(0.0, self._now() - event.told_at))
        return True
