"""Whether what is in sight of a camera needs another look, or may be left alone."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from platoon.plates.track_state import TrackState

MOVES_S: Final = 2.0
"""What has moved within this time moves."""
STEP_HEIGHTS: Final = 0.5
"""A plate that is found so far from where it rested, in its heights, has moved: it trembles by less."""
PAUSE_S: Final = 1.0
"""After which a frame is a look at a camera that sleeps, and not one of many."""
LOOKS: Final = 12
"""Frames in which something that rests may become a plate; then its place is dull."""
DULL_MOST: Final = 32
"""Places remembered, the newest: signs and lettering that a detector takes for plates."""


class Calm:
    """What is known of the plates in sight of one camera; for one thread at a time."""

    def __init__(self) -> None:
        self._rests: dict[int, tuple[NDArray[np.float32], float]] = {}
        """Where each track rests, and when it came there."""
        self._dull: deque[tuple[NDArray[np.float32], float]] = deque(maxlen=DULL_MOST)
        """Middles and widths of what rested and became no plate."""
        self._last = -math.inf
        """When the frame before was taken."""

    def wants_more(self, visible: Sequence[TrackState], time: float) -> bool:
        """Whether a plate moves or is not read yet.

        While one frame follows the other, it must be in two of them: snow looks like a plate now and then, in one.

        Args:
            visible: what was found in the last frame.
            time: its media time, seconds.
        """
        rests, self._rests = self._rests, {}
        more, pause, self._last = False, time - self._last > PAUSE_S, time
        for track_state in visible:
            track = track_state.track
            rest, since = rests.get(track.id, (track.centre, time - MOVES_S))
            if float(np.hypot(*(track.centre - rest))) > STEP_HEIGHTS * track.height:
                rest, since = track.centre, time
            self._rests[track.id] = rest, since
            moves = time - since < MOVES_S
            known = track_state.vehicle is not None and track_state.vehicle.decided
            dull = any(float(np.hypot(*(track.centre - middle))) < width / 2 for middle, width in self._dull)
            if not (known or moves or dull) and track.seen >= LOOKS:
                self._dull.append((rest, track.width))
                dull = True
            more = more or ((pause or track.seen > 1) and (moves or not (known or dull)))
        return more
