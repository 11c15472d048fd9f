"""When the packets of a live stream came, and which of them a decoder that is behind leaves out.

As `platoon.media.backlog` does for packets that Platoon takes itself: here they wait in queues of GStreamer's.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from platoon.media.backlog import LAG_WINDOW_S

KEPT_MOST: Final = 4096
"""Packets remembered: more than wait in queues of a few seconds."""


class Arrivals:
    """Packets between the network and one decoder, known by their time stamps; from any thread.

    Args:
        max_lag_s: how long after its arrival a packet may be decoded before older ones are skipped.
        skipped: called with how many were, on the decoder's thread.
    """

    def __init__(
        self, *, max_lag_s: float, skipped: Callable[[int], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_lag_s, self._skipped, self._now = max_lag_s, skipped, now
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, float, bool]] = deque(maxlen=KEPT_MOST)
        """(time stamp, arrival, whether it is a keyframe), in the order of arrival."""
        self._decoding: dict[int, float] = {}
        """Arrivals of what the decoder has taken, by time stamp."""
        self._lags: deque[tuple[float, float]] = deque()
        self._skipping = False

    @property
    def lag(self) -> float:
        """How many seconds after its arrival a packet is decoded, at worst in the last seconds."""
        with self._lock:
            self._forget(self._now())
            return max((lag for _, lag in self._lags), default=0.0)

    def came(self, stamp: int, *, keyframe: bool) -> None:
        """A packet has arrived."""
        with self._lock:
            self._waiting.append((stamp, self._now(), keyframe))

    def wanted(self, stamp: int, *, keyframe: bool) -> bool:
        """Whether the decoder is to take the packet that it comes to now; else it goes on from a later keyframe."""
        with self._lock:
            now = self._now()
            arrived = now
            if any(stamp == waiting for waiting, _, _ in self._waiting):
                while (first := self._waiting.popleft())[0] != stamp:
                    pass
                arrived = first[1]
            late = now - arrived
            self._forget(now)
            self._lags.append((now, late))
            if late > self._max_lag_s and any(key for _, _, key in self._waiting):
                self._skipping = True
            elif keyframe:
                self._skipping = False
            if not self._skipping:
                self._decoding[stamp] = arrived
                while len(self._decoding) > KEPT_MOST:
                    del self._decoding[next(iter(self._decoding))]
                return True
        self._skipped(1)
        return False

    def of(self, stamp: int) -> float | None:
        """When the packet of a decoded picture arrived, by the monotonic clock; none: nobody saw it."""
        with self._lock:
            arrived = self._decoding.pop(stamp, None)
            if arrived is not None:
                for older in [other for other in self._decoding if other < stamp]:
                    del self._decoding[older]  # they gave no picture
            return arrived

    def _forget(self, now: float) -> None:
        while self._lags and now - self._lags[0][0] > LAG_WINDOW_S:
            self._lags.popleft()
