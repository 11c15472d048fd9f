"""What PP-OCRv6 has learnt of letters: the convolutions of its small recogniser, to start from.

The recogniser (Apache-2.0, PaddlePaddle) has read millions of lines in photographs, which nobody can draw. Its
convolutions are blocks of RepViT (Wang et al., CVPR 2024) behind the stem of PP-HGNet, already folded for inference,
that halve the height four times and the width twice: a plate of 64x192 pixels becomes 4x48 places of 384 channels.
What follows there (a neck that forgets in which row a letter stood, and 18,710 characters) is left out.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = 384
"""Of each place."""


class Features(nn.Sequential):
    """Normalised pictures (N, 3, H, W), blue first, to places (N, 384, H / 16, W / 4)."""

    def __init__(self) -> None:
        stages = (
            [Stem()]
            + [Block(96, squeezed=number == 0) for number in range(3)]
            + [Narrower(96, 192)]
            + [Block(192, squeezed=number % 2 == 0) for number in range(6)]
            + [Narrower(192, 384)]
            + [Block(384, squeezed=number == 0) for number in range(2)]
        )
        super().__init__(*stages)

    def load(self, recogniser: Path) -> None:
        """Take the weights of the recogniser's ONNX file. ValueError: it is built otherwise."""
        graph = onnx.load(recogniser).graph
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        biases = {node.input[0]: weights.get(node.input[1]) for node in graph.node if node.op_type == "Add"}
        theirs = [node for node in graph.node if node.op_type == "Conv"]
        ours = [layer for layer in self.modules() if isinstance(layer, nn.Conv2d)]
        if len(theirs) < len(ours):
            raise ValueError(f"{recogniser} is no PP-OCRv6 small recogniser: it has {len(theirs)} convolutions")
        for layer, node in zip(ours, theirs, strict=False):  # theirs go on with the neck
            weight, bias = weights[node.input[1]], biases.get(node.output[0])
            if weight.shape != tuple(layer.weight.shape) or bias is None or layer.bias is None:
                raise ValueError(f"{recogniser} is no PP-OCRv6 small recogniser: a weight is {weight.shape}")
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(weight.copy()))
                layer.bias.copy_(torch.from_numpy(bias.reshape(-1).copy()))


class Stem(nn.Module):
    """Edges: (N, 3, H, W) to (N, 96, H / 4, W / 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 48, 3, stride=2, padding=1)
        self.narrow = nn.Conv2d(48, 24, 2)
        self.widen = nn.Conv2d(24, 48, 2)
        self.join = nn.Conv2d(96, 48, 3, stride=2, padding=1)
        self.last = nn.Conv2d(48, 96, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        seen = functional.relu(self.first(pictures))
        fine = functional.relu(self.narrow(functional.pad(seen, (0, 1, 0, 1))))
        fine = functional.relu(self.widen(functional.pad(fine, (0, 1, 0, 1))))
        # What is padded counts for nothing: everything seen is above 0.
        coarse = functional.max_pool2d(functional.pad(seen, (0, 1, 0, 1)), 2, stride=1)
        return functional.relu(self.last(functional.relu(self.join(torch.cat([coarse, fine], 1)))))


class Block(nn.Module):
    """Each channel looks around, then channels are mixed beside the identity; same shape."""

    def __init__(self, channels: int, *, squeezed: bool) -> None:
        super().__init__()
        self.look = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.squeeze = Squeeze(channels) if squeezed else nn.Identity()
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.mix = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, seen: Tensor) -> Tensor:
        """See the class."""
        looked = self.squeeze(self.look(seen))
        return looked + self.mix(functional.gelu(self.widen(looked)))


class Narrower(nn.Module):
    """Half the height, twice the channels."""

    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(given, given, 3, stride=(2, 1), padding=1, groups=given)
        self.widen = nn.Conv2d(given, made, 1)
        self.mix = nn.Conv2d(made, made, 1)

    def forward(self, seen: Tensor) -> Tensor:
        """See the class."""
        return self.mix(functional.gelu(self.widen(self.look(seen))))


class Squeeze(nn.Module):
    """Channels weighed by what is seen anywhere (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, channels // 4, 1)
        self.widen = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, seen: Tensor) -> Tensor:
        """Same shape."""
        weights = self.widen(functional.relu(self.narrow(seen.mean((2, 3), keepdim=True))))
        return seen * functional.hardsigmoid(weights)
