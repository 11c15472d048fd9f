"""What a surveillance camera makes of a scene: few pixels, sharpened hard, squeezed into a low video rate.

Where `photograph.spoil` spans all cameras at random, this one has the traits that such footage shares: bright halos
beside dark strokes, blocks and ringing, colours smeared over several pixels, and pictures flat, dark and bluish rather
than burnt out. Marks stay far enough from their field that who knows the letters can read them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Light = NDArray[np.float32]

_LEAST_SPREAD = 32
"""Between the dark and the bright of a plate: less is lost in the codec."""


def film(rng: np.random.Generator, picture: Pixels, *, metered: tuple[slice, slice]) -> Pixels:
    """The picture as such a camera would record it; every point stays in place.

    Args:
        picture: RGB, as many pixels as the camera has for it.
        metered: rows and columns of the plate, whose marks stay apart.
    """
    light = _grade(rng, picture.astype(np.float32), metered)
    light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.25, 0.95))
    light = light + rng.standard_normal(light.shape[:2], np.float32)[..., None] * np.float32(rng.uniform(0.3, 4))
    if rng.random() < 0.8:
        soft = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.7, 1.7))
        light = light + (light - soft) * np.float32(rng.uniform(0.5, 2.6))
    seen = np.clip(light, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        seen = _skip_blocks(rng, seen)
    return _compress(rng, _smear_colour(rng, seen))


def _grade(rng: np.random.Generator, light: Light, metered: tuple[slice, slice]) -> Light:
    """Shade, haze, a cast and the colours' strength; highlights seldom burn out."""
    height, width = light.shape[:2]
    ys = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    xs = np.linspace(-1, 1, width, dtype=np.float32)[None]
    slope = rng.normal(0, 0.12, 2).astype(np.float32)
    shade = 1 + slope[0] * xs + slope[1] * ys
    if rng.random() < 0.2:
        edge = rng.uniform(-0.6, 0.6)
        shade = shade * (1 - np.float32(rng.uniform(0.2, 0.5)) * np.clip((ys - edge) * 8 + 0.5, 0, 1))
    light = light * np.clip(shade, 0.2, 1.6)[..., None]
    grey = light.mean(axis=2, keepdims=True)
    light = grey + (light - grey) * np.float32(rng.uniform(0.25, 1.0))
    dark, bright = np.percentile(light[metered][..., 1], (8, 92))
    middle, spread = (dark + bright) / 2, max(float(bright - dark), 1.0)
    wanted = max(_LEAST_SPREAD, min(spread, float(rng.uniform(40, 170))))
    level = float(np.clip(rng.normal(118, 38), wanted / 2 + 18, 236 - wanted / 2))
    light = (light - np.float32(middle)) * np.float32(wanted / spread) + np.float32(level)
    blue = rng.normal(0.05, 0.07)
    cast = np.array([1 - blue, 1 + rng.normal(0, 0.02), 1 + blue], np.float32)
    return np.asarray(light * cast, np.float32)


def _skip_blocks(rng: np.random.Generator, picture: Pixels) -> Pixels:
    """Blocks of which the codec sends only the coarse."""
    height, width = picture.shape[:2]
    side = int(rng.choice((4, 8)))
    poor = (rng.random((height // side + 1, width // side + 1)) < rng.uniform(0.1, 0.5)).astype(np.float32)
    cover = np.repeat(np.repeat(poor, side, axis=0), side, axis=1)[:height, :width] * np.float32(rng.uniform(0.3, 0.9))
    coarse = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.8, 1.5))
    cover = np.ascontiguousarray(cover)
    return np.asarray(cv2.blendLinear(picture, coarse, 1 - cover, cover), np.uint8)


def _smear_colour(rng: np.random.Generator, picture: Pixels) -> Pixels:
    """Colour at a few times fewer pixels than brightness."""
    luma, red, blue = cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb))
    chroma = cv2.merge([red, blue])
    height, width = luma.shape
    share = rng.uniform(0.15, 0.6)
    size = (max(4, round(width * share)), max(3, round(height * share)))
    chroma = cv2.resize(cv2.resize(chroma, size, interpolation=cv2.INTER_AREA), (width, height))
    red, blue = cv2.split(chroma)
    return np.asarray(cv2.cvtColor(cv2.merge([luma, red, blue]), cv2.COLOR_YCrCb2RGB), np.uint8)


def _compress(rng: np.random.Generator, picture: Pixels) -> Pixels:
    """Blocks quantised as a codec does, their grid anywhere; then perhaps once more, as when a picture is cut out."""
    down, right = (int(offset) for offset in rng.integers(0, 8, 2))
    padded = cv2.copyMakeBorder(picture, down, 0, right, 0, cv2.BORDER_REPLICATE)
    done, stored = cv2.imencode(".jpg", padded[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(22, 78))])
    if not done:
        raise RuntimeError("OpenCV cannot write JPEG")
    decoded = np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR))[down:, right:, ::-1]
    return np.ascontiguousarray(decoded, np.uint8)
