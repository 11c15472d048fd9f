"""What the reader learns from: drawn plates, photographed, cut out by corners that are never quite right.

A view is a plate with room around it, so that the cut can differ each time it is used. Drawing one costs as much as
learning from it, so views lie in a `Pool`, from which each is taken several times before a fresh one replaces it.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.draw.plates import DrawnPlate, draw_plate
from training.reader import ALPHABET, HEIGHT, NONE, POSITIONS, WIDTH
from training.reader.views import CORNERS, VIEW_HEIGHT, VIEW_WIDTH, photographed

_TARGET = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]], np.float32)

Pixels = NDArray[np.uint8]
LOOKS = 2
"""Views of one drawn plate. Of 4, the texts were learnt by heart."""
HEIGHT_PX = (64, 110)
"""Of a drawn plate: views hold it at 64."""


class Pool:
    """The last views drawn, in a file, so that training goes on where it was interrupted.

    Args:
        path: holds the pixels, 83 kB a view. The rest is the `state` to be kept beside the model.
        capacity: views.
        drawn: number of the first view; later ones are harder.
    """

    def __init__(self, path: Path, capacity: int, *, seed: int, drawn: int = 0) -> None:
        self._capacity = capacity
        shape = (capacity, VIEW_HEIGHT, VIEW_WIDTH, 3)
        self._views = np.memmap(path, np.uint8, "r+" if path.exists() else "w+", shape=shape)
        self._labels = np.full((capacity, POSITIONS), NONE, np.int64)
        self._lines = np.ones(capacity, np.int64)
        self.drawn = drawn
        self._seed = seed
        self._plate: tuple[int, DrawnPlate] | None = None

    def grow(self, count: int) -> None:
        """Draw `count` views; beyond the capacity they replace the oldest.

        Each has a seed of its own, so that the n-th view is the same however often training was interrupted.
        """
        for _ in range(count):
            plate = self._plate_of(self.drawn // LOOKS)
            place = self.drawn % self._capacity
            self._views[place] = photographed(np.random.default_rng((self._seed, 1, self.drawn)), plate, self.drawn)
            self._labels[place], self._lines[place] = labels_of(plate.text), plate.lines
            self.drawn += 1

    def _plate_of(self, number: int) -> DrawnPlate:
        if self._plate is None or self._plate[0] != number:
            rng = np.random.default_rng((self._seed, 0, number))
            plate = draw_plate(rng, height_px=HEIGHT_PX)
            while len(plate.text) > POSITIONS:
                plate = draw_plate(rng, height_px=HEIGHT_PX)
            self._plate = number, plate
        return self._plate[1]

    def take(self, rng: np.random.Generator, count: int) -> tuple[Pixels, NDArray[np.int64], NDArray[np.int64]]:
        """Cuts (N, 64, 192, 3) of any views, their labels (N, 10) and numbers of lines (N,)."""
        chosen = rng.integers(0, min(self.drawn, self._capacity), count)
        cuts = np.stack([cut(rng, self._views[index]) for index in chosen])
        return cuts, self._labels[chosen], self._lines[chosen]

    def state(self) -> dict[str, NDArray[np.int64] | int]:
        """What the file does not hold."""
        return {"labels": self._labels, "lines": self._lines, "drawn": self.drawn}

    def restore(self, state: dict[str, NDArray[np.int64] | int]) -> None:
        """Go on from a `state`."""
        self._labels[:], self._lines[:], self.drawn = state["labels"], state["lines"], int(state["drawn"])


def cut(rng: np.random.Generator, view: Pixels) -> Pixels:
    """The plate out of its view, by corners as a detector finds them, in the light of another moment."""
    corners = jittered(rng)
    steps = cv2.getPerspectiveTransform(corners, _TARGET)
    picture = np.asarray(cv2.warpPerspective(view, steps, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    if rng.random() < 0.15:
        picture = coarse(rng, picture)
    if rng.random() < 0.15:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.5, 1.4)))
    if rng.random() < 0.15:
        noise = rng.normal(0, rng.uniform(2, 12), picture.shape).astype(np.int16)
        picture = cv2.add(picture, noise, dtype=cv2.CV_8U)
    if rng.random() < 0.4:
        gain, offset = np.exp(rng.normal(0, 0.2)), rng.normal(0, 15)
        picture = cv2.convertScaleAbs(picture, alpha=float(gain), beta=float(max(offset, -60)))
    if rng.random() < 0.06:
        picture = np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    return picture


def jittered(rng: np.random.Generator) -> NDArray[np.float32]:
    """The corners of a plate in its view as a detector might give them: mostly a little too far outside.

    One in three is the upright box around a plate that hangs askew, which is all that some detectors give.
    """
    size = np.array([WIDTH, HEIGHT], np.float32)
    outward = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32) * size
    if rng.random() < 0.33:
        slope, shear = np.clip(rng.normal(0, (0.06, 0.05)), -0.15, 0.15)
        turn = np.array([[1, shear], [-slope, 1]], np.float32)
        boxed = (CORNERS - CORNERS.mean(0)) @ turn.T
        scale = np.abs(boxed).max(0) / (size / 2)
        corners = (CORNERS - CORNERS.mean(0)) * np.minimum(scale, 1.35) @ turn.T + CORNERS.mean(0)
    else:
        corners = CORNERS.copy()
    slack = np.clip(rng.normal(0.015, 0.03, 2), -0.03, 0.1) + np.clip(rng.normal(0, 0.015, (4, 2)), -0.04, 0.04)
    shift = np.clip(rng.normal(0, 0.015, 2), -0.04, 0.04) * size
    return np.asarray(corners + outward * slack + shift, np.float32)


def coarse(rng: np.random.Generator, picture: Pixels) -> Pixels:
    """As if seen with fewer pixels."""
    rows = int(rng.integers(14, 40))
    small = cv2.resize(picture, (round(WIDTH * rows / HEIGHT), rows), interpolation=cv2.INTER_AREA)
    interpolation = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(small, (WIDTH, HEIGHT), interpolation=interpolation), np.uint8)


def labels_of(text: str) -> NDArray[np.int64]:
    """The class of each position. ValueError: the text is too long or not of the alphabet."""
    if len(text) > POSITIONS:
        raise ValueError(f"a plate has at most {POSITIONS} characters, not {text!r}")
    labels = np.full(POSITIONS, NONE, np.int64)
    labels[: len(text)] = [ALPHABET.index(character) for character in text]
    return labels
