"""Layouts of no country: any mix of sizes, colours, typefaces and texts, so that readers meet unknown designs."""

from __future__ import annotations

import numpy as np

from training.draw.layouts import (
    ALL,
    BLACK,
    BLUE,
    NAVY,
    RED,
    WHITE,
    YELLOW,
    Band,
    Caption,
    Colour,
    Layout,
    Scheme,
    pick,
)
from training.draw.ornaments import any_colour
from training.draw.typefaces import POOLS

_POOLS = tuple(name for name in POOLS if name != "script")
_NAMES = (
    "UNION",
    "RIVERLAND",
    "COAST",
    "PROVINCE",
    "Kingdom",
    "REPUBLIC",
    "NORTHERN",
    "TERRITORY",
    "ISLANDS",
    "XII",
    "",
)
_SLOGANS = ("LAND OF PLENTY", "www.plates.org", "SEA AND SUN", "EST 1867", "Je me souviens", "TAXI", "", "")


def invent_layout(rng: np.random.Generator) -> Layout:
    """A layout that no country has."""
    two_lines = rng.random() < 0.3
    if two_lines:
        width, height = rng.uniform(180, 340), rng.uniform(140, 220)
        cap = height * rng.uniform(0.3, 0.37)
    else:
        width, height = rng.uniform(280, 540), rng.uniform(100, 160)
        cap = height * rng.uniform(0.45, 0.72)
    named = cap < 0.58 * height and rng.random() < 0.6
    field, ink = _contrast(rng)
    return Layout(
        "XX",
        (_pattern(rng, two_lines=two_lines),),
        ALL,
        width_mm=float(width),
        height_mm=float(height),
        cap_mm=float(cap),
        pools=_POOLS,
        gap=float(rng.uniform(0.1, 0.26)),
        pitch=float(rng.uniform(0.6, 0.8)) if rng.random() < 0.2 else 0.0,
        letter_width=float(rng.uniform(0.42, 0.72)) if rng.random() < 0.6 else 0.0,
        schemes=(
            Scheme(
                field,
                ink,
                ink if rng.random() < 0.5 else None,
                any_colour(rng, 150, 250) if rng.random() < 0.15 and sum(field) > 450 else None,
            ),
        ),
        bands=(
            Band(
                "left",
                float(rng.uniform(25, 50)),
                *((field, ink) if (plain := rng.random() < 0.4) else (any_colour(rng), WHITE)),
                pick(rng, ("A", "XY", "MD", "", "RSA")),
                stars=not plain and rng.random() < 0.4,
                crest=plain and rng.random() < 0.8,
            ),
        )
        if rng.random() < 0.35
        else (),
        captions=(Caption(_NAMES, 0.12, 13, (ink, RED, BLACK)), Caption(_SLOGANS, 0.9, 11, (ink, BLUE)))
        if named
        else (),
        emblem=pick(rng, ("disc", "seals", "pair", "crest", "star", "orange", "sticker", "state")),
        picture=pick(rng, ("hills", "mountain", "face", "tree", "rainbow")) if rng.random() < 0.15 else "",
        stickers=0.3 if named else 0.0,
        bolts=("", "two", "four", "high")[int(rng.integers(4))] if named else "",
        corner_mm=float(rng.uniform(2, 14)),
        frame=0.2 if named else 0.05,
        embossed=0.6,
    )


def _contrast(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """A field and an ink that can be told apart."""
    if rng.random() < 0.5:
        return (WHITE, YELLOW, (200, 204, 206))[int(rng.integers(3))], (BLACK, NAVY, RED, (20, 90, 60))[
            int(rng.integers(4))
        ]
    while True:
        field, ink = any_colour(rng, 10, 250), any_colour(rng, 10, 250)
        if abs(_luma(field) - _luma(ink)) > 80:
            return field, ink


def _luma(colour: Colour) -> float:
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


def _pattern(rng: np.random.Generator, *, two_lines: bool) -> str:
    count = int(rng.integers(4, 10))
    breaks = set(rng.integers(1, count, 2).tolist())
    pattern, kind = "*" if rng.random() < 0.06 else "", "ad"[int(rng.integers(2))]
    line_break = int(rng.integers(1, count)) if two_lines else -1
    for i in range(count):
        if i == line_break:
            pattern += "|"
        elif i in breaks:
            pattern += pick(rng, " -·*_  ")
            kind = "ad"[int(rng.integers(2))]
        pattern += kind
    return pattern
