"""Plates as four corners in pictures, and how they move with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(height, width, 3) RGB."""
Points = NDArray[np.float32]
"""(n, 2), in pixels."""

Thing = TypeVar("Thing")

UNIT = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)


def any_of(rng: np.random.Generator, things: Sequence[Thing]) -> Thing:
    """One of them, each as likely as the others."""
    return things[int(rng.integers(len(things)))]


@dataclass(frozen=True)
class Plate:
    """A plate in a picture."""

    quad: Points
    """The corners of its outer edge, (4, 2), clockwise from the plate's top left."""
    exact: bool
    """Whether these are its corners and not those of an upright box around it."""

    @property
    def box(self) -> NDArray[np.float32]:
        """Left, top, right, bottom."""
        return np.concatenate([self.quad.min(axis=0), self.quad.max(axis=0)])

    def moved(self, matrix: NDArray[np.floating]) -> Plate:
        """Where an affine (2, 3) `matrix` takes it."""
        return Plate((self.quad @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32), self.exact)


@dataclass
class View:
    """A picture and what of its plates is known."""

    picture: Picture
    plates: list[Plate]
    unclear: list[Points]
    """Outlines in which there may or may not be a plate that should be found."""

    def busy(self, quad: Points, *, slack: float = 0.1) -> bool:
        """Whether there is something known near `quad`."""
        low, high = quad.min(axis=0), quad.max(axis=0)
        low, high = low - slack * (high - low), high + slack * (high - low)
        taken = [plate.quad for plate in self.plates] + self.unclear
        return any(bool((low < other.max(axis=0)).all() and (other.min(axis=0) < high).all()) for other in taken)


def affine(
    rng: np.random.Generator, picture: Picture, focus: Points, scale: float, size: int, *, spread: float
) -> NDArray[np.float64]:
    """A view that puts `focus` somewhere into a square of `size`, at about `scale`, turned and stretched a little.

    Mostly it stays inside the picture, as far as that is large enough.

    Args:
        spread: how far from the middle the focus may come to lie, 0-1 of half the size.
    """
    angle, shear = rng.normal(0, 0.04), rng.normal(0, 0.04)
    stretch = np.exp(rng.normal(0, 0.08))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * turn @ np.array([[stretch, shear], [0, 1 / stretch]])
    if rng.random() < 0.5:
        linear = linear @ np.diag([-1.0, 1.0])
    place = size / 2 * (1 + spread * rng.uniform(-1, 1, 2))
    origin = place - linear @ focus
    if rng.random() < 0.8:
        for axis, side in enumerate(picture.shape[1::-1]):
            extent = scale * side
            shown = linear[axis] @ (np.array(picture.shape[1::-1]) / 2) + origin[axis]  # of the picture's middle
            slack = abs(extent - size) / 2
            origin[axis] += np.clip(shown, size / 2 - slack, size / 2 + slack) - shown if extent > size else 0
    return np.column_stack([linear, origin])


def seen(
    picture: Picture,
    plates: Sequence[Plate],
    matrix: NDArray[np.float64],
    size: int,
    *,
    unclear: Sequence[Points] = (),
) -> View:
    """What `matrix` shows of a picture on a square of `size`; black where it ends.

    Plates that are hardly or only partly in view become unclear, as do those too small to be told.
    """
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    back = cv2.invertAffineTransform(matrix)
    outline = (UNIT * size) @ back[:, :2].T + back[:, 2]
    low = np.maximum(np.floor(outline.min(axis=0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + 3, picture.shape[1::-1])
    if (high <= low + 8).any():
        return View(np.zeros((size, size, 3), np.uint8), [], [])
    part = picture[low[1] : high[1], low[0] : high[0]]
    local = matrix.copy()
    local[:, 2] += matrix[:, :2] @ low
    if scale < 0.7:  # fine detail must be averaged, not skipped
        smaller = (max(2, round(part.shape[1] * scale)), max(2, round(part.shape[0] * scale)))
        ratio = np.array(part.shape[1::-1]) / smaller
        part = cv2.resize(part, smaller, interpolation=cv2.INTER_AREA)
        local[:, :2] *= ratio
    shown = cv2.warpAffine(part, local, (size, size), flags=cv2.INTER_LINEAR)
    view = View(shown, [], [Plate(quad, exact=False).moved(matrix).quad for quad in unclear])
    mirrored = np.linalg.det(matrix[:, :2]) < 0
    for plate in plates:
        moved = plate.moved(matrix)
        quad = moved.quad[[1, 0, 3, 2]] if mirrored else moved.quad
        place(view, Plate(quad, plate.exact))
    return view


def place(view: View, plate: Plate, *, least_px: float = 11.0) -> None:
    """Note a plate of a view: one to be found, an unclear one, or none where it is out of sight."""
    size = view.picture.shape[0]
    left, top, right, bottom = plate.box
    area = (right - left) * (bottom - top)
    visible = max(0.0, min(right, size) - max(left, 0)) * max(0.0, min(bottom, size) - max(top, 0))
    if visible <= 0 or area <= 0:
        return
    if visible < 0.75 * area or right - left < least_px or bottom - top < least_px / 4:
        view.unclear.append(plate.quad)
    else:
        view.plates.append(plate)


def paste(view: View, picture: Picture, alpha: NDArray[np.uint8], quad: Points) -> None:
    """Put a flat picture into the quadrilateral of a view, blended by `alpha`."""
    size = view.picture.shape[0]
    extent = np.maximum(np.hypot(*(quad[1] - quad[0])), np.hypot(*(quad[2] - quad[3])))
    height = np.maximum(np.hypot(*(quad[3] - quad[0])), np.hypot(*(quad[2] - quad[1])))
    wanted = (int(np.clip(1.5 * extent, 4, picture.shape[1])), int(np.clip(1.5 * height, 3, picture.shape[0])))
    small = cv2.resize(picture, wanted, interpolation=cv2.INTER_AREA)
    cover = cv2.resize(alpha, wanted, interpolation=cv2.INTER_AREA)
    low = np.maximum(np.floor(quad.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(quad.max(axis=0)).astype(int) + 2, size)
    if (high <= low).any():
        return
    source = UNIT * np.array(wanted, np.float32) - np.float32(0.5)
    matrix = cv2.getPerspectiveTransform(source, (quad - low - 0.5).astype(np.float32))
    room = (int(high[0] - low[0]), int(high[1] - low[1]))
    warped = cv2.warpPerspective(small, matrix, room, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpPerspective(cover, matrix, room, flags=cv2.INTER_LINEAR)[..., None].astype(np.float32) / 255
    target = view.picture[low[1] : high[1], low[0] : high[0]]
    target[:] = (target + (warped - target.astype(np.float32)) * share + 0.5).astype(np.uint8)


def erase(rng: np.random.Generator, view: View, quad: Points) -> None:
    """Fill the place of a plate with what lies above and below it."""
    middle = quad.mean(axis=0)
    around = ((quad - middle) * np.array([1.2, 1.7]) + middle).astype(np.float32)
    width, height = (max(6, int(side)) for side in np.ptp(around, axis=0))
    flat = UNIT * np.array([width, height], np.float32)
    patch = cv2.warpPerspective(
        view.picture,
        cv2.getPerspectiveTransform(around, flat),
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    edge = max(1, height // 8)
    above, below = (
        cv2.GaussianBlur(rows.mean(axis=0)[None], (0, 0), 1 + width / 20) for rows in (patch[:edge], patch[-edge:])
    )
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    fill = above * (1 - share) + below * share + rng.normal(0, 2, (height, width, 1))
    alpha = np.zeros((height, width), np.uint8)
    alpha[edge // 2 : height - edge // 2, 1:-1] = 255
    paste(view, np.clip(fill, 0, 255).astype(np.uint8), cv2.blur(alpha, (3, 3)), around)


def turned(rng: np.random.Generator, aspect: float, width: float, middle: Points, *, tilt: float = 1.0) -> Points:
    """The quadrilateral of a rectangle of `aspect` that is turned in space and about `width` wide.

    Args:
        tilt: 1 for the angles at which roadside cameras see plates, 0 for none.
    """
    yaw, pitch, roll = rng.normal(0, (0.4 * tilt, 0.25 * tilt, 0.07 * tilt)).clip(-1.0, 1.0)
    half = np.array([width / 2, width / 2 / aspect])
    flat = np.column_stack([(UNIT * 2 - 1) * half, np.zeros(4)])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    space = flat @ (about_z @ about_x @ about_y).T
    distance = width * rng.uniform(3, 12)
    quad: Points = (space[:, :2] * (distance / (distance + space[:, 2:])) + middle).astype(np.float32)
    return quad
