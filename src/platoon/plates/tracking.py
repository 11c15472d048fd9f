"""Which plate of this frame is which plate of the last one, on one camera.

Plates are matched by where their track is expected, in units of their own size. A match across a jump (few frames a
second, a passing car where another was) is marked `uncertain`: reading the plate settles it, by `Tracker.separate` or
`Tracker.join`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from platoon.media.frame import Quad

MATCH_WIDTHS_PER_S = 30.0
"""How fast a plate may cross the picture, in plate widths a second: 50 km/h, seen from the side."""
MATCH_WIDTHS_MOST = 3.0
"""Beyond so many plate widths only its text can say that it is the same plate."""
SIZE_RATIO_MOST = 1.6
LOST_FRAMES = 4
CERTAIN_WIDTHS = 0.6
"""A plate this near to where it was expected is the same one."""
TRACKS_MOST = 128
"""So many are followed from one frame to the next, of those found last: what flickers all over a picture begins a track
with every flicker, and each costs every frame that comes."""


@dataclass(slots=True, eq=False)
class Track:
    """One plate, followed."""

    id: int
    quad: Quad
    last_time: float
    """Media time at which it was last found, seconds."""
    velocity: NDArray[np.float32] = field(default_factory=lambda: np.zeros(2, np.float32))
    """Of the centre, pixels per second."""
    seen: int = 1
    """Frames in which it was found."""
    before_jump: tuple[Quad, float] | None = None
    """Where and when it was before a match across a jump that no reading has confirmed yet."""
    start: NDArray[np.float32] = field(init=False)
    travelled: float = 0.0
    """Farthest that the centre has been from where it started, in plate heights."""

    def __post_init__(self) -> None:
        self.start = self.centre

    @property
    def uncertain(self) -> bool:
        """Whether it may have taken over another vehicle's plate."""
        return self.before_jump is not None

    @property
    def centre(self) -> NDArray[np.float32]:
        """In frame pixels."""
        return centre_of(self.quad)

    @property
    def width(self) -> float:
        """Mean length of the upper and lower side, pixels."""
        return _side(self.quad, 0, 1)

    @property
    def height(self) -> float:
        """Mean length of the left and right side, pixels."""
        return _side(self.quad, 0, 3)

    def expected(self, time: float) -> NDArray[np.float32]:
        """Where the centre should be at `time` if it went on as before; motion is not trusted for long."""
        return self.centre + self.velocity * np.float32(min(time - self.last_time, 0.5))

    def follow(self, quad: Quad, time: float, *, uncertain: bool) -> None:
        """The plate was found at `quad`."""
        if uncertain and self.before_jump is None:
            self.before_jump = self.quad, self.last_time
        elapsed = max(time - self.last_time, 1e-3)
        moved = (centre_of(quad) - self.centre) / np.float32(elapsed)
        self.velocity = moved if self.seen == 1 else (0.5 * self.velocity + 0.5 * moved).astype(np.float32)
        self.quad, self.last_time = quad, time
        self.seen += 1
        self.travelled = max(self.travelled, float(np.hypot(*(self.centre - self.start))) / max(self.height, 1.0))


class Tracker:
    """The tracks of one camera.

    A track ends when it was not found for `lost_after_s` seconds and `LOST_FRAMES` frames of the camera's usual pace.
    """

    def __init__(self, *, lost_after_s: float = 1.0) -> None:
        self._lost_after_s = lost_after_s
        self._next_id = 1
        self._time: float | None = None
        self._interval_s = 0.0
        self.tracks: list[Track] = []

    def update(self, quads: Sequence[Quad], time: float) -> tuple[list[Track], list[Track]]:
        """Match the plates of one frame at media time `time`, seconds.

        Returns:
            The track of each quad, in order, and the tracks that ended.
        """
        ended = self.advance(time)
        matched: dict[int, Track] = {}
        for distance, index, track in sorted(self._pairs(quads, time), key=lambda pair: pair[0]):
            if index in matched or track in matched.values():
                continue
            track.follow(quads[index], time, uncertain=distance > CERTAIN_WIDTHS)
            matched[index] = track
        return [matched.get(index) or self._begin(quad, time) for index, quad in enumerate(quads)], ended

    def advance(self, time: float) -> list[Track]:
        """Come to the frame at media time `time`, whatever is in it: the tracks that ended before. `update` does so
        too; a second time nothing has ended.
        """
        if time == self._time:
            return []
        if self._time is not None and time < self._time:
            ended, self.tracks = self.tracks, []  # the stream began anew
        else:
            if self._time is not None:
                self._interval_s += 0.2 * (min(time - self._time, 5.0) - self._interval_s)
            lost_after_s = max(self._lost_after_s, LOST_FRAMES * self._interval_s)
            if len(self.tracks) > TRACKS_MOST:
                self.tracks.sort(key=lambda track: track.last_time)
            followed = self.tracks[-TRACKS_MOST:]
            kept = [track for track in followed if time - track.last_time <= lost_after_s]
            ended = [track for track in self.tracks if track not in kept] if len(kept) < len(self.tracks) else []
            self.tracks = kept
        self._time = time
        return ended

    def separate(self, track: Track) -> Track:
        """An uncertain track did take over another vehicle's plate: that gets its own, and `track` its old place."""
        other = self._begin(track.quad, track.last_time)
        if track.before_jump is not None:
            track.quad, track.last_time = track.before_jump
        track.before_jump = None
        return other

    def join(self, track: Track, older: Track) -> None:
        """`track` is the plate of `older`, found again out of its reach: it goes on as `older`."""
        older.follow(track.quad, track.last_time, uncertain=False)
        older.seen += track.seen - 1
        self.tracks.remove(track)

    def finish(self) -> list[Track]:
        """The stream is over: all tracks end."""
        ended, self.tracks = self.tracks, []
        return ended

    def _begin(self, quad: Quad, time: float) -> Track:
        track = Track(id=self._next_id, quad=quad, last_time=time)
        self._next_id += 1
        self.tracks.append(track)
        return track

    def _pairs(self, quads: Sequence[Quad], time: float) -> list[tuple[float, int, Track]]:
        """(distance in plate widths, index of the quad, track) of every pair that may be the same plate."""
        pairs = []
        known = [(track, track.width, track.expected(time)) for track in self.tracks]
        for index, quad in enumerate(quads):
            centre, width = centre_of(quad), _side(quad, 0, 1)
            for track, before, expected in known:
                if max(width, before) > SIZE_RATIO_MOST * min(width, before):
                    continue
                distance = float(np.hypot(*(centre - expected))) / max(width, before)
                reach = min(0.5 + MATCH_WIDTHS_PER_S * (time - track.last_time), MATCH_WIDTHS_MOST)
                if distance <= reach:
                    pairs.append((distance, index, track))
        return pairs


def centre_of(quad: Quad) -> NDArray[np.float32]:
    """The mean of the corners."""
    return np.asarray(quad.mean(axis=0), np.float32)


def _side(quad: Quad, a: int, b: int) -> float:
    """Mean length of side a-b and of the one opposite."""
    c, d = (2, 3) if b == 1 else (1, 2)
    return float(np.hypot(*(quad[b] - quad[a])) + np.hypot(*(quad[d] - quad[c]))) / 2
