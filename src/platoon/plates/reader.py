"""What a plate says: the region cut from the planes, its text located where the detector left room, recognised.

All plates of all cameras in one batch share the recogniser with every other caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from platoon.engine.batcher import Priority, Reply
from platoon.media.frame import Frame, Pixels, Quad, rectify
from platoon.ocr.detection import TextBox
from platoon.ocr.lines import outline, size_of
from platoon.ocr.recognition import TextLine
from platoon.ocr.remote import NotRead

TEXT_HEIGHTS_PX = (48, 96)
"""Regions are rectified to a text height in this range: the recogniser wants 48, people want what was there."""
LOCATE_SIZE = (192, 96)
"""(width, height) in which text is located inside a plate."""
LOOSE_MARGIN = 0.08
"""Grows a loose detector's quad by this share of its width, as it may cut the first or last character."""


class PlateEngine(Protocol):
    """What reads plates: a `TextEngine`, or a `RemoteReader` in its place."""

    def find(self, pictures: Iterable[Pixels]) -> list[list[TextBox]]:
        """See `TextEngine.find`."""

    def read_plates(self, crops: Sequence[Pixels], *, priority: Priority = Priority.VIDEO) -> list[Reply[TextLine]]:
        """See `TextEngine.read_plates`; a reply may raise NotRead."""


class PlateReader:
    """Reads regions of frames.

    Args:
        tight: whether regions hug one line of text, as a text detector's do. Otherwise they are whole plates, with
            frame, bolts and slogans, and their text is located first.
    """

    def __init__(self, engine: PlateEngine, *, tight: bool) -> None:
        self._engine, self._tight = engine, tight

    def read(
        self, regions: Sequence[tuple[Frame, Quad]], *, priority: Priority = Priority.VIDEO
    ) -> list[tuple[Pixels, TextLine] | None]:
        """The pixels that were read and what they say, for each region (quad in frame pixels); none: not read now."""
        crops = [cut(frame, quad if self._tight else _grown(quad)) for frame, quad in regions]
        lines = crops if self._tight else self._locate(crops)
        replies = self._engine.read_plates(lines, priority=priority)
        return [_read(crop, reply) for crop, reply in zip(crops, replies, strict=True)]

    def _locate(self, crops: Sequence[Pixels]) -> list[Pixels]:
        """The largest line of text in each crop; the crop itself where none is found."""
        if not crops:
            return []
        width, height = LOCATE_SIZE
        batch = np.zeros((len(crops), height, width, 3), np.uint8)
        scales = []
        for slot, crop in zip(batch, crops, strict=True):
            scale = min(width / crop.shape[1], height / crop.shape[0])
            fitted = rectify_to(crop, (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))))
            slot[: fitted.shape[0], : fitted.shape[1]] = fitted
            scales.append(scale)
        lines = []
        for crop, boxes, scale in zip(crops, self._engine.find(batch), scales, strict=True):
            if not boxes:
                lines.append(crop)
                continue
            largest = max(boxes, key=lambda box: _area(box.quad))
            quad = (largest.quad / np.float32(scale)).astype(np.float32)
            lines.append(rectify(crop, quad, text_size(quad)))
        return lines


def _read(crop: Pixels, reply: Reply[TextLine]) -> tuple[Pixels, TextLine] | None:
    try:
        return crop, reply.result()
    except NotRead:
        return None


def cut(frame: Frame, quad: Quad) -> Pixels:
    """The region of a frame, rectified to a height that suits recogniser and people."""
    return frame.region(quad, text_size(quad))


def rectify_to(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """The whole picture at another (width, height)."""
    return rectify(picture, outline(picture), size)


def text_size(quad: Quad) -> tuple[int, int]:
    """(width, height) to rectify a line of text to."""
    width, height = size_of(quad)
    tall = min(max(height, TEXT_HEIGHTS_PX[0]), TEXT_HEIGHTS_PX[1])
    return max(8, round(width * tall / max(height, 1.0))), round(tall)


def _area(quad: Quad) -> float:
    x, y = quad[:, 0], quad[:, 1]
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def _grown(quad: Quad) -> Quad:
    centre = quad.mean(axis=0)
    return np.asarray((quad - centre) * (1 + LOOSE_MARGIN) + centre, np.float32)
