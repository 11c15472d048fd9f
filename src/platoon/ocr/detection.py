"""Where text is in a picture: a model's map of text, made into rotated rectangles.

The method is differentiable binarisation (Liao et al., "Real-time Scene Text Detection with Differentiable
Binarization", AAAI 2020) with the post-processing of PaddleOCR. Scaling pictures to the model's input and
boxes back is left to the caller, who knows the pictures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from platoon.arrays import Array, is_uint8
from platoon.engine.batched import BatchedModel, Capacity
from platoon.engine.batcher import Priority, Reply
from platoon.engine.executor import ShapeProfile
from platoon.engine.gate import Gates
from platoon.engine.model import Model, text_detection
from platoon.engine.runtime import ModelReport
from platoon.engine.surgery import ExpectOutput, Graph, NameOutputs, PixelInput, adapt
from platoon.engine.tuning import Tuning
from platoon.media.frame import Quad
from platoon.metrics import Metrics
from platoon.ocr.exported import exported
from platoon.settings import EngineSettings

STRIDE = 32
"""Height and width of the input are multiples of this."""

INPUT = PixelInput(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), bgr=True)
"""PaddleOCR's own preprocessing; RapidOCR runs the same weights with mean and deviation 0.5. Measured on 153
photographs of vehicles at 960x544 (plates located, plate texts right): this 151, 119; 0.5/0.5 150, 116; this
on RGB 151, 117; 0.5/0.5 on RGB 150, 117. On pages neither reads better: of 88,558 characters of 39 pages 547 and 539
were wrong, of 64,605 of 26 others 348 and 347 (docs/accuracy.md)."""


SMALL = (64, 128)
"""(height, width) of small pictures, as crops of plates are. A batch holds as many as pays for these, and of larger
pictures no more pixels than pay for those of the usual size."""

LARGEST = (1280, 1280)
"""(height, width) of the largest input that engines built beforehand must take."""


def detection_graph(path: Path | None = None) -> Graph:
    """Pixels in, `map` (N, 1, H, W) out.

    Args:
        path: a PP-OCR model for it, as an ONNX file or in Paddle's form; none: the weights that come with Platoon.

    Raises:
        ModelError: see `text_detection`; the model at `path` is none, or one for something else.
    """
    if path is None:
        return adapt(text_detection(), INPUT, NameOutputs(("map",)), name="text-detection")
    model = Model.from_path(path)
    pixels = exported(model, "DBPostProcess", INPUT).pixels or INPUT
    expected = ExpectOutput(model.name, "finds text", ((), (1,), (), ()))
    return adapt(model, expected, pixels, NameOutputs(("map",)), name="text-detection")


@dataclass(frozen=True, slots=True, eq=False)
class TextBox:
    """A line of text, found but not read."""

    quad: Quad
    """In pixels of the detector's input; may reach beyond its border."""
    score: float
    """0 to 1: how sure the model is that the area inside is text."""


@dataclass(frozen=True, slots=True)
class Postprocessing:
    """How a map of text becomes boxes."""

    threshold: float = 0.3
    """A pixel above this is text."""
    box_threshold: float = 0.5
    """A box is kept whose pixels are above this on average."""
    unclip: float = 1.6
    """The model marks the core of a line; its box grows on all sides by this times area / perimeter."""
    min_side: int = 3
    """Cores narrower than this, in pixels, are noise."""


class TextDetector:
    """Text detection behind its batcher; safe from any thread.

    Args:
        gates: see `BatchedModel`.
        size: (height, width) that pictures mostly have; others work too, a little slower.
    """

    def __init__(
        self,
        settings: EngineSettings,
        tuning: Tuning,
        metrics: Metrics,
        gates: Gates,
        *,
        size: tuple[int, int],
    ) -> None:
        item = (*size, 3)
        half = tuple(max(STRIDE, length // (2 * STRIDE) * STRIDE) for length in size)
        self._model: BatchedModel[Array, NDArray[np.float32]] = BatchedModel(
            detection_graph(settings.text_detection),
            settings,
            tuning,
            metrics,
            gates,
            item=item,
            pixels=lambda picture: picture,
            results=lambda _, outputs: list(outputs[0][:, 0]),
            allow_bf16=True,
            profile=ShapeProfile(
                (1, STRIDE, STRIDE, 3), (settings.max_batch, *item), (settings.max_batch, *map(max, size, LARGEST), 3)
            ),
            small=(*SMALL, 3),
            compiled=True,
            warm=[(1, *half, 3)],
        )

    @property
    def capacity(self) -> Capacity:
        """What keeps it busy."""
        return self._model.capacity

    def find(
        self,
        pictures: Iterable[Array],
        *,
        priority: Priority = Priority.VIDEO,
        deadline: float | None = None,
    ) -> list[list[TextBox]]:
        """The lines of text in each picture; blocks until they are found.

        Args:
            pictures: (H, W, 3) uint8 RGB each, H and W multiples of 32; an array (N, H, W, 3) is N of them.
                They must not change until this returns.
            priority: against other callers.
            deadline: a point of `time.monotonic()`.

        Raises:
            Overloaded, DeadlineExceeded, Unavailable: see `Batcher.submit`.
        """
        queued = self.submit(pictures, priority=priority, deadline=deadline)
        try:
            return [text_boxes(reply.result(), Postprocessing()) for reply in queued]
        finally:
            for reply in queued:
                reply.cancel()

    def submit(
        self,
        pictures: Iterable[Array],
        *,
        priority: Priority = Priority.VIDEO,
        deadline: float | None = None,
    ) -> list[Reply[NDArray[np.float32]]]:
        """Queue pictures as `find` takes them; each reply is a map for `text_boxes`, shape (H, W), 0 to 1.

        Raises:
            Overloaded, Unavailable: see `Batcher.submit`; pictures already queued are cancelled.
        """
        return self._model.submit(map(_checked, pictures), priority=priority, deadline=deadline)

    def report(self) -> ModelReport:
        """How the model runs here, measured now: nobody may use it meanwhile."""
        return self._model.report()

    def close(self) -> None:
        """Finish what waits and free the model."""
        self._model.close()


def _checked(picture: Array) -> Array:
    shape = picture.shape
    if not is_uint8(picture) or len(shape) != 3 or shape[2] != 3 or shape[0] % STRIDE or shape[1] % STRIDE:
        raise ValueError(f"expected uint8 (H, W, 3) in multiples of {STRIDE}, got {picture.dtype} {shape}")
    return picture


def text_boxes(text_map: NDArray[np.float32], postprocessing: Postprocessing) -> list[TextBox]:
    """The boxes in a map of text, shape (H, W), values 0 to 1."""
    contours, _ = cv2.findContours(
        (text_map > postprocessing.threshold).view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE
    )
    boxes = []
    for contour in contours:
        centre, (width, height), angle = cv2.minAreaRect(contour)
        if min(width, height) < postprocessing.min_side:
            continue
        core = cv2.boxPoints((centre, (width, height), angle))
        score = _mean_inside(text_map, core)
        if score < postprocessing.box_threshold:
            continue
        # A contour runs through the middle of its pixels: the area reaches half a pixel further on all sides.
        width, height = width + 1, height + 1
        # Growing a rectangle's outline by a distance and boxing it again is growing its sides by twice that.
        growth = postprocessing.unclip * width * height / (width + height)
        quad = cv2.boxPoints((centre, (width + growth, height + growth), angle))
        boxes.append(TextBox(_clockwise(quad), score))
    return boxes


def _mean_inside(text_map: NDArray[np.float32], quad: Quad) -> float:
    """Mean of the map inside `quad`, looking only at the upright rectangle around it."""
    height, width = text_map.shape
    left, top = np.clip(np.floor(quad.min(axis=0)).astype(int), 0, (width - 1, height - 1))
    right, bottom = np.clip(np.ceil(quad.max(axis=0)).astype(int), 0, (width - 1, height - 1))
    around = text_map[top : bottom + 1, left : right + 1]
    inside = np.zeros(around.shape, np.uint8)
    cv2.fillConvexPoly(inside, (quad - (left, top)).astype(np.int32), 1)
    return float(cv2.mean(around, inside)[0])


def _clockwise(quad: Quad) -> Quad:
    """The corners clockwise from the top left: of the two leftmost the upper comes first."""
    by_x = quad[np.argsort(quad[:, 0], kind="stable")]
    left, right = by_x[:2], by_x[2:]
    top_left, bottom_left = left[np.argsort(left[:, 1], kind="stable")]
    top_right, bottom_right = right[np.argsort(right[:, 1], kind="stable")]
    return np.array([top_left, top_right, bottom_right, bottom_left], np.float32)
