"""Buses as a camera in front of or behind them sees them: boxes with a painted face, which carries adverts.

What is written on a bus is larger than its plate and travels with it: a reader must not take it for one.
"""

from __future__ import annotations

import cv2
import numpy as np

from platoon.media.frame import Pixels
from platoon.media.synthetic.bodywork import PX_PER_M, Sheet, paint_shadow
from platoon.media.synthetic.cars import Part, Solid, upright
from platoon.media.synthetic.plates import STYLES, draw_plate
from platoon.media.synthetic.scene import Light, Projection, Vehicle
from platoon.media.synthetic.shapes import Points, Texture, halo, shaded, shine

_HALF_WIDTH_M, _BOTTOM_M, _TOP_M, _LENGTH_M = 1.25, 0.3, 3.0, 7.5
_PLATE_Y_M = {True: 0.5, False: 0.62}
"""Height of the plate's middle, of the front (True) and the rear."""
_GLASS, _RUBBER, _DARK, _PAPER = (38, 46, 54), (22, 22, 24), (26, 27, 30), (238, 236, 226)


class Bus:
    """One bus in one light, ready to be drawn; as `cars.Car`."""

    def __init__(self, vehicle: Vehicle, *, front: bool, light: Light) -> None:
        style = STYLES[vehicle.country]
        x, y, middle = style.width / 2000, style.height / 2000, _PLATE_Y_M[front]
        self._plate_corners = upright(x, middle + y, middle - y)
        self._face_corners = upright(_HALF_WIDTH_M, _TOP_M, _BOTTOM_M)
        self._shadow_corners = upright(1.6, 0, 0, top_d=_LENGTH_M + 0.5, bottom_d=-0.7)
        self._face = _paint_face(vehicle, light, front=front)
        self._shadow = paint_shadow()
        self._glow = halo((255, 246, 220) if front else (150, 12, 8), sharpness=3.0)
        lamp = upright(0.6, 0.85 + 0.6, 0.85 - 0.6)
        self._lamps = [lamp + np.array([side * 0.98, 0, 0]) for side in (-1, 1)] if light.lamps else []
        self._behind = Solid(_body(vehicle), light)

    def plate_quad(self, x: float, z: float, projection: Projection) -> Points | None:
        """See `Car.plate_quad`."""
        return projection.project(self._plate_corners + np.array([x, 0, z]))

    def draw(self, picture: Pixels, x: float, z: float, projection: Projection) -> Points:
        """See `Car.draw`."""
        place = np.array([x, 0, z])
        shadow = projection.project(self._shadow_corners + place)
        if shadow is not None:
            self._shadow.lay(picture, shadow)
        covered = self._behind.draw(picture, place, projection)
        face = projection.project(self._face_corners + place)
        if face is not None:
            self._face.lay(picture, face)
            covered.append(face)
        for lamp in self._lamps:
            quad = projection.project(lamp + place)
            if quad is not None:
                shine(picture, self._glow, quad)
        if not covered:
            return np.zeros((0, 2))
        hull: Points = cv2.convexHull(np.vstack(covered).astype(np.float32))[:, 0].astype(np.float64)
        return hull


def _body(vehicle: Vehicle) -> list[Part]:
    parts = []
    for side in (-1, 1):
        edge = side * (_HALF_WIDTH_M - 0.02)
        corners = [(edge, _BOTTOM_M, 0.0), (edge, _TOP_M, 0.0), (edge, _TOP_M, _LENGTH_M), (edge, _BOTTOM_M, _LENGTH_M)]
        parts.append(Part(np.array(corners), shaded(vehicle.colour, 0.72), side))
        for d in np.arange(0.5, _LENGTH_M - 1.2, 1.4):
            window = [(edge, 1.5, d), (edge, 2.5, d), (edge, 2.5, d + 1.2), (edge, 1.5, d + 1.2)]
            parts.append(Part(np.array(window), _GLASS, side))
        wheel = [(side * x, y, 0.15) for x, y in ((0.85, 0.0), (1.15, 0.0), (1.15, 0.4), (0.85, 0.4))]
        parts.append(Part(np.array(wheel), _RUBBER))
    return parts


def _paint_face(vehicle: Vehicle, light: Light, *, front: bool) -> Texture:
    sheet = Sheet(_HALF_WIDTH_M, _BOTTOM_M, _TOP_M)
    sheet.picture[:] = vehicle.colour
    sheet.cover([(-1.24, 0.32), (1.24, 0.32), (1.24, 2.98), (-1.24, 2.98)], 0.12)
    lines = vehicle.badge.split("/") if vehicle.badge else []
    if front:
        sheet.box((-1.12, 1.12), (1.15, 2.5), _GLASS, 0.08)
        sheet.box((-0.9, 0.9), (2.56, 2.86), _DARK, 0.03)
        for line in lines[:1]:
            sheet.words(line, (0.0, 2.71), min(0.17, _fitting(line, 1.7)), (250, 190, 60))
    else:
        sheet.box((-1.0, 1.0), (2.0, 2.85), _GLASS, 0.08)
        sheet.box((-1.05, 1.05), (0.98, 1.92), _PAPER, 0.02)
        step = 0.94 / max(len(lines), 1)
        for number, line in enumerate(lines):
            tall = min(0.55 * step, 0.2, _fitting(line, 1.9))
            sheet.words(line, (0.0, 1.92 - (number + 0.5) * step), tall, (150, 24, 40))
    sheet.box((-1.2, 1.2), (0.32, 0.4), _DARK)
    style = STYLES[vehicle.country]
    x, y, middle = style.width / 2000 + 0.012, style.height / 2000 + 0.01, _PLATE_Y_M[front]
    sheet.box((-x, x), (middle - y, middle + y), _DARK, 0.01)
    sheet.shade(0.86 + 0.2 * sheet.rows())
    sheet.shade(np.array(light.ambient, np.float32)[None, None])
    bright = light.lamps
    lamp = ((255, 250, 230) if bright else (206, 212, 216)) if front else ((255, 66, 48) if bright else (170, 28, 28))
    sheet.both([(0.86, 0.95), (1.14, 0.95), (1.14, 0.78), (0.86, 0.78)], lamp, 0.04)
    plate = draw_plate(vehicle.plate, style, px_per_mm=PX_PER_M / 1000, rear=not front)
    sheet.image(np.clip(plate * light.plate, 0, 255).astype(np.uint8), (0, middle))
    return sheet.texture()


def _fitting(line: str, room_m: float) -> float:
    """The height at which lettering is at most so wide."""
    return room_m / (0.92 * max(len(line), 1))
