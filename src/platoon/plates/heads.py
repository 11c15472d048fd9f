"""What the outputs of other people's detectors mean.

`head_of` tells from names, shapes and metadata which head an ONNX graph has; the head then turns raw outputs
into `Candidates`. Shapes are checked against the grid that the input size implies, so that a head of another
family is refused rather than misread. Pure numpy: running the graph is left to `onnx_detector`.

The formats, by the documentation and the exports of the projects: YOLOv5 and v7 raw (N, 3 boxes per cell,
5 + classes); YOLOv8 to v11 raw (N, 4 + classes [+ keypoints], 1 box per cell); ultralytics with NMS inside,
YOLOv10 and YOLO26 (N, K, 6 [+ keypoints]); the `end2end` of YOLOv7 and v9, which open-image-models publishes,
(M, 7); RF-DETR `dets` and `labels`.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from platoon.errors import ModelError

Floats = NDArray[np.float32]
Outputs = Mapping[str, NDArray[np.floating]]
"""What one run gave, by name, in the order of the graph."""

SUPPORTED = (
    "YOLOv5/v7 raw (N, boxes, 5 + classes); YOLOv8-v11 raw (N, 4 + classes, boxes), detection or pose of the "
    "four corners; YOLO end to end or with NMS inside, (N, boxes, 6) or (boxes, 7); RF-DETR (dets, labels)"
)
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
_LOWEST_LOGIT = -88.0  # exp overflows in float32 beyond


class Candidates(NamedTuple):
    """What a head proposes for one frame, in pixels of the graph's input; unordered, may overlap."""

    boxes: Floats
    """(M, 4): left, top, right, bottom."""
    scores: Floats
    """(M,)."""
    corners: Floats | None = None
    """(M, 4, 2) where the head gives keypoints, in the order of its training."""


class Head(Protocol):
    """One way of writing boxes into tensors."""

    @property
    def classes(self) -> int | None:
        """How many classes there are; None where the shapes do not say."""

    def read(
        self, outputs: Outputs, *, frames: int, wanted: Sequence[int] | None, min_score: float
    ) -> list[Candidates]:
        """Give, for each of `frames`, what scores at least `min_score` in a `wanted` class (None: in any)."""


@dataclass(frozen=True, slots=True)
class GridHead:
    """A raw YOLO head: a box for each anchor as centre and size in pixels, and a score for each class."""

    output: str
    classes: int
    objectness: bool
    """Whether a score for "any object" stands before the classes and multiplies them (YOLOv5, v7)."""
    columns: bool
    """Whether a box is a column (YOLOv8 and later) and not a row."""
    point_width: int = 0
    """Values per keypoint behind the classes: 0 (no keypoints), 2 (x, y) or 3 (with visibility)."""

    def read(
        self, outputs: Outputs, *, frames: int, wanted: Sequence[int] | None, min_score: float
    ) -> list[Candidates]:
        """See `Head`."""
        rows = outputs[self.output][:frames]
        if self.columns:
            rows = rows.swapaxes(1, 2)
        first = 5 if self.objectness else 4
        indices = [first + index for index in (range(self.classes) if wanted is None else wanted)]
        scores = rows[..., indices].max(axis=2).astype(np.float32)
        if self.objectness:
            scores *= rows[..., 4]
        found = []
        for frame, frame_scores in zip(rows, scores, strict=True):
            above = frame_scores >= min_score
            kept = frame[above].astype(np.float32)
            corners = _corners(kept[:, first + self.classes :], self.point_width)
            found.append(Candidates(_from_centres(kept[:, :4]), frame_scores[above], corners))
        return found


@dataclass(frozen=True, slots=True)
class EndToEndHead:
    """(N, K, 6 [+ keypoints]): left, top, right, bottom, score, class; unused rows score 0."""

    output: str
    point_width: int = 0

    @property
    def classes(self) -> None:
        """Only the metadata knows."""

    def read(
        self, outputs: Outputs, *, frames: int, wanted: Sequence[int] | None, min_score: float
    ) -> list[Candidates]:
        """See `Head`."""
        found = []
        for frame in outputs[self.output][:frames].astype(np.float32):
            rows = frame[(frame[:, 4] >= min_score) & _is_wanted(frame[:, 5], wanted)]
            found.append(Candidates(rows[:, :4], rows[:, 4], _corners(rows[:, 6:], self.point_width)))
        return found


@dataclass(frozen=True, slots=True)
class ListHead:
    """(M, 7): frame, left, top, right, bottom, class, score; one list for all frames of a batch."""

    output: str

    @property
    def classes(self) -> None:
        """Only the metadata knows."""

    def read(
        self, outputs: Outputs, *, frames: int, wanted: Sequence[int] | None, min_score: float
    ) -> list[Candidates]:
        """See `Head`."""
        rows = outputs[self.output].astype(np.float32)
        rows = rows[(rows[:, 6] >= min_score) & _is_wanted(rows[:, 5], wanted)]
        by_frame = (rows[rows[:, 0] == frame] for frame in range(frames))
        return [Candidates(mine[:, 1:5], mine[:, 6]) for mine in by_frame]


@dataclass(frozen=True, slots=True)
class DetrHead:
    """RF-DETR: `dets` (N, Q, 4), centre and size as shares of the input; `labels` (N, Q, classes), logits.

    Classes are independent of each other (sigmoid).
    """

    classes: int
    """Among them, last, "no object", unless the training set numbered its classes from 1; it never scores."""
    size: tuple[int, int]
    """(width, height) of the graph's input."""

    def read(
        self, outputs: Outputs, *, frames: int, wanted: Sequence[int] | None, min_score: float
    ) -> list[Candidates]:
        """See `Head`."""
        logits = outputs["labels"][:frames].astype(np.float32)
        if wanted is not None:
            logits = logits[..., list(wanted)]
        best = logits.max(axis=2)
        scores = 1 / (1 + np.exp(-best.clip(_LOWEST_LOGIT)))
        boxes = outputs["dets"][:frames].astype(np.float32) * np.array([*self.size, *self.size], np.float32)
        above = (scores >= min_score) & np.isfinite(best)
        return [
            Candidates(_from_centres(frame[keep]), frame_scores[keep])
            for frame, frame_scores, keep in zip(boxes, scores, above, strict=True)
        ]


def head_of(outputs: Outputs, *, frames: int, size: tuple[int, int], metadata: Mapping[str, str]) -> Head:
    """The head that wrote `outputs` for a batch of `frames` of (width, height) `size`.

    Raises:
        ModelError: none that is known fits; says what was found.
    """
    task = metadata.get("task", "detect")
    if task not in ("detect", "pose"):
        raise ModelError(f"it was trained to {task}; what fits: {SUPPORTED}")
    shapes = {name: value.shape for name, value in outputs.items()}
    heads: list[Head | None]
    if shapes.keys() >= {"dets", "labels"}:
        heads = [_detr(shapes["dets"], shapes["labels"], frames, size)]
    else:
        named, point_width = len(class_names(metadata)), _point_width(metadata)
        heads = [_yolo(name, shape, frames, size, named, point_width) for name, shape in shapes.items()]
    fitting = [head for head in heads if head is not None]
    if len(fitting) != 1:
        listed = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise ModelError(
            f"{len(fitting) or 'none'} of its outputs can be read as boxes; {frames} frames of "
            f"{size[0]}x{size[1]} gave {listed}; what fits: {SUPPORTED}"
        )
    return fitting[0]


def _detr(boxes: tuple[int, ...], labels: tuple[int, ...], frames: int, size: tuple[int, int]) -> DetrHead | None:
    if len(labels) != 3 or boxes != (frames, labels[1], 4) or labels[0] != frames:
        return None
    return DetrHead(classes=labels[2], size=size)


def _yolo(
    name: str, shape: tuple[int, ...], frames: int, size: tuple[int, int], named: int, point_width: int
) -> Head | None:
    """The head of one output; `named`: how many classes the metadata name, 0: not said."""
    if len(shape) == 2 and shape[1] == 7 and not name.startswith("batchno_classid"):  # those order otherwise
        return ListHead(name)
    if len(shape) != 3 or shape[0] != frames:
        return None
    grids = [sum(-(-size[0] // step) * -(-size[1] // step) for step in strides) for strides in _STRIDES]
    points = 4 * point_width
    classes = shape[1] - 4 - points
    if shape[2] in grids and classes > 0 and named in (0, classes):
        return GridHead(name, classes, objectness=False, columns=True, point_width=point_width)
    classes = shape[2] - 5
    if shape[1] in [3 * cells for cells in grids] and classes > 0 and named in (0, classes):
        return GridHead(name, classes, objectness=True, columns=False)
    if shape[1] not in grids and shape[2] == 6 + points:
        return EndToEndHead(name, point_width)
    return None


def class_names(metadata: Mapping[str, str]) -> dict[int, str]:
    """The names of the classes by number, as ultralytics and RF-DETR write them; empty where nothing says."""
    try:
        if "names" in metadata:
            names = ast.literal_eval(metadata["names"])
        else:
            names = json.loads(metadata.get("rfdetr_inference", "{}")).get("class_id_to_name", {})
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): str(name) for number, name in pairs}
    except (ValueError, SyntaxError, TypeError, AttributeError):
        return {}


def _point_width(metadata: Mapping[str, str]) -> int:
    if metadata.get("task") != "pose":
        return 0
    shape = metadata.get("kpt_shape", "nothing")
    try:
        count, width = ast.literal_eval(shape)
    except (ValueError, SyntaxError, TypeError):
        count = width = None
    if count != 4 or width not in (2, 3):
        raise ModelError(f"its keypoints are {shape}; a pose model fits with the four corners: [4, 2] or [4, 3]")
    return int(width)


def _from_centres(boxes: Floats) -> Floats:
    """(M, 4) centre x, centre y, width, height as left, top, right, bottom."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _corners(values: Floats, point_width: int) -> Floats | None:
    return values.reshape(len(values), 4, point_width)[..., :2] if point_width else None


def _is_wanted(classes: Floats, wanted: Sequence[int] | None) -> NDArray[np.bool_]:
    return np.ones(len(classes), bool) if wanted is None else np.isin(classes, wanted)


def nms(boxes: Floats, scores: Floats, max_iou: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression, whatever the classes.

    Args:
        boxes: (M, 4) left, top, right, bottom.
        scores: (M,).
        max_iou: A box that overlaps a better one by more (intersection over union) goes.

    Returns:
        The indices of the boxes that stay, best first; of equals the earlier is the better.
    """
    order = np.argsort(-scores, kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(best)
        top_left = np.maximum(boxes[best, :2], boxes[order, :2])
        bottom_right = np.minimum(boxes[best, 2:], boxes[order, 2:])
        overlap = (bottom_right - top_left).clip(0).prod(axis=1)
        order = order[overlap <= max_iou * (areas[best] + areas[order] - overlap)]
    return np.array(kept, np.intp)
