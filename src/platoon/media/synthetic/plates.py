"""Licence plates drawn from data: a `PlateStyle` says what a country's plates look like and what they may say.

`draw_plate` promises the text exactly as given, by the proportions of the real plate, anti-aliased. Light and
perspective are the scene's business. Emblems are plain shapes that resemble no authority's seal in detail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

import cv2
import numpy as np

from platoon.errors import InvalidInput
from platoon.media.frame import Pixels
from platoon.media.synthetic.glyphs import PLATE_FACE, Typeface, text_mask
from platoon.media.synthetic.shapes import Colour, Mask, paint

WHITE: Colour = (240, 240, 236)
YELLOW: Colour = (246, 198, 32)
BLACK: Colour = (18, 18, 20)
EU_BLUE: Colour = (16, 62, 150)


class Joint(StrEnum):
    """What stands between two groups of characters."""

    GAP = "gap"
    HYPHEN = "hyphen"
    DOT = "dot"
    SEALS = "seals"
    """Two round stickers, one above the other."""
    EMBLEM = "emblem"
    """A small coloured picture, as on plates of US states."""


@dataclass(frozen=True)
class Band:
    """A coloured strip beside or above the characters."""

    colour: Colour
    side: Literal["left", "right", "top"] = "left"
    size: float = 0.085
    """Share of the plate's width (of its height at the top)."""
    label: str = ""
    """Country code or state name on it."""
    stars: bool = False
    ink: Colour = WHITE


@dataclass(frozen=True)
class PlateStyle:
    """One country's (or state's) plates, in millimetres."""

    country: str
    """ISO 3166-1 alpha-2, with the state where states differ: `US-CA`."""
    patterns: tuple[str, ...]
    """What may be written: `A` a letter, `9` a digit; a space parts two groups, see `joints`, a slash two lines."""
    letters: str = "ABCDEFGHJKLMNPRSTUVWXYZ"
    """The letters that this country issues."""
    joints: tuple[Joint, ...] = ()
    """What stands where the pattern has its first, second ... space; the last one repeats."""
    width: int = 520
    height: int = 110
    character_height: int = 75
    field: Colour = WHITE
    rear_field: Colour | None = None
    """Colour of rear plates where it differs."""
    ink: Colour = BLACK
    border: Colour | None = BLACK
    bands: tuple[Band, ...] = ()
    face: Typeface = PLATE_FACE
    form: str = ""
    """What tells it from the country's usual plates: `square`."""

    @property
    def name(self) -> str:
        """The country, and the form where it is not the usual one."""
        return f"{self.country} {self.form}".rstrip()

    def allows(self, written: str) -> bool:
        """Whether `written` ("M KX 204", groups parted by spaces, lines by slashes) can stand on such a plate."""
        return any(
            len(pattern) == len(written)
            and all(self._fits(character, kind) for character, kind in zip(written, pattern, strict=True))
            for pattern in self.patterns
        )

    def invent(self, rng: np.random.Generator) -> str:
        """A text that fits the country, parted as its pattern is; no group of digits starts with 0."""
        pattern = str(rng.choice(self.patterns))
        written = ""
        for kind in pattern:
            if kind == "A":
                written += str(rng.choice(list(self.letters)))
            elif kind == "9":
                written += str(rng.integers(0 if written[-1:].isdigit() else 1, 10))
            else:
                written += kind
        return written

    def _fits(self, character: str, kind: str) -> bool:
        if kind == "A":
            return character in self.letters
        return character in "0123456789" if kind == "9" else character == kind


def draw_plate(written: str, style: PlateStyle, *, px_per_mm: float = 1.0, rear: bool = False) -> Pixels:
    """A plate seen straight on, RGB of (height, width) = the style's size times `px_per_mm`.

    Args:
        written: the text, its groups parted by spaces, its lines by slashes: "M KX 204".
        rear: draw the plate of the car's rear where it differs.

    Raises:
        InvalidInput: `written` cannot stand on a plate of that country.
    """
    if not style.allows(written):
        raise InvalidInput(f"{written!r} is no plate of {style.country}; possible: {', '.join(style.patterns)}")
    fine = 2 * px_per_mm
    width, height = round(style.width * fine), round(style.height * fine)
    plate = np.empty((height, width, 3), np.uint8)
    plate[:] = (rear and style.rear_field) or style.field
    left, top, right = 0, 0, width
    for band in style.bands:
        if band.side == "top":
            top += round(band.size * height)
            _draw_band(plate[:top], band, horizontal=True)
        elif band.side == "left":
            left += round(band.size * width)
            _draw_band(plate[:, :left], band, horizontal=False)
        else:
            right -= round(band.size * width)
            _draw_band(plate[:, right:], band, horizontal=False)
    _draw_text(plate[top:, left:right], written, style, fine)
    if style.border:
        line = max(1, round(4 * fine))
        cv2.rectangle(
            plate, (line // 2, line // 2), (width - 1 - line // 2, height - 1 - line // 2), style.border, line
        )
    size = (round(style.width * px_per_mm), round(style.height * px_per_mm))
    drawn: Pixels = cv2.resize(plate, size, interpolation=cv2.INTER_AREA)
    return drawn


def _draw_text(area: Pixels, written: str, style: PlateStyle, fine: float) -> None:
    lines = written.split("/")
    rows = np.linspace(0.02, 0.98, len(lines) + 1) if len(lines) > 1 else np.array([0.0, 1.0])
    joints = [style.joints[min(i, len(style.joints) - 1)] for i in range(written.count(" "))]
    for line, top, bottom in zip(lines, rows, rows[1:], strict=False):
        part = area[round(top * area.shape[0]) : round(bottom * area.shape[0])]
        within, joints = joints[: line.count(" ")], joints[line.count(" ") :]
        _draw_line(part, line.split(" "), within, style, fine)


def _draw_line(area: Pixels, groups: Sequence[str], joints: Sequence[Joint], style: PlateStyle, fine: float) -> None:
    height = round(style.character_height * fine)
    pieces: list[Mask | Joint] = [text_mask(groups[0], height, style.face)]
    for joint, group in zip(joints, groups[1:], strict=True):
        pieces += [joint, text_mask(group, height, style.face)]
    joint_widths = {
        Joint.GAP: 0.36 * height,
        Joint.HYPHEN: 0.42 * height,
        Joint.DOT: 0.36 * height,
        Joint.SEALS: 0.62 * height,
        Joint.EMBLEM: 0.9 * height,
    }
    widths = [joint_widths[piece] if isinstance(piece, Joint) else float(piece.shape[1]) for piece in pieces]
    # A text too long for its plate is set narrower, as real plates do.
    squeeze = min(1.0, (area.shape[1] - 24 * fine) / sum(widths))
    x = (area.shape[1] - squeeze * sum(widths)) / 2
    middle = area.shape[0] / 2
    top = round(middle - height / 2)
    for piece, natural in zip(pieces, widths, strict=True):
        wide = natural * squeeze
        if isinstance(piece, Joint):
            _draw_joint(area, piece, (x + wide / 2, middle), height, style.ink)
        else:
            mask = piece if squeeze == 1 else cv2.resize(piece, (round(wide), height), interpolation=cv2.INTER_AREA)
            paint(area[top : top + height, round(x) : round(x) + mask.shape[1]], mask, style.ink)
        x += wide


def _draw_joint(area: Pixels, joint: Joint, centre: tuple[float, float], height: int, ink: Colour) -> None:
    x, y = centre
    if joint is Joint.HYPHEN:
        first = (round(x - 0.11 * height), round(y - 0.06 * height))
        last = (round(x + 0.11 * height), round(y + 0.06 * height))
        cv2.rectangle(area, first, last, ink, -1)
    elif joint is Joint.DOT:
        cv2.circle(area, (round(x), round(y)), round(0.07 * height), ink, -1, cv2.LINE_AA)
    elif joint is Joint.SEALS:
        for offset, colour in ((-0.27, (70, 120, 190)), (0.27, (205, 190, 150))):
            place = (round(x), round(y + offset * height))
            cv2.circle(area, place, round(0.19 * height), colour, -1, cv2.LINE_AA)
            cv2.circle(area, place, round(0.08 * height), WHITE, -1, cv2.LINE_AA)
    elif joint is Joint.EMBLEM:
        cv2.circle(area, (round(x), round(y)), round(0.26 * height), (228, 170, 96), -1, cv2.LINE_AA)
        hill = [
            (x - 0.32 * height, y + 0.26 * height),
            (x, y - 0.05 * height),
            (x + 0.32 * height, y + 0.26 * height),
        ]
        cv2.fillConvexPoly(area, np.round(hill).astype(np.int32), (96, 150, 110), cv2.LINE_AA)


def _draw_band(strip: Pixels, band: Band, *, horizontal: bool) -> None:
    strip[:] = band.colour
    height, width = strip.shape[:2]
    if band.stars:
        ring, middle = 0.3 * width, (width / 2, 0.32 * height)
        for angle in np.arange(12) * np.pi / 6:
            place = (round(middle[0] + ring * np.cos(angle)), round(middle[1] + ring * np.sin(angle)))
            cv2.circle(strip, place, max(1, round(0.045 * width)), YELLOW, -1, cv2.LINE_AA)
    if band.label:
        room = 0.66 * width if not horizontal else width
        mask = text_mask(band.label, round(0.62 * height if horizontal else 0.24 * height))
        if mask.shape[1] > room:
            size = (round(room), round(mask.shape[0] * room / mask.shape[1]))
            mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
        x = (width - mask.shape[1]) // 2
        y = round((0.5 if horizontal else 0.78) * height - mask.shape[0] / 2)
        paint(strip[y : y + mask.shape[0], x : x + mask.shape[1]], mask, band.ink)


def _eu(label: str) -> tuple[Band, ...]:
    return (Band(EU_BLUE, label=label, stars=True),)


_CONSONANTS = "BCDFGHJKLMNPRSTVWXYZ"
_NARROW = Typeface(letter=0.56, digit=0.54, stroke=0.145, gap=0.12)
_TALL = Typeface(letter=0.5, digit=0.48, stroke=0.125, gap=0.12)

STYLES: Mapping[str, PlateStyle] = MappingProxyType(
    {
        style.name: style
        for style in (
            PlateStyle(
                "DE",
                ("A AA 999", "A AA 9999", "AA AA 999", "AA A 9999", "AA AA 9999", "AAA AA 999"),
                joints=(Joint.SEALS, Joint.GAP),
                bands=_eu("D"),
            ),
            PlateStyle(
                "FR",
                ("AA 999 AA",),
                "ABCDEFGHJKLMNPQRSTVWXYZ",
                (Joint.HYPHEN,),
                bands=(*_eu("F"), Band(EU_BLUE, "right", 0.075)),
            ),
            PlateStyle(
                "NL",
                ("AA 999 A", "A 999 AA", "99 AAA 9"),
                "BDFGHJKLNPRSTVXZ",
                (Joint.HYPHEN,),
                field=YELLOW,
                bands=_eu("NL"),
            ),
            PlateStyle(
                "GB",
                ("AA99 AAA",),
                "ABCDEFGHJKLMNPRSTUVWXY",
                (Joint.GAP,),
                height=111,
                character_height=79,
                rear_field=YELLOW,
                border=None,
            ),
            PlateStyle("ES", ("9999 AAA",), _CONSONANTS, (Joint.GAP,), bands=_eu("E")),
            PlateStyle(
                "IT",
                ("AA 999AA",),
                "ABCDEFGHJKLMNPRSTVWXYZ",
                (Joint.GAP,),
                bands=(*_eu("I"), Band(EU_BLUE, "right", 0.075)),
                face=_NARROW,
            ),
            PlateStyle(
                "PL",
                ("AA 99999", "AAA 9999"),
                "ACEFGHJKLMNPRSTUVWXY",
                (Joint.GAP,),
                height=114,
                character_height=80,
                bands=_eu("PL"),
                face=_NARROW,
            ),
            PlateStyle("AT", ("A 9999AA",), joints=(Joint.EMBLEM,), height=120, character_height=67, bands=_eu("A")),
            PlateStyle(
                "TR",
                ("99 AA 999", "99 AAA 99"),
                "ABCDEFGHJKLMNPRSTUVYZ",
                (Joint.GAP,),
                height=112,
                bands=(Band(EU_BLUE, label="TR"),),
            ),
            PlateStyle(
                "UA",
                ("AA 9999 AA",),
                "ABCEHKMTX",
                (Joint.GAP,),
                height=112,
                bands=(Band((30, 92, 190), label="UA", ink=YELLOW),),
                face=_NARROW,
            ),
            PlateStyle(
                "US-CA",
                ("9AAA999",),
                "ABCDEFGHJKLMNPRSTUVWXYZ",
                width=305,
                height=152,
                character_height=70,
                ink=(24, 40, 110),
                border=None,
                bands=(Band(WHITE, "top", 0.26, "CALIFORNIA", ink=(180, 40, 50)),),
                face=_TALL,
            ),
            PlateStyle(
                "US-AZ",
                ("AAA 9999", "AAA 999"),
                joints=(Joint.EMBLEM,),
                width=305,
                height=152,
                character_height=68,
                ink=(60, 36, 100),
                border=None,
                field=(226, 214, 236),
                bands=(Band((226, 214, 236), "top", 0.26, "ARIZONA", ink=(40, 120, 130)),),
                face=_TALL,
            ),
            PlateStyle(
                "BR",
                ("AAA9A99",),
                "ABCDEFGHJKLMNPRSTUVWXYZ",
                width=400,
                height=130,
                character_height=65,
                bands=(Band((22, 60, 140), "top", 0.24, "BRASIL"),),
            ),
            PlateStyle(
                "IN",
                ("AA 99 AA 9999",),
                "ABCDEFGHJKLMNPRSTUVWXYZ",
                (Joint.GAP,),
                width=500,
                height=120,
                character_height=70,
                bands=(Band(WHITE, label="IND", ink=(30, 70, 170)),),
                face=_NARROW,
            ),
            PlateStyle(
                "AU",
                ("AAA 99A", "9AA 9AA"),
                "ABCDEFGHJKLMNPRSTUVWXYZ",
                (Joint.DOT,),
                width=372,
                height=110,
                field=(244, 214, 60),
                character_height=72,
            ),
            PlateStyle(
                "VN",
                ("99A/999 99",),
                "ABCDEFGHKLMNPSTUVXYZ",
                (Joint.DOT,),
                width=330,
                height=165,
                character_height=63,
            ),
            PlateStyle(
                "IN",
                ("AA 99/AA 9999",),
                "ABCDEFGHJKLMNPRSTUVWXYZ",
                (Joint.GAP,),
                form="square",
                width=340,
                height=200,
                character_height=70,
                bands=(Band(WHITE, size=0.1, label="IND", ink=(30, 70, 170)),),
                face=_NARROW,
            ),
            PlateStyle(
                "DE",
                ("A/AA 999", "AA/AA 99", "AA/A 9999"),
                joints=(Joint.GAP,),
                form="square",
                width=340,
                height=200,
                bands=(Band(EU_BLUE, size=0.1, label="D", stars=True),),
            ),
            PlateStyle("NZ", ("AAA999",), "ABCDEFGHJKLMNPQRSTUWYZ", width=360, height=125, character_height=76),
        )
    }
)
"""The styles known, by their name: the country, and the form where it is not the usual one."""
