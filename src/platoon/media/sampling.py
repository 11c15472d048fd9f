"""The time of a stream, and which of its frames are looked at.

Both work on the stream's own time alone, so that the same clip gives the same frames on every machine.
"""

MAX_STEP_S = 10.0
"""A larger step between two frames of one connection is a clock that was set, not a pause."""


class MediaClock:
    """Turns time stamps of a stream (PTS) into media time: seconds since its first frame, never going
    backwards.

    Time stamps may be missing, start anywhere, jump, or start anew after a reconnection or at the end of a
    loop. Media time then goes on: after `restart(gap_s)` by the gap, after a jump by one frame period.
    """

    def __init__(self) -> None:
        self._time = self._next = self._period = 0.0
        self._offset: float | None = None

    def restart(self, *, period_s: float, gap_s: float) -> None:
        """Begin with new time stamps: frames come every `period_s`, the next one `gap_s` after the last."""
        self._period = period_s
        self._next = self._time + gap_s
        self._offset = None

    def tick(self, stamp: float | None) -> float:
        """Media time of the frame with this time stamp in seconds; without one, a period after the last."""
        if stamp is None:
            self._time = self._next
        else:
            if self._offset is None or not 0 <= stamp + self._offset - self._time <= MAX_STEP_S:
                self._offset = self._next - stamp
            self._time = stamp + self._offset
        self._next = self._time + self._period
        return self._time


class Sampler:
    """Chooses the frames to analyse: every Nth, and of those at most `fps` per second of media time.

    The rate is held in the long run and not between two frames, so that 12 of 30 a second are 12 and not 10.
    """

    def __init__(self, *, fps: float | None, every: int = 1) -> None:
        self._period = 0.0 if fps is None else 1 / fps
        self._every = every
        self._seen = 0
        self._last = 0.0
        self._due: float | None = None

    def wants(self, media_time: float) -> bool:
        """Whether to analyse the frame of this time, in seconds; asked once for every frame, in order."""
        self._seen += 1
        if (self._seen - 1) % self._every:
            return False
        if not self._period:
            return True
        if self._due is None or media_time < self._last or media_time > self._due + self._period:
            self._due = media_time
        self._last = media_time
        # Time stamps are rounded, often to milliseconds: a frame a little early is the one that was due.
        if media_time < self._due - self._period / 8:
            return False
        self._due += self._period
        return True
