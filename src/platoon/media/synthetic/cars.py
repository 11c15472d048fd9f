"""Cars as a camera in front of or behind them sees them: flat parts in space, and three painted ones.

A `Car` is built once, light included, and then drawn at any place: flanks, roof and bonnet as plain polygons, the
face that carries the plate, the windscreen and the shadow as textures in perspective. Local coordinates are (x, y,
d) in metres: x to the right as the camera sees it, y up from the road, d away from the face along the car.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
from platoon.media.synthetic.shapes import Colour, Points, fill, halo, shaded, shine

_RUBBER = (22, 22, 24)
_RIM = (140, 142, 146)
_GLASS = (36, 44, 52)

Profile = tuple[tuple[float, float], ...]
"""(d, y) of a line seen from the car's side."""


@dataclass(frozen=True)
class _Shape:
    """Where the parts of a car lie, seen from the front or from the rear."""

    screen: Profile
    """Foot and head of the windscreen or rear window."""
    roof: Profile
    deck: Profile
    """From the face's top to the screen's foot: the bonnet; empty at a steep rear."""
    belt_end: tuple[float, float]
    """Where the side windows end at the far side."""
    lamps: tuple[float, float]
    """Height of head- or tail-lights, and how far their glow reaches."""


_FRONT = _Shape(
    screen=((1.05, 0.97), (1.8, 1.41)),
    roof=((1.8, 1.41), (2.3, 1.46), (3.3, 1.42)),
    deck=((0.06, 0.76), (1.1, 0.985)),
    belt_end=(4.0, 0.98),
    lamps=(0.66, 0.75),
)
_REAR = _Shape(
    screen=((0.06, 0.96), (0.45, 1.41)),
    roof=((0.45, 1.41), (1.0, 1.47), (2.3, 1.42)),
    deck=(),
    belt_end=(3.2, 0.98),
    lamps=(0.79, 0.45),
)


@dataclass(frozen=True)
class Part:
    """A flat part in one colour, corners (n, 3)."""

    corners: Points
    colour: Colour
    flank: int = 0
    """Seen only from the left of the car (-1), from its right (1), or always (0)."""


class Car:
    """One vehicle in one light, ready to be drawn."""

    def __init__(self, vehicle: Vehicle, *, front: bool, light: Light) -> None:
        shape = _FRONT if front else _REAR
        style = STYLES[vehicle.country]
        x, y, plate_y = style.width / 2000, style.height / 2000, PLATE_Y_M[front]
        (foot_d, foot_y), (head_d, head_y) = shape.screen
        self._plate_corners = upright(x, plate_y + y, plate_y - y)
        self._face_corners = upright(HALF_WIDTH_M, FACE_TOP_M[front], FACE_BOTTOM_M)
        self._screen_corners = upright(0.86, head_y, foot_y, top_d=head_d, bottom_d=foot_d)
        self._shadow_corners = upright(1.3, 0, 0, top_d=4.9, bottom_d=-0.7)
        lamp_y, reach = shape.lamps
        around_lamp = upright(reach, lamp_y + reach, lamp_y - reach)
        self._lamps = [around_lamp + np.array([side * 0.68, 0, 0]) for side in (-1, 1)] if light.lamps else []
        self._face = paint_face(vehicle, light, front=front)
        height_m = float(np.hypot(head_d - foot_d, head_y - foot_y))
        self._screen = paint_screen(vehicle, light, front=front, high=height_m)
        self._shadow = paint_shadow()
        self._glow = halo((255, 246, 220), sharpness=3.5) if front else halo((150, 12, 8), sharpness=2.5)
        self._behind = Solid(_body(shape, vehicle.colour, FACE_TOP_M[front]), light)
        self._before = Solid(_bonnet(shape, vehicle.colour), light)

    def plate_quad(self, x: float, z: float, projection: Projection) -> Points | None:
        """The plate's corners in pixels, (4, 2) clockwise from top left; None behind the camera."""
        return projection.project(self._plate_corners + np.array([x, 0, z]))

    def draw(self, picture: Pixels, x: float, z: float, projection: Projection) -> Points:
        """Draw with the middle of the face above (x, z); returns the outline covered, (n, 2), maybe empty."""
        place = np.array([x, 0, z])
        shadow = projection.project(self._shadow_corners + place)
        if shadow is not None:
            self._shadow.lay(picture, shadow)
        covered = self._behind.draw(picture, place, projection)
        screen = projection.project(self._screen_corners + place)
        if screen is not None:
            self._screen.lay(picture, screen)
        covered += self._before.draw(picture, place, projection)
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


class Solid:
    """Parts in the order in which they cover each other, their colours in the scene's light."""

    def __init__(self, parts: Sequence[Part], light: Light) -> None:
        self._parts = parts
        self._colours = [(np.array(part.colour) * light.ambient).tolist() for part in parts]
        self._corners = np.vstack([np.zeros((0, 3)), *(part.corners for part in parts)])
        self._ends = np.cumsum([len(part.corners) for part in parts])[:-1]

    def draw(self, picture: Pixels, place: Points, projection: Projection) -> list[Points]:
        """Draw all that can be seen with the origin at `place`; returns the outlines."""
        if not self._parts:
            return []
        pixels = projection.project(self._corners + place)
        outlines = (
            np.split(pixels, self._ends)
            if pixels is not None
            else [projection.outline(part.corners + place) for part in self._parts]
        )
        aside = projection.eye[0] - place[0]
        drawn = []
        for part, colour, outline in zip(self._parts, self._colours, outlines, strict=True):
            if len(outline) and (part.flank == 0 or part.flank * aside > HALF_WIDTH_M):
                fill(picture, outline, colour)
                drawn.append(outline)
        return drawn


def _body(shape: _Shape, colour: Colour, face_top: float) -> list[Part]:
    """All that lies behind face and screen, from far to near."""
    parts = [Part(np.array(list(_wheel_from_ahead(side, d))), _RUBBER) for side in (-1, 1) for d in (2.9, 0.1)]
    parts.append(Part(upright(0.82, 0.4, 0.15, top_d=0.2, bottom_d=0.2), _RUBBER))
    flank = ((0.12, 0.24), (0.05, face_top - 0.04), shape.screen[0], shape.belt_end, (4.2, 0.8), (4.25, 0.24))
    glass = (*shape.screen, shape.roof[-1], (shape.belt_end[0] - 0.1, shape.belt_end[1]))
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    for side in (-1, 1):
        edge = side * (HALF_WIDTH_M - 0.03)
        parts.append(Part(np.array([(edge, y, d) for d, y in flank]), shaded(colour, 0.72), side))
        for d in (3.35, 0.85):
            for radius, tone in ((0.33, _RUBBER), (0.21, _RIM)):
                rim = [np.full(20, edge), 0.33 + radius * np.sin(turn), d + radius * np.cos(turn)]
                parts.append(Part(np.column_stack(rim), tone, side))
        leaning = [(side * x, y, d) for x, (d, y) in zip((0.85, 0.6, 0.6, 0.85), glass, strict=True)]
        parts.append(Part(np.array(leaning), _GLASS))
    parts.append(Part(_across(shape.roof, (0.62, 0.62, 0.58)), shaded(colour, 1.08)))
    return parts


def _bonnet(shape: _Shape, colour: Colour) -> list[Part]:
    """What lies before the screen, with the mirrors at its sides."""
    if not shape.deck:
        return []
    mirror = np.array([(0.86, 0.96, 1.2), (1.03, 0.96, 1.2), (1.05, 1.1, 1.2), (0.9, 1.1, 1.2)])
    mirrors = [Part(mirror * [side, 1, 1], shaded(colour, 0.85)) for side in (-1, 1)]
    return [Part(_across(shape.deck, (0.84, 0.87)), shaded(colour, 1.05)), *mirrors]


def _wheel_from_ahead(side: int, d: float) -> Iterator[tuple[float, float, float]]:
    for x, y in ((0.62, 0.0), (0.84, 0.0), (0.84, 0.35), (0.62, 0.35)):
        yield side * x, y, d


def _across(profile: Profile, halves: tuple[float, ...]) -> Points:
    """The polygon that joins a profile on the left with its mirror image on the right."""
    right = [(half, y, d) for (d, y), half in zip(profile, halves, strict=True)]
    return np.array([(-x, y, d) for x, y, d in right] + right[::-1])


def upright(half: float, top: float, bottom: float, *, top_d: float = 0.0, bottom_d: float = 0.0) -> Points:
    """Four corners clockwise from top left of a part as wide at its top as at its bottom."""
    return np.array([[-half, top, top_d], [half, top, top_d], [half, bottom, bottom_d], [-half, bottom, bottom_d]])
