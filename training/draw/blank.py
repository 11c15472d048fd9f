"""A plate while it is being made: its colours and its relief, drawn on in millimetres."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from platoon.media.synthetic.shapes import rounded
from training.draw.layouts import Colour
from training.draw.typefaces import Field, Glyph, Style, Typeface, advance, draw_glyphs

_SHIFT = 4


class Blank:
    """A plate's picture, RGB, and how far each point stands out of it, in stamping depths."""

    def __init__(self, width_mm: float, height_mm: float, px_per_mm: float) -> None:
        self.px_per_mm = px_per_mm
        self.width_mm, self.height_mm = width_mm, height_mm
        self.picture = np.zeros((round(height_mm * px_per_mm), round(width_mm * px_per_mm), 3), np.uint8)
        self.relief = np.zeros(self.picture.shape[:2], np.float32)

    def shade(self, upper: Colour, lower: Colour) -> None:
        """Fill with a colour that runs into another towards the bottom."""
        share = np.linspace(0, 1, self.picture.shape[0])[:, None, None]
        self.picture[:] = (np.array(upper) * (1 - share) + np.array(lower) * share).astype(np.uint8)

    def rectangle(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """A filled rectangle."""
        s = self.px_per_mm
        self.picture[round(max(0, y) * s) : round((y + height) * s), round(max(0, x) * s) : round((x + width) * s)] = (
            colour
        )

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A filled circle."""
        cv2.circle(self.picture, self._fixed(x, y), self._length(radius), colour, -1, cv2.LINE_AA, _SHIFT)

    def ring(self, x: float, y: float, radius: float, thick: float, colour: Colour) -> None:
        """A circle's outline."""
        pixels = max(1, round(thick * self.px_per_mm))
        cv2.circle(self.picture, self._fixed(x, y), self._length(radius), colour, pixels, cv2.LINE_AA, _SHIFT)

    def polygon(self, points: Sequence[tuple[float, float]], colour: Colour) -> None:
        """A filled polygon."""
        fixed = np.array([self._fixed(x, y) for x, y in points], np.int32)
        cv2.fillPoly(self.picture, [fixed], colour, cv2.LINE_AA, _SHIFT)

    def outline(self, inset: float, thick: float, radius: float, colour: Colour, depth: float) -> None:
        """A line along the edges, rounded at the corners, raised by `depth`."""
        inner = inset + thick / 2
        right, bottom = self.width_mm - inner, self.height_mm - inner
        box = np.array([[inner, inner], [right, inner], [right, bottom], [inner, bottom]])
        line = np.round((rounded(box, [radius] * 4) * self.px_per_mm - 0.5) * 16).astype(np.int32)
        pixels = max(1, round(thick * self.px_per_mm))
        cv2.polylines(self.picture, [line], True, colour, pixels, cv2.LINE_AA, _SHIFT)
        if depth:
            mask = np.zeros(self.relief.shape, np.uint8)
            cv2.polylines(mask, [line], True, 255, pixels, cv2.LINE_AA, _SHIFT)
            np.maximum(self.relief, mask * np.float32(depth / 255), out=self.relief)

    def ink(self, field: Field, colour: Colour | Sequence[float], depth: float = 0.0, x: int = 0, y: int = 0) -> None:
        """Paint where `field` is positive, its upper left corner at (x, y) pixels, and raise it by `depth`."""
        top, left = max(0, y), max(0, x)
        rows, columns = self.picture.shape[:2]
        field = field[top - y : rows - y, left - x : columns - x]
        if field.size == 0:
            return
        area = self.picture[top : top + field.shape[0], left : left + field.shape[1]]
        cover = np.clip(field + 0.5, 0, 1)
        blend(area, cover, colour)
        if depth:
            slope = max(1.0, 1.6 * self.px_per_mm)
            raised = np.clip(field / slope + 0.5, 0, 1) * np.float32(depth)
            place = self.relief[top : top + field.shape[0], left : left + field.shape[1]]
            np.maximum(place, raised, out=place)

    def words(
        self, text: str, face: Typeface, x: float, y: float, cap: float, colour: Colour, *, room: float = 1e9,
        style: Style | None = None, depth: float = 0.0,
    ) -> None:  # fmt: skip
        """Small words around the point (x, y), narrowed to fit into `room`."""
        style = style or Style(gap=0.12)
        found = [None if sign == " " else face.glyph(sign) for sign in text]
        steps = [0.35 if glyph is None else advance(glyph, style) for glyph in found]
        width = sum(steps) * cap
        squeeze = min(1.0, room / max(width, 1e-6))
        style = Style(style.stretch * squeeze, style.gap * squeeze, style.pitch, style.weight, style.roundness)
        cap_px = cap * self.px_per_mm
        pad = 0.5 * cap_px
        placed: list[tuple[Glyph, float, float]] = []
        at = pad
        for glyph, step in zip(found, steps, strict=True):
            if glyph is not None:
                placed.append((glyph, at + step * squeeze * cap_px / 2, pad))
            at += step * squeeze * cap_px
        size = (int(at + pad), int(2 * pad + cap_px))
        if not placed or size[0] < 2:
            return
        field = draw_glyphs(placed, size, cap_px, style)
        left = round(x * self.px_per_mm - size[0] / 2)
        self.ink(field, colour, depth, left, round(y * self.px_per_mm - size[1] / 2))

    def _fixed(self, x: float, y: float) -> tuple[int, int]:
        return round((x * self.px_per_mm - 0.5) * 16), round((y * self.px_per_mm - 0.5) * 16)

    def _length(self, length: float) -> int:
        return max(8, round(length * self.px_per_mm * 16))


def blend(area: NDArray[np.uint8], cover: NDArray[np.float32], colour: Sequence[float]) -> None:
    """Lay a colour over an area of a picture where `cover`, 0..1, says."""
    paint = np.empty_like(area)
    paint[:] = np.array(colour, np.uint8)
    area[:] = cv2.blendLinear(np.ascontiguousarray(area), paint, 1 - cover, cover)
