"""What the network should have said, and how far off it was.

Heat: the penalty-reduced focal loss of CornerNet (Law and Deng, 2018) against a Gaussian around each plate's middle
that has the plate's shape. Boxes: 1 - GIoU (Rezatofighi et al., 2019) at the cells near the middle, weighed by that
Gaussian, so that every plate counts alike (as in TTFNet, Liu et al., 2020). Corners: smooth absolute error in halves
of the box, hardly counted where only a box is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.detector.geometry import UNIT, View
from training.detector.model import STRIDE

_SPREAD, _LEAST_SPREAD = 0.09, 0.5
"""Standard deviation of the heat as a share of the plate's side, and the least in cells."""
_NEAR = 0.35
"""Cells from this heat on learn the box."""
_INEXACT = 0.3, 0.15
"""Weights of a box that was drawn by hand, mostly too large, and of its corners, beside those of drawn plates."""
_BOX, _CORNERS = 2.0, 5.0
"""Weights beside the heat's."""


class Wanted(NamedTuple):
    """What a batch should give."""

    heat: Tensor
    """(N, H, W), 1 at the middle of each plate."""
    counted: Tensor
    """(N, H, W), 0 where nobody knows."""
    cells: Tensor
    """(M, 3): picture, row and column of the cells that learn a box."""
    boxes: Tensor
    """(M, 4): distances from the cell's middle to left, top, right, bottom, in cells."""
    corners: Tensor
    """(M, 8), relative to the box's own corners in halves of the box."""
    weights: Tensor
    """(M, 2): of the box and of the corners."""


class Parts(NamedTuple):
    """The loss, by part; their sum is minimised."""

    heat: Tensor
    box: Tensor
    corners: Tensor


def wanted(views: Sequence[View]) -> Wanted:
    """What the network should say to these views, all of one size."""
    height, width = (side // STRIDE for side in views[0].picture.shape[:2])
    heat = np.zeros((len(views), height, width), np.float32)
    counted = np.ones_like(heat)
    rows: list[tuple[list[int], list[float], list[float], list[float]]] = []
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    for index, view in enumerate(views):
        for outline in view.unclear:
            low, high = (
                np.floor(outline.min(axis=0) / STRIDE).astype(int),
                np.ceil(outline.max(axis=0) / STRIDE).astype(int),
            )
            counted[index, max(low[1], 0) : max(high[1], 0), max(low[0], 0) : max(high[0], 0)] = 0
        taken: dict[tuple[int, int], tuple[list[int], list[float], list[float], list[float]]] = {}
        for plate in sorted(view.plates, key=lambda plate: -float(np.prod(plate.box[2:] - plate.box[:2]))):
            left, top, right, bottom = (float(edge) for edge in plate.box / STRIDE)
            column = int(np.clip((left + right) / 2, 0, width - 1))
            row = int(np.clip((top + bottom) / 2, 0, height - 1))
            spread = max(_SPREAD * (right - left), _LEAST_SPREAD), max(_SPREAD * (bottom - top), _LEAST_SPREAD)
            bell = np.exp(-(((x - column) / spread[0]) ** 2 + ((y - row) / spread[1]) ** 2) / 2)
            heat[index] = np.maximum(heat[index], bell)
            half = np.array([right - left, bottom - top]) / 2
            middle = np.array([left + right, top + bottom]) / 2
            corners = ((plate.quad / STRIDE - middle) / half - (UNIT * 2 - 1)).ravel().tolist()
            inside = (bell >= _NEAR) & (x + 0.5 > left) & (x + 0.5 < right) & (y + 0.5 > top) & (y + 0.5 < bottom)
            inside[row, column] = True
            near = [(int(at_y), int(at_x)) for at_y, at_x in np.argwhere(inside)]
            total = sum(float(bell[cell]) for cell in near)
            for cell in near:
                cy, cx = cell[0] + 0.5, cell[1] + 0.5
                weight = float(bell[cell]) / total
                sides = [max(side, 0.05) for side in (cx - left, cy - top, right - cx, bottom - cy)]
                taken[cell] = (
                    [index, *cell],
                    sides,
                    corners,
                    [weight * sure for sure in ((1.0, 1.0) if plate.exact else _INEXACT)],
                )
        rows += taken.values()
    cells, boxes, points, weights = ([row[part] for row in rows] for part in range(4))
    return Wanted(
        torch.from_numpy(heat),
        torch.from_numpy(counted),
        torch.tensor(cells, dtype=torch.long).reshape(-1, 3),
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(points, dtype=torch.float32).reshape(-1, 8),
        torch.tensor(weights, dtype=torch.float32).reshape(-1, 2),
    )


def loss(maps: Tensor, target: Wanted) -> Parts:
    """How far `maps`, see `PlateNet`, are off."""
    logits = maps[:, 0]
    plates = (target.heat == 1).sum().clamp(min=1)
    share = torch.sigmoid(logits)
    middle = target.heat == 1
    hits = functional.logsigmoid(logits) * (1 - share) ** 2 * middle
    misses = functional.logsigmoid(-logits) * share**2 * (1 - target.heat) ** 4 * ~middle * target.counted
    heat = -(hits + misses).sum() / plates
    picture, row, column = target.cells.unbind(1)
    predicted = maps[picture, 1:, row, column]
    sides = predicted[:, :4].clamp(max=5).exp()
    box = ((1 - _giou(sides, target.boxes)) * target.weights[:, 0]).sum() / plates
    corners = functional.smooth_l1_loss(predicted[:, 4:], target.corners, beta=0.05, reduction="none").mean(dim=1)
    return Parts(heat, _BOX * box, _CORNERS * (corners * target.weights[:, 1]).sum() / plates)


def _giou(predicted: Tensor, target: Tensor) -> Tensor:
    """Of boxes around the same point, given by their distances from it."""
    area_predicted = (predicted[:, 0] + predicted[:, 2]) * (predicted[:, 1] + predicted[:, 3])
    area_target = (target[:, 0] + target[:, 2]) * (target[:, 1] + target[:, 3])
    inner, outer = torch.minimum(predicted, target), torch.maximum(predicted, target)
    both = (inner[:, 0] + inner[:, 2]) * (inner[:, 1] + inner[:, 3])
    hull = (outer[:, 0] + outer[:, 2]) * (outer[:, 1] + outer[:, 3])
    union = area_predicted + area_target - both
    return both / union - (hull - union) / hull
