"""Cars as a camera in front of or behind them sees them: a few flat parts in space and three painted ones.

A `Car` is painted once, light included, and then drawn at any place: sides, roof and bonnet as plain polygons, the
face that carries the plate, the windscreen and the shadow as textures in perspective. Local coordinates are metres:
x to the right as the camera sees it, y up from the road, d away from the face along the car.
"""

from __future__ import annotations

import cv2
import numpy as np

from platoon.media.frame import Pixels
from platoon.media.synthetic.bodywork import (
    FACE_BOTTOM_M,
    FACE_TOP_M,
    HALF_WIDTH_M,
    PLATE_Y_M,
    paint_face,
    paint_screen,
    paint_shadow,
)
from platoon.media.synthetic.plates import STYLES
from platoon.media.synthetic.scene import Light, Projection, Vehicle
from platoon.media.synthetic.shapes import Colour, Points, Texture, fill, halo, shine

_RUBBER = (22, 22, 24)
_GLASS = (40, 49, 58)


class _Shape:
    """Where the parts of a car lie, seen from the front or from the rear."""

    def __init__(self, *, front: bool) -> None:
        self.front = front
        self.face_top = FACE_TOP_M[front]
        # (d, y) of the line from the face's top over the roof to the far end.
        self.screen = ((1.05, 0.97), (1.8, 1.41)) if front else ((0.06, 0.96), (0.45, 1.41))
        self.roof = (
            ((1.8, 1.41), (2.3, 1.46), (3.3, 1.42)) if front else ((0.45, 1.41), (1.0, 1.47), (2.3, 1.42))
        )
        self.deck = ((0.06, 0.76), (1.1, 0.985)) if front else None
        belt_end = (4.0, 0.98) if front else (3.2, 0.98)
        self.side = (
            (0.12, 0.24), (0.05, self.face_top - 0.04), self.screen[0], belt_end, (4.2, 0.8), (4.25, 0.24),
        )  # fmt: skip
        self.side_glass = (self.screen[0], self.screen[1], self.roof[2], (belt_end[0] - 0.1, belt_end[1]))
        self.wheels = (0.85, 3.35)


class Car:
    """One vehicle in one light, ready to be drawn."""

    def __init__(self, vehicle: Vehicle, *, front: bool, light: Light) -> None:
        self._shape = _Shape(front=front)
        self._light = light
        self._body = vehicle.colour
        style = STYLES[vehicle.country]
        half = style.width / 2000, style.height / 2000
        y = PLATE_Y_M[front]
        self._plate = np.array(
            [[-half[0], y + half[1]], [half[0], y + half[1]], [half[0], y - half[1]], [-half[0], y - half[1]]]
        )
        (d0, y0), (d1, y1) = self._shape.screen
        self._face = paint_face(vehicle, light, front=front)
        self._screen = paint_screen(vehicle, light, front=front, height_m=float(np.hypot(d1 - d0, y1 - y0)))
        self._shadow = paint_shadow()
        self._glow = halo((255, 246, 220), sharpness=3.5) if front else halo((150, 12, 8), sharpness=2.5)

    def plate_quad(self, x: float, z: float, projection: Projection) -> Points | None:
        """The plate's corners in pixels, (4, 2) clockwise from top left; None behind the camera."""
        corners = np.column_stack([self._plate[:, 0] + x, self._plate[:, 1], np.full(4, z)])
        return projection.project(corners)

    def draw(self, picture: Pixels, x: float, z: float, projection: Projection) -> Points:
        """Draw with the middle of the face above (x, z); returns the outline covered, (n, 2), maybe empty."""
        shape = self._shape
        drawn: list[Points] = []

        def polygon(corners: list[tuple[float, float, float]], colour: Colour, shade: float = 1.0) -> None:
            outline = projection.outline(np.array(corners) + [x, 0, z])
            if len(outline):
                drawn.append(outline)
                lit = np.array(colour) * self._light.ambient * shade
                fill(picture, outline, np.minimum(lit, 255).tolist())

        def across(
            profile: tuple[tuple[float, float], ...], halves: tuple[float, ...]
        ) -> list[tuple[float, float, float]]:
            left = [(-half, y, d) for (d, y), half in zip(profile, halves, strict=True)]
            return left + [(-px, y, d) for px, y, d in reversed(left)]

        self._draw_shadow(picture, x, z, projection)
        for side in (-1, 1):
            for wheel in (0.1, 2.9):
                inner, outer = side * 0.62, side * 0.84
                polygon(
                    [(inner, 0, wheel), (outer, 0, wheel), (outer, 0.35, wheel), (inner, 0.35, wheel)],
                    _RUBBER,
                )
        polygon([(-0.82, 0.15, 0.2), (0.82, 0.15, 0.2), (0.82, 0.4, 0.2), (-0.82, 0.4, 0.2)], _RUBBER)
        for side in (-1, 1):
            if side * (projection.eye[0] - x) > HALF_WIDTH_M:
                edge = side * (HALF_WIDTH_M - 0.03)
                polygon([(edge, y, d) for d, y in shape.side], self._body, 0.72)
                for wheel in shape.wheels:
                    for radius, colour in ((0.33, _RUBBER), (0.21, (140, 142, 146))):
                        turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
                        rim = [
                            (edge, 0.33 + radius * float(np.sin(a)), wheel + radius * float(np.cos(a)))
                            for a in turn
                        ]
                        polygon(rim, colour)
            low, high = side * 0.85, side * 0.6
            (d0, y0), (d1, y1), (d2, y2), (d3, y3) = shape.side_glass
            polygon([(low, y0, d0), (high, y1, d1), (high, y2, d2), (low, y3, d3)], _GLASS, 0.9)
        polygon(across(shape.roof, (0.6, 0.62, 0.58)), self._body, 1.08)
        self._lay(self._screen, self._screen_corners(), picture, x, z, projection)
        if shape.deck:
            polygon(across(shape.deck, (0.84, 0.87)), self._body, 1.05)
            for side in (-1, 1):
                mirror = [
                    (side * 0.86, 0.96, 1.2),
                    (side * 1.03, 0.96, 1.2),
                    (side * 1.05, 1.1, 1.2),
                    (side * 0.9, 1.1, 1.2),
                ]
                polygon(mirror, self._body, 0.85)
        face = np.array(
            [
                [-HALF_WIDTH_M, shape.face_top, 0],
                [HALF_WIDTH_M, shape.face_top, 0],
                [HALF_WIDTH_M, FACE_BOTTOM_M, 0],
                [-HALF_WIDTH_M, FACE_BOTTOM_M, 0],
            ]
        )
        quad = self._lay(self._face, face, picture, x, z, projection)
        if quad is not None:
            drawn.append(quad)
        if self._light.lamps:
            self._draw_lamps(picture, x, z, projection)
        return (
            cv2.convexHull(np.vstack(drawn).astype(np.float32))[:, 0].astype(np.float64)
            if drawn
            else np.zeros((0, 2))
        )

    def _lay(
        self, texture: Texture, corners: Points, picture: Pixels, x: float, z: float, projection: Projection
    ) -> Points | None:
        quad = projection.project(corners + [x, 0, z])
        if quad is not None:
            texture.lay(picture, quad)
        return quad

    def _screen_corners(self) -> Points:
        (d0, y0), (d1, y1) = self._shape.screen
        return np.array([[-0.86, y1, d1], [0.86, y1, d1], [0.86, y0, d0], [-0.86, y0, d0]])

    def _draw_shadow(self, picture: Pixels, x: float, z: float, projection: Projection) -> None:
        ground = np.array([[-1.3, 0, 4.9], [1.3, 0, 4.9], [1.3, 0, -0.7], [-1.3, 0, -0.7]])
        quad = projection.project(ground + [x, 0, max(z, 2.0)])
        if quad is not None and z > 0:
            self._shadow.lay(picture, quad)

    def _draw_lamps(self, picture: Pixels, x: float, z: float, projection: Projection) -> None:
        reach, y = (0.75, 0.66) if self._shape.front else (0.45, 0.79)
        for side in (-1, 1):
            middle = np.array([x + side * 0.68, y, z])
            around = np.array(
                [[-reach, reach, 0], [reach, reach, 0], [reach, -reach, 0], [-reach, -reach, 0]]
            )
            quad = projection.project(middle + around)
            if quad is not None:
                shine(picture, self._glow, quad)
