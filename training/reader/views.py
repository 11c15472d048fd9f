"""Views of drawn plates: a plate on some vehicle, seen by some camera, straightened with room around it for the cut."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.draw.photograph import photograph
from training.draw.plates import DrawnPlate
from training.reader import HEIGHT, WIDTH

Pixels = NDArray[np.uint8]

ROOM = 0.25
"""Of the plate's size, on every side of it in a view."""
VIEW_HEIGHT, VIEW_WIDTH = round(HEIGHT * (1 + 2 * ROOM)), round(WIDTH * (1 + 2 * ROOM))
_RIGHT, _LOWER = WIDTH * ROOM + WIDTH, HEIGHT * ROOM + HEIGHT
CORNERS = np.array(
    [[WIDTH * ROOM, HEIGHT * ROOM], [_RIGHT, HEIGHT * ROOM], [_RIGHT, _LOWER], [WIDTH * ROOM, _LOWER]], np.float32
)
"""Of the plate in its view, clockwise from its top left, x and y in pixels."""

EASY = 0.3
"""Share of views that are crisp and from the front, as many photographs are."""
FIRST_STRENGTH, FULL_AT = 0.3, 10_000
"""Views begin easy and are as hard as they get from the so-many-th on."""


def photographed(rng: np.random.Generator, plate: DrawnPlate, number: int) -> Pixels:
    """The `number`-th view: uint8 RGB (96, 288, 3), the plate at `CORNERS`."""
    strength = min(1.0, FIRST_STRENGTH + (1 - FIRST_STRENGTH) * number / FULL_AT)
    if rng.random() < EASY:
        seen = photograph(rng, plate.picture, strength=FIRST_STRENGTH, width_px=float(rng.uniform(120, 300)))
    else:
        seen = photograph(rng, plate.picture, strength=strength)
    straight = cv2.getPerspectiveTransform(seen.corners, CORNERS)
    # Their border repeats: a plate that hangs askew has less room in its photograph than the view wants.
    view = cv2.warpPerspective(seen.picture, straight, (VIEW_WIDTH, VIEW_HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(view, np.uint8)
