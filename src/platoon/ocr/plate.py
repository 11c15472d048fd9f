"""What counts on a picture of a licence plate: its line of text, or its lines where they are stacked.

States, slogans and dealers stand on plates in smaller letters; they are no part of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from platoon.media.frame import Letterbox, Quad
from platoon.ocr.lines import size_of

INPUT_SIZE = (128, 64)
"""(width, height) of the detector's input for every picture of a plate, so that all of them share batches. Of 153
plates 123 were read right, 119 at 160x64 and 192x64, 116 at 192x96."""
SIMILAR = 0.7
"""A line at least this high, against the largest, may be another line of the plate."""
BESIDE = 0.5
"""Lines that share this part of the narrower one's width stand one above the other."""


def plate_letterbox(width: int, height: int) -> Letterbox:
    """Where a picture of a plate lies in the detector's input: as large as fits, scaled up too."""
    scale = min(INPUT_SIZE[0] / width, INPUT_SIZE[1] / height)
    return Letterbox(scale, 0, 0, max(1, round(width * scale)), max(1, round(height * scale)))


def plate_lines(quads: Sequence[Quad]) -> list[Quad]:
    """Of all lines found, those that make the plate, from top to bottom; none of none."""
    if not quads:
        return []
    largest = max(quads, key=lambda quad: math.prod(size_of(quad)))
    lines = [quad for quad in quads if quad is largest or _is_stacked(quad, largest)]
    return sorted(lines, key=lambda quad: float(quad[:, 1].mean()))


def _is_stacked(quad: Quad, largest: Quad) -> bool:
    (width, height), (largest_width, largest_height) = size_of(quad), size_of(largest)
    lower, higher = sorted((height, largest_height))
    if lower < SIMILAR * higher:
        return False
    left, right = max(quad[:, 0].min(), largest[:, 0].min()), min(quad[:, 0].max(), largest[:, 0].max())
    apart = abs(float(quad[:, 1].mean() - largest[:, 1].mean()))
    return bool(right - left >= BESIDE * min(width, largest_width) and apart >= lower / 2)
