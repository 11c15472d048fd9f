"""How much of a camera's stream is decoded: as much as there is a reason for.

A camera that nobody has a reason to look at sleeps: of its stream only keyframes are decoded. Reasons come from any
thread and last for a while; falling asleep is left to the moment at which the decoder comes to a keyframe.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, NamedTuple, Protocol

import av

from platoon.media.slot import NewestSlot

Mode = Literal["auto", "watch", "full"]


class Level(StrEnum):
    """What is decoded of a live stream."""

    IDLE = "idle"
    """Keyframes alone; the packets since the last are kept."""
    WATCH = "watch"
    """What the analysis has time for, and what that needs."""
    FULL = "full"
    """Every picture, whether or not anybody looks at it."""


class Skipped(StrEnum):
    """Why packets are not decoded."""

    BEHIND = "behind"
    """The decoder is too slow."""
    SATURATED = "saturated"
    """Nobody had time for their pictures."""
    ASLEEP = "asleep"
    """Nothing moved."""


class Role(StrEnum):
    """What a packet of a live stream is decoded for."""

    LIVE = "live"
    """To see what there is now."""
    LOOK = "look"
    """A keyframe of a camera that sleeps, by itself: to see whether there is something."""
    GLANCE = "glance"
    """To see whether the picture between two keyframes of a camera that sleeps has changed; it is not handed on."""
    REFERENCE = "reference"
    """Only as the next glance needs it."""
    PAST = "past"
    """To see what there was while the camera slept: no such picture may be replaced, or is too old."""


class Arrival(NamedTuple):
    """What is known of a packet of a live stream; the `opaque` of its picture."""

    at: float
    """By the monotonic clock."""
    role: Role = Role.LIVE


class Reason(StrEnum):
    """Why a camera is awake."""

    START = "start"
    """It is new, or was connected just now."""
    CHANGE = "change"
    """A picture shows something else than those before."""
    PLATE = "plate"
    """A plate is in sight that moves or is not read yet."""
    MANUAL = "manual read"
    VIEWER = "viewer"
    """Somebody looks at its pictures."""
    CALL = "call"
    """Somebody asked for it over the API."""
    KEYFRAMES = "keyframes"
    """They come too rarely for it to sleep between them."""
    BYTES = "bytes"
    """More has come since the last keyframe than is kept."""


class Attention:
    """The level of one camera; from any thread.

    Args:
        mode: `auto` lets it sleep.
        awake_s: for how long a reason lasts, unless it says otherwise.
    """

    def __init__(self, mode: Mode = "full", *, awake_s: float = 4.0, now: Callable[[], float] = time.monotonic) -> None:
        self.may_sleep: Final = mode == "auto"
        self._awake_s = awake_s
        self.now = now
        """The clock of the camera, in seconds, which nobody sets."""
        self._lock = threading.Lock()
        self._level = Level.FULL if mode == "full" else Level.WATCH
        self._reason: Reason | None = Reason.START
        self._until = now() + awake_s
        self.on_wake: Callable[[], None] = lambda: None
        """Called on the thread that wakes it up."""
        self.on_change: Callable[[Level, Reason | None], None] = lambda _level, _reason: None
        """Called with every change of the level, on the thread that made it; must return at once."""

    @property
    def level(self) -> Level:
        """As of now."""
        return self._level

    @property
    def reason(self) -> Reason | None:
        """Why it was awake last, or is; none: it is asleep."""
        return None if self._level is Level.IDLE else self._reason

    def wake(self, reason: Reason, for_s: float | None = None) -> None:
        """There is a reason to look for so many seconds from now."""
        until = self.now() + (self._awake_s if for_s is None else for_s)
        with self._lock:
            if until >= self._until or self._level is Level.IDLE:
                self._until, self._reason = max(until, self._until), reason
            if not (woken := self._level is Level.IDLE):
                return
            self._level = Level.WATCH
        if woken:
            self.on_change(Level.WATCH, reason)
            self.on_wake()

    def rest(self) -> bool:
        """The decoder has come to a keyframe: whether it sleeps from there on."""
        with self._lock:
            if not self.may_sleep or self._level is not Level.WATCH or self.now() < self._until:
                return self._level is Level.IDLE
            self._level = Level.IDLE
        self.on_change(Level.IDLE, None)
        return True


class PacketTap(Protocol):
    """Somebody who looks at the packets of a camera or clip as they come; for one thread, and returns at once."""

    def opened(self, stream: av.VideoStream) -> None:
        """A stream that stays open until `closed`."""

    def packet(self, packet: av.Packet, *, asleep: bool) -> None:
        """The next packet in order, which is not to be changed; `asleep`: its camera sleeps."""

    def closed(self) -> None:
        """No packet of the stream comes any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taker:
    """Who takes the pictures of a camera, for who decodes them."""

    slot: NewestSlot | None = None
    """Where they go; none: they are never too many."""
    rate: float | None = None
    """How many a second are wanted at most; none: all."""
    attention: Attention = field(default_factory=Attention)
    skipped: Callable[[int, Skipped], None] = lambda _count, _why: None
    """Called with packets that are never decoded."""
    tap: PacketTap | None = None
    """Looks at all packets, if FFmpeg reads the stream."""

    @property
    def watches(self) -> bool:
        """Whether what nobody has time for, or wants, may be left out."""
        return self.slot is not None and self.attention.level is not Level.FULL


EVERYTHING: Final = Taker()
"""Somebody who has time for every picture."""
