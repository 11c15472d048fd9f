"""What moves before a camera though no vehicle does: weather, light, leaves, and the camera itself.

Each kind is laid over rendered pictures cheaply: what it needs is drawn once, and a frame takes pieces of it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import cv2
import numpy as np

from platoon.media.frame import Pixels
from platoon.media.synthetic.scene import NIGHT, Scene
from platoon.media.synthetic.shapes import Points, halo, shine
from platoon.media.synthetic.stage import paint_tree

_VEILS = 6
"""Pictures of rain; each frame shows one of them, shifted and mirrored anew."""
_SHIFT = 96


class Unrest(StrEnum):
    """What there is of it in a clip."""

    NOISE = "noise"
    """A dim sensor: noise of three to six grey levels."""
    CLOCK = "clock"
    """None but the clock, where the scene has one burnt in."""
    RAIN = "rain"
    """A shower that comes in gusts."""
    SNOW = "snow"
    TREES = "trees"
    """A tree near the camera and one farther away, in gusts of wind."""
    NIGHTFALL = "nightfall"
    """From day to night within the clip, and the noise grows."""
    FLICKER = "flicker"
    """The beat of lamps with the shutter over all, and a lamp that is about to fail."""
    EXPOSURE = "exposure"
    """Clouds before the sun, and a shutter that follows them."""
    INFRARED = "infrared"
    """Switched to infrared and back: grey, darker and noisier from one frame to the next."""
    TURN = "turn"
    """A camera that is turned aside and back, twice."""


class Disturbance:
    """The unrest of one clip, ready to be laid over its pictures; a frame's is the same every time."""

    def __init__(self, kind: Unrest, scene: Scene) -> None:
        self._scene = scene
        self._rng = np.random.default_rng([scene.seed, 5])
        self._strength = float(self._rng.uniform(0.5, 1.0))
        self._phases = self._rng.uniform(0, 2 * np.pi, 6)
        self._noise = scene.light.noise
        self._lay: Callable[[Pixels, int], None] | None = None
        match kind:
            case Unrest.NOISE:
                self._noise = 6 * self._strength
            case Unrest.RAIN:
                self._veils = self._paint_veils()
                self._lay = self._rain
            case Unrest.SNOW:
                self._layers = [self._paint_flakes(radius) for radius in (1, 2, 4)]
                self._lay = self._snow
            case Unrest.TREES:
                self._trees = [paint_tree(self._rng, scene.light.ambient[1]) for _ in range(2)]
                self._lay = self._sway
            case Unrest.NIGHTFALL:
                self._lay = self._darken
            case Unrest.FLICKER:
                self._lay = self._flicker
            case Unrest.EXPOSURE:
                self._lay = self._clouds
            case Unrest.INFRARED:
                self._lay = self._infrared
            case Unrest.TURN:
                self._lay = self._turn
        self._kind = kind

    def lay(self, picture: Pixels, index: int) -> None:
        """Change the picture of frame `index`, of the scene's size, in place."""
        if self._lay:
            self._lay(picture, index)

    def noise(self, index: int) -> float:
        """Of the sensor at frame `index`: its standard deviation in grey levels."""
        if self._kind is Unrest.NIGHTFALL:
            # In steps, since each takes a field of noise of its own.
            return self._noise + round((NIGHT.noise + 2 - self._noise) * self._share(index) * 4) / 4
        if self._kind is Unrest.INFRARED and self._is_infrared(index):
            return self._noise + 3 * self._strength
        return self._noise

    def _time_s(self, index: int) -> float:
        return index / self._scene.fps

    def _share(self, index: int) -> float:
        """Of the clip that is over."""
        return index / self._scene.frames

    def _gust(self, time_s: float) -> float:
        """Of wind, 0 to 1, within seconds."""
        slow = np.sin(2 * np.pi * time_s / 11 + self._phases[0]) + np.sin(2 * np.pi * time_s / 4.7 + self._phases[1])
        return float(np.clip(0.5 + slow / 3, 0, 1))

    def _paint_veils(self) -> list[Pixels]:
        width, height = self._scene.size
        veils = []
        for _ in range(_VEILS):
            veil = np.zeros((height + _SHIFT, width + _SHIFT), np.uint8)
            streaks = round(0.7 * self._strength * width * height / 1000)
            starts = self._rng.uniform((0, 0), veil.shape[::-1], (streaks, 2))
            ends = starts + self._rng.uniform(0.02, 0.06, (streaks, 1)) * height * np.array([0.12, 1])
            for start, end in zip(starts, ends, strict=True):
                shade = int(self._rng.integers(12, 60))
                cv2.line(veil, np.round(start).astype(int), np.round(end).astype(int), shade, 1, cv2.LINE_AA)
            veils.append(cv2.merge([veil] * 3))
        return veils

    def _rain(self, picture: Pixels, index: int) -> None:
        rng = np.random.default_rng([self._scene.seed, index])
        top, left = rng.integers(0, _SHIFT, 2)
        height, width = picture.shape[:2]
        veil = self._veils[int(rng.integers(_VEILS))][top : top + height, left : left + width]
        cv2.addWeighted(picture, 1.0, veil, 0.5 + 0.5 * self._gust(self._time_s(index)), 0, dst=picture)

    def _paint_flakes(self, radius: int) -> Pixels:
        width, height = self._scene.size
        layer = np.zeros((height, width), np.uint8)
        for _ in range(round(0.4 * self._strength * width * height / 1000 / radius**2)):
            middle = (int(self._rng.integers(width)), int(self._rng.integers(height)))
            cv2.circle(layer, middle, radius, int(self._rng.integers(110, 220)), -1, cv2.LINE_AA)
        flakes: Pixels = cv2.merge([layer] * 3)
        return flakes

    def _snow(self, picture: Pixels, index: int) -> None:
        height, width = picture.shape[:2]
        time_s = self._time_s(index)
        for depth, layer in enumerate(self._layers, start=1):
            down = int(time_s * height * 0.25 * depth) % height
            aside = int(width * 0.03 * depth * np.sin(time_s / 2 + self._phases[depth])) % width
            cv2.max(picture, np.roll(layer, (down, aside), (0, 1)), dst=picture)

    def _sway(self, picture: Pixels, index: int) -> None:
        height, width = picture.shape[:2]
        time_s = self._time_s(index)
        for tree, (middle, top, bottom) in zip(self._trees, ((0.0, -0.1, 1.0), (0.93, 0.05, 0.6)), strict=True):
            high = (bottom - top) * height
            bend = 0.02 * high * self._strength * self._gust(time_s + middle)
            aside = bend * (0.6 + 0.4 * np.sin(2 * np.pi * 0.9 * time_s + self._phases[2] + middle))
            half = 0.36 * high
            left, right = middle * width - half, middle * width + half
            quad = [[left + aside, 0], [right + aside, aside / 4], [right, high], [left, high]]
            tree.lay(picture, np.array(quad) + np.array([0, top * height]))

    def _darken(self, picture: Pixels, index: int) -> None:
        cv2.convertScaleAbs(picture, dst=picture, alpha=1 - 0.75 * self._share(index))

    def _flicker(self, picture: Pixels, index: int) -> None:
        time_s = self._time_s(index)
        beat = 1 + 0.03 * self._strength * np.sin(2 * np.pi * 1.3 * time_s + self._phases[0])
        cv2.convertScaleAbs(picture, dst=picture, alpha=beat)
        rng = np.random.default_rng([self._scene.seed, index // 3])
        if np.sin(2 * np.pi * time_s / 7 + self._phases[1]) > 0 and rng.random() < 0.5:
            width, height = self._scene.size
            middle, reach = np.array([0.8 * width, 0.25 * height]), 0.1 * width
            shine(picture, halo((120, 110, 90)), middle + reach * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]))

    def _clouds(self, picture: Pixels, index: int) -> None:
        time_s = self._time_s(index)
        slow = np.sin(2 * np.pi * time_s / 13 + self._phases[0]) + np.sin(2 * np.pi * time_s / 5 + self._phases[1])
        cv2.convertScaleAbs(picture, dst=picture, alpha=1 - 0.2 * self._strength * float(np.clip(slow, -1, 1)))

    def _is_infrared(self, index: int) -> bool:
        return 0.35 < self._share(index) < 0.7

    def _infrared(self, picture: Pixels, index: int) -> None:
        if self._is_infrared(index):
            grey = cv2.convertScaleAbs(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), alpha=0.7)
            cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB, dst=picture)

    def _turn(self, picture: Pixels, index: int) -> None:
        share = self._share(index)
        length_s = self._scene.frames / self._scene.fps
        steps = [np.clip((share - at) * length_s / 1.5, 0, 1) for at in (0.2, 0.35, 0.6, 0.75)]
        aside = (steps[0] - steps[1] + steps[2] - steps[3]) * self._strength * self._scene.size[0] * 0.15
        if aside:
            shift: Points = np.array([[1, 0, -aside], [0, 1, -aside / 4]])
            size = self._scene.size
            picture[:] = cv2.warpAffine(picture, shift, size, borderMode=cv2.BORDER_REFLECT)
