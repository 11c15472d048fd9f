"""Where whole plates are in a still picture of any size and shape, however near they are.

The detector knows plates that take a part of its input. So a long picture is looked at in tiles, as of all of it in one
input little would be left; and where a plate may fill the picture, which then gives parts of it or nothing, the picture
is looked at once more from farther away, with a margin around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from platoon.media.frame import Letterbox, Pixels, Quad
from platoon.plates.corner_detector import MAX_IOU, plate_boxes
from platoon.plates.detector import PlateBox
from platoon.plates.finder import LEAST_SIDE, STRIDE, PlateCandidates
from platoon.plates.heads import nms

SIDE_PX: Final = 960
"""Longer side of what finds whole plates in a picture: more than of a frame, as no next one comes nearer."""
LONG: Final = 2.5
"""A picture so many times as long as wide is looked at in tiles."""
TILE: Final = 1.5
"""How long these are, in widths; each begins half a width before the last one ends, so that no plate is cut in all."""
NEAR: Final = 0.3
"""A plate that takes so much of the picture's width or height may be a part of one."""
FARTHER: Final = 0.5
"""The margin of the second look, of the picture's longer side, on both sides together."""
PART: Final = 0.5
"""What lies to so much of its area in a plate of the second look is a part of that."""
ALONE: Final = 0.5
"""And one that the first look has seen nothing of scores more: much that lies in the middle of a picture looks like a
large plate from far away.
"""
_MARGIN_GREY: Final = 110

Find = Callable[[Sequence[Pixels]], list[PlateCandidates]]
"""Gives what `PlateEngine.find_plates` does."""


def look(picture: Pixels, find: Find, min_score: float) -> list[PlateBox]:
    """The plates in a picture (height, width, 3), quads in its pixels, best first."""
    height, width = picture.shape[:2]
    windows = _tiles(width, height)
    found = _seen(picture, windows, find, min_score)
    if len(windows) == 1 and (not found or any(_is_near(box.quad, width, height) for box in found)):
        margin = round(max(width, height) * FARTHER / 2)
        farther = _seen(picture, [_Window(-margin, -margin, width + margin, height + margin)], find, min_score)
        for whole in farther:
            parts = [box for box in found if _is_part(box.quad, whole.quad)]
            if _is_near(whole.quad, width, height) and (_is_split(parts) or whole.score > _best(parts)):
                found = [box for box in found if not any(box is part for part in parts)] + [whole]
    return _each_once(found)


@dataclass(frozen=True, slots=True)
class _Window:
    """A part of a picture in its pixels, or more than all of it."""

    left: int
    top: int
    right: int
    bottom: int

    def of(self, picture: Pixels) -> tuple[Pixels, Letterbox]:
        """As the detector takes it, and where it lies there."""
        size = (self.right - self.left, self.bottom - self.top)
        place = Letterbox.fit(size, (SIDE_PX, SIDE_PX))
        height, width = (max(LEAST_SIDE, STRIDE * math.ceil(side / STRIDE)) for side in (place.height, place.width))
        seen = np.zeros((height, width, 3), np.uint8)
        inside = picture[max(self.top, 0) : self.bottom, max(self.left, 0) : self.right]
        if inside.shape[:2] == (size[1], size[0]):
            left, top, across, down = 0, 0, place.width, place.height
        else:
            seen[: place.height, : place.width] = _MARGIN_GREY
            left, top = (round(max(-edge, 0) * place.scale) for edge in (self.left, self.top))
            across, down = (max(1, round(side * place.scale)) for side in (inside.shape[1], inside.shape[0]))
        seen[top : top + down, left : left + across] = cv2.resize(inside, (across, down), interpolation=cv2.INTER_AREA)
        return seen, place


def _seen(picture: Pixels, windows: Sequence[_Window], find: Find, min_score: float) -> list[PlateBox]:
    looks = [window.of(picture) for window in windows]
    found = []
    for window, (_, place), places in zip(windows, looks, find([seen for seen, _ in looks]), strict=True):
        corner = np.array((window.left, window.top), np.float32)
        found += [replace(box, quad=place.to_frame(box.quad) + corner) for box in plate_boxes(places, min_score)]
    return found


def _tiles(width: int, height: int) -> list[_Window]:
    """All of a picture, or, of a long one, tiles along its longer side."""
    long, short = max(width, height), min(width, height)
    if long <= max(LONG * short, SIDE_PX):
        return [_Window(0, 0, width, height)]
    each = round(max(TILE * short, SIDE_PX))
    count = math.ceil((long - each) / (each - min(short, each // 3))) + 1
    starts = [round(start) for start in np.linspace(0, long - each, count)]
    if width >= height:
        return [_Window(start, 0, start + each, height) for start in starts]
    return [_Window(0, start, width, start + each) for start in starts]


def _is_near(quad: Quad, width: int, height: int) -> bool:
    across, down = np.ptp(quad, axis=0)
    return bool(across > NEAR * width or down > NEAR * height)


def _is_part(quad: Quad, of: Quad) -> bool:
    """Whether most of a plate lies in another one, by their boxes."""
    low, high = np.maximum(quad.min(axis=0), of.min(axis=0)), np.minimum(quad.max(axis=0), of.max(axis=0))
    return float(np.prod(np.maximum(high - low, 0))) > PART * float(np.prod(np.ptp(quad, axis=0)))


def _is_split(parts: Sequence[PlateBox]) -> bool:
    """Whether these lie side by side, each over the next: what the first look had room for of one plate."""
    if len(parts) < 2:
        return False
    boxes = [(box.quad.min(axis=0), box.quad.max(axis=0)) for box in parts]
    low, high = np.max([box[0] for box in boxes], axis=0), np.min([box[1] for box in boxes], axis=0)
    height = min(float(np.ptp(box.quad[:, 1])) for box in parts)
    return float(high[1] - low[1]) > PART * height and float(high[0] - low[0]) > -height


def _best(parts: Sequence[PlateBox]) -> float:
    return max((box.score for box in parts), default=ALONE)


def _each_once(found: Sequence[PlateBox]) -> list[PlateBox]:
    """Best first; of those that overlap the better."""
    if not found:
        return []
    boxes = np.array([[*box.quad.min(axis=0), *box.quad.max(axis=0)] for box in found], np.float32)
    kept = nms(boxes, np.array([box.score for box in found], np.float32), MAX_IOU)
    return [found[index] for index in kept]
