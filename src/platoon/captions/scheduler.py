"""Which segment of which camera the model is asked about next, and what becomes of each.

Pure: segments and answers in, decisions out, by the clock that it is given. A model that is slower than the world never
makes the world wait: of each camera one segment is in flight and one waits, and a newer one replaces it. So
each segment that was cut ends in exactly one `State`, and at every moment

    captioned + superseded + expired + failed + skipped + waiting + in flight = cut

Where that goes on, the model is shown fewer pictures first; then only every second, third, ... segment is queued.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from platoon.captions.cutter import Cut

SHARES: Final = (1.0, 0.5, 0.25)
"""Of the pictures that the model should be shown, in steps; then strides grow."""
MOST_STRIDE: Final = 8
JUDGED: Final = 6
"""So many segments that were queued, of each camera that has any, are judged together."""
OVERLOADED: Final = 0.25
"""With this share of them superseded or expired there is one step less; ..."""
CALM: Final = 3
"""... and with none in so many judgements in a row, one more."""


class State(StrEnum):
    """What became of a segment."""

    CAPTIONED = "captioned"
    SUPERSEDED = "superseded"
    """There was a newer one before the model had time for it."""
    EXPIRED = "expired"
    """Its answer did not come in time."""
    FAILED = "failed"
    """The server refused it or broke, it could not be decoded, or the camera was removed."""
    SKIPPED = "skipped"
    """Nothing moved in it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segment:
    """A segment of a camera."""

    camera: str
    cut: Cut
    ended_at: float
    """When its last packet came, by the scheduler's clock."""
    start: float
    """By wall clock, as is `end`, seconds since 1970."""
    end: float


@dataclass(frozen=True, slots=True)
class Effort:
    """What is left to be done while the model is too slow."""

    share: float = 1.0
    """Of the pictures of a segment that should be shown."""
    stride: int = 1
    """Every so many segments one is queued."""


@dataclass(slots=True)
class _Camera:
    waiting: Segment | None = None
    in_flight: Segment | None = None
    since: float = 0.0
    """From when on it has no caption; or when it was tried last, so that one that fails keeps no other waiting."""
    cut: int = 0
    ended: Counter[State] = field(default_factory=Counter)


class Scheduler:
    """Decides for all cameras; for one thread at a time.

    Args:
        max_requests: segments in flight at once.
        timeout_s: so long after its end a segment is worth a caption.
        on_end: called with each segment whose end is not the answer of a caller: `superseded`, `expired`, `skipped`,
            or `failed` as its camera was removed.
        now: the clock, in seconds.
    """

    def __init__(
        self,
        *,
        max_requests: int,
        timeout_s: float,
        on_end: Callable[[Segment, State], None],
        now: Callable[[], float],
    ) -> None:
        self._max_requests, self._timeout_s, self._on_end, self._now = max_requests, timeout_s, on_end, now
        self._cameras: dict[str, _Camera] = {}
        self._paused_until = -math.inf
        self._step = 0
        self._judged: deque[bool] = deque()
        """Of the last segments that were queued, whether they came too late."""
        self._calm = 0

    @property
    def effort(self) -> Effort:
        """As of now."""
        last = len(SHARES) - 1
        return Effort(SHARES[min(self._step, last)], 1 + max(0, self._step - last))

    def cut(self, segment: Segment, *, still: bool = False) -> None:
        """A segment was cut.

        Args:
            still: nothing moved in it.
        """
        camera = self._cameras.get(segment.camera)
        if camera is None:
            camera = self._cameras[segment.camera] = _Camera(since=segment.ended_at)
        number, camera.cut = camera.cut, camera.cut + 1
        if still:
            self._end(camera, segment, State.SKIPPED)
        elif number % self.effort.stride:
            self._end(camera, segment, State.SUPERSEDED)
        else:
            before, camera.waiting = camera.waiting, segment
            if before is not None:
                self._end(camera, before, State.SUPERSEDED)
                self._judge(late=True)

    def next(self) -> Segment | None:
        """The segment that the model is to be asked about now, which is in flight from now on; none: there is none, or
        as many are in flight as may be, or the server is busy.
        """
        now = self._now()
        self._expire(now)
        in_flight = sum(camera.in_flight is not None for camera in self._cameras.values())
        if in_flight >= self._max_requests or now < self._paused_until:
            return None
        ready = [camera for camera in self._cameras.values() if camera.waiting and camera.in_flight is None]
        if not ready:
            return None
        first = min(ready, key=lambda camera: camera.since)
        first.in_flight, first.waiting = first.waiting, None
        return first.in_flight

    def wakes_at(self) -> float:
        """When `next` may say something else although nothing has happened, by the clock; infinite: never."""
        waiting = [camera.waiting.ended_at for camera in self._cameras.values() if camera.waiting is not None]
        if not waiting:
            return math.inf
        expires = min(waiting) + self._timeout_s
        return min(expires, self._paused_until) if self._paused_until > self._now() else expires

    def deadline(self, segment: Segment) -> float:
        """Until when its answer is worth something, by the clock."""
        return segment.ended_at + self._timeout_s

    def answered(self, segment: Segment, state: State) -> bool:
        """What became of a segment in flight; whether it still was: its camera may have been removed."""
        camera = self._cameras.get(segment.camera)
        if camera is None or camera.in_flight is not segment:
            return False
        camera.in_flight, camera.since = None, self._now()
        self._count(camera, state)
        self._judge(late=state is State.EXPIRED)
        return True

    def busy(self, segment: Segment, for_s: float) -> None:
        """The server takes no question for so long. The segment waits again, unless a newer one does."""
        self._paused_until = max(self._paused_until, self._now() + for_s)
        camera = self._cameras.get(segment.camera)
        if camera is None or camera.in_flight is not segment:
            return
        camera.in_flight = None
        if camera.waiting is None:
            camera.waiting = segment
        else:
            self._end(camera, segment, State.SUPERSEDED)
            self._judge(late=True)

    def remove(self, camera: str) -> None:
        """A camera is no more: what of it waits or is in flight has failed."""
        if (known := self._cameras.get(camera)) is None:
            return
        pending = [segment for segment in (known.in_flight, known.waiting) if segment is not None]
        known.in_flight = known.waiting = None
        for segment in pending:
            self._end(known, segment, State.FAILED)
        del self._cameras[camera]

    def counts(self, camera: str) -> tuple[int, dict[State, int], int]:
        """Of a camera: segments cut, how many ended in each state, how many wait or are in flight."""
        known = self._cameras.get(camera) or _Camera()
        pending = (known.waiting is not None) + (known.in_flight is not None)
        return known.cut, {state: known.ended[state] for state in State}, pending

    def _expire(self, now: float) -> None:
        for camera in self._cameras.values():
            if camera.waiting is not None and now >= self.deadline(camera.waiting):
                segment, camera.waiting = camera.waiting, None
                self._end(camera, segment, State.EXPIRED)
                self._judge(late=True)

    def _end(self, camera: _Camera, segment: Segment, state: State) -> None:
        self._count(camera, state)
        self._on_end(segment, state)

    @staticmethod
    def _count(camera: _Camera, state: State) -> None:
        camera.ended[state] += 1

    def _judge(self, *, late: bool) -> None:
        """One more segment that was queued has ended."""
        self._judged.append(late)
        if len(self._judged) < JUDGED * max(1, len(self._cameras)):
            return
        share = sum(self._judged) / len(self._judged)
        self._judged.clear()
        self._calm = 0 if share else self._calm + 1
        if share >= OVERLOADED:
            self._step = min(self._step + 1, len(SHARES) - 2 + MOST_STRIDE)
        elif self._calm >= CALM:
            self._step, self._calm = max(0, self._step - 1), 0
