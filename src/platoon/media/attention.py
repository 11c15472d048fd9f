"""What of a camera's stream is decoded: no more than somebody looks at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from platoon.media.backlog import Skipped
from platoon.media.slot import NewestSlot


class Attention(StrEnum):
    """What is decoded of a live stream."""

    WATCH = "watch"
    """What the analysis has time for, and what that needs."""
    FULL = "full"
    """Every picture, whether or not anybody looks at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taker:
    """Who takes the pictures of a camera, for who decodes them."""

    slot: NewestSlot | None = None
    """Where they go; none: they are never too many."""
    rate: float | None = None
    """How many a second are wanted at most; none: all."""
    attention: Attention = Attention.FULL
    skipped: Callable[[int, Skipped], None] = lambda _count, _why: None
    """Told of packets that are never decoded."""

    @property
    def watches(self) -> bool:
        """Whether what nobody has time for, or wants, may be left out."""
        return self.slot is not None and self.attention is Attention.WATCH


EVERYTHING: Final = Taker()
"""Somebody who has time for every picture."""
