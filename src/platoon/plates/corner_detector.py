"""The plate detector with weights of Platoon's own: whole plates with their corners, in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from platoon.ocr.engine import TextEngine
from platoon.ocr.plate_detection import Places
from platoon.plates.detector import PlateBox
from platoon.plates.heads import nms
from platoon.settings import PlateSettings

MAX_IOU = 0.4
"""Of two plates that overlap by more (intersection over union) the better stays: plates do not lie on each other."""


class CornerPlateDetector:
    """A `PlateDetector` over the shared engine."""

    def __init__(self, engine: TextEngine, settings: PlateSettings) -> None:
        self._engine = engine
        self._min_score = settings.least_score
        height, width = settings.input_size
        self.input_size = (width, height)
        self.tight = False
        self.max_batch = engine.plates_at_once

    def find(self, batch: NDArray[np.uint8]) -> list[list[PlateBox]]:
        """See `PlateDetector.find`."""
        replies = self._engine.find_plates(batch)
        try:
            return [plate_boxes(reply.result(), self._min_score) for reply in replies]
        finally:
            for reply in replies:
                reply.cancel()

    def warm_up(self) -> None:
        """See `PlateDetector.warm_up`; the engine did so when it loaded the model."""

    def close(self) -> None:
        """The engine belongs to whoever made it; there is nothing of its own to release."""


def plate_boxes(places: Places, min_score: float) -> list[PlateBox]:
    """The plates among `places`, best first, each once."""
    return once([PlateBox(row[5:].reshape(4, 2), float(row[0])) for row in places[places[:, 0] >= min_score]])


def once(found: Sequence[PlateBox]) -> list[PlateBox]:
    """Each plate once, best first."""
    quads = np.array([box.quad for box in found], np.float32).reshape(-1, 4, 2)
    boxes = np.concatenate([quads.min(axis=1), quads.max(axis=1)], axis=1)
    scores = np.array([box.score for box in found], np.float32)
    return [found[index] for index in nms(boxes, scores, MAX_IOU)]
