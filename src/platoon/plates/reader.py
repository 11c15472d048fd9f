"""What a plate says: the region cut from the planes and read, as a line of text or as a whole plate.

All plates of all cameras in one batch share the recogniser with every other caller. What fails with one of them fails
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from platoon.engine.batcher import Priority, Reply
from platoon.errors import says_retry
from platoon.media.frame import Frame, Pixels, Quad
from platoon.ocr.lines import size_of
from platoon.ocr.recognition import TextLine
from platoon.ocr.remote import NotRead

TEXT_HEIGHTS_PX = (48, 96)
"""Regions are rectified to a text height in this range: the recogniser wants 48, people want what was there."""
WIDTH_MOST_PX = 2048
"""Of a rectified region: far more than any plate has, and a bound on what keeping it costs."""
LOOSE_MARGIN = 0.08
"""Grows a loose detector's quad by this share of its width, as it may cut the first or last character."""


class PlateEngine(Protocol):
    """What reads plates: a `TextEngine`, or a `RemoteReader` in its place."""

    def read_plates(self, crops: Sequence[Pixels], *, priority: Priority = Priority.VIDEO) -> list[Reply[TextLine]]:
        """See `TextEngine.read_plates`; a reply may raise NotRead."""

    def read_plate_lines(
        self, crops: Sequence[Pixels], *, priority: Priority = Priority.VIDEO
    ) -> list[Reply[TextLine]]:
        """See `TextEngine.read_plate_lines`; a reply may raise NotRead."""


class PlateReader:
    """Reads regions of frames.

    Args:
        tight: whether regions hug one line of text, as a text detector's do; otherwise they are whole plates.
    """

    def __init__(self, engine: PlateEngine, *, tight: bool) -> None:
        self._tight = tight
        self._submit = engine.read_plate_lines if tight else engine.read_plates

    def read(
        self, regions: Sequence[tuple[Frame, Quad]], *, priority: Priority = Priority.VIDEO
    ) -> list[tuple[Pixels, TextLine] | Exception]:
        """The pixels that were read and what they say, for each region (quad in frame pixels), or why it was not."""
        outcomes: dict[int, tuple[Pixels, TextLine] | Exception] = {}
        crops: dict[int, Pixels] = {}
        for number, (frame, quad) in enumerate(regions):
            try:
                crops[number] = cut(frame, quad if self._tight else grown(quad))
            except Exception as error:
                outcomes[number] = error
        replies = self._submitted(list(crops.values()), priority)
        away: Exception | None = None
        for (number, crop), reply in zip(crops.items(), replies, strict=True):
            try:
                if isinstance(reply, Exception):
                    raise reply
                if away is not None and reply.cancel():  # each would be waited for as long as the first
                    raise away
                outcomes[number] = crop, reply.result()
            except Exception as error:
                outcomes[number] = error
                if says_retry(error) and not isinstance(error, NotRead):
                    away = error
        return [outcomes[number] for number in range(len(regions))]

    def _submitted(self, crops: Sequence[Pixels], priority: Priority) -> list[Reply[TextLine] | Exception]:
        """All in one go; should that fail for one of them, each alone."""
        if not crops:
            return []
        try:
            return [*self._submit(crops, priority=priority)]
        except Exception as error:
            if len(crops) == 1 or says_retry(error):
                return [error] * len(crops)
            return [one for crop in crops for one in self._submitted([crop], priority)]


def cut(frame: Frame, quad: Quad) -> Pixels:
    """The region of a frame, rectified to a height that suits recogniser and people."""
    return frame.region(quad, text_size(quad))


def text_size(quad: Quad) -> tuple[int, int]:
    """(width, height) to rectify a line of text to."""
    width, height = size_of(quad)
    tall = min(max(height, TEXT_HEIGHTS_PX[0]), TEXT_HEIGHTS_PX[1])
    return min(max(8, round(width * tall / max(height, 1.0))), WIDTH_MOST_PX), round(tall)


def grown(quad: Quad) -> Quad:
    """A plate with a little room around it, as its reader knows plates."""
    centre = quad.mean(axis=0)
    return np.asarray((quad - centre) * (1 + LOOSE_MARGIN) + centre, np.float32)
