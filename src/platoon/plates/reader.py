"""What a plate says: the region cut from the planes and read, as a line of text or as a whole plate.

All plates of all cameras in one batch share the recogniser with every other caller. What fails with one of them fails
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Protocol, TypeVar

import numpy as np

from platoon.arrays import Array
from platoon.engine.batcher import Priority, Reply
from platoon.errors import says_retry
from platoon.media.frame import Frame, Quad, Region
from platoon.ocr.lines import size_of
from platoon.ocr.recognition import TextLine
from platoon.plates.remote import NotRead

TEXT_HEIGHTS_PX = (48, 96)
"""Regions are rectified to a text height in this range: the recogniser wants 48, people want what was there."""
WIDTH_MOST_PX = 2048
"""Of a rectified region: far more than any plate has, and a bound on what keeping it costs."""
LOOSE_MARGIN = 0.08
"""Grows a loose detector's quad by this share of its width, as it may cut the first or last character."""

Wanted = TypeVar("Wanted")
Made = TypeVar("Made")


class ReadsPlates(Protocol):
    """What reads plates: a `PlateEngine`, or a `RemoteReader` in its place."""

    def read_plates(self, crops: Sequence[Array], *, priority: Priority = Priority.VIDEO) -> list[Reply[TextLine]]:
        """See `PlateEngine.read_plates`; a reply may raise NotRead."""

    def read_plate_lines(self, crops: Sequence[Array], *, priority: Priority = Priority.VIDEO) -> list[Reply[TextLine]]:
        """See `PlateEngine.read_plate_lines`; a reply may raise NotRead."""


class PlateReader:
    """Reads regions of frames.

    Args:
        tight: whether regions hug one line of text, as a text detector's do; otherwise they are whole plates.
    """

    def __init__(self, engine: ReadsPlates, *, tight: bool) -> None:
        self._tight = tight
        self._submit = engine.read_plate_lines if tight else engine.read_plates

    def read(
        self, regions: Sequence[tuple[Frame, Quad]], *, priority: Priority = Priority.VIDEO
    ) -> list[tuple[Array, TextLine] | Exception]:
        """The pixels that were read and what they say, for each region (quad in frame pixels), or why it was not."""
        cut = self._cut(regions)
        crops = {number: crop for number, crop in enumerate(cut) if not isinstance(crop, Exception)}
        replies = _each(lambda some: self._submit(some, priority=priority), list(crops.values()))
        read: dict[int, tuple[Array, TextLine] | Exception] = {
            number: error for number, error in enumerate(cut) if isinstance(error, Exception)
        }
        away: Exception | None = None
        for (number, crop), reply in zip(crops.items(), replies, strict=True):
            try:
                if isinstance(reply, Exception):
                    raise reply
                if away is not None and reply.cancel():  # each would be waited for as long as the first
                    raise away
                read[number] = crop, reply.result()
            except Exception as error:
                read[number] = error
                if says_retry(error) and not isinstance(error, NotRead):
                    away = error
        return [read[number] for number in range(len(regions))]

    def _cut(self, regions: Sequence[tuple[Frame, Quad]]) -> list[Array | Exception]:
        """The regions, rectified to heights that suit recogniser and people."""
        wanted = []
        for frame, quad in regions:
            place = quad if self._tight else grown(quad)
            wanted.append(Region(frame, place, text_size(place)))
        together = groupby(wanted, key=lambda region: region.frame.pixels)
        return [crop for pixels, some in together for crop in _each(pixels.rectify, list(some))]


def _each(work: Callable[[Sequence[Wanted]], Sequence[Made]], items: Sequence[Wanted]) -> list[Made | Exception]:
    """What `work` makes of each, all in one go; should that fail for one of them, of each alone."""
    if not items:
        return []
    try:
        return [*work(items)]
    except Exception as error:
        if len(items) == 1 or says_retry(error):
            return [error] * len(items)
        return [made for item in items for made in _each(work, [item])]


def text_size(quad: Quad) -> tuple[int, int]:
    """(width, height) to rectify a line of text to."""
    width, height = size_of(quad)
    tall = min(max(height, TEXT_HEIGHTS_PX[0]), TEXT_HEIGHTS_PX[1])
    return min(max(8, round(width * tall / max(height, 1.0))), WIDTH_MOST_PX), round(tall)


def grown(quad: Quad) -> Quad:
    """A plate with a little room around it, as its reader knows plates."""
    centre = quad.mean(axis=0)
    return np.asarray((quad - centre) * (1 + LOOSE_MARGIN) + centre, np.float32)
