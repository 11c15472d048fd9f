"""A page with what was found on it drawn over it: lines as polygons, blocks with their labels and reading order."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from platoon.documents.page import Block, Corners, Label, Page
from platoon.media.frame import Pixels

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
COLOURS: Final[dict[Label, Colour]] = {
    Label.TITLE: (200, 30, 40),
    Label.TEXT: (30, 90, 200),
    Label.TABLE: (0, 130, 90),
    Label.TABLE_CAPTION: (80, 150, 60),
    Label.FIGURE: (190, 90, 0),
    Label.FIGURE_CAPTION: (160, 120, 0),
    Label.EQUATION: (140, 40, 170),
    Label.REFERENCE: (90, 90, 160),
    Label.HEADER: (110, 110, 110),
    Label.FOOTER: (110, 110, 110),
}
LINES: Final[Colour] = (0, 160, 200)
CELLS: Final[Colour] = (120, 200, 160)
_MARKED = 110
"""The longer side of a page is so many times as long as a mark is high."""


def overlay(page: Page, picture: Pixels) -> Pixels:
    """A copy of the page's picture with its lines, cells and blocks; each block bears its number in reading order, from
    1, and its label.
    """
    if not picture.size:
        return picture.copy()
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    thin = max(1, round(max(page.size) / 1000))
    font = ImageFont.load_default(max(10.0, max(page.size) / _MARKED))
    for block in page.blocks:
        for cell in block.table.cells if block.table is not None else ():
            _outline(draw, _corners(cell.box), CELLS, thin)
        for line in block.lines:
            _outline(draw, line.corners, LINES, thin)
        _outline(draw, _corners(block.box), COLOURS[block.label], 2 * thin)
    for number, block in enumerate(page.blocks, 1):
        _mark(draw, block, f"{number} {block.label}", font, thin)
    return np.asarray(image)


def _mark(draw: ImageDraw.ImageDraw, block: Block, text: str, font: Font, margin: int) -> None:
    """A label on the block's top left corner, inside the picture."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    x = max(0, min(block.box[0], round(draw.im.size[0] - (right - left) - 2 * margin)))
    y = max(0, round(block.box[1] - (bottom - top) - 2 * margin))
    draw.rectangle((x, y, x + right - left + 2 * margin, y + bottom - top + 2 * margin), fill=COLOURS[block.label])
    draw.text((x + margin - left, y + margin - top), text, fill=(255, 255, 255), font=font)


def _outline(draw: ImageDraw.ImageDraw, corners: Corners, colour: Colour, width: int) -> None:
    for start, end in pairwise((*corners, corners[0])):
        draw.line((*start, *end), fill=colour, width=width)


def _corners(box: tuple[int, int, int, int]) -> Corners:
    left, top, right, bottom = box
    return (left, top), (right, top), (right, bottom), (left, bottom)
