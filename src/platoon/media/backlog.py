"""The packets of a live stream between their arrival and their decoding.

A thread takes them from the stream the moment they come. So each is known by when it arrived, and a decoder that is too
slow for its camera is seen: what it has not come to waits here, and not in buffers of FFmpeg and of the system, where
nobody could tell how old it is. Here they wait, too, while nobody has time for another picture.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final, NamedTuple

import av

from platoon.errors import PlatoonError

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


class FallenBehind(PlatoonError):
    """The decoder is too slow for the stream, and there is no keyframe to go on from."""


class Skipped(StrEnum):
    """Why packets are not decoded."""

    BEHIND = "behind"
    """The decoder is too slow."""
    SATURATED = "saturated"
    """Nobody had time for their pictures."""


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

    Args:
        packets: blocks until the next packet comes; iterated on the backlog's own thread.
        max_lag_s: how long after its arrival a packet may be decoded before older ones are skipped.
        keyframe_max_s: where keyframes come less often, the rest of a group is decoded whatever it costs.
        skipped: told how many packets were and why, on the decoder's thread or the backlog's own.
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
        now: Callable[[], float] = time.monotonic,
    ) -> None:
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

    def take(self, *, hold: bool = False) -> tuple[av.Packet, float, bool] | None:
        """The next packet, when it arrived (monotonic clock), and whether others before it were skipped; None at the
        end of the stream. Blocks until there is one.

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
                if not self._waiting:
                    if isinstance(self._end, StopIteration):
                        return None
                    assert self._end is not None
                    raise self._end
                self._note_lag(self._lag_of(self._waiting[0]))
                if self._saturated or self._now() - self._waiting[0].arrived > self._max_lag_s:
                    self._catch_up()
                if self._waiting:
                    break
            self._may_be_held, self._held_since = False, None
            self._working_on = self._pop()
            gap, self._gap = self._gap, False
            return self._working_on.packet, self._working_on.arrived, gap

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
        except Exception as error:  # the decoder's thread tells what it means
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
            self._waiting.append(_Waiting(packet, now, self._held_s))
            self._bytes += packet.size
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
        if not self._waiting:
            return False
        return not self._is_held() or self._now() - self._waiting[0].arrived > self._max_lag_s

    def _is_held(self) -> bool:
        return self._saturated and self._may_be_held and bool(self._waiting) and not self._has_room()

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
        return self._now() - self._waiting[0].arrived > MAX_WAIT_S or self._bytes > MAX_BYTES

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
            self._pop()
        self._gap = True
        self._skipped(count, why)

    def _pop(self) -> _Waiting:
        first = self._waiting.popleft()
        self._bytes -= first.packet.size
        if first.packet is self._keyframe:
            self._keyframe = None
        return first
