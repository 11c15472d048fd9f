"""The packets of a live stream between their arrival and their decoding.

A thread takes them from the stream the moment they come. So each is known by when it arrived, and a decoder that is too
slow for its camera is seen: what it has not come to waits here, and not in buffers of FFmpeg and of the system, where
nobody could say how old it is. Here they wait, too, while nobody has time for another picture.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple

import av

from platoon.errors import PlatoonError
from platoon.media.attention import Attention, Level, Reason, Role, Skipped

MAX_WAIT_S: Final = 10.0
"""A packet that waits longer, without a keyframe after it, ends the stream. Most cameras send a keyframe more often."""
MAX_BYTES: Final = 64 * 2**20
"""Of all that waits: ten seconds of 50 Mbit/s."""
LAG_WINDOW_S: Final = 2.0
"""The lag is the worst of one to two of these: a decoder that skips is late and on time by turns."""
SATURATED: Final = 8.0
"""So many packets arrive, on average, while a picture waits to be taken: that many decoded for each that is looked at
are too many."""
RELAXED: Final = 2.0
"""And so few may be decoded again, for a picture that is newer."""
_WEIGHT: Final = 1 / 8
"""Of the last picture in that average: a pause of a second makes no saturation."""
RING_BYTES: Final = 16 * 2**20
"""Of what is kept of a camera that sleeps: ten seconds of 12 Mbit/s. More wakes it up."""
LOOK_EVERY_S: Final = 1.0
"""Of a camera that sleeps and sends keyframes more often, some are left out."""
CATCH_UP_S: Final = 10.0
"""So long may a camera that was woken up take to make up for what it has slept through."""


class FallenBehind(PlatoonError):
    """The decoder is too slow for the stream, and there is no keyframe to go on from."""


class Taken(NamedTuple):
    """A packet that is to be decoded."""

    packet: av.Packet
    arrived: float
    """By the monotonic clock."""
    gap: bool
    """Whether the decoder has not seen what came before it."""
    role: Role


class _Waiting(NamedTuple):
    """A packet that waits."""

    packet: av.Packet
    arrived: float
    held_before: float
    """For how long the decoder had been held up to then, since the beginning."""


class Backlog:
    """Packets that wait for one decoder, in the order of their arrival.

    A decoder that is behind goes on from the newest keyframe that waits, or in order until there is one: its lag is
    bounded by the distance of two keyframes, and a pause that it makes up for by itself costs no picture.

    Where it gives many more pictures than anybody has time for (`saturated`), it is held until the last one was taken.
    Then it gives those from the beginning of groups of pictures, each for about one decoding: what got too old
    meanwhile is left out up to the next keyframe.

    While its camera sleeps, what came since the last keyframe at which there was nothing to see stays here (the ring).
    The decoder gets keyframes alone, and what follows them up to now when asked for a glance; as soon as the camera is
    awake, it gets the ring, and then goes on as ever.

    Args:
        packets: blocks until the next packet comes; iterated on the backlog's own thread.
        max_lag_s: how long after its arrival a packet may be decoded before older ones are skipped.
        keyframe_max_s: where keyframes come less often, the rest of a group is decoded whatever it costs.
        skipped: called with how many packets were and why, on the decoder's thread or the backlog's own.
        attention: says whether the camera sleeps.
        has_room: whether there is room for another picture; until then the decoder is held. Whoever makes room calls
            `look_again`.
    """

    def __init__(
        self,
        packets: Iterator[av.Packet],
        *,
        max_lag_s: float,
        keyframe_max_s: float,
        skipped: Callable[[int, Skipped], None],
        has_room: Callable[[], bool] = lambda: True,
        attention: Attention | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._attention = attention or Attention("full", now=now)
        self._attention.on_wake = self._wake
        self._packets, self._skipped, self._has_room, self._now = packets, skipped, has_room, now
        self._max_lag_s, self._keyframe_max_s = max_lag_s, keyframe_max_s
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._keyframe: av.Packet | None = None
        """The newest that waits."""
        self._keyframe_came: float | None = None
        self._keyframe_gap_s: float | None = None
        """Between the arrivals of the last two keyframes."""
        self._asleep = False
        """As the decoder has seen it last."""
        self._look: _Waiting | None = None
        """The keyframe that is to be looked at next, while it sleeps."""
        self._looked_at = -math.inf
        """When the last one of these came."""
        self._looked: av.Packet | None = None
        """The last one of these."""
        self._unseen: deque[_Waiting] = deque()
        """Of the ring, what came from its last keyframe on and was in no glance."""
        self._to_glance = 0
        """How many of these are to be decoded, for a glance at the last of them."""
        self._woken_at: float | None = None
        """When it woke up; none: it has made up for what it slept through."""
        self._awaiting_keyframe = False
        """What comes before it is left out."""
        self._working_on: _Waiting | None = None
        """What the decoder has at the moment."""
        self._may_be_held = False
        """Whether the decoder asks for a packet only to fill room that there is."""
        self._held_since: float | None = None
        self._held_s = 0.0
        """In all."""
        self._full = False
        """Whether a picture was seen to wait; `_passed`: for so many packets up to now."""
        self._passed = 0
        self._passed_mean = 0.0
        self._saturated = False
        self._window_from = now()
        self._worst_lag = self._worst_before = 0.0
        """In this window, and in the one before."""
        self._gap = False
        """Whether packets before the first that waits were skipped."""
        self._end: Exception | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="packets", daemon=True)
        self._thread.start()

    @property
    def lag(self) -> float:
        """How many seconds after their arrival packets are decoded, at worst in the last seconds; from any thread.

        Without the time for which the decoder was held: by that much nobody could have taken a picture earlier.
        """
        working_on = self._working_on
        present = 0.0 if working_on is None else self._lag_of(working_on)
        return max(present, self._worst_lag, self._worst_before)

    @property
    def saturated(self) -> bool:
        """Whether the decoder is paced by who takes its pictures; from any thread."""
        return self._saturated

    def take(self, *, hold: bool = False) -> Taken | None:
        """The next packet to be decoded; None at the end of the stream. Blocks until there is one.

        Args:
            hold: where saturated, block until there is room, too, unless what waits gets too old for that.

        Raises:
            FallenBehind: the decoder is too slow. Whatever `packets` raised, once all that came before was taken.
        """
        with self._changed:
            self._working_on, self._may_be_held = None, hold
            self._full = self._full or not self._has_room()
            while True:
                self._note_held()
                self._changed.wait_for(self._goes_on)
                self._note_held()
                if self._wakes_up():
                    continue
                self._fall_asleep()
                if self._asleep and self._to_glance:
                    self._to_glance -= 1
                    one, self._may_be_held = self._unseen.popleft(), False
                    role = Role.REFERENCE if self._to_glance else Role.GLANCE
                    return Taken(one.packet, one.arrived, one.packet.is_keyframe, role)
                if self._asleep and self._look is not None:
                    look, self._look, self._may_be_held = self._look, None, False
                    self._looked, self._looked_at = look.packet, look.arrived
                    while self._unseen and self._unseen[0] is not look:  # it begins anew there
                        self._unseen.popleft()
                    return Taken(look.packet, look.arrived, True, Role.LOOK)
                if not self._waiting or self._asleep:
                    if isinstance(self._end, StopIteration):
                        return None
                    assert self._end is not None
                    raise self._end
                if self._woken_at is not None:
                    break
                self._note_lag(self._lag_of(self._waiting[0]))
                if self._saturated or self._now() - self._waiting[0].arrived > self._max_lag_s:
                    self._catch_up()
                if self._waiting:
                    break
            self._may_be_held, self._held_since = False, None
            first = self._pop()
            gap, self._gap = self._gap, False
            if self._woken_at is None:
                self._working_on = first
                return Taken(first.packet, first.arrived, gap, Role.LIVE)
            self._end_catching_up(first)
            return Taken(first.packet, first.arrived, gap, Role.PAST)

    def forget(self, keyframe: av.Packet) -> None:
        """There was nothing to see at this keyframe, which was to be looked at: what came before it is not needed."""
        with self._changed:
            count = next((n for n, one in enumerate(self._waiting) if one.packet is keyframe), 0)
            if count:
                self._skip(count, Skipped.ASLEEP)

    def glance(self) -> None:
        """Let the decoder see the newest picture of a camera that sleeps; from any thread."""
        with self._changed:
            if self._asleep and self._unseen:
                self._to_glance = len(self._unseen)
                self._changed.notify_all()

    def look_again(self) -> None:
        """There is room again; from any thread."""
        with self._changed:
            self._passed_mean += (self._passed - self._passed_mean) * _WEIGHT
            self._full, self._passed = False, 0
            self._weigh()
            if self._goes_on():
                self._changed.notify_all()

    def close(self) -> None:
        """Let the thread end, and wait for it: it does with the next packet, or when the stream's deadline is over."""
        self._closed = True
        self._thread.join()

    def _run(self) -> None:
        try:
            for packet in self._packets:
                self._put(packet)
                if self._closed:
                    break
            end: Exception = StopIteration()
        except Exception as error:  # the decoder's thread says what it means
            end = error
        with self._changed:
            if isinstance(end, FallenBehind):
                self._waiting.clear()
            self._end = end
            self._changed.notify_all()

    def _put(self, packet: av.Packet) -> None:
        with self._changed:
            now = self._now()
            if self._full:
                self._passed += 1
                self._weigh()
            if packet.is_keyframe:
                if self._keyframe_came is not None:
                    self._keyframe_gap_s = now - self._keyframe_came
                self._keyframe_came, self._keyframe, self._awaiting_keyframe = now, packet, False
            elif self._awaiting_keyframe:
                self._skipped(1, Skipped.SATURATED)
                return
            self._note_held()
            one = _Waiting(packet, now, self._held_s)
            self._waiting.append(one)
            self._bytes += packet.size
            if self._asleep:
                self._keep(one)
                return
            if self._too_much():
                self._skip_to_keyframe()
            if self._too_much():
                waited_s = now - self._waiting[0].arrived
                raise FallenBehind(
                    f"decoding is {waited_s:.0f} s behind what has arrived, and no keyframe came to go on from"
                )
            self._note_held()
            if self._goes_on():  # a decoder that is held sleeps on
                self._changed.notify_all()

    def _goes_on(self) -> bool:
        """Whether the decoder has something to do: at the end of the stream at once, so that it is known."""
        if self._end is not None:
            return True
        if self._asleep:
            return self._look is not None or self._to_glance > 0 or self._attention.level is not Level.IDLE
        if not self._waiting:
            return False
        if not self._is_held():
            return True
        if self._woken_at is not None:
            return self._now() - self._woken_at > CATCH_UP_S
        return self._now() - self._waiting[0].arrived > self._max_lag_s

    def _is_held(self) -> bool:
        paced = self._saturated or self._woken_at is not None
        return paced and self._may_be_held and bool(self._waiting) and not self._has_room()

    def _weigh(self) -> None:
        """Say whether it is saturated; a picture that waits now counts as if it were taken now."""
        expected = self._passed_mean + (self._passed - self._passed_mean) * _WEIGHT
        self._saturated = expected >= (RELAXED if self._saturated else SATURATED)

    def _note_held(self) -> None:
        """Add the time up to now, if the decoder was held; begin with it anew, if it is."""
        now = self._now()
        if self._held_since is not None:
            self._held_s += now - self._held_since
        self._held_since = now if self._is_held() else None

    def _lag_of(self, one: _Waiting) -> float:
        """How late it is, but for the time for which the decoder was held."""
        return max(0.0, self._now() - one.arrived - (self._held_s - one.held_before))

    def _note_lag(self, lag_s: float) -> None:
        if self._now() - self._window_from > LAG_WINDOW_S:
            self._window_from = self._now()
            self._worst_lag, self._worst_before = 0.0, self._worst_lag
        self._worst_lag = max(self._worst_lag, lag_s)

    def _too_much(self) -> bool:
        too_old = self._woken_at is None and self._now() - self._waiting[0].arrived > MAX_WAIT_S
        return too_old or self._bytes > MAX_BYTES

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _keep(self, one: _Waiting) -> None:
        """A packet came while the camera sleeps."""
        if one.packet.is_keyframe:
            if not self._to_glance:  # a glance that is late is taken all the same: what came before it is kept
                self._unseen.clear()
            if one.arrived - self._looked_at >= LOOK_EVERY_S:
                self._look = one
                self._changed.notify_all()
        self._unseen.append(one)
        if self._bytes > RING_BYTES:
            self._attention.wake(Reason.BYTES)
        elif self._keyframe_came is not None and one.arrived - self._keyframe_came > self._keyframe_max_s:
            self._attention.wake(Reason.KEYFRAMES, 2 * self._keyframe_max_s)

    def _wakes_up(self) -> bool:
        if not self._asleep or self._attention.level is Level.IDLE:
            return False
        self._asleep, self._look, self._woken_at, self._gap = False, None, self._now(), True
        self._unseen.clear()
        self._to_glance = 0
        return True

    def _fall_asleep(self) -> None:
        """Sleep from this keyframe on, if it is one and there is no reason against it."""
        if self._woken_at is not None and self._now() - self._woken_at > CATCH_UP_S:
            self._woken_at = None
        if self._asleep or self._woken_at is not None or self._end is not None:
            return
        at_keyframe = self._waiting and self._waiting[0].packet.is_keyframe
        often = self._keyframe_gap_s is not None and self._keyframe_gap_s <= self._keyframe_max_s
        if at_keyframe and often and self._attention.rest():
            self._asleep = True
            newest = next(n for n, one in enumerate(self._waiting) if one.packet is self._keyframe)
            self._look, self._unseen = self._waiting[newest], deque(islice(self._waiting, newest, None))

    def _end_catching_up(self, one: _Waiting) -> None:
        """Note that what was slept through is made up for, if it is once this packet is taken."""
        assert self._woken_at is not None
        if not self._waiting or (one.arrived > self._woken_at and self._now() - one.arrived < self._max_lag_s / 2):
            self._woken_at = None

    def _catch_up(self) -> None:
        """Go on from the newest keyframe that waits; without one, where saturated, from the next, if that is soon."""
        if self._skip_to_keyframe() or not self._saturated or self._keyframe_gap_s is None:
            return
        late = self._now() - self._waiting[0].arrived > self._max_lag_s
        if late and self._keyframe_gap_s <= self._keyframe_max_s:
            self._awaiting_keyframe = True
            self._skip(len(self._waiting), Skipped.SATURATED)

    def _skip_to_keyframe(self) -> bool:
        """Whether there was a keyframe to go on from."""
        if self._keyframe is None:
            return False
        count = next(n for n, one in enumerate(self._waiting) if one.packet is self._keyframe)
        if count:
            late = self._lag_of(self._waiting[0]) > self._max_lag_s
            self._skip(count, Skipped.BEHIND if late else Skipped.SATURATED)
        return True

    def _skip(self, count: int, why: Skipped) -> None:
        for _ in range(count):
            if self._pop().packet is self._looked:
                count -= 1
        self._gap = True
        self._skipped(count, why)

    def _pop(self) -> _Waiting:
        first = self._waiting.popleft()
        self._bytes -= first.packet.size
        if first.packet is self._keyframe:
            self._keyframe = None
        return first
