"""The cells of a table: from its rules where it has some, from the gaps between its words where it has none.

Rules are what is left of the ink after a morphological opening with long, thin elements; where two neighbours of the
grid have no rule between them they are one cell. Columns without rules are where no word stands, in the rows that have
most cells (Kieninger and Dengel's T-Recs, 1998, goes the same way from words to blocks); what reaches over such a gap
spans its columns.

No package does this here: those that bring a model for it download the model, and those that do it with OpenCV want
a data frame library and a compiler besides.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from platoon.documents.page import Box, Cell, Line, Table, Word
from platoon.documents.paragraphs import joined
from platoon.media.frame import Pixels

MARGIN = 6
"""Pixels around the region in which its outer rules may lie."""
LONG = (3.0, 1.6)
"""So many times the height of a word is a rule long that runs across, or down; no character is."""
THICK = 0.5
"""Times the height of a word: what is thicker is no rule, and what is nearer is of one cell."""
PARTIAL = 0.12
"""Rules in one place that cover no more of the table's width or height are strokes of characters."""
MAX_POSITIONS = 4000
"""Rows times columns of a table; a larger one is none."""
MAX_RULES = 500
"""Across, or down; a page with more is a drawing."""
FILLED = 0.6
"""Rules on a page make a table if so many of the cells hold text, else a drawing; and text between rules is rows of
its own if so many of them fill several columns, else a row."""
COVERED = 0.6
"""A rule along so much of an edge parts the cells beside it."""
COLUMN_GAP = 0.8
"""Words of a row further apart than this times their height are of different cells."""
FEW_RULES = 2
"""Where no more run across within a table, they part its head and foot, and not every row."""
FEWEST = 3
"""Rows, and columns, of a table that is known by its gaps alone."""
SHORT = 0.5
"""Most words of such a table fill less of their columns; lines of text in columns fill three quarters at least."""
FAR = 3.0
"""Times the height of a word: rows further apart make no such table,"""
REGULAR = 1.6
"""and neither do rows so many times further apart than others of it."""
EMPTY = 1.2
"""Rows further apart than this times the height of a word are parted, even where rules part others."""


class _Rule(NamedTuple):
    """A line that was drawn, across or down."""

    at: float
    """y of one that runs across, x of one that runs down."""
    start: float
    end: float


class _Chunk(NamedTuple):
    """Neighbouring words of a row."""

    left: int
    right: int
    words: list[Word]


def table_in(picture: Pixels, box: Box, lines: Sequence[Line]) -> Table | None:
    """The table in `box`, whose text is `lines`; None where there are not at least two columns.

    Args:
        picture: the page, RGB (height, width, 3) uint8.
    """
    words = [word for line in lines for word in _words(line)]
    if not words:
        return None
    height = statistics.median(max(1, word.box[3] - word.box[1]) for word in words)
    rows = _text_rows(words)
    across, down = _rules(picture, box, height)
    around = _around(word.box for word in words)
    inner_xs, inner_ys = _lines_at(down, box[3] - box[1], height), _lines_at(across, box[2] - box[0], height)
    xs = _framed(inner_xs, (around[0], around[2]), height) if inner_xs else _column_gaps(rows, around, height)
    ys = _row_borders(_framed(inner_ys, (around[1], around[3]), height), rows, xs, height, ruled=bool(inner_xs))
    if len(xs) < 3 or (len(xs) - 1) * (len(ys) - 1) > MAX_POSITIONS:
        return None
    grid = _numbered(len(ys) - 1, len(xs) - 1)
    if inner_xs:
        _merge_without_rules(grid, ys, xs, across, down, rows, height)
    else:
        _merge_spans(grid, ys, xs, rows, height)
    return _table(_rectangles(grid), ys, xs, words)


def ruled_tables(picture: Pixels, lines: Sequence[Line]) -> list[Box]:
    """Where rules that touch each other make a table, most of whose cells hold some of the `lines`."""
    if not lines:
        return []
    height = float(statistics.median(max(1, line.box[3] - line.box[1]) for line in lines))
    across, down = _rules(picture, (0, 0, picture.shape[1], picture.shape[0]), height)
    if max(len(across), len(down)) > MAX_RULES:
        return []
    boxes = []
    for grid_across, grid_down in _grids(across, down):
        xs = [x for rule in grid_across for x in (rule.start, rule.end)] + [rule.at for rule in grid_down]
        ys = [y for rule in grid_down for y in (rule.start, rule.end)] + [rule.at for rule in grid_across]
        box = (round(min(xs)), round(min(ys)), round(max(xs)), round(max(ys)))
        inside = [line for line in lines if _holds(box, line.box)]
        table = table_in(picture, box, inside)
        if table is None or table.rows < 2:
            continue
        if sum(bool(cell.text) for cell in table.cells) >= FILLED * len(table.cells):
            boxes.append(box)
    return boxes


def gapped_tables(lines: Sequence[Line]) -> list[Box]:
    """Where short words stand below each other in three or more columns, with gaps that run through all rows.

    Such rows make a seed, which takes in the rows next to it that leave its gaps free, and a row that does not between
    two that do.
    """
    words = [word for line in lines for word in _words(line)]
    if not words:
        return []
    height = float(statistics.median(max(1, word.box[3] - word.box[1]) for word in words))
    rows = _text_rows(words)
    chunks = [_chunks(row, height) for row in rows]
    boxes = [_around(word.box for word in row) for row in rows]
    apart = [below[1] - above[3] for above, below in pairwise(boxes)]
    """How far each row is from the next."""
    tables: list[Box] = []
    start = end = 0
    while (seed := start + FEWEST) <= len(rows):
        xs = _column_gaps(rows[start:seed], _around(boxes[start:seed]), height)
        widest = max(apart[start : seed - 1])
        if widest > FAR * height or not _is_seed(chunks[start:seed], xs):
            start += 1
            continue
        least, end, reach = end, seed, max(REGULAR * widest, height)
        while end < len(rows) and apart[end - 1] <= reach:
            if _free(chunks[end], xs):
                end += 1
            elif (
                end + 1 < len(rows) and apart[end] <= reach and len(chunks[end + 1]) > 1 and _free(chunks[end + 1], xs)
            ):
                end += 2
            else:
                break
        first = start
        while first > least and apart[first - 1] <= reach and _free(above := chunks[first - 1], xs):
            if len(above) == 1 and _index(xs, above[0].left) == 0:  # a caption, or the end of a paragraph
                break
            first -= 1
        while end > seed and len(chunks[end - 1]) == 1 and _index(xs, chunks[end - 1][0].left) == 0:
            end -= 1
        tables.append(_around(boxes[first:end]))
        start = end
    return tables


def _is_seed(rows: Sequence[Sequence[_Chunk]], xs: Sequence[float]) -> bool:
    """Whether rows look like a table of these columns."""
    if len(xs) <= FEWEST or not all(len(row) > 1 and _free(row, xs) for row in rows):
        return False
    columns = [(chunk, _index(xs, (chunk.left + chunk.right) / 2)) for row in rows for chunk in row]
    filled = [(chunk.right - chunk.left) / (xs[column + 1] - xs[column]) for chunk, column in columns]
    return statistics.median(filled) <= SHORT


def _free(row: Sequence[_Chunk], xs: Sequence[float]) -> bool:
    """Whether nothing of a row stands in the gaps between columns."""
    return not any(chunk.left < border < chunk.right for chunk in row for border in xs[1:-1])


def _grids(across: Sequence[_Rule], down: Sequence[_Rule]) -> list[tuple[list[_Rule], list[_Rule]]]:
    """Rules that touch each other, at least two of them across and four in all."""
    grids: list[tuple[list[_Rule], list[_Rule]]] = []
    for rule in down:
        touched = [other for other in across if _touch(other, rule)]
        joined = [grid for grid in grids if any(other in grid[0] for other in touched)]
        grids = [grid for grid in grids if grid not in joined]
        merged = dict.fromkeys(touched)
        for grid in joined:
            merged |= dict.fromkeys(grid[0])
        grids.append(([*merged], [rule, *(other for grid in joined for other in grid[1])]))
    return [grid for grid in grids if len(grid[0]) > 1 and len(grid[0]) + len(grid[1]) > 3]


def _touch(across: _Rule, down: _Rule) -> bool:
    return (
        across.start - MARGIN <= down.at <= across.end + MARGIN
        and down.start - MARGIN <= across.at <= down.end + MARGIN
    )


def _holds(box: Box, other: Box) -> bool:
    """Whether the middle of `other` lies in `box`."""
    x, y = (other[0] + other[2]) / 2, (other[1] + other[3]) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _rules(picture: Pixels, box: Box, height: float) -> tuple[list[_Rule], list[_Rule]]:
    """The rules that run across and those that run down."""
    left, top = max(0, box[0] - MARGIN), max(0, box[1] - MARGIN)
    crop = picture[top : box[3] + MARGIN, left : box[2] + MARGIN]
    if min(crop.shape[:2]) < 3:
        return [], []
    darkness = 255 - cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    # Against the mean around, so that a shaded row has edges and is no rule itself.
    ink = cv2.adaptiveThreshold(darkness, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 15, -12)
    found: list[list[_Rule]] = []
    for axis, times in enumerate(LONG):
        length = max(9, round(times * height))
        thin, long = ((1, 3), (length, 1)) if axis == 0 else ((3, 1), (1, length))
        # Rules of scans lean a little: thickened, one row of pixels still runs along them.
        thick = cv2.dilate(ink, cv2.getStructuringElement(cv2.MORPH_RECT, thin))
        lines = cv2.morphologyEx(thick, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_RECT, long))
        _, _, stats, centres = cv2.connectedComponentsWithStats(lines)
        rules = []
        for (x, y, width, tall, _), (centre_x, centre_y) in zip(stats[1:].tolist(), centres[1:].tolist(), strict=True):
            thickness, start, extent = (tall, x + left, width) if axis == 0 else (width, y + top, tall)
            if thickness <= max(9, THICK * height):
                at = centre_y + top if axis == 0 else centre_x + left
                rules.append(_Rule(at, start, start + extent))
        found.append(rules)
    return found[0], found[1]


def _lines_at(rules: Sequence[_Rule], extent: int, height: float) -> list[float]:
    """Where rules run: x of those that run down, y of those that run across.

    Args:
        extent: of the table, along the rules.
    """
    groups: list[list[_Rule]] = []
    for rule in sorted(rules):
        if groups and rule.at - groups[-1][-1].at < THICK * height:
            groups[-1].append(rule)
        else:
            groups.append([rule])
    long = [group for group in groups if sum(rule.end - rule.start for rule in group) > PARTIAL * extent]
    return [statistics.fmean(rule.at for rule in group) for group in long]


def _framed(borders: Sequence[float], text: tuple[int, int], height: float) -> list[float]:
    """Borders of rows or columns, with some around the text where that reaches beyond them."""
    framed = list(borders)
    if not framed or text[0] < framed[0] - THICK * height:
        framed.insert(0, text[0] - 1.0)
    if len(framed) == 1 or text[1] > framed[-1] + THICK * height:
        framed.append(text[1] + 1.0)
    return framed


def _row_borders(
    borders: Sequence[float], rows: Sequence[Sequence[Word]], xs: Sequence[float], height: float, *, ruled: bool
) -> list[float]:
    """Where rows end: at `borders`, and before rows of text where rules do not part every row.

    What stands in one column alone continues the row above it if it is near; in the first only between rules.

    Args:
        borders: rules that run across, and what is around the text.
        ruled: there are rules that run down, too.
    """
    boxes = [_around(word.box for word in row) for row in rows]
    middles = [(box[1] + box[3]) / 2 for box in boxes]
    columns = [{_index(xs, chunk.left) for chunk in _chunks(row, height)} for row in rows]
    bands: dict[int, list[bool]] = {}  # whether the rows between two rules fill several columns
    for middle, filled in zip(middles, columns, strict=True):
        bands.setdefault(_index(borders, middle), []).append(len(filled) > 1)
    every = ruled and len(borders) - 2 > FEW_RULES
    found = list(borders)
    for number, (above, below) in enumerate(pairwise(boxes), 1):
        least = -height
        rows_here = bands[_index(borders, middles[number])]
        if every or (ruled and sum(rows_here) < FILLED * len(rows_here)):
            least = EMPTY * height
        elif len(columns[number]) == 1 and (ruled or 0 not in columns[number]):
            least = THICK * height
        if below[1] - above[3] > least and not any(above[3] - 2 <= at <= below[1] + 2 for at in borders):
            found.append((above[3] + below[1]) / 2)
    first, *others = sorted(found)
    kept = [first]
    for at in others:
        if any(kept[-1] < middle <= at for middle in middles):
            kept.append(at)
        elif len(kept) > 1 and not ruled:  # what is empty between rules over and under a head is no row
            kept[-1] = at
        elif at - kept[-1] > height:
            kept.append(at)
    return kept


def _column_gaps(rows: Sequence[Sequence[Word]], around: Box, height: float) -> list[float]:
    """Where columns end that have no rules: in gaps that run through all rows with at least half of the most cells."""
    chunks = [_chunks(row, height) for row in rows]
    most = max(map(len, chunks))
    full = [row for row in chunks if len(row) > 1 and 2 * len(row) >= most]
    taken = np.zeros(around[2] - around[0] + 1, int)
    for row in full:
        for chunk in row:
            taken[chunk.left - around[0] : chunk.right - around[0]] += 1
    free = np.flatnonzero(taken <= len(full) // 10) + around[0]
    gaps = [gap for gap in np.split(free, np.flatnonzero(np.diff(free) > 1) + 1) if len(gap) >= 0.5 * height]
    inner = [float(gap.mean()) for gap in gaps if around[0] < gap[0] and gap[-1] < around[2]]
    return [around[0] - 1.0, *inner, around[2] + 1.0]


def _words(line: Line) -> Sequence[Word]:
    return line.words or (Word(line.text, line.corners, line.confidence),)


def _text_rows(words: Iterable[Word]) -> list[list[Word]]:
    """Words that stand beside each other, from top to bottom, each row from left to right."""
    rows: list[list[Word]] = []
    for word in sorted(words, key=lambda word: word.box[1] + word.box[3]):
        middle = (word.box[1] + word.box[3]) / 2
        if rows and rows[-1][0].box[1] <= middle <= rows[-1][0].box[3]:
            rows[-1].append(word)
        else:
            rows.append([word])
    return [sorted(row, key=lambda word: word.box[0]) for row in rows]


def _chunks(row: Sequence[Word], height: float) -> list[_Chunk]:
    chunks: list[_Chunk] = []
    for word in row:
        left, _, right, _ = word.box
        if chunks and left - chunks[-1].right < COLUMN_GAP * height:
            last = chunks[-1]
            chunks[-1] = _Chunk(last.left, max(last.right, right), [*last.words, word])
        else:
            chunks.append(_Chunk(left, right, [word]))
    return chunks


CellGrid = NDArray[np.int_]
"""(rows, columns): of each field of the grid the number of its cell."""


def _numbered(rows: int, columns: int) -> CellGrid:
    return np.arange(rows * columns).reshape(rows, columns)


def _merge_without_rules(
    grid: CellGrid,
    ys: Sequence[float],
    xs: Sequence[float],
    across: Sequence[_Rule],
    down: Sequence[_Rule],
    rows: Sequence[Sequence[Word]],
    height: float,
) -> None:
    """Make one cell of neighbours that no rule parts: beside each other unless each has words of its own, above each
    other where rules run between other columns.
    """
    chunks = [
        (_index(ys, (row[0].box[1] + row[0].box[3]) / 2), chunk) for row in rows for chunk in _chunks(row, height)
    ]
    filled = {(row, _index(xs, (chunk.left + chunk.right) / 2)) for row, chunk in chunks}
    for row, (top, bottom) in enumerate(pairwise(ys)):
        for column, border in enumerate(xs[1:-1]):
            own = {(row, column), (row, column + 1)} <= filled
            crossed = any(chunk.left < border < chunk.right for at, chunk in chunks if at == row)
            if (crossed or not own) and not _parts(down, border, top, bottom):
                grid[grid == grid[row, column + 1]] = grid[row, column]
    for row, border in enumerate(ys[1:-1]):
        if not any(abs(rule.at - border) <= MARGIN for rule in across):
            continue
        for column, (left, right) in enumerate(pairwise(xs)):
            if not _parts(across, border, left, right):
                grid[grid == grid[row + 1, column]] = grid[row, column]


def _parts(rules: Iterable[_Rule], at: float, start: float, end: float) -> bool:
    """Whether rules run along most of this edge."""
    along = sum(max(0.0, min(rule.end, end) - max(rule.start, start)) for rule in rules if abs(rule.at - at) <= MARGIN)
    return along >= COVERED * (end - start)


def _merge_spans(
    grid: CellGrid, ys: Sequence[float], xs: Sequence[float], rows: Sequence[Sequence[Word]], height: float
) -> None:
    """Make one cell of neighbours over whose border words reach, or which words in one go fill."""
    for words in rows:
        row = _index(ys, (words[0].box[1] + words[0].box[3]) / 2)
        for chunk in _chunks(words, height):
            first, last = _index(xs, chunk.left + 1), _index(xs, chunk.right - 1)
            for column in range(first, last):
                grid[grid == grid[row, column + 1]] = grid[row, column]


def _rectangles(grid: CellGrid) -> CellGrid:
    """Cells made as large as the rectangles around them, until none reaches into another."""
    while True:
        before = grid.copy()
        for number in np.unique(grid):
            rows, columns = np.nonzero(grid == number)
            if not len(rows):
                continue
            inside = grid[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            grid = np.where(np.isin(grid, inside), number, grid)
        if (grid == before).all():
            return grid


def _table(grid: CellGrid, ys: Sequence[float], xs: Sequence[float], words: Sequence[Word]) -> Table:
    inside: dict[int, list[Word]] = {}
    for word in words:
        left, top, right, bottom = word.box
        cell = grid[_index(ys, (top + bottom) / 2), _index(xs, (left + right) / 2)]
        inside.setdefault(int(cell), []).append(word)
    cells = []
    for number in dict.fromkeys(grid.ravel().tolist()):
        rows, columns = np.nonzero(grid == number)
        first_row, first_column, last_row, last_column = rows.min(), columns.min(), rows.max(), columns.max()
        text = ""
        for row in _text_rows(inside.get(number, ())):
            text = joined(text, " ".join(word.text for word in row))
        cells.append(
            Cell(
                int(first_row),
                int(first_column),
                text,
                (round(xs[first_column]), round(ys[first_row]), round(xs[last_column + 1]), round(ys[last_row + 1])),
                int(last_row - first_row + 1),
                int(last_column - first_column + 1),
            )
        )
    return Table(len(ys) - 1, len(xs) - 1, tuple(cells))


def _index(borders: Sequence[float], at: float) -> int:
    """Between which borders something lies; what lies outside belongs to the nearest."""
    return int(np.clip(np.searchsorted(borders, at) - 1, 0, len(borders) - 2))


def _around(boxes: Iterable[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
