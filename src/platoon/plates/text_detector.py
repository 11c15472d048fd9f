"""The plate detector that needs no weights of its own: lines of text that could be a plate.

It finds all text on the scaled frame with the PP-OCR detection weights and keeps what has a plate's shape. Which of it
is one is for readings and the gates of `events` to say.
"""

from __future__ import annotations

import numpy as np

from platoon.arrays import Array
from platoon.media.frame import Quad
from platoon.ocr.engine import TextEngine
from platoon.plates.detector import PlateBox
from platoon.settings import PlateSettings

ASPECT = (1.6, 9.0)
"""Width by height of a line of plate text, skewed or with a wide gap included."""
HEIGHT_LEAST_PX = 5.0
"""Text lower than this on the detector's input cannot be read on the frame either."""
SLANT_MOST = 0.6
"""Rise by run of the text's base line; steeper text is no mounted plate."""


class TextPlateDetector:
    """A `PlateDetector` over the shared text engine."""

    def __init__(self, engine: TextEngine, settings: PlateSettings) -> None:
        self._engine = engine
        self._min_score = settings.least_score
        height, width = settings.input_size
        self.input_size = (width, height)
        self.tight = True
        self.capacity = engine.capacity

    def find(self, batch: Array) -> list[list[PlateBox]]:
        """See `PlateDetector.find`."""
        return [
            [
                PlateBox(text.quad, text.score)
                for text in texts
                if text.score >= self._min_score and plate_like(text.quad)
            ]
            for texts in self._engine.find(batch)
        ]

    def warm_up(self) -> None:
        """See `PlateDetector.warm_up`."""
        width, height = self.input_size
        for n in range(1, self.capacity.batch + 1):
            self.find(np.zeros((n, height, width, 3), np.uint8))

    def close(self) -> None:
        """The engine belongs to whoever made it; there is nothing of its own to release."""


def plate_like(quad: Quad) -> bool:
    """Whether a line of text (on the detector's input) has a plate's shape."""
    base = quad[1] - quad[0]
    width, height = float(np.hypot(*base)), float(np.hypot(*(quad[3] - quad[0])))
    if height < HEIGHT_LEAST_PX or not ASPECT[0] <= width / height <= ASPECT[1]:
        return False
    return bool(abs(float(base[1])) <= SLANT_MOST * max(float(base[0]), 1e-6))
