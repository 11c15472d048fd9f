"""The packets of a live stream between their arrival and their decoding.

A thread takes them from the stream the moment they come. So each is known by when it arrived, and a decoder that is too
slow for its camera is seen: what it has not come to waits here, and not in buffers of FFmpeg and of the system, where
nobody could tell how old it is.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import av

from platoon.errors import PlatoonError

MAX_WAIT_S: Final = 10.0
"""A packet that waits longer, without a keyframe after it, ends the stream. Most cameras send a keyframe more often."""
MAX_BYTES: Final = 64 * 2**20
"""Of all that waits: ten seconds of 50 Mbit/s."""
LAG_WINDOW_S: Final = 2.0
"""The lag is the worst of one to two of these: a decoder that skips is late and on time by turns."""


class FallenBehind(PlatoonError):
    """The decoder is too slow for the stream, and there is no keyframe to go on from."""


class Backlog:
    """Packets that wait for one decoder, in the order of their arrival.

    A decoder that is behind goes on from the newest keyframe that waits, or in order until there is one: its lag is
    bounded by the distance of two keyframes, and a pause that it makes up for by itself costs no picture.

    Args:
        packets: blocks until the next packet comes; iterated on the backlog's own thread.
        max_lag_s: how long after its arrival a packet may be decoded before older ones are skipped.
        skipped: told how many packets were, on the decoder's thread or the backlog's own.
    """

    def __init__(
        self,
        packets: Iterator[av.Packet],
        *,
        max_lag_s: float,
        skipped: Callable[[int], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._packets, self._max_lag_s, self._skipped, self._now = packets, max_lag_s, skipped, now
        self._changed = threading.Condition()
        self._waiting: deque[tuple[float, av.Packet]] = deque()
        self._bytes = 0
        self._keyframe: av.Packet | None = None
        """The newest that waits."""
        self._working_on: float | None = None
        """When the packet that the decoder has at the moment had arrived."""
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
        """How many seconds after their arrival packets are decoded, at worst in the last seconds; from any thread."""
        working_on = self._working_on
        present = 0.0 if working_on is None else self._now() - working_on
        return max(present, self._worst_lag, self._worst_before)

    def take(self) -> tuple[av.Packet, float, bool] | None:
        """The next packet, when it arrived (monotonic clock), and whether others before it were skipped; None at the
        end of the stream. Blocks until there is one.

        Raises:
            FallenBehind: the decoder is too slow. Whatever `packets` raised, once all that came before was taken.
        """
        with self._changed:
            self._working_on = None
            self._changed.wait_for(lambda: self._waiting or self._end is not None)
            if not self._waiting:
                if isinstance(self._end, StopIteration):
                    return None
                assert self._end is not None
                raise self._end
            lag_s = self._now() - self._waiting[0][0]
            self._note(lag_s)
            if lag_s > self._max_lag_s:
                self._skip()
            self._working_on, packet = self._pop()
            gap, self._gap = self._gap, False
            return packet, self._working_on, gap

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
            self._waiting.append((self._now(), packet))
            self._bytes += packet.size
            if packet.is_keyframe:
                self._keyframe = packet
            if self._too_much():
                self._skip()
            if self._too_much():
                waited_s = self._now() - self._waiting[0][0]
                raise FallenBehind(
                    f"decoding is {waited_s:.0f} s behind what has arrived, and no keyframe came to go on from"
                )
            self._changed.notify_all()

    def _note(self, lag_s: float) -> None:
        if self._now() - self._window_from > LAG_WINDOW_S:
            self._window_from = self._now()
            self._worst_lag, self._worst_before = 0.0, self._worst_lag
        self._worst_lag = max(self._worst_lag, lag_s)

    def _too_much(self) -> bool:
        return self._now() - self._waiting[0][0] > MAX_WAIT_S or self._bytes > MAX_BYTES

    def _skip(self) -> None:
        """Go on from the newest keyframe that waits, if there is one."""
        count = 0
        while self._keyframe is not None and self._waiting[0][1] is not self._keyframe:
            self._pop()
            count += 1
        if count:
            self._gap = True
            self._skipped(count)

    def _pop(self) -> tuple[float, av.Packet]:
        arrived, packet = self._waiting.popleft()
        self._bytes -= packet.size
        if packet is self._keyframe:
            self._keyframe = None
        return arrived, packet
