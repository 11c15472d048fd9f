"""What stands on a page: words, lines and blocks in reading order. Plain values, which travel as JSON.

Boxes are whole pixels of the page as it was drawn, (left, top, right, bottom) from its top left corner. Finding all of
this is left to `platoon.documents.read`, and how it is shown to the exports: they need nothing but a `Page`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Self

Box = tuple[int, int, int, int]
"""left, top, right, bottom, in pixels of the page."""
Corners = tuple[tuple[float, float], ...]
"""Four of (x, y), from the top left of the first character clockwise, as one reads it."""


class Label(StrEnum):
    """What a block is."""

    TITLE = "title"
    TEXT = "text"
    TABLE = "table"
    TABLE_CAPTION = "table_caption"
    FIGURE = "figure"
    FIGURE_CAPTION = "figure_caption"
    EQUATION = "equation"
    REFERENCE = "reference"
    HEADER = "header"
    FOOTER = "footer"


MARGINAL = frozenset({Label.HEADER, Label.FOOTER})
"""Blocks that repeat from page to page and are no part of what it says."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Text, and where it stands."""

    text: str
    corners: Corners
    confidence: float
    """0 to 1."""

    @property
    def box(self) -> Box:
        """Around `corners`."""
        return around(self.corners)


@dataclass(frozen=True, slots=True)
class Word(Piece):
    """Characters of a line between spaces."""


@dataclass(frozen=True, slots=True)
class Line(Piece):
    """A line of text."""

    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table; rows and columns count from 0."""

    row: int
    column: int
    text: str
    box: Box
    rows: int = 1
    """How many it spans."""
    columns: int = 1


@dataclass(frozen=True, slots=True)
class Table:
    """Cells in the order of their rows; every place of the grid belongs to one."""

    rows: int
    columns: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a page."""

    label: Label
    box: Box
    confidence: float
    """0 to 1: how sure the layout is; 1 where no model said so."""
    lines: tuple[Line, ...]
    """In reading order."""
    text: str
    """The lines as one text: words divided at the end of a line are joined, paragraphs are parted by an empty line."""
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a document."""

    index: int
    """In the document, from 0."""
    size: tuple[int, int]
    """(width, height) in pixels."""
    scale: float
    """Pixels per point (1/72 inch); 1 where nothing says."""
    blocks: tuple[Block, ...]
    """In reading order: headers first, footers last."""
    source: Literal["ocr", "text-layer"] = "ocr"
    """Where its text comes from."""
    error: str | None = None
    """Why it could not be read; it has no blocks then."""

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines of all blocks."""
        return tuple(line for block in self.blocks for line in block.lines)

    @property
    def text(self) -> str:
        """What the page says, without headers and footers."""
        return "\n\n".join(block.text for block in self.blocks if block.text and block.label not in MARGINAL)

    def to_json(self) -> dict[str, Any]:
        """As JSON; `from_json` is its inverse."""
        return {
            "index": self.index,
            "width": self.size[0],
            "height": self.size[1],
            "scale": self.scale,
            "source": self.source,
            **({"error": self.error} if self.error is not None else {}),
            "blocks": [_block_to_json(block) for block in self.blocks],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The page of which `to_json` made this."""
        return cls(
            index=data["index"],
            size=(data["width"], data["height"]),
            scale=data["scale"],
            source=data["source"],
            error=data.get("error"),
            blocks=tuple(_block(block) for block in data["blocks"]),
        )


def around(corners: Sequence[tuple[float, float]]) -> Box:
    """The upright rectangle of whole pixels around `corners`."""
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return math.floor(min(xs)), math.floor(min(ys)), math.ceil(max(xs)), math.ceil(max(ys))


def _block_to_json(block: Block) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "label": block.label.value,
        "box": list(block.box),
        "confidence": round(block.confidence, 4),
        "text": block.text,
        "lines": [
            {
                **_piece_to_json(line),
                "words": [_piece_to_json(word) for word in line.words],
            }
            for line in block.lines
        ],
    }
    if block.table is not None:
        fields["table"] = {
            "rows": block.table.rows,
            "columns": block.table.columns,
            "cells": [
                {
                    "row": cell.row,
                    "column": cell.column,
                    "rows": cell.rows,
                    "columns": cell.columns,
                    "text": cell.text,
                    "box": list(cell.box),
                }
                for cell in block.table.cells
            ],
        }
    return fields


def _piece_to_json(piece: Piece) -> dict[str, Any]:
    return {
        "text": piece.text,
        "confidence": round(piece.confidence, 4),
        "corners": [[round(x, 1), round(y, 1)] for x, y in piece.corners],
    }


def _block(data: Mapping[str, Any]) -> Block:
    table = data.get("table")
    return Block(
        label=Label(data["label"]),
        box=_box(data["box"]),
        confidence=data["confidence"],
        lines=tuple(
            Line(
                text=line["text"],
                corners=_corners(line["corners"]),
                confidence=line["confidence"],
                words=tuple(
                    Word(word["text"], _corners(word["corners"]), word["confidence"]) for word in line["words"]
                ),
            )
            for line in data["lines"]
        ),
        text=data["text"],
        table=None
        if table is None
        else Table(
            table["rows"],
            table["columns"],
            tuple(Cell(**{**cell, "box": _box(cell["box"])}) for cell in table["cells"]),
        ),
    )


def _box(values: Sequence[int]) -> Box:
    left, top, right, bottom = values
    return left, top, right, bottom


def _corners(values: Sequence[Sequence[float]]) -> Corners:
    return tuple((x, y) for x, y in values)
