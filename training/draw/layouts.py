"""What a plate's design is, as data: sizes in millimetres, colours, bands, captions, and the texts that it may carry.

A pattern is written with these signs; everything else in it stands for itself:

    a  a letter of the layout          d  a digit
    n  a digit from 1 to 9             |  the second line begins
    ' ' a gap; _ a narrow one
    -  a hyphen   · a dot in the middle   * the layout's emblem
    <XY>  small letters stacked, which are no part of the text
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Colour = tuple[int, int, int]

WHITE: Colour = (238, 238, 234)
YELLOW: Colour = (244, 196, 36)
BLACK: Colour = (20, 20, 22)
BLUE: Colour = (18, 62, 150)
RED: Colour = (190, 32, 40)
GREEN: Colour = (20, 110, 60)
NAVY: Colour = (24, 36, 100)

ALL = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NO_IO = "ABCDEFGHJKLMNPQRSTUVWXYZ"
NO_IOQ = "ABCDEFGHJKLMNPRSTUVWXYZ"
CONSONANTS = "BCDFGHJKLMNPRSTVWXYZ"
CYRILLIC = "ABCEHIKMOPTX"
"""The letters that both alphabets have."""

SEPARATORS = " _-·*"
RANDOM_SHARE = 0.15
"""Share of plates whose text follows no country's pattern, so that a reader learns to read rather than to guess."""

_CONFUSED = "OODDQGBSZWMVYIT00868521177"
"""Characters that readers take for each other, as often as they do: 0 O D Q, 6 G, 8 B, 5 S, 2 Z, W M, V Y, 1 I T 7."""
_CONFUSED_SHARE = 0.15
"""Share of characters drawn from these alone."""


@dataclass(frozen=True)
class Scheme:
    """The colours of a plate."""

    field: Colour = WHITE
    ink: Colour = BLACK
    border: Colour | None = BLACK
    lower_field: Colour | None = None
    """Where the field shades into another colour towards the bottom."""
    share: float = 1.0
    """How often among the layout's schemes."""


@dataclass(frozen=True)
class Band:
    """A coloured strip along an edge."""

    side: Literal["left", "right", "top", "bottom"] = "left"
    size_mm: float = 42
    colour: Colour = BLUE
    ink: Colour = WHITE
    label: str = ""
    stars: bool = False
    small: bool = False
    """Whether small figures or letters stand on it, as a year or a region."""
    crest: bool = False
    """Whether a crest stands above its label."""


@dataclass(frozen=True)
class Caption:
    """Small words that are no part of the text."""

    words: tuple[str, ...]
    """One of these stands there; an empty one leaves the place free."""
    middle: float
    """Height of its middle, as a share of the plate's height."""
    cap_mm: float = 14
    inks: tuple[Colour, ...] = (BLACK,)
    pool: str = "sans"
    strip: bool = False
    """Whether they stand on a strip of their own, riveted on at its ends."""


@dataclass(frozen=True)
class Layout:
    """A plate's design."""

    country: str
    """ISO 3166-1 alpha-2, with the state where states differ: `US-CA`."""
    patterns: tuple[str, ...]
    letters: str = NO_IOQ
    width_mm: float = 520
    height_mm: float = 110
    cap_mm: float = 75
    pools: tuple[str, ...] = ("din",)
    gap: float = 0.15
    """Between characters, in capitals."""
    pitch: float = 0.0
    """Where above 0: the width of each character's cell, in capitals."""
    letter_width: float = 0.0
    """Where above 0: the width of an H, in capitals, to which glyphs are stretched; else as the typeface has it."""
    schemes: tuple[Scheme, ...] = (Scheme(),)
    bands: tuple[Band, ...] = ()
    captions: tuple[Caption, ...] = ()
    emblem: str = "disc"
    """What `*` stands for, see `ornaments`."""
    picture: str = ""
    """What lies behind the text, see `ornaments`."""
    middle: float = 0.5
    """Of the line or lines, as a share of the height that bands leave."""
    stickers: float = 0.0
    """How often stickers are in the corners."""
    bolts: Literal["", "two", "four", "high"] = ""
    corner_mm: float = 8
    frame: float = 0.0
    """How often a dealer's frame covers the edges."""
    foot: bool = False
    """Whether a maker's or dealer's words may stand below the text."""
    embossed: float = 0.8
    """How often the characters are stamped rather than printed."""
    share: float = 1.0
    """How often among all layouts."""


def invent(rng: np.random.Generator, layout: Layout) -> str:
    """What a plate of this layout says, with its separators: a pattern filled in, or for some a text of no pattern."""
    pattern = str(rng.choice(layout.patterns))
    if rng.random() < RANDOM_SHARE:
        return _without_pattern(rng, pattern)
    return fill_in(rng, pattern, layout)


def fill_in(rng: np.random.Generator, pattern: str, layout: Layout) -> str:
    """The pattern with letters and digits drawn, those that are hard to tell apart more often than others."""
    classes = {"a": layout.letters, "d": "0123456789", "n": "123456789"}
    confused = {name: [sign for sign in _CONFUSED if sign in signs] for name, signs in classes.items()}
    return "".join(
        pick(rng, (confused if rng.random() < _CONFUSED_SHARE else classes)[sign]) if sign in classes else sign
        for sign in pattern
    )


def pick(rng: np.random.Generator, things: Sequence[str]) -> str:
    """One of them."""
    return things[int(rng.integers(len(things)))]


def truth(written: str) -> str:
    """The text that a table of truth holds: letters and digits of normal size, in reading order."""
    text, small = "", False
    for sign in written:
        if sign in "<>":
            small = sign == "<"
        elif not small and sign.isascii() and sign.isalnum():
            text += sign
    return text


def _without_pattern(rng: np.random.Generator, pattern: str) -> str:
    alphabet = ALL + "0123456789" * int(rng.integers(1, 4))
    text = [pick(rng, alphabet) for _ in range(int(rng.integers(4, 10)))]
    joints = [sign for sign in pattern if sign in SEPARATORS]
    if "|" in pattern:
        joints = joints[:1]
        text.insert(int(rng.integers(1, len(text))), "|")
    for joint in joints[: int(rng.integers(0, 3))]:
        place = int(rng.integers(1, len(text)))
        if text[place] not in "|-·*_ " and text[place - 1] not in "|-·*_ ":
            text.insert(place, joint)
    return "".join(text)
