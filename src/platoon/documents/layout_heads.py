"""What the outputs of a layout model mean: rectangles with a class and a score, whatever detector it is.

Which detector it is shows in its structure: how inputs and outputs are named and shaped. Which class is what on a page
is decided by the names of classes that are written in the file.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from platoon.documents.page import Label
from platoon.engine.surgery import Adaptation, AnyBatch, Array, FixInputs, PixelInput
from platoon.errors import ModelError

Size = tuple[int, int]
"""(width, height) in pixels."""
Candidates = NDArray[np.float32]
"""(N, 6): left, top, right and bottom, each 0 to 1 of the page, score 0 to 1, class."""

_LABELS: Mapping[Label, Sequence[str]] = {
    Label.TITLE: ("title", "doc_title", "paragraph_title", "section-header", "section_header"),
    Label.TABLE: ("table",),
    Label.TABLE_CAPTION: ("table_caption", "table_title"),
    Label.FIGURE: ("figure", "image", "picture", "chart", "seal"),
    Label.FIGURE_CAPTION: ("figure_caption", "figure_title", "chart_title", "caption"),
    Label.EQUATION: ("equation", "formula", "isolate_formula", "display_formula"),
    Label.REFERENCE: ("reference", "reference_content", "bibliography"),
    Label.HEADER: ("header", "page-header", "page_header", "header_image"),
    Label.FOOTER: ("footer", "page-footer", "page_footer", "footer_image", "footnote", "number"),
}
"""The names that the classes of CDLA, PubLayNet, DocLayNet, DocStructBench and PP-DocLayout have for what stands on
pages; all others are of text."""
_IMAGENET = PixelInput(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), bgr=False)
_UNIT = PixelInput(mean=(0, 0, 0), std=(1, 1, 1), bgr=False)


class Head(Protocol):
    """One kind of outputs."""

    @property
    def batches(self) -> bool:
        """Whether several pages may share an execution."""

    @property
    def padded(self) -> bool:
        """Whether pages keep their shape, on a grey ground; otherwise they are stretched to the input."""

    def adaptations(self, size: Size, /) -> tuple[Adaptation, ...]:
        """What makes the graph take pixels, (N, H, W, 3) uint8, and nothing else."""

    def candidates(self, outputs: Sequence[Array], size: Size) -> list[Candidates]:
        """The rectangles of each page, in parts of the input, which is of `size`; what overlaps is still there."""


@dataclass(frozen=True)
class PicoDetHead:
    """PicoDet without its post-processing: for each of four strides scores and distances.

    Yu et al., "PP-PicoDet: A Better Real-Time Object Detector on Mobile Devices", 2021. Every point of a grid says,
    for each class, how sure it is, and how far it is to the four sides, as a distribution over multiples of the stride,
    of which the mean counts (Li et al., "Generalized Focal Loss", NeurIPS 2020). Trained on pages in RGB stretched to
    the input.
    """

    strides: tuple[int, ...]
    min_score: float = 0.05
    batches = True
    padded = False

    def adaptations(self, _size: Size) -> tuple[Adaptation, ...]:
        """See `Head`."""
        return AnyBatch(), _IMAGENET

    def candidates(self, outputs: Sequence[Array], size: Size) -> list[Candidates]:
        """See `Head`."""
        levels = len(self.strides)
        pages = []
        for page in range(len(outputs[0])):
            parts = []
            for scores, sides, stride in zip(outputs[:levels], outputs[levels:], self.strides, strict=True):
                sure = np.flatnonzero(scores[page].max(axis=1) >= self.min_score)
                bins = sides[page][sure].reshape(len(sure), 4, sides.shape[2] // 4)
                shares = np.exp(bins - bins.max(axis=2, keepdims=True))
                far = (shares / shares.sum(axis=2, keepdims=True)) @ np.arange(bins.shape[2]) * stride
                rows, columns = np.divmod(sure, -(-size[0] // stride))
                points = (np.stack([columns, rows], axis=1) + 0.5) * stride
                boxes = np.hstack([points - far[:, :2], points + far[:, 2:]]) / (size * 2)
                chosen = scores[page][sure]
                parts.append(np.column_stack([boxes, chosen.max(axis=1), chosen.argmax(axis=1)]))
            pages.append(np.vstack(parts).astype(np.float32))
        return pages


@dataclass(frozen=True)
class PaddleHead:
    """A detector of PaddleDetection with its post-processing, as PP-DocLayout is exported: rows of class, score, left,
    top, right and bottom in pixels, which may be followed by more.

    Those of the DETR family want pixels of 0 to 1 and take the picture's size; the others want ImageNet's
    normalisation.
    """

    inputs: tuple[str, ...]
    batches = False
    padded = False

    def adaptations(self, size: Size) -> tuple[Adaptation, ...]:
        """See `Head`."""
        known = (("im_shape", (float(size[1]), float(size[0]))), ("scale_factor", (1.0, 1.0)))
        fixed = tuple((name, value) for name, value in known if name in self.inputs)
        return FixInputs(fixed), _UNIT if "im_shape" in self.inputs else _IMAGENET

    def candidates(self, outputs: Sequence[Array], size: Size) -> list[Candidates]:
        """See `Head`."""
        rows = next(output for output in outputs if output.ndim == 2)
        return [np.column_stack([rows[:, 2:6] / (size * 2), rows[:, 1], rows[:, 0]]).astype(np.float32)]


@dataclass(frozen=True)
class YoloHead:
    """A YOLO that ends without post-processing to do, as DocLayout-YOLO is exported: rows of left, top, right and
    bottom in pixels, score and class. Pages keep their shape.
    """

    batches = False
    padded = True

    def adaptations(self, _size: Size) -> tuple[Adaptation, ...]:
        """See `Head`."""
        return (_UNIT,)

    def candidates(self, outputs: Sequence[Array], size: Size) -> list[Candidates]:
        """See `Head`."""
        return [
            np.column_stack([rows[:, :4] / (size * 2), rows[:, 4], rows[:, 5]]).astype(np.float32)
            for rows in outputs[0]
        ]


def head_of(graph: onnx.GraphProto) -> tuple[Head, Size]:
    """What kind of detector a graph is, and (width, height) of its input.

    Raises:
        ModelError: it is none that is known here.
    """
    constants = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: _shape(value) for value in graph.input if value.name not in constants}
    outputs = [_shape(value) for value in graph.output]
    pictures = [shape for shape in inputs.values() if len(shape) == 4 and shape[1] == 3]
    if len(pictures) != 1:
        raise ModelError(f"its inputs are {inputs}; one picture (N, 3, H, W) is wanted")
    height, width = pictures[0][2:]
    if min(height, width) < 32:
        raise ModelError(f"its input is {pictures[0]}; export it for a height and width that are fixed")
    size = (width, height)
    if "scale_factor" in inputs and set(inputs) <= {"image", "im_shape", "scale_factor"}:
        return PaddleHead(tuple(inputs)), size
    if len(inputs) == 1 and len(outputs) == 1 and len(outputs[0]) == 3 and outputs[0][2] == 6:
        return YoloHead(), size
    if len(inputs) == 1 and len(outputs) >= 2 and len(outputs) % 2 == 0:
        levels = len(outputs) // 2
        strides = tuple(8 << level for level in range(levels))
        points = [-(-height // stride) * -(-width // stride) for stride in strides]
        if [shape[1:2] for shape in outputs] == [[count] for count in points] * 2 and all(
            len(shape) == 3 and shape[2] % 4 == 0 for shape in outputs[levels:]
        ):
            return PicoDetHead(strides), size
    raise ModelError(f"its outputs are {outputs}, those of no layout detector known here: PicoDet, PP-DocLayout, YOLO")


def labels_of(notes: Mapping[str, str]) -> list[Label]:
    """What the classes of a model are on a page, by number.

    Args:
        notes: what is written beside the graph: `character`, a name a line, or ultralytics' `names`.

    Raises:
        ModelError: they have no names, or none of them is known.
    """
    try:
        names = ast.literal_eval(notes["names"]) if "names" in notes else notes.get("character", "").split()
        ordered = [names[number] for number in range(len(names))]
    except (ValueError, SyntaxError, TypeError, LookupError) as error:
        raise ModelError("the names of its classes cannot be read") from error
    labels = {name: label for label, names in _LABELS.items() for name in names}
    known = [labels.get(str(name).strip().lower().replace(" ", "_")) for name in ordered]
    if not any(known):
        raise ModelError(f"its classes are {', '.join(map(str, ordered)) or 'without names'}: none is known here")
    return [label or Label.TEXT for label in known]


def best(candidates: Candidates, *, min_score: float, max_iou: float) -> Candidates:
    """Those that are sure enough; of two that overlap by more (intersection over union) the surer one, of any class."""
    sure = candidates[candidates[:, 4] >= min_score]
    sides = np.hstack([sure[:, :2], sure[:, 2:4] - sure[:, :2]])
    kept = cv2.dnn.NMSBoxes(sides.tolist(), sure[:, 4].tolist(), min_score, max_iou)
    chosen: Candidates = sure[np.asarray(kept, int).reshape(-1)]
    return chosen


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    """Its lengths, 0 where they are not fixed."""
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]
