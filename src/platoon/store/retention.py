"""Forgetting in time: events and crops by age, crops by size and where the disk has no room left.

Crops go before the rows that name them, in lists and small transactions, so that a sweep that is killed leaves nothing
behind that the next one does not find, and never holds up the writer for long. Sizes stand beside the events; nobody
lists the whole store, but a few of its folders at a time are looked through for crops that no event names.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from platoon.errors import PlatoonError
from platoon.settings import StoreSettings
from platoon.store import space
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore, StoredObject
from platoon.store.pace import DAY_S, Pace

_TRANSACTION: Final = 256  # events at once
_FOLDERS: Final = 8
"""Looked through for strays in one sweep: a camera's day each."""
_ABANDONED_S: Final = 3600.0
"""A preview so old becomes no final any more."""
_LOOK_S: Final = 30.0
"""Between two looks at the free space of the disk."""
_BALLAST_BYTES: Final = 8_000_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one sweep removed and what it left."""

    events: int
    """Events older than the limit, with their crops."""
    strays: int
    """Crops older than the limit that no event named, as a process died between the two."""
    crops: int
    """Crops removed for their size or for room; their events stay and say so."""
    kept_bytes: int
    """Size of the crops that are left."""
    waits: str = ""
    """Why age took less than what is due; empty: it took all."""


class Retention:
    """Sweeps now and then, from its own thread between `__enter__` and `__exit__`, or when asked.

    Args:
        clock: seconds since 1970.
        interval_s: between two sweeps; the first comes at once. A disk without room is swept sooner.
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
        self._pace: Pace | None = None
        self._folders: Iterator[Sequence[StoredObject]] = iter(())
        self._ballast = space.Ballast(
            events.path.parent / "ballast", min(_BALLAST_BYTES, settings.reserve_bytes), settings.reserve_bytes
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(_LOOK_S)  # a hanging disk does not hold the stop for ever

    def sweep(self) -> Swept:
        """Remove what is due.

        Raises:
            StoreError: a store cannot be read or written; what was removed before stays removed.
        """
        now = self._clock()
        if self._pace is None:
            self._pace = Pace(self._events, self._settings.max_age_days * DAY_S)
        self._ballast.release_if_full()
        crops = self._for_room(self._pace, now) if space.is_full(self._events.path.parent) else 0
        self._drop()
        self._measure()
        events, strays = self._by_age(self._pace, now)
        crops += self._by_size(now) + self._for_room(self._pace, now)
        if events or crops or self._short_of_room():
            self._events.give_back()
        self._ballast.hold()
        return Swept(
            events=events, strays=strays, crops=crops, kept_bytes=self._events.crop_bytes(), waits=self._pace.why
        )

    def _drop(self) -> None:
        """Delete what finals have replaced, where the writer could not."""
        while not self._stopping.is_set() and (keys := self._events.dropped(_TRANSACTION)):
            self._crops.delete(keys)
            self._events.forget_dropped(keys)

    def _measure(self) -> None:
        """Note the sizes that older versions did not."""
        while not self._stopping.is_set() and (unknown := self._events.unmeasured(_TRANSACTION)):
            self._events.measure((self._crops.size(crop), event_id, crop) for event_id, crop in unknown)

    def _by_age(self, pace: Pace, now: float) -> tuple[int, int]:
        due = now - self._settings.max_age_days * DAY_S
        left = pace.look(now)
        removed = 0
        while left > 0 and not self._stopping.is_set():
            old = self._events.oldest(int(min(_TRANSACTION, left)), before=due)
            if not old:
                pace.done()
                break
            self._crops.delete(crop for _, crop in old if crop is not None)
            gone = self._events.delete((event_id for event_id, _ in old), before=due)
            pace.took(gone)
            removed, left = removed + gone, left - gone
        if pace.why:
            return removed, 0
        return removed, self._strays(due)

    def _strays(self, due: float) -> int:
        """Look through some folders for crops that no event names; the next sweep goes on with the next."""
        removed = 0
        for _ in range(_FOLDERS):
            found = next(self._folders, None)
            if found is None:
                self._folders = self._crops.walk()
                found = next(self._folders)
            strays = self._events.unnamed(stored.key for stored in found if stored.modified_at < due)
            self._crops.delete(strays)
            removed += len(strays)
        return removed

    def _by_size(self, now: float) -> int:
        """Keep within the limit."""
        return self._thin(self._events.crop_bytes() - self._settings.max_bytes, now)[0]

    def _for_room(self, pace: Pace, now: float) -> int:
        """Where the disk has less room than is kept for events, let a share of the oldest crops make it."""
        folder = self._events.path.parent
        if not self._short_of_room() or not self._crops.shares_disk(folder):
            return 0
        missing = space.reserved(folder, self._settings.reserve_bytes) - space.free(folder)
        may = pace.room(now, self._events.crop_bytes())
        removed, gone_bytes = self._thin(min(missing, may), now)
        if removed:
            pace.made_room(gone_bytes)
            log.warning("the disk of %s has no room left: the %d oldest crops made some", folder, removed)
        return removed

    def _thin(self, n_bytes: int, now: float) -> tuple[int, int]:
        """Delete the oldest crops until `n_bytes` are gone, previews that became nothing first; how many, and bytes."""
        removed = gone_bytes = 0
        for undecided_before in (now - _ABANDONED_S, None):
            while gone_bytes < n_bytes and not self._stopping.is_set():
                going: list[tuple[str, str]] = []
                for event_id, crop, size in self._events.oldest_crops(_TRANSACTION, undecided_before=undecided_before):
                    if gone_bytes >= n_bytes:
                        break
                    gone_bytes += size
                    going.append((event_id, crop))
                if not going:
                    break
                self._crops.delete(crop for _, crop in going)
                removed += self._events.forget_crops(going)
        return removed, gone_bytes

    def _short_of_room(self) -> bool:
        folder = self._events.path.parent
        return space.free(folder) < space.reserved(folder, self._settings.reserve_bytes)

    def _run(self) -> None:
        reported = ""
        while not self._stopping.is_set():
            try:
                swept = self.sweep()
                if swept.events or swept.strays or swept.crops:
                    log.info("retention: %s", swept)
                if swept.waits and swept.waits != reported:
                    log.warning("retention: %s", swept.waits)
                reported = swept.waits
            except PlatoonError as error:
                log.warning("retention waits for its next turn: %s", error)
            except Exception:
                log.exception("retention waits for its next turn")
            due = time.monotonic() + self._interval_s
            while not self._stopping.wait(min(_LOOK_S, self._interval_s)) and not self._is_due(due):
                pass

    def _is_due(self, due: float) -> bool:
        """Whether it is time for the next sweep, as the interval is over or the disk is full."""
        try:
            return time.monotonic() >= due or self._short_of_room()
        except OSError:  # a disk that does not even say how full it is, as the sweep will report
            return False
