"""From the network's maps to plates: the part of the graph behind the network, and the graph as it is exported."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.detector.model import CORNERS, STRIDE, PlateNet

COUNT = 50
"""Candidates per picture."""


def candidates(maps: Tensor) -> Tensor:
    """The hottest peaks, (N, COUNT, 13), best first: score 0-1; left, top, right, bottom; x and y of four corners, in
    pixels.

    A peak is a cell that is hotter than its eight neighbours.
    """
    heat = torch.sigmoid(maps[:, :1])
    peaks = heat * (functional.max_pool2d(heat, 3, 1, 1) <= heat).to(heat.dtype)
    scores, places = peaks.flatten(1).topk(COUNT, dim=1)
    predicted = maps[:, 1:].flatten(2).transpose(1, 2)
    predicted = predicted.gather(1, places.unsqueeze(2).expand(-1, -1, 12))
    width = maps.shape[3]
    middle = torch.stack([places % width, torch.div(places, width, rounding_mode="floor")], dim=2).to(maps.dtype) + 0.5
    sides = predicted[..., :4].clamp(max=5.0).exp()
    low, high = (middle - sides[..., :2]) * STRIDE, (middle + sides[..., 2:]) * STRIDE
    centre, half = (low + high) / 2, (high - low) / 2
    unit = torch.tensor(CORNERS, dtype=maps.dtype)
    corners = centre.unsqueeze(2) + half.unsqueeze(2) * (predicted[..., 4:].unflatten(2, (4, 2)) + unit)
    return torch.cat([scores.unsqueeze(2), low, high, corners.flatten(2)], dim=2)


class PlateGraph(nn.Module):
    """From pixels, uint8 (N, H, W, 3), to `candidates`."""

    def __init__(self, net: PlateNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class."""
        return candidates(self.net(pixels.permute(0, 3, 1, 2).float()))
