"""What stands where on a page: regions of text, titles, tables, figures and so on, found by a model.

Any number of callers share it through its batcher. What the regions mean for the order of the text is left to `order`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from platoon.documents.layout_heads import Candidates, Head, best, head_of, labels_of
from platoon.documents.page import Box, Label
from platoon.engine.batched import BatchedModel
from platoon.engine.batcher import Reply
from platoon.engine.gate import Gates
from platoon.engine.lazy import Lazy
from platoon.engine.model import Model, layout, metadata
from platoon.engine.request_context import RequestContext
from platoon.engine.runtime import ModelReport
from platoon.engine.surgery import Graph, adapt
from platoon.engine.tuning import Tuning
from platoon.errors import ModelError
from platoon.media.frame import Letterbox, Pixels
from platoon.metrics import Metrics
from platoon.settings import EngineSettings

NAME = "layout"
"""Of the model, in metrics and where it is served."""
PURPOSE = "finds titles, texts, tables and figures on pages"
MIN_SCORE = 0.4
MAX_IOU = 0.5
_GREY = 114
"""The ground that YOLOs are trained with."""


@dataclass(frozen=True, slots=True)
class Region:
    """Where one thing stands."""

    label: Label
    box: Box
    """In pixels of the page, inside it."""
    score: float
    """0 to 1: how sure the model is."""


class Layout(Protocol):
    """Finds the regions of pages."""

    def submit(self, pictures: Sequence[Pixels], call: RequestContext) -> Sequence[Reply[list[Region]]]:
        """Queue pages, (H, W, 3) uint8 RGB each, for `call`, which gets the regions of each.

        Raises:
            Overloaded, Unavailable: see `Batcher.submit`; pages already queued are cancelled.
        """


def layout_model(path: Path | None = None) -> Model:
    """The model in the file `path`; without one the default.

    Raises:
        ModelError: there is none.
    """
    return layout() if path is None else Model.from_path(path)


class LayoutModel:
    """A `Layout` that loads its model when first needed. Safe from any thread; `close` it.

    Args:
        cache: folder for measured choices.
        gates: see `BatchedModel`.
        path: an ONNX file with the names of its classes in its metadata: PicoDet, PP-DocLayout or DocLayout-YOLO; none:
            PicoDet with the ten classes of CDLA.
    """

    def __init__(
        self, settings: EngineSettings, cache: Path, metrics: Metrics, gates: Gates, *, path: Path | None = None
    ) -> None:
        self._loaded = Lazy(
            lambda tuning: _Loaded(layout_model(path), settings, tuning, metrics, gates),
            Tuning(cache),
            name=f"model {NAME}",
            owner="the layout model",
        )

    def submit(self, pictures: Sequence[Pixels], call: RequestContext) -> Sequence[Reply[list[Region]]]:
        """See `Layout`.

        Raises:
            ModelError: it cannot be loaded, or is no layout model.
        """
        with self._loaded.lent(call.deadline) as model:
            return model.submit(pictures, call)

    def report(self) -> ModelReport:
        """How the model runs here, measured now: nobody may use it meanwhile."""
        with self._loaded.lent() as model:
            return model.report()

    def close(self) -> None:
        """Finish what waits and free the model."""
        self._loaded.close()


class _Item(NamedTuple):
    picture: Pixels
    """As large as the model's input."""
    page: tuple[int, int]
    """(width, height)."""


class _Loaded:
    def __init__(self, model: Model, settings: EngineSettings, tuning: Tuning, metrics: Metrics, gates: Gates) -> None:
        graph, self._head, self._size, self._labels = fitted(model)
        self._model: BatchedModel[_Item, list[Region]] = BatchedModel(
            graph,
            settings,
            tuning,
            metrics,
            gates,
            item=(self._size[1], self._size[0], 3),
            pixels=lambda item: item.picture,
            results=self._regions,
            compiled=True,
            max_batch=settings.max_batch if self._head.batches else 1,
        )
        self.report, self.close = self._model.report, self._model.close

    def submit(self, pictures: Sequence[Pixels], call: RequestContext) -> Sequence[Reply[list[Region]]]:
        items = (_Item(self._input(picture), (picture.shape[1], picture.shape[0])) for picture in pictures)
        return call.hold(NAME, self._model.submit(items, priority=call.priority, deadline=call.deadline))

    def _input(self, picture: Pixels) -> Pixels:
        width, height = self._size
        if self._head.padded:
            letterbox = Letterbox.fit((picture.shape[1], picture.shape[0]), self._size)
            width, height = letterbox.width, letterbox.height
        ground = np.full((self._size[1], self._size[0], 3), _GREY, np.uint8)
        twice = (2 * width, 2 * height)
        if picture.shape[1] > twice[0] and picture.shape[0] > twice[1]:  # cubic alone would skip pixels
            picture = cv2.resize(picture, twice, interpolation=cv2.INTER_AREA)
        # As in training. On 16 pages the scores of all regions sum up to 129; by area, which is smoother, to 120.
        ground[:height, :width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
        return ground

    def _regions(self, items: Sequence[_Item], outputs: tuple[NDArray[Any], ...]) -> list[list[Region]]:
        pages = self._head.candidates(outputs, self._size)
        return [self._of_page(found, item.page) for found, item in zip(pages, items, strict=True)]

    def _of_page(self, candidates: Candidates, page: tuple[int, int]) -> list[Region]:
        chosen = best(candidates, min_score=MIN_SCORE, max_iou=MAX_IOU)
        sides = chosen[:, :4].reshape(-1, 2, 2)
        if self._head.padded:
            sides = Letterbox.fit(page, self._size).to_frame(sides * np.array(self._size))
        else:
            sides = sides * np.array(page)
        corners = np.clip(np.rint(sides), 0, page).astype(int).reshape(-1, 4).tolist()
        return [
            Region(self._labels[int(number)], (left, top, right, bottom), float(score))
            for (left, top, right, bottom), (score, number) in zip(corners, chosen[:, 4:], strict=True)
            if right > left and bottom > top
        ]


class Fitted(NamedTuple):
    """A layout model, understood."""

    graph: Graph
    """Pixels in, what the detector says out."""
    head: Head
    size: tuple[int, int]
    """(width, height) of the input."""
    labels: list[Label]
    """Of its classes, by number."""


def fitted(model: Model) -> Fitted:
    """What `model` says about pages, and how.

    Raises:
        ModelError: it is no layout model that is known here.
    """
    proto = model.load()
    try:
        head, size = head_of(proto.graph)
        labels = labels_of(metadata(proto))
        graph = adapt(model, *head.adaptations(size), name=NAME)
        if graph.on_host:
            raise ModelError("its input cannot be made one of pixels")
    except ModelError as error:
        raise ModelError(f"model {model.path} cannot find the layout of pages: {error}") from error
    return Fitted(graph, head, size, labels)
