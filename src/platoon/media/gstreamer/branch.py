"""One camera's pictures between the threads of the pipeline and the camera's own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

import av

from platoon.errors import PlatoonError
from platoon.media.failures import SourceFailure
from platoon.media.frame import Detection
from platoon.media.gstreamer.arrivals import Arrivals

WAITING_MOST: Final = 2
"""Pictures of one camera: memory of the pipeline's that is not free for the next."""


class Decoded(NamedTuple):
    """A picture as it leaves the pipeline."""

    picture: av.VideoFrame
    """Its `opaque` is the `Arrival` of its packet; none: nobody saw that."""
    stamp: float | None
    """Time stamp in seconds."""
    detections: Sequence[Detection] | None = None
    """What the pipeline found; none: it did not look."""


class Broken(PlatoonError):
    """The branch gives no pictures any more."""

    def __init__(self, failure: SourceFailure, reason: str) -> None:
        super().__init__(reason)
        self.failure, self.reason = failure, reason


class Phase(IntEnum):
    """How far a camera has come on the way to its first picture."""

    ASKED = 0
    ANSWERED = 1
    """It is there."""
    TYPED = 2
    """Its data come, of a kind that can be decoded."""


class Branch:
    """Room for a few pictures of camera `number` of the pipeline."""

    def __init__(self, number: int, arrivals: Arrivals) -> None:
        self.number, self.arrivals = number, arrivals
        self.patient = True
        """Whether the pipeline waits for room, as for a recording, or lets the oldest go."""
        self.phase = Phase.ASKED
        self.codec = ""
        """See `OpenInput.codec`."""
        self.fps = 0.0
        """See `OpenInput.fps`."""
        self._changed = threading.Condition()
        self._waiting: deque[Decoded] = deque()
        self._over = False
        self._broken: Broken | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self._over

    def reach(self, phase: Phase) -> None:
        """It has come at least so far."""
        self.phase = max(self.phase, phase)

    def put(self, decoded: Decoded) -> bool:
        """Give a picture, on a thread of the pipeline; False once nobody takes any. A live one may replace another."""
        with self._changed:
            while len(self._waiting) >= WAITING_MOST and not self._over:
                if self.patient:
                    self._changed.wait()
                else:
                    self._waiting.popleft()
            if self._over:
                return False
            self._waiting.append(decoded)
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float) -> Decoded | None:
        """The next picture; None after the last.

        Raises:
            Broken: the pipeline failed for this camera.
            TimeoutError: none came in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting or self._over, timeout_s):
                raise TimeoutError
            if self._waiting:
                decoded = self._waiting.popleft()
                self._changed.notify_all()
                return decoded
            if self._broken is not None:
                raise self._broken
            return None

    def end(self, broken: Broken | None = None) -> None:
        """Nothing more comes, for this reason; the first one counts. What waits may be taken."""
        with self._changed:
            if not self._over:
                self._over, self._broken = True, broken
            self._changed.notify_all()

    def drop(self) -> None:
        """End at once; nobody takes what waits."""
        self.end()
        with self._changed:
            self._waiting.clear()
