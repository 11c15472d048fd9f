"""What a camera makes of a scene, for whole views: cheap enough for every example, where `training.draw.photograph`
is for plates.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.detector.geometry import Picture

Floats = NDArray[np.float32]


def through_lens(rng: np.random.Generator, picture: Picture) -> Picture:
    """A view as some camera in some light would give it."""
    view = picture.astype(np.float32)
    if rng.random() < 0.35:  # as if the white balance were right, or wrong
        mean = view.reshape(-1, 3).mean(axis=0) + 4
        view *= (mean.mean() / mean) ** rng.uniform(0.5, 1.0)
    gains = np.exp(rng.normal(0, 0.12, 3) + rng.normal(0, 0.18))
    view *= gains.astype(np.float32)
    if rng.random() < 0.3:
        grey = view @ np.array([0.3, 0.59, 0.11], np.float32)
        view += (grey[..., None] - view) * np.float32(1.0 if rng.random() < 0.5 else rng.uniform(-0.5, 1))
    if rng.random() < 0.25:
        view = _lit(rng, view)
    if rng.random() < 0.5:  # contrast and gamma
        curved = (np.clip(view, 0, 255) / 255) ** np.float32(np.exp(rng.normal(0, 0.35))) * 255
        contrast, brightness = rng.uniform(0.55, 1.3), rng.normal(0, 12)
        view = ((curved - 128) * contrast + 128 + brightness).astype(np.float32)
    result: Picture = np.clip(view, 0, 255).astype(np.uint8)
    kind = rng.random()
    if kind < 0.2:
        result = cv2.GaussianBlur(result, (0, 0), rng.uniform(0.4, 1.6))
    elif kind < 0.3:
        result = cv2.filter2D(result, -1, _motion(rng))
    elif kind < 0.4:
        share = rng.uniform(0.45, 0.9)
        low = cv2.resize(result, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        result = cv2.resize(low, result.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    elif kind < 0.5:
        soft = cv2.GaussianBlur(result, (0, 0), 1.2)
        result = cv2.addWeighted(result, 1 + (gain := rng.uniform(0.3, 1.5)), soft, -gain, 0)
    if rng.random() < 0.3:
        grain = np.empty(result.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(1 << 31)))
        cv2.randn(grain, 0, rng.uniform(2, 12))
        result = cv2.add(result, grain, dtype=cv2.CV_8U)
    if rng.random() < 0.4:
        _, packed = cv2.imencode(".jpg", result, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])
        result = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return result


def _lit(rng: np.random.Generator, view: Floats) -> Floats:
    """A shadow's edge across the view, or the glare of a lamp in it."""
    height, width = view.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    at = rng.uniform(0, 1, 2) * (width, height)
    if rng.random() < 0.6:
        angle = rng.uniform(0, 2 * np.pi)
        side = (x - at[0]) * np.float32(np.cos(angle)) + (y - at[1]) * np.float32(np.sin(angle))
        soft = 1 / (1 + np.exp(-side / np.float32(rng.uniform(0.5, 30))))
        dimmed: Floats = view * (1 - np.float32(rng.uniform(0.2, 0.65)) * soft)[..., None]
        return dimmed
    distance = np.hypot(x - at[0], y - at[1]) / np.float32(rng.uniform(6, 60))
    glow = np.float32(rng.uniform(80, 260)) / (1 + distance * distance)
    lit: Floats = view + glow[..., None] * rng.uniform(0.7, 1.0, 3).astype(np.float32)
    return lit


def _motion(rng: np.random.Generator) -> Floats:
    size = 9
    kernel = np.zeros((size, size), np.float32)
    reach, angle = rng.uniform(1, 4), rng.uniform(0, np.pi)
    step = np.array([np.cos(angle), np.sin(angle)]) * reach
    start, end = ((size // 2 + sign * step) * 16 for sign in (-1, 1))
    cv2.line(kernel, start.round().astype(int).tolist(), end.round().astype(int).tolist(), 1.0, 1, cv2.LINE_AA, 4)
    spread: Floats = kernel / kernel.sum()
    return spread
