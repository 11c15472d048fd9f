"""Takes the newest frame of every camera that has one, when the detector is idle.

No camera waits for another: what is ready goes, at most a batch of it, those first whose camera was served longest ago.
Live frames that got too old are dropped and counted.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from platoon.media.frame import Frame
from platoon.media.slot import NewestSlot


@dataclass(slots=True)
class _Lane:
    slot: NewestSlot
    max_age_s: float | None
    served: int = 0


class Mux:
    """The slots of all cameras.

    Args:
        stale: told the camera of every frame that was dropped for its age.
        now: seconds since 1970, the clock of `Frame.captured_at`.
    """

    def __init__(self, *, stale: Callable[[str], None], now: Callable[[], float] = time.time) -> None:
        self.ready = threading.Condition()
        self._stale, self._now = stale, now
        self._lanes: dict[str, _Lane] = {}
        self._turn = 0

    def add(self, camera: str, *, keep_all: bool, max_age_s: float | None) -> NewestSlot:
        """A slot for a camera; `keep_all` and `max_age_s=None` for files of which no frame may be lost."""
        slot = NewestSlot(ready=self.ready, keep_all=keep_all)
        with self.ready:
            self._lanes[camera] = _Lane(slot, max_age_s)
        return slot

    def remove(self, camera: str) -> None:
        """Forget a camera; its decoder is let go if it waits."""
        with self.ready:
            lane = self._lanes.pop(camera, None)
        if lane is not None:
            lane.slot.close()

    def collect(self, limit: int, *, timeout_s: float) -> list[Frame]:
        """The newest frames, at most one of a camera and `limit` in all; empty if none came in time."""
        with self.ready:
            self.ready.wait_for(lambda: any(lane.slot.filled for lane in self._lanes.values()), timeout_s)
            waiting = [(camera, lane) for camera, lane in self._lanes.items() if lane.slot.filled]
        frames: list[Frame] = []
        for camera, lane in sorted(waiting, key=lambda item: item[1].served):
            if len(frames) == limit:
                break
            frame = lane.slot.take()
            if frame is None:
                continue
            if lane.max_age_s is not None and self._now() - frame.captured_at > lane.max_age_s:
                self._stale(camera)
                continue
            self._turn += 1
            lane.served = self._turn
            frames.append(frame)
        return frames

    def finished(self) -> bool:
        """Whether every slot is closed and empty: nothing will come any more."""
        with self.ready:
            return all(lane.slot.finished for lane in self._lanes.values())
