"""What finds plates: a scaled picture in, quadrilaterals that may hold a plate out.

Two kinds satisfy `PlateDetector`: the text detector that comes with Platoon (`text_detector`), and YOLO or
RF-DETR exports of others (`onnx_detector`). Nothing above them can tell which one runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from platoon.arrays import Array
from platoon.engine.batched import Capacity
from platoon.media.frame import Quad


@dataclass(frozen=True, slots=True)
class PlateBox:
    """A place that may hold a plate."""

    quad: Quad
    """Corners in pixels of the detector's input, clockwise from the plate's top left; they may lie outside.
    `Letterbox.to_frame` maps them to the frame."""
    score: float
    """0-1."""
    is_plate: bool = False
    """Whether the score says how sure it is that this is a plate, and not that it is text of whatever kind."""


class PlateDetector(Protocol):
    """Finds plates in scaled frames; safe from any thread."""

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of the scaled frames it takes."""

    @property
    def tight(self) -> bool:
        """Whether its quads hug one line of text; otherwise text is located inside them before it is read."""

    @property
    def capacity(self) -> Capacity:
        """What keeps it busy, in frames."""

    def find(self, batch: Array) -> list[list[PlateBox]]:
        """The boxes of each frame, best first.

        Args:
            batch: (N, height, width, 3) uint8 RGB, each frame scaled to fit at the top left, the rest black.

        Raises:
            ModelError: the model cannot run on it.
        """

    def warm_up(self) -> None:
        """Get ready for batches up to the best, so that no live frame waits for a first run."""

    def close(self) -> None:
        """Release the model."""
