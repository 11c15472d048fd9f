"""Whether something moves before a camera whose pictures are not decoded: by the sizes of its packets, and by small
pictures of its keyframes.

An encoder spends bits where the picture is not what it was. `PacketActivity` compares what it spends with what it
usually does; `PictureChange` compares keyframes. Both adapt to their camera and are pure: packets and pictures in,
answers out. Neither is safe between threads.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

WINDOW_S: Final = 1.0
"""Packets of this much time are judged together. A vehicle that is seen for 1.2 s fills it."""
LOW: Final = 0.3
"""The share of a window's packets that are no larger than its level. What moves makes all of them larger, B-frames too;
encoders alone make a few of them larger, now and then."""
SLOT_S: Final = 0.25
"""How often the level is taken, counted from the keyframe: sizes fall in the course of a group of pictures."""
MAX_SLOTS: Final = 40
"""Ten seconds; what comes later after a keyframe counts to the last."""
MAX_PACKETS: Final = 128
"""In a window, whatever the clock says."""
USUAL_GROUPS: Final = 9
"""A level is compared with the same slot of so many groups of pictures before."""
USUAL: Final = 0.34
"""The share of them that was no higher; less than half, since vehicles were among them. So a new level is usual once
two thirds have it."""
MEMORY_SLOTS: Final = 480
"""Two minutes of slots say how far levels stray when nothing moves."""
ENOUGH_SLOTS: Final = 24
"""With less behind it, nothing is known of a camera, and pictures must say whether something moves."""
INTRA_ONLY: Final = 3
"""After so many keyframes in a row, each packet is one, and sizes say nothing: pictures must (`PictureChange`)."""
LEAST_SHARE: Final = 0.002
"""Of a keyframe's size: differences between packets that are smaller than that mean little."""
LEAST_SPREAD: Final = 0.025
"""Relative; the sizes of an encoder that spends alike are never usual to less."""
SKEW: Final = 1.3
"""How much farther levels may stray upwards than downwards, and it is not yet for vehicles."""
DRIFT: Final = 1.5
"""What each slot takes off the sum of evidence (CUSUM, Page 1954), in spreads."""
ALARM: Final = 5.0
"""What sum is activity."""
DOUBT: Final = 2.0
"""What sum is none yet, but more than nothing."""
MOST: Final = 6.0
"""What a slot adds to the sum at most, so that one alone is no alarm; and what the sum exceeds the alarm by."""
VEHICLE_SHARE: Final = 0.01
"""Of a keyframe's size: what a small vehicle that moves adds to each packet."""
CLEAR: Final = 2.5
"""In spreads: where a small vehicle adds less, sizes alone do not show it."""
LOOK_S: Final = 1.2
"""How often at least the picture is looked at where sizes do not say that nothing moves: a vehicle is seen as long."""
MEMORY_S: Final = 30.0
"""Within which what pictures showed is forgotten by two thirds."""
PAUSE_S: Final = 10.0
"""A longer time without a picture makes nothing forgotten: one picture would count for all."""
LEAST_CHANGE: Final = 0.5
"""Of a pixel, in standard deviations of its surroundings."""
STRAYS: Final = 3.5
"""How many times as far as on average a pixel must stray to have changed."""
LEAST_SQUARES: Final = 3
"""How many places of two by two pixels must have changed: a vehicle has ten of them and more, noise none."""

_SQUARE = np.ones((2, 2), np.uint8)
_ROUNDING_S = 0.01
"""Of time stamps."""


class PacketActivity:
    """Watches the sizes of one camera's packets, in constant memory."""

    def __init__(self) -> None:
        self._window: deque[tuple[float, float]] = deque()
        """Times and logarithms of sizes of the last packets, keyframes aside."""
        self._sorted: list[float] = []
        """The logarithms, in order."""
        self._usual: list[deque[float]] = []
        """By slot of a group: its level in the groups before."""
        self._strays = _Quantiles(MEMORY_SLOTS)
        """What levels were above the usual ones."""
        self._keyframe_size = 0.0
        self._keyframes = 0
        """In a row."""
        self._group_from = 0.0
        self._slot = -1
        self._evidence = 0.0
        self._clear = False

    def packet(self, size: int, *, keyframe: bool, time: float) -> bool:
        """Takes the next packet in order of arrival; whether something moves now, as far as sizes say.

        Args:
            size: in bytes.
            time: in seconds, on whatever clock: of decoding, presentation or arrival.
        """
        self._keyframes = self._keyframes + 1 if keyframe else 0
        if keyframe:
            self._keyframe_size += (size - self._keyframe_size) * (0.1 if self._keyframe_size else 1.0)
            self._group_from, self._slot = time, -1
            self._clear = self._shows_vehicles()
        else:
            self._remember(time, math.log(size + LEAST_SHARE * self._keyframe_size + 1))
            slot = min(int(max(0.0, time - self._group_from) / SLOT_S), MAX_SLOTS - 1)
            if slot != self._slot:
                self._slot = slot
                self._judge(self._sorted[int(LOW * (len(self._sorted) - 1))])
        return self._keyframes < INTRA_ONLY and self._evidence > ALARM

    @property
    def doubtful(self) -> bool:
        """Whether something may move that sizes alone do not show.

        So it is where noise or rain take many bits, where a rate is held whatever is to be seen, where levels are a
        little higher than usual, and while little is known of the camera.
        """
        return not self._clear or self._evidence > DOUBT

    def _shows_vehicles(self) -> bool:
        """Whether a small vehicle would make levels higher than they stray anyway."""
        if len(self._strays) < ENOUGH_SLOTS:
            return False
        levels = [_middle(slot) for slot in self._usual if slot]
        vehicle = math.log1p(VEHICLE_SHARE * self._keyframe_size / math.exp(_middle(levels)))
        return vehicle > CLEAR * self._spread()

    def _remember(self, time: float, size: float) -> None:
        self._window.append((time, size))
        insort(self._sorted, size)
        while len(self._window) > MAX_PACKETS or not 0 <= time - self._window[0][0] <= WINDOW_S:
            del self._sorted[bisect_left(self._sorted, self._window.popleft()[1])]

    def _judge(self, level: float) -> None:
        while len(self._usual) <= self._slot:
            self._usual.append(deque(maxlen=USUAL_GROUPS))
        before = self._usual[self._slot]
        if len(before) >= 2:
            stray = level - sorted(before)[int(USUAL * (len(before) - 1))]
            if len(self._strays):
                away = (stray - self._strays.at(0.5)) / self._spread()
                self._evidence = min(max(0.0, self._evidence + min(away, MOST) - DRIFT), ALARM + MOST)
            self._strays.add(stray)
        before.append(level)

    def _spread(self) -> float:
        """About a standard deviation of strays. Vehicles only make levels higher, so the lower half counts more."""
        middle = self._strays.at(0.5)
        below, above = (middle - self._strays.at(0.1)) / 1.28, (self._strays.at(0.75) - middle) / 0.67
        return max(below, min(above, SKEW * below), LEAST_SPREAD)


class PictureChange:
    """Watches small pictures of one camera's keyframes, in constant memory."""

    def __init__(self) -> None:
        self._mean: NDArray[np.float32] | None = None
        self._deviation: NDArray[np.float32] | None = None
        self._time = 0.0

    def differs(self, luma: NDArray[np.uint8], time: float) -> bool:
        """Takes the next picture; whether something else is to be seen than before, and not only in another light.

        Args:
            luma: (height, width), small: about 54 by 96.
            time: in seconds.
        """
        detail = _detail(luma)
        if self._mean is None or self._deviation is None or self._mean.shape != detail.shape:
            self._mean, self._deviation, self._time = detail, np.full_like(detail, 0.5), time
            return False
        away = np.abs(detail - self._mean)
        changed = (away > np.maximum(LEAST_CHANGE, STRAYS * self._deviation)).astype(np.uint8)
        differs = bool(cv2.erode(changed, _SQUARE).sum() >= LEAST_SQUARES)
        share = np.float32(1 - math.exp(-min(max(0.0, time - self._time), PAUSE_S) / MEMORY_S))
        self._time = time
        self._deviation += (away - self._deviation) * share
        self._mean += (detail - self._mean) * share
        return differs


class Looks:
    """When the picture of a camera is due for a look between two keyframes, which are looked at anyway."""

    def __init__(self) -> None:
        self._activity = PacketActivity()
        self._keyframe_at: float | None = None
        self._looked_at = 0.0
        self._every = LOOK_S

    def packet(self, size: int, *, keyframe: bool, time: float) -> bool:
        """Takes the next packet in order; whether a look is due before it. See `PacketActivity.packet`."""
        moves = self._activity.packet(size, keyframe=keyframe, time=time)
        if keyframe:
            if self._keyframe_at is not None and (gap := time - self._keyframe_at) > 0:
                self._every = gap / math.ceil(gap / LOOK_S)  # none just before a keyframe
            self._keyframe_at = self._looked_at = time
            return False
        if not (moves or self._activity.doubtful) or 0 <= time - self._looked_at < self._every - _ROUNDING_S:
            return False
        self._looked_at = time
        return True


class _Quantiles:
    """Of the last `size` numbers."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._order: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._order)

    def add(self, number: float) -> None:
        """One more; the oldest goes if there are too many."""
        if len(self._order) == self._size:
            oldest = self._order.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
        self._order.append(number)
        insort(self._sorted, number)

    def at(self, share: float) -> float:
        """The number that this share of all is not above."""
        return self._sorted[int(share * (len(self._sorted) - 1))]


def _middle(numbers: Sequence[float]) -> float:
    return sorted(numbers)[len(numbers) // 2]


def _detail(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What differs from the surroundings, by how much these vary: without the light."""
    picture = luma.astype(np.float32)
    around = cv2.blur(picture, (15, 15))
    contrast = np.sqrt(np.maximum(cv2.blur(picture * picture, (15, 15)) - around * around, 0)) + 6
    detail: NDArray[np.float32] = ((picture - around) / contrast).astype(np.float32)
    return detail
