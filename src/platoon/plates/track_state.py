"""What is known of a plate in sight and of the vehicle that carries it; the memory of `events`.

Everything that grows with time here has a bound: a vehicle may stand in the picture for months.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from platoon.arrays import Array
from platoon.media.frame import PixelWork, Quad
from platoon.plates.tracking import Track
from platoon.plates.vote import PlateText, Vote, edit_distance, fold

BADGE_FRAMES = 3
KEPT_EVIDENCE = 4
TEXTS_MOST = 32
"""Of one track. A plate is read in few ways; what is read ever otherwise, for days, is none."""
STILL_HEIGHTS = 0.5
"""A track that never went farther than this, in plate heights, is still."""


class EventState(StrEnum):
    """What an event says of its text."""

    PREVIEW = "preview"
    """One credible reading; may change."""
    FINAL = "final"
    """Decided by agreeing readings."""
    REVISED = "revised"
    """Was final; later and better readings say otherwise."""


@dataclass(slots=True)
class Evidence:
    """A reading that may be shown, without its frame: that would keep a whole decoded picture in memory."""

    weight: float
    text: str
    crop: Array
    """Where it was read."""
    pixels: PixelWork
    """Takes it to the host, should it be shown."""
    quad: Quad
    time: float
    media_time: float
    size: tuple[int, int]


@dataclass(slots=True)
class Company:
    """Where a text was relative to a larger one while both were in sight, in widths and heights of the larger."""

    left: float
    right: float
    top: float
    bottom: float
    frames: int = 0

    def note(self, dx: float, dy: float) -> None:
        """Both were in sight, so far apart."""
        self.left, self.right = min(self.left, dx), max(self.right, dx)
        self.top, self.bottom = min(self.top, dy), max(self.bottom, dy)
        self.frames += 1

    def is_long(self, track: Track) -> bool:
        """Whether a text with this track was in this company most of the time."""
        return self.frames >= max(BADGE_FRAMES, track.seen / 2)

    def is_fixed(self, track: Track) -> bool:
        """Whether it kept its place beside the larger one while it moved, as lettering of the same vehicle does."""
        if not self.is_long(track) or track.travelled < STILL_HEIGHTS:
            return False
        return self.right - self.left < 0.2 and self.bottom - self.top < 0.5


@dataclass(slots=True, eq=False)
class TrackState:
    """A track with its readings and what was emitted of it."""

    track: Track
    vote: Vote
    evidence: list[Evidence] = field(default_factory=list)
    score: float = 0.0
    """How sure the detector was at best that it is a plate; 0: it knows text only."""
    attempts: int = 0
    """Readings since it was last seen notably larger."""
    looked_height: float = 0.0
    """How large that was, pixels."""
    settled_height: float = 0.0
    """Its height when it was decided; 0: undecided."""
    edge: bool = False
    """It lies where cameras burn in their clock and name."""
    companions: dict[int, Company] = field(default_factory=dict)
    """Larger texts near it, by their track, as long as it may be lettering of theirs."""
    accompanied: bool = False
    """There was ever such a text."""
    vehicle: Vehicle | None = None
    emitted: bool = False
    """What was emitted of the vehicle came from this track, not from an earlier one."""
    skipped: int = 0
    """Frames in which it was not worth reading."""
    read_at: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = field(default_factory=dict)
    """Where its middle was when a text was read for the first and for the last time, by the text; the `TEXTS_MOST` that
    were read last.
    """
    last_text: str = ""
    """What the last reading said."""

    def note(self, text: str) -> None:
        """It was read just now."""
        here, self.last_text = self.track.centre, fold(text)
        self.read_at[self.last_text] = self.read_at.pop(self.last_text, (here, here))[0], here
        if len(self.read_at) > TEXTS_MOST:
            del self.read_at[next(iter(self.read_at))]

    def beside(self, other: Track) -> None:
        """`other` is in sight together with it."""
        if (offset := _offset_to_larger(self.track, other)) is not None:
            dx, dy = offset
            self.accompanied = True
            self.companions.setdefault(other.id, Company(dx, dx, dy, dy)).note(dx, dy)

    def part_from_all_but(self, alive: Container[int]) -> None:
        """Forget companions that are gone, but for those in whose company it was most of the time: those it may be
        lettering of, and they are few.
        """
        self.companions = {
            identity: company
            for identity, company in self.companions.items()
            if identity in alive or company.is_long(self.track)
        }

    @property
    def is_badge(self) -> bool:
        """Whether it travels with a larger text."""
        return any(company.is_fixed(self.track) for company in self.companions.values())

    def witness(self, evidence: Evidence) -> None:
        """Keep a reading to show, as long as there are not enough heavier ones."""
        self.evidence.append(evidence)
        self.evidence.sort(key=lambda known: -known.weight)
        del self.evidence[KEPT_EVIDENCE:]

    def best_evidence(self, result: PlateText) -> Evidence:
        """The heaviest reading that says what is emitted, or the heaviest of all."""
        says = (fold(result.text), fold(result.raw))
        return next((e for e in self.evidence if fold(e.text) in says), self.evidence[0])

    def travelled(self, result: PlateText) -> float:
        """How far it has come since it was first read so, in plate heights: what was or will be read otherwise may be
        something else that its track came from, or has gone on to.
        """
        text = fold(result.raw)
        first, last = self.read_at.get(text, (self.track.start, self.track.centre))
        here = self.track.centre if self.last_text == text else last
        return float(np.hypot(*(here - first))) / max(self.track.height, 1.0)


@dataclass(slots=True, eq=False)
class Vehicle:
    """A vehicle of which an event was emitted, remembered so that it is the only one."""

    id: str
    text: str
    state: EventState
    last_time: float
    """Media time at which it was last in sight."""
    quad: Quad
    decided: bool = False
    """Its text was, by readings that are sure."""

    def says(self, text: str, *, decided: bool) -> bool:
        """Whether `text`, which sure readings have `decided` or not, is this vehicle's."""
        return is_same(self.text, text, both_sure=self.decided and decided)


def _offset_to_larger(small: Track, large: Track) -> tuple[float, float] | None:
    """From `large` to `small` in widths and heights of `large`, where both could be on one vehicle."""
    if large is small or large.height < 1.4 * small.height:
        return None
    dx, dy = (small.centre - large.centre) / np.array([large.width, large.height], np.float32)
    return (float(dx), float(dy)) if abs(dx) < 2.0 and abs(dy) < 5.0 else None


def is_same(one: str, other: str, *, both_sure: bool) -> bool:
    """Whether two texts are one plate's: a character may be misread, but of two that are sure each has its own."""
    return edit_distance(fold(one), fold(other)) <= (0 if both_sure else 1)
