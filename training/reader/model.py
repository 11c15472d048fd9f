"""The network that reads a plate: one picture of the whole plate in, a distribution per character out.

The convolutions of PP-OCRv6 (`features`) see letters, one layer of attention over 4x24 places tells each letter which
one of the plate it is, and ten queries, one per position of the text, collect them (the decoder of DETR, Carion et al.,
ECCV 2020, with a classifier instead of boxes). Nothing is cut into lines or letters before, so two lines, emblems,
seals and separators need no rule of their own: they are places that no query asks.

While it is trained, a second head reads the same places by CTC (Graves et al., ICML 2006), line by line. It teaches
the trunk letters long before the queries know where to look, and is not exported.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.reader import NONE, POSITIONS
from training.reader.features import CHANNELS, Features

CLASSES = NONE + 1
ROWS, COLUMNS = 4, 24
"""Places that attention sees."""


class PlateNet(nn.Module):
    """Normalised pictures (N, 3, 64, 192) in, logits (N, 10, 37) out; and, for training, places (N, 96, C)."""

    def __init__(self, channels: int = 128) -> None:
        super().__init__()
        self.features = Features()
        self.narrow = nn.Conv2d(CHANNELS, channels, 1)
        self.rows = nn.Parameter(torch.randn(1, channels, ROWS, 1) * 0.02)
        self.columns = nn.Parameter(torch.randn(1, channels, 1, COLUMNS) * 0.02)
        self.encoder = Encoder(channels)
        self.queries = nn.Parameter(torch.randn(1, POSITIONS, channels) * 0.02)
        self.decoder = nn.ModuleList([Decoder(channels), Decoder(channels)])
        self.norm = nn.LayerNorm(channels)
        self.classify = nn.Linear(channels, CLASSES)
        self.line_classify = nn.Linear(channels, CLASSES)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the characters, and the places that `lines` reads."""
        seen = functional.avg_pool2d(self.features(pictures), (1, 2))
        seen = self.narrow(seen) + self.rows + self.columns
        places = self.encoder(seen.flatten(2).transpose(1, 2))
        asked = self.queries.expand(places.shape[0], -1, -1)
        for layer in self.decoder:
            asked = layer(asked, places)
        return self.classify(self.norm(asked)), places

    def lines(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """CTC logits (N, T, 37), blank last: of plates read as one line (T = 24) and as two (T = 48)."""
        grid = places.unflatten(1, (ROWS, COLUMNS))
        one = grid.mean(1)
        two = torch.cat([grid[:, : ROWS // 2].mean(1), grid[:, ROWS // 2 :].mean(1)], 1)
        return self.line_classify(one), self.line_classify(two)


class Attention(nn.Module):
    """Scaled dot products with several heads (Vaswani et al., NeurIPS 2017)."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.ask = nn.Linear(channels, channels)
        self.keys = nn.Linear(channels, 2 * channels)
        self.answer = nn.Linear(channels, channels)

    def forward(self, asked: Tensor, places: Tensor) -> Tensor:
        """(N, Q, C) and (N, P, C) to (N, Q, C)."""
        query = self.ask(asked).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = self.keys(places).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        # Written out: the fused operator's way back takes four times as long on a CPU.
        weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        return self.answer((weights.to(value.dtype) @ value).transpose(1, 2).flatten(2))


class Encoder(nn.Module):
    """Every place learns of all others."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.attend = nn.LayerNorm(channels), Attention(channels)
        self.think, self.settle = _perceptron(channels), nn.LayerNorm(channels)

    def forward(self, places: Tensor) -> Tensor:
        """Same shape."""
        known = self.norm(places)
        places = places + self.attend(known, known)
        return self.settle(places + self.think(places))


class Decoder(nn.Module):
    """Every position learns of the other positions, then looks at the places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.confer = nn.LayerNorm(channels), Attention(channels)
        self.look_norm, self.look = nn.LayerNorm(channels), Attention(channels)
        self.think = _perceptron(channels)

    def forward(self, asked: Tensor, places: Tensor) -> Tensor:
        """(N, 10, C) and (N, 96, C) to (N, 10, C)."""
        known = self.norm(asked)
        asked = asked + self.confer(known, known)
        asked = asked + self.look(self.look_norm(asked), places)
        return asked + self.think(asked)


def _perceptron(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(channels), nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
    )


def normalised(pixels: Tensor) -> Tensor:
    """Pictures (N, 64, 192, 3) uint8 as the network wants them: (N, 3, 64, 192), each with mean 0 and deviation 1,
    blue first, as the features learnt colours.

    So a plate at night or in mist looks like one at noon. Nearly even pictures keep some of their evenness.
    """
    planes = pixels.permute(0, 3, 1, 2).flip(1).float()
    centred = planes - planes.mean((1, 2, 3), keepdim=True)
    spread = (centred * centred).mean((1, 2, 3), keepdim=True).sqrt()
    return centred / (spread + 4.0)


class Reader(nn.Module):
    """What is exported: `pixels` (N, 64, 192, 3) uint8 RGB in, `probabilities` (N, 10, 37) out.

    Args:
        temperature: what logits are divided by, so that probabilities mean what they say; see `temperature`.
    """

    def __init__(self, net: PlateNet, temperature: float = 1.0) -> None:
        super().__init__()
        self.net, self.temperature = net, temperature

    def forward(self, pixels: Tensor) -> Tensor:
        """Class 36 is none."""
        logits, _ = self.net(normalised(pixels))
        return (logits / self.temperature).softmax(-1)
