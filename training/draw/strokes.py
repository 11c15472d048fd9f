"""Alphabets of our own, for plate lettering that no free font has: FE-Schrift's forms and stamped, round-ended ones.

A glyph is the middle lines of its strokes over a box: x in 0..1 of the glyph's width, y in 0..1 downwards; a third
number rounds a corner by that share of the width. Ends are round, or flat where the box's edge cuts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from platoon.media.synthetic.shapes import rounded


@dataclass(frozen=True)
class Alphabet:
    """Middle lines of all glyphs, and how thick and wide they are drawn; sizes in capitals."""

    glyphs: Mapping[str, tuple[str, ...]]
    width: float = 0.56
    stroke: float = 0.14
    flat: bool = True
    """Whether strokes are cut flat at the box's edges."""
    widths: Mapping[str, float] | None = None
    """Of glyphs that are not as wide as most."""

    def draw(self, character: str, height: int) -> NDArray[np.uint8]:
        """Coverage (height, its width), 0 or 255.

        Raises:
            KeyError: the alphabet lacks the character.
        """
        thick = self.stroke * height
        width = max(thick, (self.widths or {}).get(character, self.width) * height)
        room = round(thick)
        canvas = np.zeros((height + 2 * room, round(width) + 2 * room), np.uint8)
        for path in self.glyphs[character]:
            fields = path.split()
            closed = fields[-1] == "z"
            corners = [[float(number) for number in field.split(",")] for field in fields[: len(fields) - closed]]
            span = np.array([width - thick, height - thick])
            points = np.array([corner[:2] for corner in corners]) * span + room + thick / 2
            radii = [corner[2] * span[0] if len(corner) > 2 else 0.0 for corner in corners]
            line = rounded(points, radii, closed=closed)
            if self.flat and not closed:
                _reach_out(line, thick, room, canvas.shape)
            cv2.polylines(
                canvas, [np.round(line * 16).astype(np.int32)], closed, 255, max(1, round(thick)), cv2.LINE_AA, 4
            )
        cut = canvas[room : room + height, room : room + round(width)]
        return np.ascontiguousarray(cut)


def _reach_out(line: NDArray[np.float64], thick: float, room: int, shape: tuple[int, ...]) -> None:
    """Push open ends that lie on the box's edge beyond it, so that the cut is flat."""
    low = np.array([room, room]) + thick / 2 + 1
    high = np.array([shape[1] - room, shape[0] - room]) - thick / 2 - 1
    for end, inner in ((0, 1), (-1, -2)):
        direction = line[end] - line[inner]
        direction /= np.hypot(*direction) + 1e-9
        if (((line[end] <= low) & (direction < -0.3)) | ((line[end] >= high) & (direction > 0.3))).any():
            line[end] += direction * thick


_ROUND: Mapping[str, tuple[str, ...]] = {
    "A": ("0,1 .5,0 1,1", ".2,.66 .8,.66"),
    "B": ("0,0 .9,0,.4 .9,.48,.4 0,.48", "0,0 0,1 1,1,.42 1,.48,.42 .4,.48"),
    "C": ("1,.24 1,0,.5 0,0,.5 0,1,.5 1,1,.5 1,.76",),
    "D": ("0,0 1,0,.6 1,1,.6 0,1 z",),
    "E": ("1,0 0,0 0,1 1,1", "0,.48 .85,.48"),
    "F": ("1,0 0,0 0,1", "0,.48 .85,.48"),
    "G": ("1,.24 1,0,.5 0,0,.5 0,1,.5 1,1,.5 1,.56 .55,.56",),
    "H": ("0,0 0,1", "1,0 1,1", "0,.48 1,.48"),
    "I": (".5,0 .5,1", "0,0 1,0", "0,1 1,1"),
    "J": ("1,0 1,1,.5 0,1,.5 0,.72",),
    "K": ("0,0 0,1", "1,0 .04,.6", ".34,.4 1,1"),
    "L": ("0,0 0,1 1,1",),
    "M": ("0,1 0,0 .5,.56 1,0 1,1",),
    "N": ("0,1 0,0 1,1 1,0",),
    "O": ("0,0,.5 1,0,.5 1,1,.5 0,1,.5 z",),
    "P": ("0,1 0,0 1,0,.45 1,.54,.45 0,.54",),
    "Q": ("0,0,.5 1,0,.5 1,1,.5 0,1,.5 z", ".55,.72 1,1"),
    "R": ("0,1 0,0 1,0,.43 1,.52,.43 0,.52", ".4,.52 1,1"),
    "S": ("1,.24 1,0,.5 0,0,.5 0,.48,.42 1,.48,.42 1,1,.5 0,1,.5 0,.76",),
    "T": ("0,0 1,0", ".5,0 .5,1"),
    "U": ("0,0 0,1,.5 1,1,.5 1,0",),
    "V": ("0,0 .5,1 1,0",),
    "W": ("0,0 .22,1 .5,.4 .78,1 1,0",),
    "X": ("0,0 1,1", "1,0 0,1"),
    "Y": ("0,0 .5,.48 1,0", ".5,.48 .5,1"),
    "Z": ("0,0 1,0 0,1 1,1",),
    "0": ("0,0,.5 1,0,.5 1,1,.5 0,1,.5 z",),
    "1": (".15,.2 .5,0 .5,1", "0,1 1,1"),
    "2": ("0,.26 0,0,.5 1,0,.5 1,.46,.4 0,1 1,1",),
    "3": ("0,.22 0,0,.5 .95,0,.45 .95,.47,.42 .4,.47", ".4,.47 1,.47,.44 1,1,.5 0,1,.5 0,.78"),
    "4": (".8,1 .8,0 0,.7 1,.7",),
    "5": ("1,0 .06,0 .02,.42 1,.42,.5 1,1,.5 0,1,.5 0,.78",),
    "6": ("1,.2 1,0,.5 0,0,.5 0,1,.5 1,1,.5 1,.44,.5 0,.44,.5",),
    "7": ("0,0 1,0 .35,1",),
    "8": (".05,0,.45 .95,0,.45 .95,.47,.45 .05,.47,.45 z", "0,.47,.48 1,.47,.48 1,1,.48 0,1,.48 z"),
    "9": ("0,.8 0,1,.5 1,1,.5 1,0,.5 0,0,.5 0,.56,.5 1,.56,.5",),
}

ROUND = Alphabet(_ROUND, width=0.52, stroke=0.125, flat=False, widths={"M": 0.6, "W": 0.66, "I": 0.36, "1": 0.36})
"""Round-ended strokes, I and 1 with feet, as stamped in many states of the US."""

# FE-Schrift is made so that no character can be turned into another by paint: O is wide and plain, 0 narrow and, like
# 6, 8, 9, B, D, P, R, opened or cut at one corner; 1 and I have slab ends; each of 6 and 9 has a straight cut arm.
_FE: Mapping[str, tuple[str, ...]] = {
    **_ROUND,
    "A": ("0,1 .43,0 .57,0 1,1", ".17,.7 .83,.7"),
    "B": ("0,0 .86,0,.36 .86,.46,.36 0,.46", "0,0 0,1 1,1,.4 1,.46,.4 .5,.46"),
    "D": ("0,0 .75,0,.6 1,.3 1,.7 .75,1,.6 0,1 z",),
    "E": ("1,0 0,0 0,1 1,1", "0,.46 .8,.46"),
    "F": ("1,0 0,0 0,1", "0,.46 .8,.46"),
    "G": ("1,.2 .9,0,.4 0,0,.5 0,1,.5 1,1,.5 1,.52 .5,.52",),
    "I": (".5,0 .5,1", "0,0 1,0", "0,1 1,1"),
    "M": ("0,1 0,0 .5,.5 1,0 1,1",),
    "O": ("0,0,.5 1,0,.5 1,1,.5 0,1,.5 z",),
    "P": ("0,1 0,0 1,0,.42 1,.55,.42 .25,.55",),
    "Q": ("0,0,.5 1,0,.5 1,1,.5 0,1,.5 z", ".5,.66 1,1"),
    "R": ("0,1 0,0 1,0,.42 1,.5,.42 .25,.5", ".45,.5 1,1"),
    "W": ("0,0 .12,1 .5,.45 .88,1 1,0",),
    "0": ("1,.13 1,1,.5 0,1,.5 0,0,.5 .66,0",),
    "1": ("0,.26 .55,0 .55,1", "0,1 1,1"),
    "3": ("0,0 1,0 .5,.4 1,.45,.4 1,1,.5 0,1,.4 0,.82",),
    "4": (".5,0 0,.72 1,.72", ".72,.42 .72,1"),
    "5": (".92,0 .05,0 .05,.4 1,.4,.5 1,1,.5 0,1,.4 0,.84",),
    "6": (".72,0 0,.5 0,1,.5 1,1,.5 1,.42,.5 .2,.42,.3",),
    "7": ("0,0 1,0 .4,.55 .4,1",),
    "9": (".28,1 1,.5 1,0,.5 0,0,.5 0,.58,.5 .8,.58,.3",),
}

_FE_CLOSED: Mapping[str, tuple[str, ...]] = {
    **_FE,
    "P": ("0,1 0,0 1,0,.42 1,.55,.42 0,.55",),
    "R": ("0,1 0,0 1,0,.42 1,.5,.42 0,.5", ".45,.5 1,1"),
    "0": ("0,0,.5 1,0,.5 1,1,.5 0,1,.5 z",),
    "1": ("0,.26 .7,0 .7,1",),
}
_FE_WIDTHS = dict.fromkeys("023456789", 0.56) | {"1": 0.46, "I": 0.42, "M": 0.68, "W": 0.74, "O": 0.63, "Q": 0.63}

FE = Alphabet(_FE, width=0.6, stroke=0.135, widths=_FE_WIDTHS)
"""Forms after FE-Schrift, as on German plates, with strokes opened against forgery."""
FE_CLOSED = Alphabet(_FE_CLOSED, width=0.58, stroke=0.14, widths=_FE_WIDTHS)
"""The same with closed strokes, as later and foreign plates have them."""


def _squarer(path: str, share: float) -> str:
    """The path, its corners rounded by that share of what they were."""
    fields = [field.split(",") for field in path.split()]
    return " ".join(
        ",".join((*field[:2], *(f"{share * float(radius):.3f}" for radius in field[2:]))) for field in fields
    )


def _all_squarer(glyphs: Mapping[str, tuple[str, ...]], share: float) -> dict[str, tuple[str, ...]]:
    return {character: tuple(_squarer(path, share) for path in paths) for character, paths in glyphs.items()}


BLOCK = Alphabet(
    {
        **_all_squarer(_ROUND, 0.55),
        "D": ("0,0 1,0,.46 1,1,.46 0,1 z",),
        "G": ("1,.22 1,0,.3 0,0,.3 0,1,.3 1,1,.3 1,.52 .55,.52",),
        "I": (".5,0 .5,1",),
        "J": ("1,0 1,1,.34 0,1,.34 0,.68",),
        "M": ("0,1 0,0 .5,.7 1,0 1,1",),
        "O": ("0,0,.24 1,0,.24 1,1,.24 0,1,.24 z",),
        "Q": ("0,0,.24 1,0,.24 1,1,.24 0,1,.24 z", ".55,.7 1.05,1.05"),
        "0": ("0,0,.5 1,0,.5 1,1,.5 0,1,.5 z",),
        "1": (".1,.16 .6,0 .6,1",),
        "2": ("0,.24 0,0,.42 1,0,.42 1,.46,.3 0,1 1,1",),
        "4": (".7,1 .7,0 0,.74 1,.74",),
        "6": ("1,.2 1,0,.42 0,0,.42 0,1,.42 1,1,.42 1,.44,.42 0,.44,.3",),
        "9": ("0,.8 0,1,.42 1,1,.42 1,0,.42 0,0,.42 0,.56,.42 1,.56,.3",),
    },
    width=0.62,
    stroke=0.16,
    widths={"M": 0.68, "W": 0.74, "I": 0.16, "1": 0.3, "0": 0.6},
)
"""Bold and square as on Brazil's older plates: O a rectangle with rounded corners, D flat on its left, 0 round at both
ends, 1 hardly more than I."""

_STAMPED: Mapping[str, tuple[str, ...]] = {
    **_all_squarer(_ROUND, 0.72),
    "D": ("0,0 1,0,.5 1,1,.5 0,1 z",),
    "O": ("0,0,.4 1,0,.4 1,1,.4 0,1,.4 z",),
    "Q": ("0,0,.4 1,0,.4 1,1,.4 0,1,.4 z", ".5,.72 1.05,1"),
    "0": ("0,0,.5 1,0,.5 1,1,.5 0,1,.5 z",),
    "G": ("1,.22 1,0,.4 0,0,.4 0,1,.4 1,1,.4 1,.54 .55,.54",),
    "6": ("1,.2 1,0,.48 0,0,.48 0,1,.48 1,1,.48 1,.42,.48 0,.42,.4",),
    "9": ("0,.8 0,1,.48 1,1,.48 1,0,.48 0,0,.48 0,.58,.48 1,.58,.4",),
    "8": (".06,0,.45 .94,0,.45 .94,.47,.4 .06,.47,.4 z", "0,.47,.42 1,.47,.42 1,1,.48 0,1,.48 z"),
    "3": ("0,.2 0,0,.46 .95,0,.46 .95,.47,.38 .4,.47", ".4,.47 1,.47,.4 1,1,.48 0,1,.48 0,.8"),
    "1": (".1,.18 .55,0 .55,1",),
    "7": ("0,0 1,0 .3,1",),
}
_STAMPED_WIDTHS = {"M": 0.5, "W": 0.54, "I": 0.32, "1": 0.26, "0": 0.4}

STAMPED = Alphabet(_STAMPED, width=0.44, stroke=0.108, flat=False, widths=_STAMPED_WIDTHS)
"""Tall, condensed and of middling stroke, as dies press it in California and many other states: D with square corners
on its left, 0 narrower and rounder than O, feet on I but none on 1."""
STAMPED_FEET = Alphabet(
    {
        **_STAMPED,
        "1": (".1,.2 .5,0 .5,1", "0,1 1,1"),
        "0": ("0,0,.4 1,0,.4 1,1,.4 0,1,.4 z",),
        "W": ("0,0 .2,1 .5,.1 .8,1 1,0",),
        "M": ("0,1 0,0 .5,.85 1,0 1,1",),
        "7": ("0,0 1,0 .4,.5 .4,1",),
        "4": (".8,1 .8,0 0,.74 1,.74",),
    },
    width=0.44,
    stroke=0.125,
    widths={"M": 0.52, "W": 0.56, "I": 0.34, "1": 0.34},
)
"""The same bolder, O and 0 alike, 1 with a foot, M and W with deep middles."""
STAMPED_SLIM = Alphabet(
    {**_STAMPED, "I": (".5,0 .5,1",), "0": ("0,0,.45 1,0,.45 1,1,.45 0,1,.45 z",)},
    width=0.46,
    stroke=0.09,
    flat=True,
    widths={"M": 0.54, "W": 0.62, "I": 0.09, "1": 0.22},
)
"""The same slimmer, cut flat, I a bar."""
