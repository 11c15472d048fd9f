"""The time of a stream, which of its frames are looked at, and which need not be decoded for that.

All work on the stream's own time alone, so that the same clip gives the same frames on every machine.
"""

MAX_STEP_S = 10.0
"""A larger step between two frames of one connection is a clock that was set, not a pause."""


RETRY_S = 60.0
"""A stream that needs all its pictures may have changed by then; each try costs one picture that is late."""
ROUNDING_S = 0.002
"""Of time stamps, which often are milliseconds."""


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

    @property
    def rate(self) -> float | None:
        """How many frames a second are wanted at most; none: all, or so many of all."""
        return 1 / self._period if self._period and self._every == 1 else None

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


class Thinning:
    """Whether a decoder may leave out the pictures that no other refers to, as there are enough without them.

    That is tried out: a gap of more than half the period that is wanted, and for `RETRY_S` all are decoded.

    Args:
        rate: pictures a second that are wanted; none: all.
    """

    def __init__(self, rate: float | None) -> None:
        self._gap_most_s = 0.0 if rate is None else 0.5 / rate + ROUNDING_S
        self.allowed = rate is not None
        self._last: float | None = None
        self._refused_at: float | None = None

    def saw(self, stamp: float | None) -> None:
        """Another picture was decoded, with this time stamp in seconds."""
        last, self._last = self._last, stamp
        if not self._gap_most_s or stamp is None or last is None:
            self.allowed = False
            return
        if stamp - last > self._gap_most_s:
            self._refused_at = stamp
        self.allowed = self._refused_at is None or not 0 <= stamp - self._refused_at < RETRY_S

    def restart(self) -> None:
        """What lies between the last picture and the next says nothing."""
        self._last = None
