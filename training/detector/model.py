"""The network that finds plates: a picture in, at each point of a grid a plate's heat, box and corners out.

A plain residual network down to a 32nd of the picture, its maps brought back up to an eighth (Lin et al., "Feature
Pyramid Networks for Object Detection", 2017), where one head tells for each cell how near it is to the middle of a
plate (Zhou et al., "Objects as Points", 2019), how far off the plate's four sides are (Tian et al., "FCOS", 2019),
and where its corners lie in that box. One map serves plates of all sizes: small ones by its grid, large ones by what
comes from below. Convolutions are plain 3 x 3, which CPUs run nearest to their peak, in training too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 8
"""Pixels of the input per cell of the output."""
WIDTHS = (16, 32, 48, 80, 96)
"""Channels at a half, a quarter, an eighth, a 16th and a 32nd of the picture."""
DEPTHS = (1, 2, 2, 2)
"""Residual blocks at a quarter to a 32nd."""
CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
"""Of a box around its middle, clockwise from the top left."""


class PlateNet(nn.Module):
    """Maps of (N, 1 + 4 + 8, H / 8, W / 8): the heat's logit; logarithms of the distances to left, top, right, bottom
    in cells; the corners' places (x and y of each) relative to the box's own corners, in halves of the box.

    Takes float (N, 3, H, W) of RGB 0-255, H and W multiples of 32.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        self.stem = _conv(3, widths[0], stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(_conv(before, after, stride=2), *(_Block(after) for _ in range(depth)))
            for before, after, depth in zip(widths[:-1], widths[1:], depths, strict=True)
        )
        middle = widths[2]
        self.far = nn.Sequential(_conv(widths[4], middle, dilation=3), _conv(middle, middle, dilation=2))
        self.sideways = nn.ModuleList(_conv(width, middle, kernel=1, relu=False) for width in widths[2:4])
        self.mix = nn.ModuleList(_conv(middle, middle) for _ in range(2))
        self.head = _conv(middle, middle)
        self.out = nn.Conv2d(middle, 13, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)
        with torch.no_grad():
            self.out.bias[0] = -4.6  # a heat of 1 %: most cells are far from any plate
            self.out.bias[1:5] = torch.tensor([1.0, 0.0, 1.0, 0.0])

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class."""
        features = self.stem(pixels * (1 / 64) - 2)
        levels = []
        for stage in self.stages:
            features = stage(features)
            levels.append(features)
        merged = self.far(levels[3])
        for level, sideways, mix in zip((levels[2], levels[1]), reversed(self.sideways), self.mix, strict=True):
            merged = mix(functional.relu(functional.interpolate(merged, scale_factor=2.0) + sideways(level)))
        maps: Tensor = self.out(self.head(merged))
        return maps


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _conv(width, width), _conv(width, width, relu=False)

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(features + self.second(self.first(features)))


def _conv(
    before: int, after: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1, relu: bool = True
) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    layers = [nn.Conv2d(before, after, kernel, stride, padding, dilation, bias=False), nn.BatchNorm2d(after)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))
