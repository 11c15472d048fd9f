"""Where lines of text lie in a picture, and how they are cut out of it to be read.

Geometry alone: which lines there are and what they say is for `reading` to find out.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from platoon.media.frame import Pixels, Quad
from platoon.media.opencv_pixels import rectify

TALL = 1.5
"""A crop higher than this times its width holds text that runs up or down. PaddleOCR turns it as if down; here
both are read, and the surer one counts."""


class Turn(IntEnum):
    """Which way a line runs, as the angle by which its picture was turned clockwise to be read."""

    NONE = 0
    UPWARDS = 90
    UPSIDE_DOWN = 180
    DOWNWARDS = 270


def size_of(quad: Quad) -> tuple[float, float]:
    """(width, height): the mean lengths of opposite sides."""
    width = float(np.hypot(*(quad[1] - quad[0])) + np.hypot(*(quad[2] - quad[3]))) / 2
    height = float(np.hypot(*(quad[3] - quad[0])) + np.hypot(*(quad[2] - quad[1]))) / 2
    return width, height


def upright(quad: Quad) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2: the upright rectangle of whole pixels around `quad`, never empty."""
    x1, y1 = np.floor(quad.min(axis=0)).astype(int).tolist()
    x2, y2 = np.ceil(quad.max(axis=0)).astype(int).tolist()
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


def outline(picture: Pixels) -> Quad:
    """The corners of the whole picture."""
    height, width = picture.shape[:2]
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)


def inside(quad: Quad, size: tuple[int, int]) -> Quad:
    """The quad with what lies outside a picture of (width, height) moved to its border."""
    return np.clip(quad, 0, np.array(size, np.float32))


def in_reading_order(quads: Sequence[Quad]) -> list[Quad]:
    """Rows from top to bottom, each from left to right; a line joins the row it stands beside."""
    rows: list[list[Quad]] = []
    for quad in sorted(quads, key=lambda quad: float(quad[:, 1].mean())):
        middle = float(quad[:, 1].mean())
        if rows and rows[-1][0][:, 1].min() <= middle <= rows[-1][0][:, 1].max():
            rows[-1].append(quad)
        else:
            rows.append([quad])
    return [quad for row in rows for quad in sorted(row, key=lambda quad: float(quad[:, 0].min()))]


def cut(picture: Pixels, quad: Quad) -> Pixels:
    """What is inside `quad`, rectified at its own size."""
    width, height = size_of(quad)
    return rectify(picture, quad, (max(1, round(width)), max(1, round(height))))


def ways_to_read(picture: Pixels, quad: Quad, *, upside_down: bool = False) -> list[tuple[Turn, Pixels]]:
    """The line inside `quad`; where it is tall, turned to either side.

    Args:
        upside_down: a line that is not tall is turned by 180 degrees, too.
    """
    crop = cut(picture, quad)
    if crop.shape[0] >= TALL * crop.shape[1]:
        return [(Turn.DOWNWARDS, _turned(crop, 1)), (Turn.UPWARDS, _turned(crop, -1))]
    if upside_down:
        return [(Turn.NONE, crop), (Turn.UPSIDE_DOWN, _turned(crop, 2))]
    return [(Turn.NONE, crop)]


def _turned(crop: Pixels, quarters: int) -> Pixels:
    """Turned anticlockwise."""
    return np.ascontiguousarray(np.rot90(crop, quarters))
