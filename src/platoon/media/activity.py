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
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

SLOT_S: Final = 0.25
"""Packets are judged by this much time together: several pictures, so that the pattern of P and B does not matter."""
MEMORY_SLOTS: Final = 480
"""Two minutes of slots say what is usual."""
ENOUGH_SLOTS: Final = 20
"""With less behind it, nothing is known of a camera, and all is called activity."""
MEMORY_S: Final = 20.0
"""What keyframes show is forgotten at this rate."""
MAX_STEP_S: Final = 10.0
"""A longer step of time, or one backwards, is a clock that was set."""


class PacketActivity:
    """Watches the sizes of one camera's packets, in constant memory."""

    def __init__(self) -> None:
        self._usual = _Quantiles(MEMORY_SLOTS)
        self._slot_from: float | None = None
        self._bytes = self._packets = 0
        self._evidence = 0.0

    def packet(self, size: int, *, keyframe: bool, time: float) -> bool:
        """Takes the next packet in order of arrival; whether something moves now.

        Args:
            size: in bytes.
            time: in seconds, on whatever clock: of decoding, presentation or arrival.
        """
        if self._slot_from is None or not -SLOT_S <= time - self._slot_from <= MAX_STEP_S:
            self._slot_from, self._bytes, self._packets = time, 0, 0
        if time - self._slot_from >= SLOT_S and self._packets:
            self._judge(math.log(self._bytes / self._packets + 1))
            self._slot_from, self._bytes, self._packets = time, 0, 0
        if not keyframe:
            self._bytes += size
            self._packets += 1
        return self._evidence > 4.0 or len(self._usual) < ENOUGH_SLOTS

    def _judge(self, level: float) -> None:
        """Sum up evidence (CUSUM, Page 1954) that slots are larger than usual."""
        if len(self._usual) >= ENOUGH_SLOTS:
            low, middle = self._usual.at(0.05), self._usual.at(0.35)
            spread = max((middle - low) / 1.26, 0.08)
            away = (level - middle) / spread
            self._evidence = min(max(0.0, self._evidence + min(away, 8.0) - 2.5), 12.0)
        self._usual.add(level)


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
        changed = (away > np.maximum(0.6, 4 * self._deviation)).astype(np.uint8)
        differs = bool(cv2.erode(changed, np.ones((2, 2), np.uint8)).sum() >= 3)
        share = np.float32(1 - math.exp(-max(0.0, time - self._time) / MEMORY_S))
        self._time = time
        self._deviation += (away - self._deviation) * share
        self._mean += (detail - self._mean) * share
        return differs


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


def _detail(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What differs from the surroundings, by how much these vary: without the light."""
    picture = luma.astype(np.float32)
    around = cv2.blur(picture, (15, 15))
    contrast = np.sqrt(np.maximum(cv2.blur(picture * picture, (15, 15)) - around * around, 0)) + 6
    detail: NDArray[np.float32] = ((picture - around) / contrast).astype(np.float32)
    return detail
