"""Platoon's own plate detector: boxes and corners of whole plates, in one pass.

Its weights come with the package; `training/README.md` tells how they were made. The graph takes pixels as they are and
gives the 50 likeliest places, so that little leaves it; overlapping ones are told apart here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from platoon.engine.model import plate_detection
from platoon.engine.runtime import Runtime, best_batch, cores, open_runtime
from platoon.engine.surgery import adapt
from platoon.engine.tuning import Tuning
from platoon.errors import ModelError
from platoon.metrics import Metrics
from platoon.plates.detector import PlateBox
from platoon.plates.heads import Floats, nms
from platoon.settings import EngineSettings

Size = tuple[int, int]
"""(width, height) in pixels."""

STRIDE = 32
"""Width and height of its input are multiples of this."""
MAX_IOU = 0.4
"""Of two plates that overlap by more (intersection over union) the better stays: plates do not lie on each other."""


class CornerPlateDetector:
    """A `PlateDetector` with weights of Platoon's own; `open` makes one."""

    def __init__(self, runtime: Runtime, *, size: Size, max_batch: int, min_score: float) -> None:
        self.input_size = size
        self.tight = False
        self.max_batch = max_batch
        self._runtime = runtime
        self._min_score = min_score

    @classmethod
    def open(
        cls,
        engine: EngineSettings,
        tuning: Tuning,
        metrics: Metrics,
        *,
        min_score: float = 0.5,
        size: Size = (640, 384),
    ) -> CornerPlateDetector:
        """Load the weights.

        Args:
            engine: How they run; `max_batch` bounds the batch.
            tuning: Where measured choices are kept.
            metrics: Learn what executes them, and what that costs.
            min_score: What scores less is ignored, 0-1.
            size: Of the scaled frames, in multiples of `STRIDE`. Plates should be at least 16 pixels wide there.

        Raises:
            ModelError: nothing here runs them.
        """
        graph = adapt(plate_detection(), name="plate-detection")
        item = (size[1], size[0], 3)
        # It is called from one thread: an execution has all cores.
        alone = engine.model_copy(update={"threads": engine.threads or cores()})
        runtime = open_runtime(graph, alone, tuning, example=(1, *item), half=True, metrics=metrics)
        max_batch = best_batch(runtime, graph, tuning, item=item, limit=engine.max_batch)
        return cls(runtime, size=size, max_batch=max_batch, min_score=min_score)

    def find(self, batch: NDArray[np.uint8]) -> list[list[PlateBox]]:
        """See `PlateDetector`."""
        found: list[list[PlateBox]] = []
        for start in range(0, len(batch), self.max_batch):
            frames = batch[start : start + self.max_batch]
            try:
                (plates,) = self._runtime(frames)
            except Exception as error:  # what runtimes raise shares no base
                raise ModelError(f"the plate detector fails on {len(frames)} frames: {error}") from error
            found += map(self._boxes, plates)
        return found

    def warm_up(self) -> None:
        """See `PlateDetector`."""
        for frames in {1, self.max_batch}:
            self._runtime.prepare((frames, self.input_size[1], self.input_size[0], 3))

    def close(self) -> None:
        """See `PlateDetector`."""
        self._runtime.close()

    def _boxes(self, rows: Floats) -> list[PlateBox]:
        """The plates among the candidates of a frame, (50, 13): score, box, corners."""
        rows = rows[rows[:, 0] >= self._min_score]
        return [
            PlateBox(rows[index, 5:].reshape(4, 2), float(rows[index, 0]))
            for index in nms(rows[:, 1:5], rows[:, 0], MAX_IOU)
        ]
