"""Rain as a camera sees it: streaks that differ from frame to frame, a veil over the distance, drops on the glass."""

from __future__ import annotations

import cv2
import numpy as np

from platoon.media.frame import Pixels
from platoon.media.synthetic.scene import Scene

_STREAK_SHARE = (0.02, 0.06)
"""Length of a streak, least and most, as a share of the picture's height."""
_SLANT = 0.12
_VEIL = 0.14
_DROPS_PER_RAIN = 14
"""On the glass, for a rain of 1."""


class Rain:
    """The rain of one scene; a frame's is the same every time."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        width, height = scene.size
        self._streaks = round(scene.rain * width * height / 1000)
        self._grey = np.array(scene.light.sky[1], np.float32) * 0.9
        rng = np.random.default_rng(scene.seed + 2)
        self._glass = np.zeros((height, width), np.float32)
        for _ in range(round(scene.rain * _DROPS_PER_RAIN)):
            middle = (int(rng.integers(width)), int(rng.integers(height)))
            cv2.circle(self._glass, middle, round(float(rng.uniform(0.006, 0.014)) * width), 1.0, -1)
        self._glass = cv2.GaussianBlur(self._glass, (0, 0), width / 500)[:, :, None]

    def fall(self, picture: Pixels, index: int) -> None:
        """Lay the rain of frame `index` over a picture of the scene's size, in place."""
        height, width = picture.shape[:2]
        rng = np.random.default_rng([self._scene.seed, index])
        veil = np.zeros((height, width), np.uint8)
        starts = rng.uniform((-0.05 * width, -0.05 * height), (width, height), (self._streaks, 2))
        lengths = rng.uniform(*_STREAK_SHARE, self._streaks) * height
        shades = rng.integers(40, 110, self._streaks)
        for (x, y), length, shade in zip(starts, lengths, shades.tolist(), strict=True):
            end = (round(x + _SLANT * length), round(y + length))
            cv2.line(veil, (round(x), round(y)), end, shade, 1, cv2.LINE_AA)
        share = _VEIL + veil[:, :, None].astype(np.float32) / 255 * 0.7
        blurred = cv2.GaussianBlur(picture, (0, 0), width / 220)
        seen = picture + (blurred.astype(np.float32) - picture) * self._glass
        picture[:] = np.clip(seen + (self._grey - seen) * share, 0, 255)
