"""Plate detectors of other people's training: any YOLO or RF-DETR export in the ONNX format.

`OnnxPlateDetector.open` finds out from the graph how it wants its pixels, how large its batches may be and
what its outputs mean, and tries it once, so that what does not fit is known at start and not on the first
frame. The weights are the user's, and so is the duty to their licence (ultralytics' are AGPL-3.0).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray

from platoon.arrays import Array, on_host
from platoon.engine.batched import Capacity
from platoon.engine.batcher import Batcher, Reply
from platoon.engine.executor import Executor, Runtime
from platoon.engine.gate import Gates
from platoon.engine.model import Model, metadata
from platoon.engine.runtime import best_batch, open_runtime
from platoon.engine.surgery import PixelInput, UnexpectedGraph, adapt
from platoon.engine.tuning import Tuning
from platoon.errors import InvalidSettings, ModelError, says_retry
from platoon.metrics import Metrics
from platoon.plates.detector import PlateBox
from platoon.plates.finder import PLATE_DETECTION
from platoon.plates.heads import Candidates, DetrHead, Floats, Head, class_names, head_of, nms
from platoon.settings import EngineSettings

Size = tuple[int, int]
"""(width, height) in pixels."""

_PLATE = re.compile(r"plate|licen[cs]e", re.IGNORECASE)
_YOLO_PIXELS = PixelInput(mean=(0, 0, 0), std=(1, 1, 1), bgr=False)
_DETR_PIXELS = PixelInput(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), bgr=False)  # ImageNet's
_YOLO_PADDING = 114  # the grey that ultralytics and its forerunners pad with in training
_CAMERA_ASPECT = 16 / 9
_TYPES: Mapping[int, DTypeLike] = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.FLOAT16: np.float16,
    onnx.TensorProto.UINT8: np.uint8,
}


class OnnxPlateDetector:
    """A `PlateDetector` around an ONNX export; `open` makes one.

    A graph for a fixed batch always gets that many frames, the missing ones black; `find` takes any number. Frames of
    several callers share batches, as everywhere (`engine.batcher`).

    YOLO is trained with grey padding, and gets it. RF-DETR is trained on pictures stretched to its square,
    without padding: it asks for frames in a camera's shape, 16:9 and as high as the square, and squeezes it.
    """

    def __init__(
        self,
        runtime: Runtime,
        head: Head,
        *,
        outputs: Sequence[str],
        size: Size,
        fixed_batch: int | None,
        max_batch: int,
        wanted: Sequence[int] | None,
        min_score: float,
        max_iou: float,
        queue_limit: int,
        metrics: Metrics,
        gates: Gates,
    ) -> None:
        self.head = head
        self.tight = False
        self._runtime = runtime
        self._outputs = outputs
        self._size = size
        self._fixed_batch = fixed_batch
        self._wanted = wanted
        self._min_score = min_score
        self._max_iou = max_iou
        square = isinstance(head, DetrHead) and size[0] == size[1]
        self.input_size = (round(size[1] * _CAMERA_ASPECT / 2) * 2, size[1]) if square else size
        executors = runtime.foreground()
        self.capacity = Capacity(len(executors), max_batch)
        self._batcher: Batcher[NDArray[np.uint8], list[PlateBox]] = Batcher(
            PLATE_DETECTION,
            [partial(self._execute, executor) for executor in executors],
            gates=gates if runtime.on_cpu else None,
            bucket=lambda _: None,
            max_batch=max_batch,
            queue_limit=queue_limit,
            metrics=metrics,
        )

    @classmethod
    def open(
        cls,
        path: Path,
        engine: EngineSettings,
        tuning: Tuning,
        metrics: Metrics,
        gates: Gates,
        *,
        classes: Sequence[str] = (),
        min_score: float = 0.5,
        max_iou: float = 0.5,
        size: Size = (640, 640),
    ) -> OnnxPlateDetector:
        """Load the graph in `path` and try it on black frames.

        Args:
            path: The ONNX file.
            engine: How it runs; `max_batch` bounds the batch of a graph that takes any.
            tuning: Where measured choices are kept.
            metrics: Learn what executes it, and what that costs.
            gates: See `BatchedModel`.
            classes: Names or numbers of the classes that are plates; none: the only one, or those whose name
                says plate or licence. An end-to-end graph that names no classes is taken to know only plates.
            min_score: Boxes below are ignored, 0-1.
            max_iou: Of two boxes that overlap by more (intersection over union) the better stays.
            size: (width, height) of the input where the graph takes any.

        Raises:
            ModelError: the file is no graph, or its inputs or outputs fit no detector known here.
            InvalidSettings: `classes` names none of the graph's.
        """
        model = Model.from_path(path)
        proto = model.load()
        notes = metadata(proto)
        outputs = [output.name for output in proto.graph.output]
        try:
            wants = _Input.of(proto.graph)
            size = wants.size(otherwise=size)
            is_detr = {"dets", "labels"} <= set(outputs)
            graph = adapt(model, *wants.adaptations(_DETR_PIXELS if is_detr else _YOLO_PIXELS), name=PLATE_DETECTION)
            item = (size[1], size[0], 3)
            frames = wants.batch or 2  # one frame would not show that the batch is dynamic
            executions = gates.foreground.slots
            runtime = open_runtime(
                graph, engine, tuning, example=(frames, *item), executions=executions, metrics=metrics
            )
            answer = dict(zip(outputs, runtime(np.zeros((frames, *item), np.uint8)), strict=True))
            head = head_of(answer, frames=frames, size=size, metadata=notes)
            wanted = _plate_classes(class_names(notes), head, classes)
            max_batch = wants.batch or best_batch(runtime, graph, tuning, item=item, limit=engine.max_batch)
        except InvalidSettings:
            raise
        except Exception as error:  # what runtimes raise shares no base
            if says_retry(error):
                raise
            raise ModelError(f"model {path} cannot detect plates: {error}") from error
        return cls(
            runtime,
            head,
            outputs=outputs,
            size=size,
            fixed_batch=wants.batch,
            max_batch=max_batch,
            wanted=wanted,
            min_score=min_score,
            max_iou=max_iou,
            queue_limit=engine.queue_limit,
            metrics=metrics,
            gates=gates,
        )

    def find(self, batch: Array) -> list[list[PlateBox]]:
        """See `PlateDetector`. What a graph of others wants done to its pixels first is done on the host."""
        replies: list[Reply[list[PlateBox]]] = []
        try:
            replies.extend(self._batcher.submit(self._prepare(frame)) for frame in on_host(batch))
            return [reply.result() for reply in replies]
        finally:
            for reply in replies:
                reply.cancel()

    def warm_up(self) -> None:
        """See `PlateDetector`."""
        for frames in {self._fixed_batch or 1, self.capacity.batch}:
            self._runtime.prepare((frames, self._size[1], self._size[0], 3))

    def close(self) -> None:
        """See `PlateDetector`."""
        self._batcher.close()
        self._runtime.close()

    def _prepare(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if not isinstance(self.head, DetrHead):
            return _padded_grey(frame)
        if self.input_size == self._size:
            return frame
        return np.asarray(cv2.resize(frame, self._size, interpolation=cv2.INTER_LINEAR), np.uint8)

    def _execute(self, executor: Executor, frames: Sequence[NDArray[np.uint8]]) -> list[list[PlateBox]]:
        missing = (self._fixed_batch or len(frames)) - len(frames)
        batch = np.stack([*frames, *[np.zeros_like(frames[0])] * missing])
        try:
            answer = dict(zip(self._outputs, executor(batch), strict=True))
        except Exception as error:  # what runtimes raise shares no base
            if says_retry(error):
                raise
            raise ModelError(f"the plate detector fails on {len(frames)} frames: {error}") from error
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is left out
            candidates = self.head.read(answer, frames=len(frames), wanted=self._wanted, min_score=self._min_score)
            return [self._boxes(found) for found in candidates]

    def _boxes(self, candidates: Candidates) -> list[PlateBox]:
        boxes, scores, corners = candidates
        quads = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]] if corners is None else _clockwise(corners)
        sound = np.isfinite(scores) & np.isfinite(boxes).all(axis=1) & np.isfinite(quads).all(axis=(1, 2))
        sound &= (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        boxes, scores, quads = boxes[sound], scores[sound].clip(max=1), quads[sound]
        quads *= np.divide(self.input_size, self._size, dtype=np.float32)
        kept = nms(boxes, scores, self._max_iou)
        return [PlateBox(quads[index], float(scores[index]), is_plate=True) for index in kept]


@dataclass(frozen=True, slots=True)
class _Input:
    """How a graph wants its pictures."""

    sizes: tuple[int | None, ...]
    """Of its four axes; None where any will do."""
    type: int
    """Of ONNX' types."""
    planar: bool
    """(N, 3, H, W) and not (N, H, W, 3)."""

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> _Input:
        constants = {tensor.name for tensor in graph.initializer}
        tensors = [value.type.tensor_type for value in graph.input if value.name not in constants]
        inputs = [(tuple(dim.dim_value or None for dim in tensor.shape.dim), tensor.elem_type) for tensor in tensors]
        match inputs:
            case [((_, 3, _, _) as sizes, kind)] if kind in _TYPES:
                return cls(sizes, kind, planar=True)
            case [((_, _, _, 3) as sizes, kind)] if kind in _TYPES:
                return cls(sizes, kind, planar=False)
        listed = "; ".join(
            f"{onnx.TensorProto.DataType.Name(kind).lower()} {[size or 'any' for size in sizes]}"
            for sizes, kind in inputs
        )
        raise ModelError(
            f"it takes {listed or 'nothing'}; what fits is one input, (N, 3, height, width) or "
            "(N, height, width, 3), of float32, float16 or uint8"
        )

    @property
    def batch(self) -> int | None:
        return self.sizes[0]

    def size(self, otherwise: Size) -> Size:
        height, width = self.sizes[2:] if self.planar else self.sizes[1:3]
        return width or otherwise[0], height or otherwise[1]

    def adaptations(self, pixels: PixelInput) -> Sequence[PixelInput | _UnusualInput]:
        if self.planar and self.type == onnx.TensorProto.FLOAT:
            return [pixels]
        return [_UnusualInput(pixels, planar=self.planar, type=_TYPES[self.type])]


@dataclass(frozen=True, slots=True)
class _UnusualInput:
    """Pixels for the graphs that `PixelInput` cannot change; one that takes uint8 normalises by itself."""

    pixels: PixelInput
    planar: bool
    type: DTypeLike

    def graft(self, graph: onnx.GraphProto) -> None:  # noqa: ARG002  the face of `Adaptation`
        raise UnexpectedGraph(f"its input is {np.dtype(self.type)}, {'planar' if self.planar else 'interleaved'}")

    def prepare(self, batch: NDArray[Any]) -> NDArray[Any]:
        planes = batch.transpose(0, 3, 1, 2) if self.type is np.uint8 else self.pixels.prepare(batch)
        return np.ascontiguousarray(planes if self.planar else planes.transpose(0, 2, 3, 1), dtype=self.type)

    def finish(self, outputs: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
        return outputs


def _plate_classes(names: Mapping[int, str], head: Head, asked: Sequence[str]) -> list[int] | None:
    """The numbers of the classes that are plates; None: all."""
    known = ", ".join(f"{number} {name}" for number, name in names.items()) or f"{head.classes}, without names"
    if asked:
        by_name = {name.casefold(): number for number, name in names.items()}
        numbers = [by_name.get(name.casefold(), int(name) if name.isdecimal() else -1) for name in asked]
        valid = names or range(head.classes or max(numbers) + 1)
        if any(number not in valid for number in numbers):
            raise InvalidSettings(f"plates.classes is {', '.join(asked)}; the model's classes are: {known}")
        return numbers
    spare = isinstance(head, DetrHead)  # its slot for "no object"
    if len(names) == 1 or (not names and (head.classes or 1) <= 1 + spare):
        return list(names) or None
    plates = [number for number, name in names.items() if _PLATE.search(name)]
    if not plates:
        raise ModelError(f"plates.classes must say which of its classes are plates: {known}")
    return plates


def _padded_grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frame with the black right of it and below it made grey."""
    lit_rows, lit_columns = np.flatnonzero(frame.any(axis=(1, 2))), np.flatnonzero(frame.any(axis=(0, 2)))
    height, width = (lit[-1] + 1 if lit.size else 0 for lit in (lit_rows, lit_columns))
    padded = np.full_like(frame, _YOLO_PADDING)
    padded[:height, :width] = frame[:height, :width]
    return padded


def _clockwise(corners: Floats) -> Floats:
    """(M, 4, 2) corners in any order as quads; right for plates that lean by less than 45 degrees."""
    from_centre = corners - corners.mean(axis=1, keepdims=True)
    turns = np.argsort(np.arctan2(from_centre[..., 1], from_centre[..., 0]), axis=1)
    ordered = np.take_along_axis(corners, turns[..., None], axis=1)
    first = ordered.sum(axis=2).argmin(axis=1)
    return np.take_along_axis(ordered, ((first[:, None] + np.arange(4)) % 4)[..., None], axis=1)
