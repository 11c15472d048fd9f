"""Work on single pictures wherever they lie: the array that comes says whose work it is."""

from __future__ import annotations

import cv2
import numpy as np

from platoon.arrays import Array


def resized(picture: Array, size: tuple[int, int], *, area: bool = False) -> Array:
    """A picture (h, w, 3) uint8 stretched to (width, height).

    Args:
        area: each new pixel is the mean of its place in the picture; otherwise bilinear.
    """
    if isinstance(picture, np.ndarray):
        method = cv2.INTER_AREA if area else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)
    from platoon.media import torch_pixels

    return torch_pixels.resized(picture, size, area=area)


def widened(picture: Array, width: int, value: int) -> Array:
    """A picture (h, w, 3) uint8 with columns of `value` on the right, up to `width`."""
    if isinstance(picture, np.ndarray):
        wide = np.full((picture.shape[0], width, 3), value, np.uint8)
        wide[:, : picture.shape[1]] = picture
        return wide
    from platoon.media import torch_pixels

    return torch_pixels.widened(picture, width, value)
