"""Lines of a block as one text: words that were divided are joined, and what was set apart stays apart.

Whether a line was ended on purpose is decided as a reader does: the next word would still have fitted.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from itertools import pairwise

from platoon.documents.page import Line

INDENT = 0.8
"""A line that begins so much of its height further in than the block begins a paragraph, unless the last one does."""
APART = 0.3
"""So much of a line's height more than usual between two lines parts paragraphs."""
VERSE = 0.5
"""Where at least so many lines of a block were ended on purpose, as in addresses, verse and code, each line stays,"""
SHORT = 40
"""or where lines of no more characters than this all begin with a capital or a digit, or most end as code does."""

_BULLET = re.compile(r"(?:[•‣◦▪■●○–—·*-]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s")
_CODE = re.compile(r"[;{}]$")
_DIVIDED = re.compile(r"[^\W\d_][-\u00ad\u2010]")
"""The last two characters of a line that ends within a word."""
_WITHOUT_SPACES = re.compile(r"[\u3001-\u30ff\u3400-\u9fff\uff00-\uffef]")
"""Kana, Han and what goes with them."""

Row = Sequence[Line]
"""Lines that stand beside each other, from left to right."""


def rows_of(lines: Sequence[Line]) -> list[list[Line]]:
    """Rows from top to bottom, each from left to right; a line joins the row in whose height its middle lies."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=_middle):
        if rows and rows[-1][0].box[1] <= _middle(line) <= rows[-1][0].box[3]:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [sorted(row, key=lambda line: line.box[0]) for row in rows]


def running_text(rows: Sequence[Row]) -> str:
    """All in one paragraph, as titles and captions are."""
    text = ""
    for row in rows:
        text = joined(text, _text(row))
    return text


def paragraphs(rows: Sequence[Row]) -> str:
    """Paragraphs parted by empty lines, or, where most lines were ended on purpose, the lines as they are."""
    if len(rows) < 2:
        return running_text(rows)
    left = min(_left(row) for row in rows)
    right = max(_right(row) for row in rows)
    height = statistics.median(_bottom(row) - _top(row) for row in rows)
    usual = statistics.median(_top(below) - _top(row) for row, below in pairwise(rows))
    ended = [_fits(below, row, right) for row, below in pairwise(rows)]
    coded = sum(bool(_CODE.search(_text(row))) for row in rows)
    items = [bool(_BULLET.match(_text(row))) for row in rows]
    verse = len(rows) > 2 and (max(sum(ended), coded) >= VERSE * len(ended) or all(map(_like_address, rows)))
    verse = verse and not any(items)
    text, in_item = _text(rows[0]), items[0]
    for (row, below), on_purpose, item in zip(pairwise(rows), ended, items[1:], strict=True):
        apart = _top(below) - _top(row) > usual + APART * height
        # What hangs below the first word of an item goes on with it.
        indented = _left(below) - left >= INDENT * height and _left(row) - left < INDENT * height and not in_item
        if item and (in_item or not apart):
            text += "\n" + _text(below)
        elif apart or (not verse and (on_purpose or indented)):
            text += "\n\n" + _text(below)
            in_item = False
        elif verse:
            text += "\n" + _text(below)
        else:
            text = joined(text, _text(below))
        in_item = in_item or item
    return text


def joined(text: str, more: str) -> str:
    """A text and the line after it."""
    if not text or not more:
        return text or more
    if _DIVIDED.fullmatch(text[-2:]):
        # Only what is written small can be the rest of a word; Müller-Lüdenscheid and A-1 keep their hyphen.
        return text[:-1] + ("" if more[0].islower() else "-" if text[-1] == "\u00ad" else text[-1]) + more
    if _WITHOUT_SPACES.match(text[-1]) and _WITHOUT_SPACES.match(more[0]):
        return text + more
    return f"{text} {more}"


def _like_address(row: Row) -> bool:
    text = _text(row)
    return len(text) <= SHORT and (text[:1].isupper() or text[:1].isdigit()) and not _DIVIDED.fullmatch(text[-2:])


def _fits(below: Row, row: Row, right: int) -> bool:
    """Whether the first word of `below` would have fitted at the end of `row`."""
    first, text = below[0], _text(row)
    if _DIVIDED.fullmatch(text[-2:]) or not first.text:
        return False
    word = first.words[0].text if first.words else first.text
    width = (first.box[2] - first.box[0]) * (len(word) + 2) / len(first.text)
    return _right(row) + width < right


def _text(row: Row) -> str:
    return " ".join(line.text for line in row)


def _middle(line: Line) -> float:
    return (line.box[1] + line.box[3]) / 2


def _left(row: Row) -> int:
    return row[0].box[0]


def _right(row: Row) -> int:
    return max(line.box[2] for line in row)


def _top(row: Row) -> int:
    return min(line.box[1] for line in row)


def _bottom(row: Row) -> int:
    return max(line.box[3] for line in row)
