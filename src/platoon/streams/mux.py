"""Hands out the newest frames of the cameras to the lanes of the analysis, and knows which cameras these are with.

No camera waits for another: what is ready goes, those first whose camera was served longest ago. A camera whose frame
is being analysed is in flight and gives no other until it is released, so that its frames stay in order however many
lanes there are. Live frames that got too old are dropped and counted.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from platoon.media.frame import Frame
from platoon.media.slot import NewestSlot


@dataclass(slots=True)
class _Entry:
    slot: NewestSlot
    max_age_s: float | None
    served: int = 0
    in_flight: bool = False

    @property
    def is_ready(self) -> bool:
        return self.slot.filled and not self.in_flight


class Mux:
    """The slots of all cameras; safe from any thread.

    Args:
        stale: called with the camera of every frame that was dropped for its age.
        now: seconds since 1970, the clock of `Frame.captured_at`.
    """

    def __init__(self, *, stale: Callable[[str], None], now: Callable[[], float] = time.time) -> None:
        self.ready = threading.Condition()
        self._stale, self._now = stale, now
        self._entries: dict[str, _Entry] = {}
        self._turn = 0
        self._idle = 0
        """Lanes that wait for frames."""

    def add(self, camera: str, *, keep_all: bool, max_age_s: float | None) -> NewestSlot:
        """A slot for a camera; `keep_all` and `max_age_s=None` for files of which no frame may be lost."""
        slot = NewestSlot(ready=self.ready, keep_all=keep_all)
        with self.ready:
            self._entries[camera] = _Entry(slot, max_age_s)
        return slot

    def remove(self, camera: str) -> None:
        """Forget a camera and let its decoder go if it waits; once it is not in flight any more."""
        with self.ready:
            entry = self._entries.get(camera)
            if entry is None:
                return
            entry.slot.close()
            entry.slot.take()  # so that no lane does
            self.ready.wait_for(lambda: not entry.in_flight)
            self._entries.pop(camera, None)

    def collect(self, limit: int, *, timeout_s: float) -> list[Frame]:
        """The newest frames, at most one of a camera and `limit` in all; empty if none came in time. If other lanes
        wait, too, each gets its share. Their cameras are in flight until `release`.
        """
        with self.ready:
            self._idle += 1
            try:
                self.ready.wait_for(lambda: any(entry.is_ready for entry in self._entries.values()), timeout_s)
                waiting = [(camera, entry) for camera, entry in self._entries.items() if entry.is_ready]
                share = min(limit, -(-len(waiting) // self._idle))
            finally:
                self._idle -= 1
            frames: list[Frame] = []
            for camera, entry in sorted(waiting, key=lambda item: item[1].served):
                if len(frames) == share:
                    break
                frame = entry.slot.take()
                if frame is None:
                    continue
                if entry.max_age_s is not None and not frame.past and self._now() - frame.captured_at > entry.max_age_s:
                    self._stale(camera)
                    continue
                self._turn += 1
                entry.served, entry.in_flight = self._turn, True
                frames.append(frame)
            return frames

    def claim(self, camera: str) -> bool:
        """Whether `camera` could be taken as if a frame of it were analysed: it is known, and not in flight."""
        with self.ready:
            entry = self._entries.get(camera)
            if entry is None or entry.in_flight:
                return False
            entry.in_flight = True
            return True

    def release(self, cameras: Iterable[str]) -> None:
        """Nobody is with these cameras any more."""
        with self.ready:
            for camera in cameras:
                if (entry := self._entries.get(camera)) is not None:
                    entry.in_flight = False
            self.ready.notify_all()

    def finished(self) -> bool:
        """Whether every slot is closed and empty: nothing will come any more."""
        with self.ready:
            return all(entry.slot.finished for entry in self._entries.values())
