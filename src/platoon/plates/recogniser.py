"""What a plate says, by weights of our own: pictures of whole plates in, the characters with their alternatives out.

A plate is read as one picture, in one or two lines, whatever emblem or separator stands between its characters; no line
is located in it before. Every picture becomes the same small input, so all of them share batches, and the same picture
gives the same text alone and in any company. Training and weights: `training/README.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from platoon.arrays import Array, is_uint8
from platoon.engine.batched import BatchedModel
from platoon.engine.batcher import Priority, Reply
from platoon.engine.gate import Gates
from platoon.engine.model import Model
from platoon.engine.runtime import ModelReport
from platoon.engine.surgery import Graph, adapt
from platoon.engine.tuning import Tuning
from platoon.media.pixels import resized
from platoon.metrics import Metrics
from platoon.ocr.recognition import ALTERNATIVES, PLATE, Candidate, TextLine, line_of
from platoon.settings import EngineSettings

PLATE_READING: Final = "plate-reading"
HEIGHT, WIDTH = 64, 192
"""Of the input: every plate is stretched to it, square ones too, as they were in training."""
NONE = len(PLATE)
"""Class of a position that holds no character."""


class PlateRecogniser:
    """Reads plates behind a batcher of its own; safe from any thread.

    Args:
        gates: see `BatchedModel`.

    Raises:
        ModelError: the weights cannot be loaded or executed.
    """

    def __init__(self, settings: EngineSettings, tuning: Tuning, metrics: Metrics, gates: Gates) -> None:
        self._model: BatchedModel[Array, TextLine] = BatchedModel(
            plate_reading_graph(),
            settings,
            tuning,
            metrics,
            gates,
            item=(HEIGHT, WIDTH, 3),
            pixels=lambda plate: plate,
            results=lambda _, outputs: [decode(each) for each in outputs[0]],
            allow_bf16=True,
        )

    def submit(
        self, crops: Sequence[Array], *, priority: Priority = Priority.VIDEO, deadline: float | None = None
    ) -> list[Reply[TextLine]]:
        """Queue plates to be read.

        Args:
            crops: (h, w, 3) uint8 RGB each, of any size: the plate by its four corners, to its outer edge and up to a
                tenth of its size beyond.
            priority: against other callers.
            deadline: a point of `time.monotonic()`.

        Raises:
            ValueError: a crop is not such a picture. Overloaded, Unavailable: see `Batcher.submit`. In all cases crops
                already queued are cancelled.
        """
        return self._model.submit(map(fit_plate, crops), priority=priority, deadline=deadline)

    def report(self) -> ModelReport:
        """How the model runs here, measured now: nobody may use it meanwhile."""
        return self._model.report()

    def close(self) -> None:
        """Finish what waits and free the model."""
        self._model.close()


def plate_reading() -> Model:
    """Platoon's own: whole plates in, uint8 RGB (N, 64, 192, 3); what stands at each of ten positions out.

    That is float32 (N, 10, 37): probabilities of the characters in the metadata key `alphabet`, and last of none.
    """
    return Model.own(Path(__file__).parent / "weights" / "plate-reader.onnx", since="PP-OCRv6 small")


def plate_reading_graph() -> Graph:
    """Plates (N, 64, 192, 3) uint8 RGB in; out the probabilities (N, 10, 37) of `PLATE` and none at each position."""
    return adapt(plate_reading(), name=PLATE_READING)


def fit_plate(crop: Array) -> Array:
    """The crop, stretched to the model's input."""
    if len(crop.shape) != 3 or crop.shape[2] != 3 or 0 in crop.shape or not is_uint8(crop):
        raise ValueError(f"expected uint8 (h, w, 3) with pixels, got {crop.dtype} {crop.shape}")
    return resized(crop, (WIDTH, HEIGHT), area=crop.shape[0] > HEIGHT)


def decode(probabilities: NDArray[np.float32]) -> TextLine:
    """The text of a plate.

    Positions that most likely hold nothing are left out, also before others that hold something. How sure that is
    counts in `weakest`: a character that may be missing is as bad as one that may be wrong.

    Args:
        probabilities: (10, 37) of `PLATE` and none at each position.
    """
    characters = []
    for position in probabilities:
        if position.argmax() == NONE:
            continue
        best = np.argsort(-position[:NONE], kind="stable")[:ALTERNATIVES]
        characters.append(tuple(Candidate(PLATE[index], float(position[index])) for index in best))
    line = line_of(characters)
    return replace(line, weakest=float(probabilities.max(-1).min())) if characters else line
