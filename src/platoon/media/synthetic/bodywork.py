"""The painted parts of a car: the face that carries the plate, the windscreen, the shadow on the road.

Each is a texture with the light of the scene in it. Lamps and plates are painted after the light, as they shine or
throw it back.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from platoon.media.frame import Pixels
from platoon.media.synthetic.glyphs import Typeface, text_mask
from platoon.media.synthetic.plates import STYLES, draw_plate
from platoon.media.synthetic.scene import Light, Vehicle
from platoon.media.synthetic.shapes import Colour, Mask, Points, Texture, fill, paint, rounded, shaded

PX_PER_M = 400
"""Of all painted parts; no camera of ours sees a car larger for long. Faces and plates come out in whole pixels."""
HALF_WIDTH_M = 0.9
FACE_BOTTOM_M = 0.2
FACE_TOP_M = {True: 0.78, False: 0.97}
"""Height of the face's upper edge, of the front (True) and the rear."""
PLATE_Y_M = {True: 0.47, False: 0.64}
"""Height of the plate's middle."""

_BADGE_FACE = Typeface(letter=0.7, digit=0.66, stroke=0.17, gap=0.22)
_DARK = (24, 25, 28)
_CHROME = (196, 200, 204)
_GLASS = (40, 49, 58)


def paint_face(vehicle: Vehicle, light: Light, *, front: bool) -> Texture:
    """The front or rear of a car with its plate."""
    top = FACE_TOP_M[front]
    sheet = Sheet(HALF_WIDTH_M, FACE_BOTTOM_M, top)
    sheet.picture[:] = vehicle.colour
    # The upper half mirrors the sky, the lower half the road; round flanks turn away from the light.
    rows = sheet.rows()
    gleam = np.exp(-(((rows - np.float32(0.78)) / np.float32(0.06)) ** 2))
    sheet.shade(0.66 + 0.5 * rows**1.5 + 0.14 * gleam)
    across = np.linspace(-1, 1, sheet.picture.shape[1], dtype=np.float32)[None, :, None]
    sheet.shade(1 - 0.3 * np.abs(across) ** 5)
    (_front if front else _rear)(sheet, vehicle)
    sheet.shade(np.array(light.ambient, np.float32)[None, None])
    (_headlights if front else _taillights)(sheet, light)
    plate = draw_plate(vehicle.plate, STYLES[vehicle.country], px_per_mm=PX_PER_M / 1000, rear=not front)
    sheet.image(np.clip(plate * light.plate, 0, 255).astype(np.uint8), (0, PLATE_Y_M[front]))
    return sheet.texture()


def _front(sheet: Sheet, vehicle: Vehicle) -> None:
    sheet.cover(
        [
            (-0.84, 0.22),
            (0.84, 0.22),
            (0.9, 0.45),
            (0.88, 0.7),
            (0.78, 0.775),
            (-0.78, 0.775),
            (-0.88, 0.7),
            (-0.9, 0.45),
        ],
        0.07,
    )
    sheet.box((-0.5, 0.5), (0.24, 0.34), _DARK, 0.04)
    sheet.both([(0.58, 0.25), (0.8, 0.27), (0.8, 0.37), (0.6, 0.35)], _DARK, 0.03)
    sheet.fill([(-0.46, 0.7), (0.46, 0.7), (0.4, 0.575), (-0.4, 0.575)], _DARK, 0.035)
    for y in (0.605, 0.637, 0.669):
        sheet.box((-0.41, 0.41), (y - 0.005, y + 0.005), (92, 95, 100), 0.004)
    sheet.box((-0.48, 0.48), (0.7, 0.709), _CHROME, 0.004)
    sheet.box((-0.055, 0.055), (0.595, 0.685), _CHROME, 0.045)
    sheet.box((-0.037, 0.037), (0.61, 0.67), (50, 54, 62), 0.03)
    _draw_holder(sheet, vehicle, front=True)
    if vehicle.badge:
        sheet.words(vehicle.badge, (0.27, 0.652), 0.032, _CHROME)


def _rear(sheet: Sheet, vehicle: Vehicle) -> None:
    sheet.cover(
        [
            (-0.82, 0.24),
            (0.82, 0.24),
            (0.9, 0.5),
            (0.89, 0.85),
            (0.8, 0.965),
            (-0.8, 0.965),
            (-0.89, 0.85),
            (-0.9, 0.5),
        ],
        0.08,
    )
    darker, seam = shaded(vehicle.colour, 0.62), shaded(vehicle.colour, 0.4)
    sheet.box((-0.75, 0.75), (0.515, 0.523), seam)
    sheet.box((-0.38, 0.38), (0.555, 0.735), darker, 0.035)
    sheet.box((-0.4, 0.4), (0.735, 0.752), _CHROME, 0.008)
    sheet.box((-0.7, 0.7), (0.24, 0.34), _DARK, 0.05)
    sheet.both([(0.6, 0.4), (0.78, 0.42), (0.78, 0.445), (0.6, 0.425)], (120, 16, 16), 0.01)
    sheet.both([(0.38, 0.255), (0.54, 0.255), (0.54, 0.3), (0.38, 0.3)], (120, 122, 126), 0.02)
    sheet.box((-0.045, 0.045), (0.79, 0.88), _CHROME, 0.045)
    sheet.box((-0.028, 0.028), (0.807, 0.863), (50, 54, 62), 0.028)
    _draw_holder(sheet, vehicle, front=False)
    if vehicle.badge:
        sheet.words(vehicle.badge, (-0.42, 0.835), 0.045, _CHROME)


def _draw_holder(sheet: Sheet, vehicle: Vehicle, *, front: bool) -> None:
    style = STYLES[vehicle.country]
    x, y, middle = style.width / 2000 + 0.009, style.height / 2000 + 0.008, PLATE_Y_M[front]
    sheet.box((-x, x), (middle - y, middle + y), _DARK, 0.008)


def _headlights(sheet: Sheet, light: Light) -> None:
    bright = light.lamps
    sheet.both(
        [(0.5, 0.69), (0.8, 0.75), (0.875, 0.68), (0.84, 0.62), (0.55, 0.605)],
        (180, 176, 160) if bright else (62, 68, 76),
        0.03,
    )
    sheet.both(
        [(0.53, 0.68), (0.8, 0.735), (0.855, 0.675), (0.83, 0.63), (0.56, 0.617)],
        (236, 230, 206) if bright else (128, 138, 148),
        0.025,
    )
    sheet.both(
        [(0.6, 0.69), (0.72, 0.69), (0.72, 0.63), (0.6, 0.63)],
        (255, 255, 246) if bright else (214, 222, 228),
        0.03,
    )


def _taillights(sheet: Sheet, light: Light) -> None:
    dark, clear = ((150, 14, 12), (255, 70, 50)) if light.lamps else ((112, 10, 14), (176, 30, 30))
    sheet.both([(0.5, 0.86), (0.86, 0.89), (0.88, 0.74), (0.84, 0.69), (0.54, 0.72)], dark, 0.035)
    sheet.both([(0.6, 0.845), (0.84, 0.865), (0.85, 0.79), (0.62, 0.785)], clear, 0.025)
    sheet.both([(0.58, 0.765), (0.7, 0.765), (0.7, 0.735), (0.58, 0.735)], (150, 150, 150), 0.012)


def paint_screen(vehicle: Vehicle, light: Light, *, front: bool, high: float) -> Texture:
    """The windscreen or rear window with its pillars, `high` metres along the glass."""
    sheet = Sheet(0.86, 0.0, high)
    sheet.picture[:] = shaded(vehicle.colour, 0.9)
    sheet.cover([(-0.84, 0), (0.84, 0), (0.62, high), (-0.62, high)], 0.03)
    glass = [(-0.75, 0.03), (0.75, 0.03), (0.55, high - 0.05), (-0.55, high - 0.05)]
    sheet.fill(glass, _GLASS, 0.05)
    seat = (22, 26, 31)
    for x in (-0.36, 0.36):
        sheet.box((x - 0.13, x + 0.13), (0.36 * high, 0.66 * high), seat, 0.06)
        sheet.box((x - 0.19, x + 0.19), (0.04, 0.4 * high), seat, 0.08)
    if front:
        skin = (96, 78, 66)
        sheet.box((0.28, 0.44), (0.4 * high, 0.76 * high), skin, 0.08)
        sheet.box((0.16, 0.56), (0.05, 0.42 * high), (58, 66, 84), 0.1)
        sheet.box((-0.1, 0.1), (high - 0.17, high - 0.11), (16, 17, 20), 0.02)
        sheet.fill([(-0.6, 0.045), (0.1, 0.03), (0.1, 0.045), (-0.6, 0.062)], (14, 15, 17))
    else:
        sheet.box((-0.14, 0.14), (high - 0.1, high - 0.075), (150, 20, 20), 0.01)
    # Sky in the glass: a pale wedge from one corner.
    wedge = np.zeros_like(sheet.coverage)
    fill(
        wedge,
        sheet.shape([(-0.75, 0.03), (-0.2, 0.03), (0.35, high - 0.05), (-0.55, high - 0.05)], 0.03),
        (50,),
    )
    paint(sheet.picture, wedge, (168, 186, 204))
    sheet.shade(np.array(light.ambient, np.float32)[None, None])
    return sheet.texture()


def paint_shadow() -> Texture:
    """The soft shadow beneath a car, black with coverage."""
    coverage = np.zeros((128, 64), np.uint8)
    fill(coverage, rounded(np.array([[11.0, 14], [53, 14], [53, 112], [11, 112]]), [8.0] * 4), (205,))
    coverage = cv2.GaussianBlur(coverage, (0, 0), 4.5)
    return Texture(np.zeros((*coverage.shape, 3), np.uint8), coverage)


class Sheet:
    """A flat part being painted, in metres: x from -half to half, y from bottom to top."""

    def __init__(self, half: float, bottom: float, top: float) -> None:
        self._origin = np.array([half, top])
        size = (round(2 * half * PX_PER_M), round((top - bottom) * PX_PER_M))
        self.picture: Pixels = np.zeros((size[1], size[0], 3), np.uint8)
        self.coverage: Mask = np.zeros((size[1], size[0]), np.uint8)

    def shape(self, corners: list[tuple[float, float]], radius: float) -> Points:
        """The pixels of a rounded outline."""
        points = np.array(corners) * [1, -1] + self._origin
        return rounded(points * PX_PER_M, [radius * PX_PER_M] * len(points))

    def cover(self, corners: list[tuple[float, float]], radius: float) -> None:
        """Make the part inside an outline solid."""
        fill(self.coverage, self.shape(corners, radius), (255,))

    def fill(self, corners: list[tuple[float, float]], colour: Colour, radius: float = 0.0) -> None:
        """Paint a rounded outline."""
        fill(self.picture, self.shape(corners, radius), colour)

    def box(self, x: tuple[float, float], y: tuple[float, float], colour: Colour, radius: float = 0.0) -> None:
        """Paint a rounded rectangle."""
        self.fill([(x[0], y[1]), (x[1], y[1]), (x[1], y[0]), (x[0], y[0])], colour, radius)

    def both(self, corners: list[tuple[float, float]], colour: Colour, radius: float = 0.0) -> None:
        """Paint an outline on the right, and its mirror image on the left."""
        self.fill(corners, colour, radius)
        self.fill([(-x, y) for x, y in reversed(corners)], colour, radius)

    def words(self, text: str, centre: tuple[float, float], height: float, colour: Colour) -> None:
        """Paint lettering around a point."""
        mask = text_mask(text, round(height * PX_PER_M), _BADGE_FACE)
        paint(self._around(centre, mask.shape), mask, colour)

    def image(self, picture: Pixels, centre: tuple[float, float]) -> None:
        """Paint a picture of `PX_PER_M` around a point."""
        self._around(centre, picture.shape)[:] = picture

    def shade(self, share: NDArray[np.floating]) -> None:
        """Multiply by `share`, (height or 1, width or 1, channels or 1), stretched to the sheet."""
        self.picture[:] = np.clip(self.picture * share, 0, 255)

    def rows(self) -> NDArray[np.float32]:
        """Heights of the rows as a share, 1 at the top and 0 at the bottom; shape (height, 1, 1)."""
        return np.linspace(1, 0, self.picture.shape[0], dtype=np.float32)[:, None, None]

    def texture(self) -> Texture:
        """The finished part."""
        return Texture(self.picture, self.coverage)

    def _around(self, centre: tuple[float, float], shape: tuple[int, ...]) -> Pixels:
        left = round((centre[0] + self._origin[0]) * PX_PER_M - shape[1] / 2)
        top = round((self._origin[1] - centre[1]) * PX_PER_M - shape[0] / 2)
        return self.picture[top : top + shape[0], left : left + shape[1]]
