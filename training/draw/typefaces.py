"""Typefaces as distance fields: each glyph is drawn once, then scaled, stretched, thickened and rounded for each plate.

A glyph's field holds the signed distance to its outline, positive inside: adding to it makes strokes thicker, blurring
it rounds corners as stamping does, and its slope is the slope of an embossed edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from platoon.media.synthetic import glyphs
from training.draw import fonts, strokes

CAP = 80
"""Height of a capital in a glyph's field, in pixels."""
ABOVE = 24
"""Room over the capitals, for accents."""
BELOW = 24
"""Room under the line, for descenders."""
MARGIN = 12
"""Room left and right of the ink."""
_STEPS = 10
"""Steps of a field per pixel; a field reaches 12.7 pixels far."""
_FINE = 2

Field = NDArray[np.float32]
"""Signed distance to the outlines in pixels, positive inside."""


@dataclass(frozen=True)
class Glyph:
    """One character: its distance field (ABOVE + CAP + BELOW, MARGIN + ink + MARGIN), 128 at the outline."""

    field: NDArray[np.uint8]

    @property
    def ink(self) -> int:
        """Width without margins."""
        return int(self.field.shape[1]) - 2 * MARGIN


class Typeface:
    """Glyphs of one font or of one of our own alphabets, drawn when they are first asked for."""

    def __init__(self, name: str, source: Path | glyphs.Typeface | strokes.Alphabet) -> None:
        self.name = name
        self._source = source
        self._font: ImageFont.FreeTypeFont | None = None
        self._glyphs: dict[str, Glyph] = {}

    def glyph(self, character: str) -> Glyph:
        """The glyph of one character."""
        if character not in self._glyphs:
            self._glyphs[character] = _as_glyph(self._mask(character))
        return self._glyphs[character]

    def _mask(self, character: str) -> NDArray[np.uint8]:
        """Its coverage at `_FINE` times the size, from its topmost room to its lowest, cut at the ink's sides."""
        if isinstance(self._source, glyphs.Typeface):
            drawn = glyphs.text_mask(character, CAP * _FINE, self._source)
            return np.pad(drawn, ((ABOVE * _FINE, BELOW * _FINE), (0, 0)))
        if isinstance(self._source, strokes.Alphabet):
            drawn = self._source.draw(character, CAP * _FINE)
            return np.pad(drawn, ((ABOVE * _FINE, BELOW * _FINE), (0, 0)))
        if self._font is None:
            self._font = _at_cap_height(self._source, CAP * _FINE)
        left, _, right, _ = (round(edge) for edge in self._font.getbbox(character, anchor="ls"))
        canvas = Image.new("L", (max(1, right - left), (ABOVE + CAP + BELOW) * _FINE))
        ImageDraw.Draw(canvas).text((-left, (ABOVE + CAP) * _FINE), character, fill=255, font=self._font, anchor="ls")
        return np.asarray(canvas)


def _at_cap_height(path: Path, height: int) -> ImageFont.FreeTypeFont:
    trial = ImageFont.truetype(path, 200)
    capital = -trial.getbbox("H", anchor="ls")[1]
    return ImageFont.truetype(path, 200 * height / capital)


def _as_glyph(mask: NDArray[np.uint8]) -> Glyph:
    mask = np.pad(mask, ((0, 0), (MARGIN * _FINE, MARGIN * _FINE)))
    inside = np.where(mask > 127, 255, 0).astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(255 - inside, cv2.DIST_L2, 5)
    size = (max(1, round(mask.shape[1] / _FINE)), mask.shape[0] // _FINE)
    small = cv2.resize(distance / _FINE, size, interpolation=cv2.INTER_AREA)
    return Glyph(np.clip(np.round(small * _STEPS + 128), 0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Style:
    """How the letters of one plate differ from those of another with the same typeface."""

    stretch: float = 1.0
    """Of the glyphs' widths."""
    gap: float = 0.14
    """Between the inks of two characters, in capitals."""
    pitch: float = 0.0
    """Where above 0: the width of the cell in which each character stands, in capitals."""
    weight: float = 0.0
    """Added to each side of each stroke, in capitals."""
    roundness: float = 0.0
    """Radius by which corners are blunted, in capitals."""


def advance(glyph: Glyph, style: Style) -> float:
    """The width that a character takes, in capitals, gap included."""
    if style.pitch:
        return style.pitch * style.stretch
    return glyph.ink / CAP * style.stretch + style.gap


def draw_glyphs(
    placed: Iterable[tuple[Glyph, float, float]], size: tuple[int, int], cap_px: float, style: Style
) -> Field:
    """One field of `size` (width, height in pixels) with glyphs at their places.

    Args:
        placed: each glyph with the middle of its ink and the upper edge of its capitals, in pixels of the result.
        cap_px: height of a capital in pixels.
    """
    scale = cap_px / CAP
    canvas = np.zeros((size[1], size[0]), np.uint8)
    for glyph, middle, top in placed:
        rows, columns = glyph.field.shape
        wide, high = columns * scale * style.stretch, rows * scale
        left, upper = middle - wide / 2, top - ABOVE * scale
        x, y = int(np.floor(left)), int(np.floor(upper))
        into = np.array([[scale * style.stretch, 0, left - x], [0, scale, upper - y]])
        box = (min(int(wide) + 2, size[0] - x), min(int(high) + 2, size[1] - y))
        if box[0] <= 0 or box[1] <= 0:
            continue
        method = cv2.INTER_LINEAR if scale > 0.4 else cv2.INTER_AREA
        if method == cv2.INTER_AREA:
            patch = cv2.resize(glyph.field, (max(1, round(wide)), max(1, round(high))), interpolation=method)
            patch = patch[: box[1], : box[0]]
        else:
            patch = cv2.warpAffine(glyph.field, into, box, flags=method)
        skip_x, skip_y = max(0, -x), max(0, -y)
        patch = patch[skip_y:, skip_x:]
        x, y = max(0, x), max(0, y)
        target = canvas[y : y + patch.shape[0], x : x + patch.shape[1]]
        np.maximum(target, patch[: target.shape[0], : target.shape[1]], out=target)
    field = (canvas.astype(np.float32) - 128) * np.float32(scale / _STEPS)
    if style.roundness * cap_px > 0.3:
        field = cv2.GaussianBlur(field, (0, 0), style.roundness * cap_px)
    if style.weight:
        field += np.float32(style.weight * cap_px)
    return field


POOLS: Mapping[str, tuple[str, ...]] = {
    "din": (
        "barlow 500", "barlow 600", "barlow-semi-condensed 500", "barlow-semi-condensed 600", "k2d 600",
        "barlow-condensed 500", "barlow-condensed 600", "bebas-neue 400", "saira-condensed 500", "rajdhani 700",
        "saira-condensed 600", "sofia-sans-condensed 500", "sofia-sans-condensed 700", "own din", "kanit 500",
    ),
    "narrow": (
        "antonio 500", "antonio 700", "oswald 400", "oswald 500", "league-gothic 400", "fjalla-one 400",
        "pathway-gothic-one 400", "big-shoulders-display 700", "francois-one 400",
        "sofia-sans-extra-condensed 600", "sofia-sans-extra-condensed 700", "fira-sans-extra-condensed 500",
        "fira-sans-extra-condensed 600", "bebas-neue 400", "barlow-condensed 600", "own narrow",
    ),
    "sans": (
        "arimo 600", "arimo 700", "archivo-narrow 600", "archivo-narrow 700", "roboto-condensed 500",
        "roboto-condensed 600", "pragati-narrow 700", "pt-sans-narrow 700", "overpass 600", "overpass 700",
        "fira-sans-extra-condensed 600",
    ),
    "mono": ("share-tech-mono 400", "overpass-mono 600", "overpass-mono 700", "roboto-mono 500", "roboto-mono 600",
             "b612 700"),
    "stamped": ("own stamped", "own stamped", "own stamped feet", "own stamped slim"),
    "round": ("dosis 600", "dosis 700", "varela-round 400", "nunito 700", "own round"),
    "square": ("saira-semi-condensed 500", "chakra-petch 600", "staatliches 400", "teko 500", "rajdhani 600"),
    "fe": ("own fe", "own fe closed", "own fe closed"),
    "uk": ("own uk", "own uk", "own uk wide"),
    "block": ("own block", "own block", "own block", "own block", "own uk wide", "chakra-petch 600"),
    "script": ("kaushan-script 400", "lobster 400", "roboto-slab 700", "nunito 700"),
}  # fmt: skip
"""Typefaces that resemble each other, by what plates call for."""

_OWN: Mapping[str, glyphs.Typeface | strokes.Alphabet] = {
    "own uk": glyphs.Typeface(letter=0.63, digit=0.63, stroke=0.177, gap=0.14),
    "own din": glyphs.Typeface(letter=0.58, digit=0.55, stroke=0.14, gap=0.13),
    "own narrow": glyphs.Typeface(letter=0.47, digit=0.45, stroke=0.13, gap=0.12),
    "own round": strokes.ROUND,
    "own uk wide": glyphs.Typeface(letter=0.66, digit=0.64, stroke=0.165, gap=0.14),
    "own fe": strokes.FE,
    "own fe closed": strokes.FE_CLOSED,
    "own block": strokes.BLOCK,
    "own stamped": strokes.STAMPED,
    "own stamped feet": strokes.STAMPED_FEET,
    "own stamped slim": strokes.STAMPED_SLIM,
}


@lru_cache(maxsize=2)
def typefaces(cache: Path = fonts.DEFAULT_CACHE) -> Mapping[str, Typeface]:
    """All typefaces by name: the fonts in `cache` and our own alphabets.

    Raises:
        FontsMissing: `cache` lacks a font.
    """
    sources: dict[str, Path | glyphs.Typeface | strokes.Alphabet] = {**fonts.font_files(cache), **_OWN}
    return {name: Typeface(name, source) for name, source in sources.items()}
