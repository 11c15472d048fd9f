"""Made-up pages for the tests of what documents are turned into."""

import numpy as np

from platoon.documents.page import Block, Box, Cell, Label, Line, Page, Table, Word
from platoon.media.frame import Pixels

SIZE = (600, 800)
NUMBERS = Table(
    2, 2, (Cell(0, 0, "", (0, 0, 9, 9)), Cell(0, 1, "2026", (9, 0, 18, 9)), *[
        Cell(1, column, text, (9 * column, 9, 9 * column + 9, 18)) for column, text in enumerate(("a|b <b>", "1 & 2"))
    ])
)  # fmt: skip
SPANNING = Table(
    2, 2, (Cell(0, 0, "both <i>\nlines", (0, 0, 18, 9), columns=2), Cell(1, 0, "x", (0, 9, 9, 18)),
           Cell(1, 1, "y", (9, 9, 18, 18)))
)  # fmt: skip


def line(text: str, left: float, top: float, *, height: float = 20, confidence: float = 0.9) -> Line:
    """A line whose characters are half as wide as high, words parted at blanks."""
    advance = height / 2

    def piece(start: int, end: int) -> tuple[tuple[float, float], ...]:
        x1, x2 = left + start * advance, left + end * advance
        return ((x1, top), (x2, top), (x2, top + height), (x1, top + height))

    words, start = [], 0
    for word in text.split():
        start = text.index(word, start)
        words.append(Word(word, piece(start, start + len(word)), confidence))
        start += len(word)
    return Line(text, piece(0, len(text)), confidence, tuple(words))


def block(
    label: Label, *texts: str, top: float = 100, left: float = 50, height: float = 20, table: Table | None = None,
    box: Box | None = None,
) -> Block:  # fmt: skip
    """A block of lines, one below the other."""
    lines = tuple(line(text, left, top + 1.5 * height * number, height=height) for number, text in enumerate(texts))
    around = (round(left), round(top), SIZE[0] - 50, round(top + 1.5 * height * max(1, len(texts))))
    return Block(label, box or around, 0.95, lines, " ".join(texts), table)


def page(*blocks: Block, index: int = 0, error: str | None = None) -> Page:
    """A page of `SIZE` at 144 dpi."""
    return Page(index, SIZE, 2.0, blocks, error=error)


def blank(*, grey: int = 255) -> Pixels:
    """The picture of a page."""
    return np.full((SIZE[1], SIZE[0], 3), grey, np.uint8)
