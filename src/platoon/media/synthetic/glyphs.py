"""Letters and digits as strokes: a bold, condensed alphabet in the manner of plate typefaces.

Nothing is taken from a font file, so the same text looks the same on every machine. A glyph is a few strokes
over a unit box; a corner may be rounded. Strokes that end on the box's edge are cut flat along it.

`text_mask` promises coverage (anti-aliased, 0-255) and exact height; where the text goes is up to its caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from platoon.media.synthetic.shapes import Mask, rounded


@dataclass(frozen=True)
class Typeface:
    """Proportions, all in units of the capitals' height."""

    letter: float = 0.62
    """Width of most letters."""
    digit: float = 0.58
    stroke: float = 0.15
    gap: float = 0.13
    """Between two characters."""


PLATE_FACE = Typeface()


_SUPERSAMPLING = 4

_SIX = "1,.25 1,0,.5 0,0,.5 0,1,.5 1,1,.5 1,.43,.48 .05,.43"
_STROKES: dict[str, tuple[str, ...]] = {
    # Corners as x,y[,radius]; y runs downwards; the radius is a share of the box's width; "z" closes a stroke.
    "A": ("0,1 .43,0 .57,0 1,1", ".17,.68 .83,.68"),
    "B": ("0,0 .92,0,.4 .92,.48,.4 0,.48 z", "0,.48 1,.48,.42 1,1,.42 0,1 z"),
    "C": ("1,.29 1,0,.5 0,0,.5 0,1,.5 1,1,.5 1,.71",),
    "D": ("0,0 1,0,.6 1,1,.6 0,1 z",),
    "E": ("1,0 0,0 0,1 1,1", "0,.48 .88,.48"),
    "F": ("1,0 0,0 0,1", "0,.5 .86,.5"),
    "G": ("1,.27 1,0,.5 0,0,.5 0,1,.5 1,1,.5 1,.54 .5,.54",),
    "H": ("0,0 0,1", "1,0 1,1", "0,.49 1,.49"),
    "I": (".5,0 .5,1",),
    "J": (".3,0 1,0 1,1,.5 0,1,.5 0,.68",),
    "K": ("0,0 0,1", "1,0 .05,.62", ".38,.4 1,1"),
    "L": ("0,0 0,1 1,1",),
    "M": ("0,1 0,0 .5,.62 1,0 1,1",),
    "N": ("0,1 0,0 1,1 1,0",),
    "O": ("0,0,.5 1,0,.5 1,1,.5 0,1,.5 z",),
    "P": ("0,1 0,0 1,0,.45 1,.55,.45 0,.55",),
    "Q": ("0,0,.5 1,0,.5 1,1,.5 0,1,.5 z", ".55,.68 1,1"),
    "R": ("0,1 0,0 1,0,.43 1,.52,.43 0,.52", ".42,.52 1,1"),
    "S": ("1,.26 1,0,.5 0,0,.5 0,.48,.42 1,.48,.42 1,1,.5 0,1,.5 0,.74",),
    "T": ("0,0 1,0", ".5,0 .5,1"),
    "U": ("0,0 0,1,.5 1,1,.5 1,0",),
    "V": ("0,0 .45,1 .55,1 1,0",),
    "W": ("0,0 .23,1 .27,1 .5,.25 .73,1 .77,1 1,0",),
    "X": ("0,0 1,1", "1,0 0,1"),
    "Y": ("0,0 .5,.52 1,0", ".5,.52 .5,1"),
    "Z": ("0,0 1,0 0,1 1,1",),
    "0": ("0,0,.5 1,0,.5 1,1,.5 0,1,.5 z",),
    "1": ("0,.25 .75,0 .75,1",),
    "2": ("0,.28 0,0,.5 1,0,.5 1,.46,.4 0,1 1,1",),
    "3": ("0,.25 0,0,.5 .95,0,.45 .95,.47,.42 .4,.47", ".4,.47 1,.47,.44 1,1,.5 0,1,.5 0,.75"),
    "4": (".55,0 0,.74 1,.74", ".74,.42 .74,1"),
    "5": ("1,0 .06,0 .02,.42 1,.42,.5 1,1,.5 0,1,.5 0,.76",),
    "6": (_SIX,),
    "7": ("0,0 1,0 .32,1",),
    "8": (".05,0,.45 .95,0,.45 .95,.47,.45 .05,.47,.45 z", "0,.47,.48 1,.47,.48 1,1,.48 0,1,.48 z"),
    "9": (_SIX,),
    "-": ("0,.52 1,.52",),
    ".": (".5,1 .5,.92",),
    ":": (".5,.34 .5,.19", ".5,.81 .5,.66"),
    "/": ("0,1 1,0",),
}
_WIDTHS = {"I": 0.0, "M": 1.18, "W": 1.4, "1": 0.68, "J": 0.92, "-": 0.6, ".": 0.0, ":": 0.0, "/": 0.75}
"""Where a glyph's width differs from its typeface's, the share of it; 0: as wide as the stroke."""


def text_mask(text: str, height: int, face: Typeface = PLATE_FACE) -> Mask:
    """The coverage of `text`, shape (height, its width). A space is a gap of 0.4 heights.

    Raises:
        ValueError: a character is none of A-Z, 0-9, `-`, `.`, `:`, `/` and space.
    """
    parts: list[Mask] = []
    for character in text:
        if parts:
            parts.append(np.zeros((height, max(1, round(face.gap * height))), np.uint8))
        parts.append(
            np.zeros((height, max(1, round(0.4 * height))), np.uint8)
            if character == " "
            else _glyph(character, height, face)
        )
    return np.hstack(parts) if parts else np.zeros((height, 0), np.uint8)


@lru_cache(maxsize=2048)
def _glyph(character: str, height: int, face: Typeface) -> Mask:
    if character not in _STROKES:
        raise ValueError(f"the alphabet has no {character!r}: it holds A-Z, 0-9, '-', '.', ':', '/' and space")
    fine_height = height * _SUPERSAMPLING
    stroke = face.stroke * fine_height
    width = (face.digit if character.isdigit() else face.letter) * _WIDTHS.get(character, 1.0) * height
    width = max(1, round(max(width, face.stroke * height)))
    fine = np.zeros((fine_height, width * _SUPERSAMPLING), np.uint8)
    box = np.array([fine.shape[1] - stroke, fine_height - stroke])
    for path in _STROKES[character]:
        _draw_stroke(fine, *_outline(path, box), stroke)
    if character == "9":
        fine = np.ascontiguousarray(fine[::-1, ::-1])
    mask: Mask = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    mask.flags.writeable = False
    return mask


def _outline(path: str, box: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
    """The stroke's centre line in pixels of `box`: corners rounded, open ends on the edge pushed beyond it."""
    fields = path.split()
    closed = fields[-1] == "z"
    corners = [[float(number) for number in field.split(",")] for field in fields[: len(fields) - closed]]
    points = np.array([corner[:2] for corner in corners]) * box
    radii = [corner[2] * box[0] if len(corner) > 2 else 0.0 for corner in corners]
    line = rounded(points, radii, closed=closed)
    if not closed:
        line[0] = _pushed_out(line[0], line[1], box)
        line[-1] = _pushed_out(line[-1], line[-2], box)
    return line, closed


def _pushed_out(end: NDArray[np.float64], inner: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    direction = (end - inner) / (np.hypot(*(end - inner)) + 1e-9)
    leaves = ((end <= 0) & (direction < -0.1)) | ((end >= box) & (direction > 0.1))
    return end + direction * box.max() / 4 if leaves.any() else end


def _draw_stroke(canvas: Mask, line: NDArray[np.float64], closed: bool, stroke: float) -> None:
    line = line + stroke / 2
    joints = line if closed else line[1:-1]
    ends = np.roll(line, -1, axis=0) if closed else line[1:]
    for start, end in zip(line, ends, strict=False):
        along = end - start
        length = float(np.hypot(*along))
        if length > 0:
            side = np.array([-along[1], along[0]]) / length * stroke / 2
            quad = np.array([start + side, end + side, end - side, start - side])
            cv2.fillConvexPoly(canvas, np.round(quad * 16).astype(np.int32), 255, shift=4)
    for joint in joints:
        centre = tuple(int(value) for value in np.round(joint * 16))
        cv2.circle(canvas, centre, round(stroke * 8), 255, -1, shift=4)
