"""What one camera of a site owns: its source, its plates, its last analysed frame."""

from __future__ import annotations

import math
import threading
from collections import deque

from platoon.errors import Unavailable
from platoon.media.frame import Frame
from platoon.media.source import Source, SourceState, SourceStatus
from platoon.plates.events import PlatePipeline
from platoon.streams.registry import CameraSpec
from platoon.streams.site import not_live

RATE_WINDOW_S = 10.0
"""Over which analysed frames per second are counted."""
RATE_FRAMES_MOST = 5000
"""Kept for that: more than any camera has in this time. Of a recording that is read faster it is too low."""
DISABLED = SourceStatus(state=SourceState.STOPPED, message="disabled in the registry")


class Camera:
    """One camera; changed by the lane that has it, but for what says otherwise."""

    def __init__(self, spec: CameraSpec, watch: PlatePipeline, source: Source | None) -> None:
        self.spec, self.watch, self.source = spec, watch, source
        self.last_frame: Frame | None = None
        self.failing = False
        """Its last frame failed, which was logged."""
        self.last_event_at: float | None = None
        self.analysed = 0
        self.came_at = math.inf
        """When the last frame came, by the monotonic clock; infinity: whoever was in sight has had events."""
        self.seen_at = -math.inf
        """When the last frame was taken from it, by the monotonic clock."""
        self._sees = threading.Condition()
        self._first = math.inf
        self._recent: deque[float] = deque(maxlen=RATE_FRAMES_MOST)

    def count(self, now: float) -> None:
        """One more frame was analysed, at `now` seconds of the monotonic clock."""
        self.analysed += 1
        self._first = min(self._first, now)
        self._recent.append(now)
        while now - self._recent[0] > RATE_WINDOW_S:
            self._recent.popleft()

    def see(self, frame: Frame, now: float) -> None:
        """A frame came that there is nothing wrong with, at `now` seconds of the monotonic clock."""
        with self._sees:
            self.last_frame, self.seen_at = frame, now
            self._sees.notify_all()

    def await_frame(self, captured_at: float, timeout_s: float) -> None:
        """Wait for a frame that was captured at this time, seconds since 1970, or later; from any thread."""
        with self._sees:
            self._sees.wait_for(
                lambda: self.last_frame is not None and self.last_frame.captured_at >= captured_at, timeout_s
            )

    def sees(self, now: float, max_age_s: float) -> Frame:
        """The last frame, if the camera is live and it is no older; from any thread. Raises Unavailable."""
        source, frame = DISABLED if self.source is None else self.source.status, self.last_frame
        if source.state is not SourceState.LIVE:
            raise not_live(self.spec.id, source)
        if frame is None:
            raise Unavailable(f"camera {self.spec.id!r} has no picture yet: none came since it is live")
        if (age_s := now - self.seen_at) > max_age_s:
            raise Unavailable(f"camera {self.spec.id!r}: no frame of it came for {age_s:.0f} s")
        return frame

    def rate(self, now: float) -> float:
        """Analysed frames per second over the last seconds, as far as there are any; from any thread."""
        recent = sum(now - then <= RATE_WINDOW_S for then in self._recent.copy())
        return recent / min(RATE_WINDOW_S, max(1.0, now - self._first))
