"""Draws licence plates as they leave the press, or after some years on the road: flat, uncut, evenly lit.

`draw_plate` promises a picture that says what its `text` says, the same one for the same generator and fonts. Light,
weather and the camera are `photograph`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from training.draw import elsewhere, europe, ornaments, states, world
from training.draw.blank import Blank, blend
from training.draw.layouts import Band, Caption, Colour, Layout, Scheme, invent, truth
from training.draw.typefaces import CAP, POOLS, Glyph, Style, Typeface, advance, draw_glyphs, typefaces

Pixels = NDArray[np.uint8]

LAYOUTS: tuple[Layout, ...] = (*europe.LAYOUTS, *states.LAYOUTS, *elsewhere.LAYOUTS)
WORLD_SHARE = 0.12
"""Share of plates of no country: any colours, sizes, typefaces and texts."""
_WITHOUT_BANDS = 0.06
"""Share of plates without their band of stars: older than it, or covered there."""
HEIGHT_PX = (100, 161)
"""Heights of plates, the second excluded."""
_WEIGHTS = (-0.012, 0.025)
"""How far strokes are thinned or thickened, see `Style`; more would lose the thinnest typeface's strokes."""
_ROUNDEST = 0.025


@dataclass(frozen=True)
class DrawnPlate:
    """A plate, seen straight on."""

    picture: Pixels
    """RGB, the whole plate to its outer edge, 100-160 px high if not asked otherwise."""
    text: str
    """Letters A-Z and digits in reading order, without separators, emblems and small letters."""
    country: str
    """ISO 3166-1 alpha-2, with the state where states differ (`US-CA`); `XX` for a plate of no country."""
    lines: int
    """1 or 2."""


def draw_plate(
    rng: np.random.Generator, layout: Layout | None = None, *, height_px: tuple[int, int] = HEIGHT_PX
) -> DrawnPlate:
    """Any plate, or one of the given layout.

    Args:
        height_px: the least height and the first that is too much; half as high is drawn in a third of the time.

    Raises:
        FontsMissing: the fonts are not in the cache.
    """
    if layout is None:
        layout = world.invent_layout(rng) if rng.random() < WORLD_SHARE else _any_layout(rng)
    written = invent(rng, layout)
    return DrawnPlate(_draw(rng, layout, written, height_px), truth(written), layout.country, 1 + ("|" in written))


def _any_layout(rng: np.random.Generator) -> Layout:
    return LAYOUTS[int(np.searchsorted(_cumulated_shares(), rng.random(), side="right"))]


@lru_cache(maxsize=1)
def _cumulated_shares() -> NDArray[np.float64]:
    shares = np.cumsum([layout.share for layout in LAYOUTS])
    return np.asarray(shares / shares[-1])


def _draw(rng: np.random.Generator, layout: Layout, written: str, height_px: tuple[int, int]) -> Pixels:
    faces = typefaces()
    scheme = _scheme(rng, layout.schemes)
    blank = Blank(layout.width_mm, layout.height_mm, rng.integers(*height_px) / layout.height_mm)
    blank.shade(_near(rng, scheme.field), _near(rng, scheme.lower_field or scheme.field))
    if layout.picture:
        ornaments.draw_picture(rng, blank, layout.picture)
    small_face = faces[_member(rng, POOLS["sans"])]
    left, top, right, bottom = 0.0, 0.0, layout.width_mm, layout.height_mm
    plain = rng.random() < _WITHOUT_BANDS
    for band in layout.bands:
        if plain and band.stars:
            continue
        _draw_band(rng, blank, band, small_face)
        if band.side == "left":
            left += band.size_mm
        elif band.side == "right":
            right -= band.size_mm
        elif band.side == "top":
            top += band.size_mm
        else:
            bottom -= band.size_mm
    stamped = rng.random() < layout.embossed
    depth = rng.uniform(0.5, 1.3) if stamped else 0.0
    if scheme.border is not None and rng.random() < 0.9:
        inset = rng.uniform(0, 3)
        blank.outline(inset, rng.uniform(2, 4.5), layout.corner_mm, scheme.border, depth)
    elif stamped and rng.random() < 0.6:
        blank.outline(1, 3, layout.corner_mm, _near(rng, scheme.field), depth * 0.7)
    for caption in layout.captions:
        _draw_caption(rng, blank, caption, faces[_member(rng, POOLS[caption.pool])])
    face = faces[_member(rng, POOLS[_member(rng, layout.pools)])]
    _write(rng, blank, layout, scheme, written, face, (left, top, right, bottom), depth)
    if layout.foot and rng.random() < 0.5:
        words = _member(rng, ornaments.DEALERS)
        blank.words(words, small_face, layout.width_mm / 2, layout.height_mm * 0.945, rng.uniform(5, 8), scheme.ink)
    _fasten(rng, blank, layout, small_face)
    _age(rng, blank)
    return _cut_corners(rng, blank, layout.corner_mm)


def _member(rng: np.random.Generator, things: Sequence[str]) -> str:
    return things[int(rng.integers(len(things)))]


def _scheme(rng: np.random.Generator, schemes: Sequence[Scheme]) -> Scheme:
    shares = np.cumsum([scheme.share for scheme in schemes])
    return schemes[int(np.searchsorted(shares / shares[-1], rng.random(), side="right"))]


def _near(rng: np.random.Generator, colour: Colour) -> Colour:
    """A colour as another batch of paint or some years would make it."""
    red, green, blue = (
        int(value) for value in np.clip(np.array(colour) * rng.uniform(0.92, 1.05) + rng.normal(0, 4, 3), 0, 255)
    )
    return red, green, blue


def _draw_caption(rng: np.random.Generator, blank: Blank, caption: Caption, face: Typeface) -> None:
    words = _member(rng, caption.words)
    if not words or rng.random() < 0.08:
        return
    colour = caption.inks[int(rng.integers(len(caption.inks)))]
    gap = rng.uniform(-0.03, 0.08) if caption.pool == "script" else rng.uniform(0.06, 0.3)
    style = Style(gap=gap, weight=rng.uniform(-0.01, 0.02))
    cap = caption.cap_mm * rng.uniform(0.8, 1.15) * (1.2 if caption.pool == "script" else 1.0)
    y = caption.middle * blank.height_mm + rng.normal(0, 0.012) * blank.height_mm
    if caption.strip and rng.random() < 0.8:
        _draw_strip(rng, blank, y, 1.6 * cap)
    blank.words(words, face, blank.width_mm / 2, y, cap, colour, room=0.7 * blank.width_mm, style=style)


def _draw_strip(rng: np.random.Generator, blank: Blank, middle: float, high: float) -> None:
    red, green, blue = (
        int(value) for value in blank.picture[round(middle * blank.px_per_mm), blank.picture.shape[1] // 2]
    )
    left, wide = 0.15 * blank.width_mm, 0.7 * blank.width_mm
    edge = _near(rng, (int(red * 0.7), int(green * 0.7), int(blue * 0.7)))
    blank.rectangle(left, middle - high / 2, wide, high, edge)
    blank.rectangle(left + 1.5, middle - high / 2 + 1.5, wide - 3, high - 3, _near(rng, (red, green, blue)))
    for x in (left + 6, left + wide - 6):
        blank.disc(x, middle, 2, (60, 60, 60))


def _draw_band(rng: np.random.Generator, blank: Blank, band: Band, face: Typeface) -> None:
    wide, high, size = blank.width_mm, blank.height_mm, band.size_mm
    colour = _near(rng, band.colour)
    if band.side in ("top", "bottom"):
        y = 0.0 if band.side == "top" else high - size
        blank.rectangle(0, y, wide, size, colour)
        if band.label:
            blank.words(band.label, face, wide / 2, y + size * 0.52, size * rng.uniform(0.45, 0.6), band.ink,
                        room=wide * 0.6, style=Style(gap=rng.uniform(0.1, 0.4)))  # fmt: skip
        if rng.random() < 0.7:
            ornament = ornaments.any_colour(rng)
            blank.rectangle(wide * 0.9, y + size * 0.25, wide * 0.06, size * 0.5, ornament)
            blank.disc(wide * 0.93, y + size * 0.5, size * 0.15, (240, 210, 60))
        return
    x = 0.0 if band.side == "left" else wide - size
    blank.rectangle(x, 0, size, high, colour)
    middle = x + size / 2
    if band.stars:
        for angle in np.arange(12) * np.pi / 6:
            radius = 0.29 * size
            blank.disc(
                middle + radius * np.cos(angle), 0.3 * high + radius * np.sin(angle), 0.05 * size, (244, 206, 50)
            )
    if band.label:
        cap = min(0.2 * high, 0.5 * size)
        blank.words(
            band.label, face, middle, high * (0.76 if band.side == "left" else 0.6), cap, band.ink, room=0.68 * size
        )
    if band.crest and rng.random() < 0.9:
        ornaments.draw_emblem(
            rng, blank, "crest", middle, high * rng.uniform(0.3, 0.42), size * rng.uniform(1.0, 1.7), band.ink
        )
    if band.small and rng.random() < 0.8:
        blank.disc(middle, 0.3 * high, 0.24 * size, ornaments.any_colour(rng, 120, 250))
        blank.words(_member(rng, ("75", "13", "69", "33", "59", "06", "RM", "MI", "99 05", "08 11")), face, middle,
                    0.76 * high, min(0.17 * high, 0.4 * size), band.ink, room=0.68 * size)  # fmt: skip


@dataclass
class _Piece:
    """One sign of a line, in capitals."""

    sign: str
    width: float
    glyph: Glyph | None = None
    small: str = ""


def _write(
    rng: np.random.Generator,
    blank: Blank,
    layout: Layout,
    scheme: Scheme,
    written: str,
    face: Typeface,
    area: tuple[float, float, float, float],
    depth: float,
) -> None:
    """The text, in one line or two, in the area (left, top, right, bottom)."""
    left, top, right, bottom = area
    stretch = rng.uniform(0.92, 1.08)
    if layout.letter_width:
        stretch *= layout.letter_width / (face.glyph("H").ink / CAP)
    style = Style(
        stretch=stretch,
        gap=layout.gap * rng.uniform(0.75, 1.3),
        pitch=layout.pitch / stretch,
        weight=float(np.clip(rng.normal(0, 0.009), *_WEIGHTS)),
        roundness=float(rng.choice((0.0, 0.012, _ROUNDEST))),
    )
    margin = rng.uniform(8, 18)
    lines = written.split("|")
    spacing = (bottom - top) * 0.09 * (len(lines) - 1)
    most = (0.9 * (bottom - top) - spacing) / len(lines)
    cap = min(layout.cap_mm * rng.uniform(0.94, 1.05), most)
    height = cap * len(lines) + spacing
    y = top + (bottom - top) * layout.middle - height / 2 + rng.normal(0, 1)
    ink = _near(rng, scheme.ink)
    for line in lines:
        _write_line(rng, blank, layout, line, face, style, (left + margin, right - margin), y, cap, ink, depth)
        y += cap + spacing


def _write_line(
    rng: np.random.Generator,
    blank: Blank,
    layout: Layout,
    line: str,
    face: Typeface,
    style: Style,
    span: tuple[float, float],
    top: float,
    cap: float,
    ink: Colour,
    depth: float,
) -> None:
    pieces = _pieces(rng, layout, line, face, style)
    natural = sum(piece.width for piece in pieces) * cap
    room = span[1] - span[0]
    squeeze = min(1.0, room / natural)
    style = replace(style, stretch=style.stretch * squeeze)
    slack = max(0.0, room - natural)
    x = span[0] + slack / 2 + rng.uniform(-0.12, 0.12) * slack
    scale = blank.px_per_mm
    cap_px = cap * scale
    rows = (max(0, int((top - 0.25 * cap) * scale)), min(blank.picture.shape[0], int((top + 1.25 * cap) * scale)))
    shaky = rng.random() < 0.3
    placed = []
    for piece in pieces:
        wide = piece.width * cap * squeeze
        middle = x + wide / 2
        if piece.glyph is not None:
            shift_x, shift_y = rng.normal(0, 0.008, 2) * cap if shaky else (0.0, 0.0)
            placed.append((piece.glyph, (middle + shift_x) * scale, (top + shift_y) * scale - rows[0]))
        elif piece.small:
            small = 0.42 * cap
            for i, sign in enumerate(piece.small):
                blank.words(sign, face, middle, top + cap * (0.24 + 0.52 * i), small, ink, room=wide, depth=depth)
        elif piece.sign == "-":
            blank.rectangle(middle - 0.12 * cap * squeeze, top + 0.45 * cap, 0.24 * cap * squeeze, 0.11 * cap, ink)
        elif piece.sign == "·":
            blank.disc(middle, top + cap * 0.52, 0.07 * cap, ink)
        elif piece.sign == "*":
            ornaments.draw_emblem(rng, blank, layout.emblem, middle, top + cap / 2, cap * min(1, squeeze * 1.1), ink)
        x += wide
    field = draw_glyphs(placed, (blank.picture.shape[1], rows[1] - rows[0]), cap_px, style)
    if rng.random() < 0.15:
        field = _wear_off(rng, field, cap_px)
    blank.ink(field, ink, depth, 0, rows[0])


def _pieces(rng: np.random.Generator, layout: Layout, line: str, face: Typeface, style: Style) -> list[_Piece]:
    widths = {"_": 0.14, " ": rng.uniform(0.3, 0.5), "-": rng.uniform(0.34, 0.5), "·": rng.uniform(0.26, 0.4)}
    widths["*"] = ornaments.emblem_width(layout.emblem) * rng.uniform(0.9, 1.15)
    pieces = []
    small: str | None = None
    for sign in line:
        if sign == "<":
            small = ""
        elif sign == ">":
            pieces.append(_Piece(sign, 0.4, small=small or ""))
            small = None
        elif small is not None:
            small += sign
        elif sign in widths:
            pieces.append(_Piece(sign, widths[sign]))
        else:
            glyph = face.glyph(sign)
            pieces.append(_Piece(sign, advance(glyph, style), glyph))
    return pieces


def _wear_off(rng: np.random.Generator, field: NDArray[np.float32], cap_px: float) -> NDArray[np.float32]:
    """Paint gone from some places of the characters, seldom through a whole stroke, which would make others of them."""
    coarse = rng.normal(0, 1, (max(2, field.shape[0] // 8), max(2, field.shape[1] // 8))).astype(np.float32)
    holes = cv2.resize(coarse, (field.shape[1], field.shape[0]), interpolation=cv2.INTER_CUBIC)
    worn = np.clip((holes - rng.uniform(1.0, 1.9)) * np.float32(0.12), 0, rng.uniform(0.03, 0.06))
    return np.asarray(field - worn * np.float32(cap_px), np.float32)


def _fasten(rng: np.random.Generator, blank: Blank, layout: Layout, face: Typeface) -> None:
    """Stickers, bolts and a frame, as the layout has them."""
    wide, high = layout.width_mm, layout.height_mm
    places = ((0.12, 0.13), (0.88, 0.13), (0.12, 0.87), (0.88, 0.87))
    for x, y in places:
        if rng.random() < layout.stickers * 0.5:
            ornaments.draw_sticker(rng, blank, face, wide * x, high * y)
    if rng.random() < layout.frame:
        ornaments.draw_frame(rng, blank, face)
    kind = layout.bolts or ("two" if rng.random() < 0.25 else "")
    if not kind or rng.random() < 0.2:
        return
    heights = {"two": (0.5,), "four": (0.1, 0.9), "high": (0.09,)}[kind]
    sides = (0.2, 0.8) if kind == "four" else (0.3, 0.7) if kind == "high" else (0.105, 0.895)
    for y in heights:
        for x in sides:
            if rng.random() < 0.75:
                ornaments.draw_bolt(rng, blank, wide * x + rng.normal(0, 3), high * y + rng.normal(0, 2.5))
    if kind == "high" and rng.random() < 0.7:
        low = high * rng.uniform(0.85, 0.93)
        for x in (0.32, 0.68):
            blank.rectangle(wide * (x + rng.normal(0, 0.02)) - 6, low, 12, 6, (46, 38, 34))
        if rng.random() < 0.6:
            blank.disc(wide * 0.1, high * 0.17, rng.uniform(4, 7), (170, 30, 30))


def _age(rng: np.random.Generator, blank: Blank) -> None:
    """Light on the relief, and stains."""
    if blank.relief.any():
        angle = rng.uniform(0, 2 * np.pi)
        strength = rng.uniform(20, 70)
        dx = cv2.Sobel(blank.relief, cv2.CV_32F, 1, 0, ksize=3)
        dy = cv2.Sobel(blank.relief, cv2.CV_32F, 0, 1, ksize=3)
        light = cv2.addWeighted(dx, strength * np.cos(angle), dy, strength * np.sin(angle), 0).astype(np.int16)
        blank.picture[:] = cv2.add(blank.picture, cv2.merge([light] * 3), dtype=cv2.CV_8U)
    if rng.random() < 0.35:
        rows, columns = blank.picture.shape[:2]
        coarse = rng.normal(0, 1, (5, 12)).astype(np.float32)
        stains = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
        cover = np.clip((stains - rng.uniform(0.3, 1.4)) * rng.uniform(0.1, 0.35), 0, 0.5)
        blend(blank.picture, cover, ornaments.pick_colour(rng, ((110, 90, 70), (90, 90, 90), (150, 130, 100))))


def _cut_corners(rng: np.random.Generator, blank: Blank, radius_mm: float) -> Pixels:
    """The corners beyond the plate's rounding show what lies behind it."""
    radius = radius_mm * blank.px_per_mm
    size = int(np.ceil(radius))
    if size >= 2:
        ys, xs = np.mgrid[:size, :size] + 0.5
        outside = np.clip(np.hypot(radius - xs, radius - ys) - radius + 0.5, 0, 1).astype(np.float32)
        behind = _near(rng, ornaments.any_colour(rng, 10, 90))
        picture = blank.picture
        for view in (picture, picture[:, ::-1], picture[::-1], picture[::-1, ::-1]):
            blend(view[:size, :size], outside, behind)
    return blank.picture


def layouts_by_country() -> Mapping[str, list[Layout]]:
    """All layouts, by country."""
    found: dict[str, list[Layout]] = {}
    for layout in LAYOUTS:
        found.setdefault(layout.country, []).append(layout)
    return found
