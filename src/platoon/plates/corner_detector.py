"""The plate detector with weights of Platoon's own: whole plates with their corners, in one pass."""

from __future__ import annotations

from platoon.arrays import Array
from platoon.plates.detector import PlateBox
from platoon.plates.engine import PlateEngine
from platoon.plates.finder import PlateCandidates
from platoon.plates.heads import nms
from platoon.settings import PlateSettings

MAX_IOU = 0.4
"""Of two plates that overlap by more (intersection over union) the better stays: plates do not lie on each other."""


class CornerPlateDetector:
    """A `PlateDetector` over the shared engine."""

    def __init__(self, engine: PlateEngine, settings: PlateSettings) -> None:
        self._engine = engine
        self._min_score = settings.least_score
        height, width = settings.input_size
        self.input_size = (width, height)
        self.tight = False
        self.capacity = engine.plate_capacity

    def find(self, batch: Array) -> list[list[PlateBox]]:
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


def plate_boxes(candidates: PlateCandidates, min_score: float) -> list[PlateBox]:
    """The plates among `candidates`, best first, each once."""
    sure = candidates[candidates[:, 0] >= min_score]
    kept = nms(sure[:, 1:5], sure[:, 0], MAX_IOU)
    return [PlateBox(sure[index, 5:].reshape(4, 2), float(sure[index, 0]), is_plate=True) for index in kept]
