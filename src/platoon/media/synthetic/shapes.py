"""Drawing in pictures: rounded outlines, smooth polygons, textures laid into quadrilaterals, soft light.

All functions draw in place, clip at the picture's border, and take points as (x, y) in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from platoon.media.frame import Pixels

Points = NDArray[np.float64]
Mask = NDArray[np.uint8]
"""Coverage, shape (height, width), 0-255."""

Colour = tuple[int, int, int]
"""RGB, 0-255."""

_ARC_STEPS = 8
_SHIFT = 4


def shaded(colour: Colour, share: float) -> Colour:
    """`colour`, brighter or darker."""
    red, green, blue = (min(255, round(channel * share)) for channel in colour)
    return red, green, blue


def rounded(points: Points, radii: Sequence[float], *, closed: bool = True) -> Points:
    """The line through `points` (n, 2) with the corner at each rounded to its radius, as far as there is room."""
    line: list[Points] = []
    last = len(points) - 1
    for i, point in enumerate(points):
        if radii[i] <= 0 or (not closed and i in (0, last)):
            line.append(point)
            continue
        before, after = points[i - 1] - point, points[(i + 1) % len(points)] - point
        reach_before, reach_after = float(np.hypot(*before)), float(np.hypot(*after))
        # Two rounded corners share the line between them; an open end needs less than half.
        room_before = reach_before / (1.7 if i == 1 and not closed else 2)
        room_after = reach_after / (1.7 if i == last - 1 and not closed else 2)
        reach = min(radii[i], room_before, room_after)
        start, end = before / reach_before * reach, after / reach_after * reach
        angle = np.linspace(0, np.pi / 2, _ARC_STEPS)[:, None]
        line.extend(point + start * (1 - np.sin(angle)) + end * (1 - np.cos(angle)))
    return np.array(line)


def fill(picture: NDArray[np.uint8], polygon: Points, colour: Sequence[float]) -> None:
    """Fill a polygon (n, 2), which need not be convex, with smooth edges."""
    if len(polygon) > 2:
        fixed = np.round(np.clip(polygon, -20_000, 20_000) * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(picture, [fixed], colour, cv2.LINE_AA, _SHIFT)


def paint(area: Pixels, mask: Mask, colour: Colour) -> None:
    """Blend `colour` into `area` (height, width, 3) where `mask` (height, width) covers it, in place."""
    share = mask[:, :, None].astype(np.float32) / 255
    area[:] = np.round(area + (np.array(colour, np.float32) - area) * share).astype(np.uint8)


class Texture:
    """A picture with coverage, kept in several sizes so that it stays calm when laid into a small quadrilateral."""

    def __init__(self, picture: Pixels, coverage: Mask) -> None:
        share = coverage[:, :, None].astype(np.float32) / 255
        self._levels = [((picture * share).astype(np.uint8), coverage)]
        while min(self._levels[-1][1].shape) > 12:
            shown, covered = self._levels[-1]
            size = (round(covered.shape[1] / 1.5), round(covered.shape[0] / 1.5))
            smaller = (cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (shown, covered))
            self._levels.append((next(smaller), next(smaller)))

    def lay(self, picture: Pixels, quad: Points) -> tuple[tuple[slice, slice], Mask]:
        """Draw into the quadrilateral `quad` (4, 2), clockwise from the texture's top left.

        Returns:
            The part of the picture (rows, columns) that was drawn in, maybe empty, and the coverage there.
        """
        window = _window(quad, picture)
        if window is None:
            return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), np.uint8)
        left, top, right, bottom = window
        wide = max(float(np.hypot(*(quad[1] - quad[0]))), float(np.hypot(*(quad[2] - quad[3]))))
        fits = [level for level in self._levels if level[1].shape[1] >= wide]
        shown, covered = fits[-1] if fits else self._levels[0]
        height, width = covered.shape
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
        matrix = cv2.getPerspectiveTransform(corners, (quad - [left, top] - 0.5).astype(np.float32))
        size = (right - left, bottom - top)
        over = cv2.warpPerspective(shown, matrix, size, flags=cv2.INTER_LINEAR)
        covers = cv2.warpPerspective(covered, matrix, size, flags=cv2.INTER_LINEAR)
        area = picture[top:bottom, left:right]
        bare = cv2.cvtColor(cv2.bitwise_not(covers), cv2.COLOR_GRAY2RGB)
        cv2.add(cv2.multiply(area, bare, scale=1 / 255), over, dst=area)
        return (slice(top, bottom), slice(left, right)), covers


def shine(picture: Pixels, glow: Pixels, quad: Points) -> None:
    """Add the light of `glow`, black at its borders, laid into the quadrilateral `quad` (4, 2)."""
    window = _window(quad, picture)
    if window is None:
        return
    left, top, right, bottom = window
    height, width = glow.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, (quad - [left, top]).astype(np.float32))
    area = picture[top:bottom, left:right]
    cv2.add(area, cv2.warpPerspective(glow, matrix, (right - left, bottom - top)), dst=area)


def halo(colour: Sequence[float], *, size: int = 64, sharpness: float = 3.0) -> Pixels:
    """A round glow for `shine`: `colour` in the middle, falling to black at the rim, (size, size, 3)."""
    axis = np.linspace(-1, 1, size)
    distance = np.hypot(axis[:, None], axis[None])
    light = np.clip(1 - distance, 0, 1) ** sharpness
    glow: Pixels = (light[:, :, None] * np.array(colour)).astype(np.uint8)
    return glow


def _window(quad: Points, picture: Pixels) -> tuple[int, int, int, int] | None:
    left, top = (max(0, int(value)) for value in np.floor(quad.min(axis=0)))
    right, bottom = (int(value) + 1 for value in np.ceil(quad.max(axis=0)))
    right, bottom = min(right, picture.shape[1]), min(bottom, picture.shape[0])
    return (left, top, right, bottom) if right - left > 1 and bottom - top > 1 else None
