"""How well a network finds plates in pictures with known boxes, at the size at which the runtime will show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from platoon.media.frame import Letterbox
from training.detector.geometry import Picture
from training.detector.scenes import Shot

Find = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""(N, H, W, 3) to `candidates.candidates`."""


@dataclass(frozen=True)
class Figures:
    """Of all plates of a set, found at an IoU of 0.5."""

    average_precision: float
    recall: dict[float, float]
    """By least score."""
    precision: dict[float, float]

    def to_json(self) -> dict[str, object]:
        """For logs: recall and precision from a score of 0.5 on, and all of it by score."""
        return {
            "average_precision": round(self.average_precision, 4),
            "recall": round(self.recall[0.5], 4),
            "precision": round(self.precision[0.5], 4),
            "by_score": {
                str(score): (round(self.recall[score], 3), round(self.precision[score], 3)) for score in self.recall
            },
        }


def figures(
    find: Find, shots: Sequence[Shot], size: tuple[int, int], scores: Sequence[float] = (0.2, 0.3, 0.4, 0.5)
) -> Figures:
    """Average precision, and recall and precision from each of `scores` on."""
    marks: list[tuple[float, bool]] = []
    total = 0
    for shot in shots:
        fitted, box = letterboxed(shot.picture, size)
        found = find(fitted[None])[0]
        truth = [plate.box * box.scale for plate in shot.plates]
        total += len(truth)
        for row in distinct(found[found[:, 0] > 0.05]):
            overlaps = [iou(row[1:5], other) for other in truth]
            best = int(np.argmax(overlaps)) if overlaps else -1
            hit = best >= 0 and overlaps[best] >= 0.5
            if hit:
                truth.pop(best)
            marks.append((float(row[0]), hit))
    marks.sort(reverse=True)
    hits = np.cumsum([hit for _, hit in marks]) if marks else np.zeros(0)
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    average = float(sum(envelope[i] for i, (_, hit) in enumerate(marks) if hit) / total)
    recall_at, precision_at = {}, {}
    for score in scores:
        kept = sum(value >= score for value, _ in marks)
        recall_at[score] = float(hits[kept - 1] / total) if kept else 0.0
        precision_at[score] = float(precision[kept - 1]) if kept else 1.0
    return Figures(average, recall_at, precision_at)


def distinct(found: NDArray[np.float32], *, most: float = 0.4) -> list[NDArray[np.float32]]:
    """Those candidates, best first, that overlap no better one by more than `most`."""
    kept: list[NDArray[np.float32]] = []
    for row in found:
        if all(iou(row[1:5], better[1:5]) <= most for better in kept):
            kept.append(row)
    return kept


def letterboxed(picture: Picture, size: tuple[int, int]) -> tuple[Picture, Letterbox]:
    """A picture as the runtime scales it into (width, height): top left, never larger, black beside."""
    box = Letterbox.fit(picture.shape[1::-1], size)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    canvas[: box.height, : box.width] = cv2.resize(picture, (box.width, box.height), interpolation=cv2.INTER_AREA)
    return canvas, box


def iou(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Intersection over union of two boxes."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    both = float(np.prod((high - low).clip(0)))
    areas = [float(np.prod(box[2:] - box[:2])) for box in (one, other)]
    return both / (sum(areas) - both)
