"""Tables as HTML that others wrote: their rows, how many columns they have, and one put below another.

Only the tags of tables are looked at, in one pass from left to right, so that no input takes longer than its length;
what stands in cells is kept as it is.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_TAG = re.compile(r"<(/?)(table|tr|td|th)\b([^<>]*)>", re.IGNORECASE)
_SPAN = re.compile(r"""\b(col|row)span\s*=\s*(?:["']\s*)?(\d{1,9})""", re.IGNORECASE)
_MARKUP = re.compile(r"<[^<>]*>")
_MOST_COLUMNS: Final = 1000
"""As HTML has it for `colspan`; wider tables are none that anybody put on a page."""
_MOST_ROWS: Final = 65_534
_MOST_TAGS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Row:
    """One row."""

    source: str
    """Its HTML, with the tags of the row."""
    texts: tuple[str, ...]
    """What its cells say."""
    spans: tuple[tuple[int, int], ...]
    """Columns and rows of each cell."""


@dataclass(frozen=True, slots=True)
class HtmlTable:
    """A table."""

    html: str
    """As it was written, whatever stands around it included."""
    rows: tuple[Row, ...]
    end: int
    """Where in `html` its last row ends."""

    @property
    def columns(self) -> int:
        """The width of its grid, with what spans rows and columns; 0 where it is too wide to be believed."""
        widest = 0
        taken = bytearray(_MOST_COLUMNS + 1)
        """Of the present row; the last column is always free."""
        ending: dict[int, list[tuple[int, int]]] = {}
        """Row -> what no longer reaches down to it: the first column, and how many."""
        for number, row in enumerate(self.rows):
            for start, columns in ending.pop(number, ()):
                taken[start : start + columns] = bytes(columns)
            at = 0
            for columns, rows in row.spans:
                at = taken.index(0, at)
                if at + columns > _MOST_COLUMNS:
                    return 0
                if rows > 1:
                    taken[at : at + columns] = b"\1" * columns
                    ending.setdefault(number + rows, []).append((at, columns))
                at += columns
            widest = max(widest, at, taken.rfind(1) + 1)
        return widest


def joined(tables: Sequence[HtmlTable]) -> str:
    """The first with the rows of all others below its own, without heads that only repeat those before them."""
    first = tables[0]
    added = []
    for before, table in pairwise(tables):
        repeats = bool(before.rows and table.rows) and _alike(before.rows[0], table.rows[0])
        rows = table.rows[1:] if repeats and (len(table.rows) > 1 or table is not tables[-1]) else table.rows
        added += [row.source for row in rows]
    return first.html[: first.end] + "".join(added) + first.html[first.end :]


def parse(source: str) -> HtmlTable | None:
    """The table in `source`; none where there is none with rows, one inside another, or more than a page can hold."""
    if source.count("<") > _MOST_TAGS:
        return None
    tags = list(_TAG.finditer(source))
    if sum(tag[2].lower() == "table" and not tag[1] for tag in tags) != 1:
        return None
    rows: list[Row] = []
    end = 0
    begun: int | None = None
    cells: list[tuple[re.Match[str], int]] = []
    for index, tag in enumerate(tags):
        closing, name = bool(tag[1]), tag[2].lower()
        if name in ("tr", "table"):
            if begun is not None:  # the end tag of a row may be left out
                end = tag.end() if closing and name == "tr" else tag.start()
                rows.append(_row(source, begun, end, cells))
                cells = []
            begun = tag.start() if name == "tr" and not closing else None
        elif not closing and begun is not None:
            cells.append((tag, tags[index + 1].start() if index + 1 < len(tags) else len(source)))
    if begun is not None:
        end = len(source)
        rows.append(_row(source, begun, end, cells))
    return HtmlTable(source, tuple(rows), end) if rows else None


def _row(source: str, start: int, end: int, cells: list[tuple[re.Match[str], int]]) -> Row:
    texts, spans = [], []
    for tag, until in cells:
        said = html.unescape(_MARKUP.sub(" ", source[tag.end() : until]))
        texts.append(" ".join(said.split()))
        given = {which.lower(): int(number) for which, number in _SPAN.findall(tag[3])}
        spans.append((min(max(given.get("col", 1), 1), _MOST_COLUMNS), min(max(given.get("row", 1), 1), _MOST_ROWS)))
    return Row(source[start:end], tuple(texts), tuple(spans))


def _alike(one: Row, other: Row) -> bool:
    return one.spans == other.spans and [*map(str.casefold, one.texts)] == [*map(str.casefold, other.texts)]
