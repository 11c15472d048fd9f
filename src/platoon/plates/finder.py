"""Where whole plates are in a picture, by weights of our own: boxes and corners in one pass.

The graph takes pixels as they are and gives the likeliest candidates, so that little leaves it. Which of those that
overlap is meant, and what is sure enough, is left to its callers. Training and weights: `training/README.md`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from platoon.arrays import Array
from platoon.engine.batched import BatchedModel, Capacity
from platoon.engine.batcher import Priority, Reply
from platoon.engine.executor import ShapeProfile
from platoon.engine.gate import Gates
from platoon.engine.model import Model
from platoon.engine.runtime import ModelReport
from platoon.engine.surgery import Graph, adapt
from platoon.engine.tuning import Tuning
from platoon.metrics import Metrics
from platoon.settings import EngineSettings

PLATE_DETECTION: Final = "plate-detection"
STRIDE = 32
"""Width and height of the input are multiples of this."""
LEAST_SIDE = 128
"""And no smaller: the graph chooses among more places than a smaller input has."""
LARGEST = (1280, 1280)
"""(height, width) of the largest input that engines built beforehand must take."""

PlateCandidates = NDArray[np.float32]
"""(50, 13), best first: score 0 to 1; left, top, right, bottom; x and y of four corners, clockwise from the plate's top
left. In pixels of the input."""


class PlateFinder:
    """Finds plates behind a batcher of its own; safe from any thread.

    Args:
        gates: see `BatchedModel`.
        size: (height, width) that pictures mostly have. Plates should be at least 16 pixels wide there.

    Raises:
        ModelError: the weights cannot be loaded or executed.
    """

    def __init__(
        self, settings: EngineSettings, tuning: Tuning, metrics: Metrics, gates: Gates, *, size: tuple[int, int]
    ) -> None:
        item = (*size, 3)
        many = settings.max_batch
        self._model: BatchedModel[Array, PlateCandidates] = BatchedModel(
            plate_detection_graph(),
            settings,
            tuning,
            metrics,
            gates,
            item=item,
            pixels=lambda picture: picture,
            results=lambda _, outputs: list(outputs[0]),
            allow_bf16=True,
            profile=ShapeProfile((1, STRIDE, STRIDE, 3), (many, *item), (many, *map(max, size, LARGEST), 3)),
            compiled=True,
        )

    @property
    def capacity(self) -> Capacity:
        """What keeps it busy."""
        return self._model.capacity

    def submit(
        self, pictures: Iterable[Array], *, priority: Priority = Priority.VIDEO, deadline: float | None = None
    ) -> list[Reply[PlateCandidates]]:
        """Queue pictures, (H, W, 3) uint8 RGB each, which must not change until the reply.

        H and W are multiples of `STRIDE` from `LEAST_SIDE` on.

        Raises:
            Overloaded, Unavailable: see `Batcher.submit`; pictures already queued are cancelled.
        """
        return self._model.submit(pictures, priority=priority, deadline=deadline)

    def report(self) -> ModelReport:
        """How the model runs here, measured now: nobody may use it meanwhile."""
        return self._model.report()

    def close(self) -> None:
        """Finish what waits and free the model."""
        self._model.close()


def plate_detection() -> Model:
    """Platoon's own: pictures in, uint8 (N, height, width, 3) sides multiples of 32 from 128; likely plates out.

    They are float32 (N, 50, 13), best first: score of 0-1; left, top, right, bottom; x and y of the four corners,
    clockwise from the plate's top left, all in pixels.
    """
    return Model.own(Path(__file__).parent / "weights" / "plate-detector.onnx")


def plate_detection_graph() -> Graph:
    """Pixels in, `PlateCandidates` of each picture out."""
    return adapt(plate_detection(), name=PLATE_DETECTION)
