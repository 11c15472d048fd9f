"""Tables as OTSL, the five tokens in which table models write (Lysak et al., "Optimized Table Tokenization for Table
Structure Recognition", 2023): a full or an empty cell, one that goes on to the left, upwards, or both, a new row.
"""

from __future__ import annotations

import re

from platoon.documents.page import Cell, Table

_TOKEN = re.compile(r"<(fcel|ecel|ched|rhed|srow|lcel|ucel|xcel|nl)>")
_LEFT, _UP = frozenset({"lcel", "xcel"}), frozenset({"ucel", "xcel"})
MOST = 100_000
"""Places of a grid; a model that writes more has lost its way."""


def is_otsl(text: str) -> bool:
    """Whether a model wrote a table, and no words about it."""
    return _TOKEN.search(text) is not None


def table_of(text: str) -> Table | None:
    """The table in `text`; rows that are too short end in empty cells. None: there is none, or one of absurd size."""
    rows: list[list[tuple[str, str]]] = [[]]
    parts = _TOKEN.split(text)
    for token, said in zip(parts[1::2], parts[2::2], strict=True):
        if token == "nl":
            rows.append([])
        else:
            rows[-1].append((token, " ".join(said.split())))
    rows = [row for row in rows if row]
    columns = max((len(row) for row in rows), default=0)
    if not columns or len(rows) * columns > MOST:
        return None
    grid = [row + [("ecel", "")] * (columns - len(row)) for row in rows]
    owners: dict[tuple[int, int], tuple[int, int]] = {}
    for r, row in enumerate(grid):
        for c, (token, _) in enumerate(row):
            owner = (r, c)
            if token in _LEFT and c:
                owner = owners[r, c - 1]
            elif token in _UP and r:
                owner = owners[r - 1, c]
            owners[r, c] = owner
    return Table(len(grid), columns, _cells(grid, owners))


def _cells(grid: list[list[tuple[str, str]]], owners: dict[tuple[int, int], tuple[int, int]]) -> tuple[Cell, ...]:
    """Cells of the places that belong together; where these are no rectangle, each place is a cell."""
    places: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for place, owner in owners.items():
        places.setdefault(owner, []).append(place)
    cells = []
    for (r, c), own in places.items():
        rows, columns = max(row for row, _ in own) - r + 1, max(column for _, column in own) - c + 1
        if rows * columns == len(own):
            cells.append(Cell(r, c, grid[r][c][1], (0, 0, 0, 0), rows, columns))
        else:
            cells.extend(Cell(row, column, grid[row][column][1], (0, 0, 0, 0)) for row, column in own)
    return tuple(sorted(cells, key=lambda cell: (cell.row, cell.column)))
