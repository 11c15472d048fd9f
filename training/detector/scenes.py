"""Examples to learn from: real frames with their plates or with drawn ones in their place, drawn plates on drawn
cars, and text that is none.

An example depends on the generator alone. The mixture, by share: real frames looked at closely (most of their
plates replaced by drawn ones, whose corners are known), drawn plates anywhere on crops of frames or on drawn
bodywork, drawn plates that fill the view, whole drawn streets with vehicles or without and with signs, pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from training.detector.geometry import (
    UNIT,
    Picture,
    Plate,
    Points,
    View,
    affine,
    any_of,
    erase,
    paste,
    place,
    seen,
    turned,
)
from training.detector.lens import through_lens
from training.detector.lettering import Lettering, burn_in, scatter

LEAST_PX, MOST = 13.0, 0.95
"""Widths of plates in an example: the smallest in pixels, the largest as a share of the example."""


@dataclass(frozen=True)
class Shot:
    """A picture at full size and what is known of it."""

    picture: Picture
    plates: list[Plate]
    unclear: list[Points] = field(default_factory=list)
    """As in a `View`."""
    signs: list[Points] = field(default_factory=list)
    """Outlines of text that is no plate and worth a look."""


class Scenes:
    """Makes examples.

    Args:
        frames: real ones. streets: drawn ones. plates: drawn flat plates.
        size: of an example's sides, in pixels.
    """

    def __init__(
        self,
        frames: Sequence[Shot],
        streets: Sequence[Shot],
        plates: Sequence[Picture],
        lettering: Lettering,
        *,
        size: int,
    ) -> None:
        self._frames, self._streets, self._plates = frames, streets, plates
        self._lettering, self._size = lettering, size
        self._log_widths = np.log([LEAST_PX, MOST * size])

    def example(self, rng: np.random.Generator) -> View:
        """One view with what is to be found in it."""
        kind = rng.random()
        if kind < 0.36:
            view = self._close_up(rng, self._frames, redraw=0.65)
        elif kind < 0.58:
            body = rng.random() < 0.6
            view = self._bodywork(rng) if body else self._anywhere(rng)
            for _ in range(int(rng.choice([0, 1, 1, 1, 2, 3] if body else [0, 0, 0, 0, 1]))):
                self._mount(rng, view)
        elif kind < 0.67:
            view = self._portrait(rng)
        elif kind < 0.96:
            view = self._close_up(rng, self._streets, redraw=0.3)
        else:
            view = View(self._lettering.page(rng, self._size), [], [])
        if rng.random() < 0.5:
            scatter(rng, view, self._lettering)
        if rng.random() < 0.15:
            burn_in(rng, view, self._lettering)
        view.picture = through_lens(rng, view.picture)
        if rng.random() < 0.15:
            _letterbox(view, int(rng.integers(2)), int(rng.uniform(0.55, 0.95) * self._size))
        return view

    def _close_up(self, rng: np.random.Generator, shots: Sequence[Shot], *, redraw: float) -> View:
        """A frame seen so that one of its plates or signs has a width drawn at random, evenly over its logarithm."""
        shot = any_of(rng, shots)
        focus = any_of(rng, [plate.quad for plate in shot.plates] + shot.signs)
        width = float(np.ptp(focus[:, 0]))
        scale = np.exp(rng.uniform(*self._log_widths)) / width
        scale = float(np.clip(scale, self._least_scale(shot), 5))
        matrix = affine(
            rng,
            shot.picture,
            focus.mean(axis=0),
            scale,
            self._size,
            spread=max(0.1, 0.9 - scale * width / self._size),
        )
        view = seen(shot.picture, shot.plates, matrix, self._size, unclear=shot.unclear)
        if rng.random() < redraw:
            for old in view.plates:
                self._replace(rng, view, old)
        return view

    def _anywhere(self, rng: np.random.Generator) -> View:
        """Some part of a frame, its own plates included."""
        shot = any_of(rng, self._frames)
        focus = rng.uniform(0.1, 0.9, 2) * shot.picture.shape[1::-1]
        scale = float(np.exp(rng.uniform(np.log(self._least_scale(shot)), np.log(2.5))))
        matrix = affine(rng, shot.picture, focus.astype(np.float32), scale, self._size, spread=0.3)
        return seen(shot.picture, shot.plates, matrix, self._size, unclear=shot.unclear)

    def _least_scale(self, shot: Shot) -> float:
        """At which most of an example is picture."""
        return 0.65 * self._size / len(shot.picture)

    def _portrait(self, rng: np.random.Generator) -> View:
        """A plate that fills the view, as where somebody photographed it, perhaps cut close."""
        size = self._size
        view = self._bodywork(rng)
        picture = any_of(rng, self._plates)
        aspect = picture.shape[1] / picture.shape[0]
        width = min(float(rng.uniform(0.5, 0.97)) * size, 0.9 * size * aspect)
        height = width / aspect
        close = rng.random() < 0.5
        room = height * float(rng.uniform(0.03, 0.5)) if close else float(rng.uniform(0, max(1.0, size - height)))
        slack = (size - width) / 2
        middle = np.array([size / 2 + rng.uniform(-slack, slack), room + height / 2], np.float32)
        self._put(rng, view, picture, turned(rng, aspect, width, middle, tilt=float(rng.uniform(0, 0.8))))
        if close:
            _letterbox(view, 1, int(room + height * rng.uniform(1.03, 1.6)))
        return view

    def _replace(self, rng: np.random.Generator, view: View, old: Plate) -> None:
        """Put a drawn plate into the place of a real one, or leave the place empty."""
        erase(rng, view, old.quad)
        view.plates = [plate for plate in view.plates if plate is not old]
        if rng.random() < 0.12:
            if rng.random() < 0.5:
                _recess(rng, view, old.quad)
            return
        picture = any_of(rng, self._plates)
        aspect = picture.shape[1] / picture.shape[0]
        wide = float(np.hypot(*(old.quad[1] - old.quad[0])))
        squeeze = float(np.clip(wide / max(1.0, float(np.ptp(old.quad[:, 1]))) / 4.2, 0.6, 1.1)) * rng.uniform(0.9, 1.1)
        wide *= rng.uniform(0.8, 1.15) if aspect > 3 else rng.uniform(0.55, 0.95)
        half = np.array([wide / 2, wide / 2 / (aspect * squeeze)])
        corners = (UNIT * 2 - 1) * half
        corners[:, 1] += corners[:, 0] * rng.normal(0, 0.07)
        corners += rng.normal(0, 0.012, (4, 2)) * wide
        quad = (corners + old.quad.mean(axis=0) + rng.normal(0, 0.05, 2) * half).astype(np.float32)
        self._put(rng, view, picture, quad)

    def _mount(self, rng: np.random.Generator, view: View) -> None:
        """Put a drawn plate somewhere."""
        picture = any_of(rng, self._plates)
        aspect = picture.shape[1] / picture.shape[0]
        width = float(np.exp(rng.uniform(*self._log_widths)))
        width = min(width, 0.6 * self._size * aspect)
        margin = 0.35 * width
        middle = rng.uniform(min(margin, self._size / 2), max(self._size - margin, self._size / 2 + 1), 2)
        quad = turned(rng, aspect, width, middle.astype(np.float32))
        if not view.busy(quad):
            self._put(rng, view, picture, quad)

    def _put(self, rng: np.random.Generator, view: View, picture: Picture, quad: Points) -> None:
        if rng.random() < 0.55:
            _recess(rng, view, quad)
        beside = view.picture[tuple(np.clip(quad.mean(axis=0)[::-1].astype(int), 0, self._size - 1))].astype(np.float32)
        light = np.exp(rng.normal(-0.15, 0.3)) * (0.75 + 0.25 * (beside + 40) / (beside.mean() + 40))
        if rng.random() < 0.3:  # as dark as what is around it
            light *= np.clip(view.picture.mean() / 110, 0.25, 1)
        lit = np.clip(picture * light, 0, 255).astype(np.uint8)
        if rng.random() < 0.12:  # in shade, which takes the contrast as well
            lit = (lit * rng.uniform(0.25, 0.7) + rng.uniform(0, 50)).astype(np.uint8)
        if rng.random() < 0.15:  # the bumper's shadow ends on it
            lit[: int(rng.uniform(0.15, 0.85) * lit.shape[0])] //= int(rng.integers(2, 4))
        if rng.random() < 0.3:
            ramp = np.linspace(rng.uniform(0.4, 1), rng.uniform(0.4, 1), lit.shape[1])[None, :, None]
            lit = (lit * ramp).astype(np.uint8)
        if rng.random() < 0.4:
            lit = cv2.GaussianBlur(lit, (0, 0), rng.uniform(0.02, 0.09) * lit.shape[0])
        paste(view, lit, _rounded(lit.shape[:2], rng.uniform(0, 0.12)), quad)
        place(view, Plate(quad, exact=True))

    def _bodywork(self, rng: np.random.Generator) -> View:
        """Something like the front or rear of a car, filling the view: panels, a grille, lamps, seams, a badge."""
        size = self._size
        colour = (
            rng.integers(10, 250, 3)
            if rng.random() < 0.4
            else np.full(3, rng.integers(10, 245)) + rng.integers(-8, 9, 3)
        )
        rows = np.interp(np.linspace(0, 1, size), np.linspace(0, 1, 5), rng.uniform(0.5, 1.3, 5))[:, None, None]
        columns = np.interp(np.linspace(0, 1, size), np.linspace(0, 1, 4), rng.uniform(0.8, 1.15, 4))[None, :, None]
        body = np.clip(colour * rows * columns, 0, 255).astype(np.uint8)
        for _ in range(int(rng.integers(2, 9))):
            low = rng.integers(-size // 4, size, 2)
            high = low + (rng.uniform(0.04, 0.9), rng.uniform(0.01, 0.3)) * np.array(size)
            tone = rng.choice([0.2, 0.5, 0.8, 1.2]) * colour if rng.random() < 0.6 else rng.integers(0, 256, 3)
            corner, other = low.tolist(), high.astype(int).tolist()
            cv2.rectangle(
                body,
                corner,
                other,
                np.clip(tone, 0, 255).tolist(),
                -1 if rng.random() < 0.7 else int(rng.integers(1, 5)),
            )
            if rng.random() < 0.3:
                for y in range(low[1], int(high[1]), int(rng.integers(4, 14))):
                    cv2.line(
                        body,
                        (int(low[0]), y),
                        (int(high[0]), y),
                        np.clip(tone * 0.6 + 20, 0, 255).tolist(),
                        int(rng.integers(1, 4)),
                    )
        for _ in range(int(rng.integers(0, 4))):
            centre, axes = rng.integers(0, size, 2).tolist(), rng.integers(4, size // 4, 2).tolist()
            tone = (
                (rng.integers(120, 256), rng.integers(0, 120), rng.integers(0, 60))
                if rng.random() < 0.5
                else rng.integers(120, 256, 3)
            )
            cv2.ellipse(body, centre, axes, float(rng.uniform(0, 180)), 0, 360, [int(value) for value in tone], -1)
        if rng.random() < 0.7:
            body = cv2.GaussianBlur(body, (0, 0), rng.uniform(0.5, 3))
        return View(body, [], [])


def _recess(rng: np.random.Generator, view: View, quad: Points) -> None:
    """What plates are mounted in: a holder, a dealer's frame, a recess of the bumper that is wider than the plate."""
    narrow = np.ptp(quad[:, 0]) < 3 * np.ptp(quad[:, 1])
    wide = rng.random() < (0.6 if narrow else 0.4)
    middle = quad.mean(axis=0)
    reach = rng.uniform((1.2, 1.0), (2.6, 1.7)) if wide else rng.uniform(1.03, (1.3, 1.6))
    around = ((quad - middle) * reach + middle + rng.normal(0, 0.03, 2) * np.ptp(quad, axis=0)).astype(np.float32)
    field = np.empty((32, 64, 3), np.float32)
    field[:] = rng.integers(0, 70) if rng.random() < 0.6 else rng.integers(0, 256, 3 if wide else 1)
    top, bottom = rng.uniform(0.5, 1.2, 2)
    field *= np.linspace(top, bottom, 32, dtype=np.float32)[:, None, None]
    if rng.random() < 0.4:  # a rim that light or shadow draws
        cv2.rectangle(field, (0, 0), (63, 31), [float(rng.integers(0, 256))] * 3, int(rng.integers(1, 3)))
    if rng.random() < 0.3:  # its upper part shaded
        field[: int(rng.integers(3, 20))] *= np.float32(rng.uniform(0.3, 0.8))
    alpha = cv2.blur(_rounded((32, 64), rng.uniform(0, 0.3)), (3, 3))
    paste(view, np.clip(field, 0, 255).astype(np.uint8), alpha, around)


def _letterbox(view: View, axis: int, edge: int) -> None:
    """Black from `edge` on, to the right (`axis` 0) or below (1), as in a frame that does not fill the detector's
    input.
    """
    if axis:
        view.picture[edge:] = 0
    else:
        view.picture[:, edge:] = 0
    keep: list[Plate] = []
    for plate in view.plates:
        if plate.quad[:, axis].max() <= edge + 0.1 * np.ptp(plate.quad[:, axis]):
            keep.append(plate)
        elif plate.quad[:, axis].min() < edge:
            view.unclear.append(plate.quad)
    view.plates = keep


def _rounded(shape: Sequence[int], share: float) -> NDArray[np.uint8]:
    """An opaque mask whose corners have a radius of `share` of the height."""
    height, width = shape
    radius = int(share * height)
    mask = np.zeros((height, width), np.uint8)
    cv2.rectangle(mask, (radius, 0), (width - radius - 1, height), 255, -1)
    cv2.rectangle(mask, (0, radius), (width, height - radius - 1), 255, -1)
    for x in (radius, width - radius - 1):
        for y in (radius, height - radius - 1):
            cv2.circle(mask, (x, y), radius, 255, -1)
    return mask
