"""A document as Markdown (CommonMark, with the pipe tables of GitHub's).

What stands on the page is text here: characters that would be markup are escaped. Headers and footers are left out,
figures become files of their own beside the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from statistics import median
from typing import BinaryIO
from urllib.parse import quote

from platoon.documents.exports.characters import valid
from platoon.documents.exports.tables import has_spans, rows_of, to_html
from platoon.documents.page import MARGINAL, Block, Label, Line, Page, Table
from platoon.media.frame import Pixels, as_jpeg

FIGURES = "figures"
"""The folder of cut out figures, beside the text."""
QUALITY = 90
"""Of the JPEGs of figures."""
LEVELS = (1.7, 1.25)
"""A title whose letters are so many times as high as those of its page's text is of the first or second level."""

# An underscore inside a word is none of emphasis, nor is < before a blank or & before no entity markup.
_MARKUP = re.compile(r"[\\`*\[\]~|]|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])|&(?=#?\w+;)")
_AT_START = re.compile(r"^(?=#{1,6}(?:\s|$)|[-+](?:\s|$)|-[-\t ]+$|=+[\t ]*$|>)", re.MULTILINE)
_ITEM = re.compile(r"^[•‣◦▪■●○·]\s+", re.MULTILINE)
"""What stands before the items of a list."""


def markdown(page: Page, picture: Pixels | None, *, figures: str = FIGURES) -> tuple[str, dict[str, bytes]]:
    """What a page says, and its figures: {path relative to the text: JPEG}.

    Args:
        picture: the page as it was drawn, of which the figures are cut; none: of figures only their words are written.
        figures: the folder of the figures' paths.
    """
    if page.error is not None:
        return f"> Page {page.index + 1} could not be read: {escaped(page.error)}", {}
    parts: list[str] = []
    files: dict[str, bytes] = {}
    body = body_height(page)
    for block in page.blocks:
        if block.label in MARGINAL:
            continue
        if block.label is Label.FIGURE and picture is not None and (cut := _cut(picture, block)) is not None:
            path = f"{figures}/page-{page.index + 1}-figure-{len(files) + 1}.jpg"
            files[path] = as_jpeg(cut, quality=QUALITY)
            parts.append(f"![{_on_one_line(block.text)}]({quote(path)})")
        elif said := _said(block, body):
            parts.append(said)
    return "\n\n".join(parts), files


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in its paragraphs and lines."""
    plain = "\n".join(line.strip() for line in valid(text).strip().split("\n"))
    return _AT_START.sub(r"\\", _MARKUP.sub(_escape, plain))


class MarkdownExport:
    """Writes pages as Markdown, parted by empty lines.

    Args:
        attach: takes each figure, (path relative to the text, JPEG); none: of figures only their words are written.
        figures: the folder of their paths.
    """

    def __init__(
        self, out: BinaryIO, attach: Callable[[str, bytes], object] | None = None, *, figures: str = FIGURES
    ) -> None:
        self._out, self._attach, self._figures = out, attach, figures
        self._begun = False

    def add(self, page: Page, picture: Pixels) -> None:
        """Write the next page."""
        text, files = markdown(page, None if self._attach is None else picture, figures=self._figures)
        for path, jpeg in files.items():
            if self._attach is not None:
                self._attach(path, jpeg)
        if text:
            self._out.write((b"\n" if self._begun else b"") + text.encode() + b"\n")
            self._begun = True

    def finish(self) -> None:
        """Nothing follows the last page."""


def _said(block: Block, body: float) -> str:
    if block.label is Label.TABLE and block.table is not None and block.table.cells:
        return _table(block.table)
    if not block.text.strip():
        return ""
    if block.label is Label.TITLE:
        return f"{'#' * title_level(block, body)} {_on_one_line(block.text)}"
    if block.label in (Label.TABLE_CAPTION, Label.FIGURE_CAPTION):
        return f"*{_on_one_line(block.text)}*"
    return _ITEM.sub("- ", escaped(block.text))


def _table(table: Table) -> str:
    if has_spans(table):
        return to_html(table)
    head, *rows = [[_on_one_line(cell.text) for cell in cells] for cells in rows_of(table)]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def title_level(title: Block, body: float) -> int:
    """1 for the highest letters, beside `body_height` of its page."""
    times = _height(title.lines) / body
    return next((level for level, least in enumerate(LEVELS, 1) if times >= least), len(LEVELS) + 1)


def body_height(page: Page) -> float:
    """Of the letters of what is no title; where there is nothing else, titles are of the first level."""
    lines = [line for block in page.blocks if block.label is Label.TEXT for line in block.lines]
    return _height(lines) or 1.0


def _height(lines: Sequence[Line]) -> float:
    """The median of the lines, along their own upright; 0 where there are none."""
    return median(math.dist(line.corners[0], line.corners[3]) for line in lines) if lines else 0.0


def _cut(picture: Pixels, block: Block) -> Pixels | None:
    """The block's part of the picture; nothing where it has no extent inside."""
    left, top, right, bottom = block.box
    part = picture[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    return part if part.size else None


def _on_one_line(text: str) -> str:
    return escaped(" ".join(text.split()))


def _escape(found: re.Match[str]) -> str:
    return "&amp;" if found[0] == "&" else "\\" + found[0]
