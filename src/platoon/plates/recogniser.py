"""What a plate says, by weights of our own: pictures of whole plates in, the characters with their alternatives out.

A plate is read as one picture, in one or two lines, whatever emblem or separator stands between its characters; no line
is located in it before. Every picture becomes the same small input, so all of them share batches, and the same picture
gives the same text alone and in any company. Training and weights: `training/README.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from platoon.engine.batcher import Batcher, Priority, Reply
from platoon.engine.gpu import Extent
from platoon.engine.model import plate_reading
from platoon.engine.runtime import Executor, ModelReport, best_batch, execute, open_runtime, report
from platoon.engine.surgery import Graph, adapt
from platoon.engine.tuning import Tuning
from platoon.media.frame import Pixels
from platoon.metrics import Metrics
from platoon.ocr.recognition import ALTERNATIVES, PLATE, Candidate, TextLine
from platoon.settings import EngineSettings

HEIGHT, WIDTH = 64, 192
"""Of the input: every plate is stretched to it, square ones too, as they were in training."""
NONE = len(PLATE)
"""Class of a position that holds no character."""


class PlateRecogniser:
    """Reads plates behind a batcher of its own; safe from any thread.

    Raises:
        ModelError: the weights cannot be loaded or executed.
    """

    def __init__(self, settings: EngineSettings, tuning: Tuning, metrics: Metrics) -> None:
        graph = reading_graph()
        item = (HEIGHT, WIDTH, 3)
        many = settings.max_batch
        self._runtime = open_runtime(
            graph,
            settings,
            tuning,
            example=(1, *item),
            extent=Extent((1, *item), (many, *item), (many, *item)),
            half=True,
            metrics=metrics,
        )
        foreground, self._background = self._runtime.foreground(), self._runtime.background()
        self.best_batch = best_batch(self._runtime, graph, tuning, item=item, limit=many)
        execute(foreground, [(n, *item) for n in (*range(1, self.best_batch + 1), min(2, many))])
        self._report = partial(report, self._runtime, graph.name, item=item, best=self.best_batch, limit=many)
        self._batcher: Batcher[Pixels, TextLine] = Batcher(
            graph.name,
            [partial(_execute, executor) for executor in foreground],
            background=[partial(_execute, executor) for executor in self._background],
            bucket=lambda plate: plate.shape,
            cost=lambda plate: plate.shape[0] * plate.shape[1],
            max_batch=self.best_batch,
            max_batch_cost=self.best_batch * HEIGHT * WIDTH,
            queue_limit=settings.queue_limit,
            queue_cost_limit=settings.queue_pixels,
            metrics=metrics,
        )

    def submit(
        self, crops: Sequence[Pixels], *, priority: Priority = Priority.VIDEO, deadline: float | None = None
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
        replies: list[Reply[TextLine]] = []
        try:
            for crop in crops:
                replies.append(self._batcher.submit(fit_plate(crop), priority=priority, deadline=deadline))  # noqa: PERF401
        except Exception:
            for reply in replies:
                reply.cancel()
            raise
        return replies

    def report(self) -> ModelReport:
        """How the model runs here, measured now: nobody may use it meanwhile."""
        return self._report()

    def close(self) -> None:
        """Finish what waits and free the model."""
        self._batcher.close()
        for executor in (self._runtime, *self._background):
            executor.close()


def reading_graph() -> Graph:
    """Plates (N, 64, 192, 3) uint8 RGB in; out the probabilities (N, 10, 37) of `PLATE` and none at each position."""
    return adapt(plate_reading(), name="plate-reading")


def fit_plate(crop: Pixels) -> Pixels:
    """The crop, stretched to the model's input."""
    if crop.ndim != 3 or crop.shape[2] != 3 or not crop.size or crop.dtype != np.uint8:
        raise ValueError(f"expected uint8 (h, w, 3) with pixels, got {crop.dtype} {crop.shape}")
    method = cv2.INTER_AREA if crop.shape[0] > HEIGHT else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(crop, (WIDTH, HEIGHT), interpolation=method), np.uint8)


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
    sure = [candidates[0].probability for candidates in characters]
    return TextLine(
        text="".join(candidates[0].character for candidates in characters),
        confidence=sum(sure) / len(sure) if sure else 0.0,
        weakest=float(probabilities.max(-1).min()) if sure else 0.0,
        characters=tuple(characters),
    )


def _execute(executor: Executor, plates: Sequence[Pixels]) -> list[Any]:
    (probabilities,) = executor(np.stack(plates))
    return [decode(each) for each in probabilities]
