"""The sensor of a camera: turns pictures into frames, with noise."""

from __future__ import annotations

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from platoon.media.frame import Pixels

_SHIFT = 64
"""The noise of a frame is cut anew from one larger field, at one of this many places in each direction."""


class Sensor:
    """Turns pictures of one size (width, height) into frames: 4:2:0 in BT.601, each with noise of its own."""

    def __init__(self, size: tuple[int, int], *, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._unit = self._rng.normal(0, 1, (size[1] + _SHIFT, size[0] + _SHIFT))
        self._noise: tuple[float, NDArray[np.int16]] | None = None
        """The last in use, with its deviation."""

    def expose(self, picture: Pixels, index: int, *, noise: float) -> VideoFrame:
        """The frame that the encoder gets, its time stamp `index`; `noise` is a standard deviation in grey levels."""
        if self._noise is None or self._noise[0] != noise:
            self._noise = noise, np.round(self._unit * noise).astype(np.int16)
        height, width = picture.shape[:2]
        planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
        top, left = self._rng.integers(0, _SHIFT, 2)
        luma = planes[:height]
        cv2.add(luma, self._noise[1][top : top + height, left : left + width], dst=luma, dtype=cv2.CV_8U)
        frame = VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = index
        return frame
