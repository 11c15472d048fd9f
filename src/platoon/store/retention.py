"""Forgetting in time: events and crops by age, crops by size.

Crops go before the rows that name them, in small transactions, so that a sweep that is killed leaves nothing
behind that the next one does not find, and never holds up the writer for long.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from platoon.errors import PlatoonError
from platoon.settings import StoreSettings
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore

_TRANSACTION: Final = 256  # events at once
_DAY_S: Final = 86_400.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one sweep removed and what it left."""

    events: int
    """Events older than the limit, with their crops."""
    strays: int
    """Crops older than the limit that no event named (their preview was replaced, or a process died)."""
    crops: int
    """Crops removed for their size; their events stay and say so."""
    kept_bytes: int
    """Size of the crops that are left."""


class Retention:
    """Sweeps now and then, from its own thread between `__enter__` and `__exit__`, or when asked.

    Args:
        clock: seconds since 1970.
        interval_s: between two sweeps; the first comes at once.
    """

    def __init__(
        self,
        events: EventStore,
        crops: ObjectStore,
        settings: StoreSettings,
        *,
        clock: Callable[[], float] = time.time,
        interval_s: float = 900.0,
    ) -> None:
        self._events, self._crops, self._settings = events, crops, settings
        self._clock, self._interval_s = clock, interval_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def sweep(self) -> Swept:
        """Remove what is due.

        Raises:
            StoreError: a store cannot be read or written; what was removed before stays removed.
        """
        due = self._clock() - self._settings.max_age_days * _DAY_S
        events = self._by_age(due)
        strays, kept_bytes = self._strays(due)
        crops, kept_bytes = self._by_size(kept_bytes)
        return Swept(events=events, strays=strays, crops=crops, kept_bytes=kept_bytes)

    def _by_age(self, due: float) -> int:
        removed = 0
        while not self._stopping.is_set() and (old := self._events.oldest(_TRANSACTION, before=due)):
            self._crops.delete(crop for _, crop in old if crop is not None)
            removed += self._events.delete(event_id for event_id, _ in old)
        return removed

    def _strays(self, due: float) -> tuple[int, int]:
        removed = kept_bytes = 0
        for chunk in self._crops.list():
            old = [stored.key for stored in chunk if stored.modified_at < due]
            self._crops.delete(old)
            removed += len(old)
            kept_bytes += sum(stored.size_bytes for stored in chunk if stored.modified_at >= due)
        return removed, kept_bytes

    def _by_size(self, kept_bytes: int) -> tuple[int, int]:
        removed = 0
        while kept_bytes > self._settings.max_bytes and not self._stopping.is_set():
            going: list[tuple[str, str]] = []
            for event_id, crop in self._events.oldest(_TRANSACTION, with_crop=True):
                if kept_bytes <= self._settings.max_bytes or crop is None:
                    break
                kept_bytes -= self._crops.size(crop)
                going.append((event_id, crop))
            if not going:
                break
            self._crops.delete(crop for _, crop in going)
            removed += self._events.forget_crops(going)
        return removed, kept_bytes

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                swept = self.sweep()
                log.info("retention: %s", swept)
            except PlatoonError as error:
                log.warning("retention waits for its next turn: %s", error)
            self._stopping.wait(self._interval_s)
