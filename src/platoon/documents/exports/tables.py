"""Tables as HTML and as Markdown's rows between pipes. Whatever a cell says is text there, never markup."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, tostring

from platoon.documents.exports.characters import valid
from platoon.documents.page import Cell, Table


def to_html(table: Table) -> str:
    """One `table` element on one line, spans as attributes."""
    root = Element("table")
    for cells in rows_of(table):
        row = SubElement(root, "tr")
        for cell in cells:
            spans = {"rowspan": cell.rows, "colspan": cell.columns}
            element = SubElement(row, "td", {name: str(span) for name, span in spans.items() if span > 1})
            first, *others = valid(cell.text).splitlines() or [""]
            element.text = first
            for line in others:
                SubElement(element, "br").tail = line
    return tostring(root, encoding="unicode", method="html")


def has_spans(table: Table) -> bool:
    """Whether a cell covers more than one place, which rows between pipes cannot say."""
    return any(cell.rows > 1 or cell.columns > 1 for cell in table.cells)


def rows_of(table: Table) -> list[list[Cell]]:
    """The cells that begin in each row, from left to right."""
    rows: list[list[Cell]] = [[] for _ in range(table.rows)]
    for cell in sorted(table.cells, key=lambda cell: cell.column):
        rows[cell.row].append(cell)
    return rows
