"""The time of a stream, which of its frames are looked at, and which need not be decoded for that.

Of recordings all work on their own time alone, so that the same clip gives the same frames on every machine.
"""

from __future__ import annotations

MAX_STEP_S = 10.0
"""A larger step between two frames of one live connection is a clock that was set, not a pause."""
MAX_GAP_S = 86_400.0
"""The same in a recording, where whoever recorded may have left out what he did not want."""
WINDOW_S = 1.0
"""Over so long, by arrival, the time stamps of a live stream are compared with it."""
FASTER = 2.0
"""Time stamps that go by so many times as fast as pictures come, or so many times slower, are wrong: a burst after the
start, or after a pause, is over in the next window.
"""
MENDED = 10
"""Windows in a row in which they are right before they count again."""
RETRY_S = 60.0
"""A stream that needs all its pictures may have changed by then; each try costs one picture that is late."""
ROUNDING_S = 0.002
"""Of time stamps, which often are milliseconds."""


class MediaClock:
    """Turns time stamps of a stream (PTS) into media time: seconds since its first frame, never going
    backwards.

    Time stamps may be missing, start anywhere, jump, or start anew after a reconnection or at the end of a
    loop. Media time then goes on: after `restart(gap_s)` by the gap, after a jump by one frame period, or by the time
    between the arrivals where that is known and longer. Where the time stamps of a live stream stand still, crawl, race
    or jump all the time, its arrivals count.
    """

    def __init__(self) -> None:
        self._time = self._next = self._period = 0.0
        self._offset: float | None = None
        self._pace = _Pace()
        self._came: float | None = None
        """The latest arrival."""
        self.by_arrival = False
        """Whether arrivals count in the place of time stamps."""

    def restart(self, *, period_s: float, gap_s: float) -> None:
        """Begin with new time stamps: frames come every `period_s`, the next one `gap_s` after the last."""
        self._period = period_s
        self._next = self._time + gap_s
        self._offset = self._came = None
        self._pace = _Pace()
        self.by_arrival = False

    def tick(self, stamp: float | None, came: float | None = None) -> float:
        """Media time of the frame with this time stamp in seconds; without one, a period after the last.

        Args:
            came: when it came, in seconds of a clock that nobody sets; none: it is of a recording.
        """
        first = self._offset is None and self._came is None
        if came is not None:
            came = came if self._came is None else max(came, self._came)
            if self._came is not None:
                self._next = self._time + (came - self._came or self._period)
            self._came = came
            self.by_arrival = self._pace.is_wrong(stamp, came)
            stamp = came if self.by_arrival else stamp
        if stamp is None:
            self._time = self._next
        else:
            longest_s = MAX_GAP_S if came is None else MAX_STEP_S
            if self._offset is None or not 0 <= stamp + self._offset - self._time <= longest_s:
                # Pictures may come in bursts: where their stamps jump, none follows the last in less than a period.
                self._offset = (self._next if first else max(self._next, self._time + self._period)) - stamp
            self._time = stamp + self._offset
        self._next = self._time + self._period
        return self._time


class _Pace:
    """Whether the time stamps of a live stream go by as its pictures come.

    They are wrong after two windows in a row in which they were too slow, or too fast.
    """

    def __init__(self) -> None:
        self._stamp: float | None = None
        self._came = self._began = 0.0
        self._moved = 0.0
        """By how much time stamps have gone on in this window."""
        self._steps = self._jumps = 0
        self._before = 0
        """In the last window they were too slow (-1), too fast (1) or right."""
        self._right = 0
        """Windows in a row."""
        self._wrong = False
        self._is_first = True

    def is_wrong(self, stamp: float | None, came: float) -> bool:
        """The next picture came at this time, in seconds: whether the time stamps up to it are wrong."""
        if self._is_first:
            self._is_first, self._began = False, came
        else:
            step = stamp - self._stamp if stamp is not None and self._stamp is not None else 0.0
            self._steps += 1
            if 0 <= step <= MAX_STEP_S:
                self._moved += step
            else:  # set, which says nothing of its pace
                self._jumps += 1
                self._moved += came - self._came
            if came - self._began >= WINDOW_S:
                self._judge(came - self._began)
                self._began, self._moved, self._steps, self._jumps = came, 0.0, 0, 0
        self._stamp, self._came = stamp, came
        return self._wrong

    def _judge(self, lasted_s: float) -> None:
        verdict = 0
        if self._moved * FASTER < lasted_s:
            verdict = -1
        elif self._moved > FASTER * lasted_s or (self._jumps > 1 and 2 * self._jumps > self._steps):
            verdict = 1
        self._right = 0 if verdict else self._right + 1
        self._wrong = (self._wrong and self._right < MENDED) or (verdict != 0 and verdict == self._before)
        self._before = verdict


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
        if stamp <= last:  # time stamps that say nothing
            self.allowed = False
            return
        if stamp - last > self._gap_most_s:
            self._refused_at = stamp
        self.allowed = self._refused_at is None or not 0 <= stamp - self._refused_at < RETRY_S

    def restart(self) -> None:
        """What lies between the last picture and the next says nothing."""
        self._last = None
