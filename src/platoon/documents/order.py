"""Blocks in reading order, from lines that were read and regions that were found.

Each line is in exactly one block: what no region claims joins the text it stands next to, or makes a block with others.
The order is that of a recursive XY-cut (Nagy and Seth, "Hierarchical Representation of Optically Scanned Documents",
ICPR 1984), which here cuts between columns wherever it can, and across a page only where something spans them.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from platoon.documents.layout import Region
from platoon.documents.page import MARGINAL, Block, Box, Label, Line
from platoon.documents.paragraphs import paragraphs, rows_of, running_text

INSIDE = 0.5
"""A line belongs to a region that holds so much of it."""
WITHIN = 0.7
"""Of two regions of which one holds so much of the other only one counts."""
HOLDER = 1.5
"""Tables and figures count so many times as sure as they are against what they hold."""
HEADERS_END = 0.12
"""A header lies in this part of the page, from the top; a footer in as much from the bottom."""
LARGE = 1.15
"""A line so many times as high as most of the page's is a title, if somebody took it for a header."""
NEAR = 0.8
"""Lines further apart than this times their height make no block together."""
ALIKE = 1.6
"""Lines of which one is so many times higher than the other make no block together."""
BESIDE = 0.5
"""What stands beside each other with so much of the shorter one's height is two columns."""
ALONE = 2.0
"""A line at the edge of a page with so many times its height to all else is a header or footer."""
CLOSE = 1.5
"""A caption stands no further from what it belongs to than this times the height of its line."""
DEEPEST = 64
"""After so many cuts what is left goes from top to bottom."""

_HOLDS_OTHERS = (Label.TABLE, Label.FIGURE)
_CAPTIONS = (Label.TABLE_CAPTION, Label.FIGURE_CAPTION)
_RUNNING = (Label.TITLE, Label.TABLE_CAPTION, Label.FIGURE_CAPTION, Label.HEADER, Label.FOOTER)
"""Labels of blocks that have one paragraph."""
_SHOWN = (Label.TABLE, Label.FIGURE, Label.EQUATION)
"""Labels of blocks that are something without a line, too."""
_PAGE_NUMBER = re.compile(r"\W{0,3}(?:\d{1,4}|[ivxlc]{1,7})\W{0,3}", re.IGNORECASE)


def blocks_of(lines: Sequence[Line], regions: Sequence[Region], size: tuple[int, int]) -> list[Block]:
    """The blocks of a page in reading order: headers first, footers last.

    Args:
        size: (width, height) of the page.
    """
    chosen = _settled(regions)
    members: list[list[Line]] = [[] for _ in chosen]
    others: list[Line] = []
    for line in lines:
        shares = [share(line.box, region.box) for region in chosen]
        best = max(range(len(chosen)), key=shares.__getitem__, default=None)
        if best is not None and shares[best] >= INSIDE:
            members[best].append(line)
        else:
            others.append(line)
    others = _join(
        others, [inside for inside, region in zip(members, chosen, strict=True) if region.label is Label.TEXT]
    )
    usual = statistics.median(_height(line) for line in lines) if lines else 0
    blocks = [
        _block(_placed(region.label, region.box, size, inside, usual), inside, region.score, region.box)
        for region, inside in zip(chosen, members, strict=True)
        if inside or region.label in _SHOWN
    ]
    blocks += [_block(_label_of(group, size), group, 1.0) for group in _groups(others)]
    return in_order(_with_edges(blocks, size))


def in_order(blocks: Iterable[Block]) -> list[Block]:
    """Blocks in reading order."""
    blocks = list(blocks)
    body = [block for block in blocks if block.label not in MARGINAL]
    first, last = ([block for block in blocks if block.label is label] for label in (Label.HEADER, Label.FOOTER))
    wide = [replace(block, box=_reach(block, body)) for block in body]
    as_they_are = {id(stretched): block for stretched, block in zip(wide, body, strict=True)}
    return [*_downwards(first), *(as_they_are[id(block)] for block in _cut(wide)), *_downwards(last)]


def _reach(block: Block, others: Sequence[Block]) -> Box:
    """What a block spans besides where it stands: a caption as much as what it is of, a title between columns the page.

    A title is between columns if nothing stands beside it, and something beside its place both above and below.
    """
    left, top, right, bottom = block.box
    if block.label in _CAPTIONS:
        near = CLOSE * (bottom - top) / max(1, len(block.lines))
        for other in others:
            x1, y1, x2, y2 = other.box
            if other.label in _HOLDS_OTHERS and max(y1 - bottom, top - y2) <= near and min(x2, right) > max(x1, left):
                return min(left, x1), top, max(right, x2), bottom
    if block.label is Label.TITLE:
        boxes = [other.box for other in others if other is not block]
        beside = [box for box in boxes if not left <= (box[0] + box[2]) / 2 <= right]
        if (
            not any(box[1] < bottom and box[3] > top for box in boxes)
            and any(box[3] <= top for box in beside)
            and any(box[1] >= bottom for box in beside)
        ):
            return min(box[0] for box in boxes), top, max(box[2] for box in boxes), bottom
    return block.box


def _settled(regions: Sequence[Region]) -> list[Region]:
    """Regions of which none holds another: the surer one counts, tables and figures before the texts inside them."""
    kept: list[Region] = []
    for region in sorted(regions, key=lambda region: -region.score * (HOLDER if region.label in _HOLDS_OTHERS else 1)):
        if all(max(share(region.box, other.box), share(other.box, region.box)) < WITHIN for other in kept):
            kept.append(region)
    return kept


def _placed(label: Label, box: Box, size: tuple[int, int], lines: Sequence[Line], usual: float) -> Label:
    """The label, if it can be that of something in this place.

    Args:
        usual: height of a line on this page, in pixels.
    """
    if label not in MARGINAL or _is_marginal(label, box, size):
        return label
    return Label.TITLE if any(_height(line) >= LARGE * usual for line in lines) else Label.TEXT


def _is_marginal(label: Label, box: Box, size: tuple[int, int]) -> bool:
    middle = (box[1] + box[3]) / 2 / size[1]
    return middle <= HEADERS_END if label is Label.HEADER else middle >= 1 - HEADERS_END


def _label_of(group: Sequence[Line], size: tuple[int, int]) -> Label:
    """What lines are that no region claims: text, but for numbers of pages."""
    if len(group) == 1 and _PAGE_NUMBER.fullmatch(group[0].text.strip()):
        for label in MARGINAL:
            if _is_marginal(label, group[0].box, size):
                return label
    return Label.TEXT


def _with_edges(blocks: Sequence[Block], size: tuple[int, int]) -> list[Block]:
    """The blocks, the first and last as header and footer where each is a line far from all else at the page's edge."""
    found = list(blocks)
    for label, outer_edge, inner_edge, sign in ((Label.HEADER, 1, 3, 1), (Label.FOOTER, 3, 1, -1)):
        outer = min(range(len(found)), key=lambda index: sign * found[index].box[outer_edge], default=None)
        if outer is None or found[outer].label is not Label.TEXT or len(found[outer].lines) != 1:
            continue
        (line,) = found[outer].lines
        rest = [block for index, block in enumerate(found) if index != outer]
        gaps = [sign * (block.box[outer_edge] - line.box[inner_edge]) for block in rest]
        several = sum(len(block.lines) for block in rest) > 1
        if several and min(gaps) >= ALONE * _height(line) and _is_marginal(label, line.box, size):
            found[outer] = replace(found[outer], label=label)
    return found


def _height(line: Line) -> int:
    return line.box[3] - line.box[1]


def _block(label: Label, lines: Sequence[Line], confidence: float, box: Box | None = None) -> Block:
    rows = rows_of(lines)
    text = running_text(rows) if label in _RUNNING else paragraphs(rows)
    if label in _HOLDS_OTHERS:
        text = "\n".join(" ".join(line.text for line in row) for row in rows)
    boxes = [line.box for line in lines]
    if box is not None and (not boxes or label in _SHOWN):
        boxes.append(box)
    return Block(label, _around(boxes), confidence, tuple(line for row in rows for line in row), text)


def _join(lines: Sequence[Line], texts: Sequence[list[Line]]) -> list[Line]:
    """Add each line to the text that it continues, up or down; gives those that continue none."""
    left = sorted(lines, key=lambda line: line.box[1])
    for _ in ("down", "up"):
        rest: list[Line] = []
        for line in left:
            text = next((text for text in texts if any(_belong_together(line, other) for other in text)), None)
            (rest if text is None else text).append(line)
        left = rest[::-1]
    return left


def _groups(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines that stand together."""
    done: list[list[Line]] = []
    growing: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: line.box[1]):
        reach = line.box[1] - NEAR * ALIKE * max(1, line.box[3] - line.box[1])
        done += [group for group in growing if max(other.box[3] for other in group) < reach]
        joined, growing = [line], [group for group in growing if max(other.box[3] for other in group) >= reach]
        for group in list(growing):
            if any(_belong_together(line, other) for other in group):
                growing.remove(group)
                joined = [*group, *joined]
        growing.append(joined)
    return [*done, *growing]


def _belong_together(one: Line, other: Line) -> bool:
    """Whether two lines are neighbours in one text: one above the other, near, and of one height."""
    a, b = one.box, other.box
    low, high = sorted((max(1, a[3] - a[1]), max(1, b[3] - b[1])))
    overlap = min(a[2], b[2]) - max(a[0], b[0])
    return (
        high <= ALIKE * low
        and max(a[1], b[1]) - min(a[3], b[3]) <= NEAR * low
        and overlap >= INSIDE * min(a[2] - a[0], b[2] - b[0])
    )


def _cut(blocks: Sequence[Block], depth: int = 0) -> Iterator[Block]:
    """Blocks in the order of a recursive XY-cut."""
    if len(blocks) < 2 or depth > DEEPEST:
        yield from _downwards(blocks)
        return
    columns = _columns(blocks)
    parts = columns if len(columns) > 1 else _bands(blocks)
    if len(parts) == 1:
        yield from _downwards(blocks)
        return
    for part in parts:
        yield from _cut(part, depth + 1)


def _columns(blocks: Sequence[Block]) -> list[list[Block]]:
    """Blocks parted where nothing stands from top to bottom, from left to right.

    Only what stands beside each other is columns: a date on the right above an address on the left is not.
    """
    columns = _parted(blocks, 0)
    merged = [columns[0]]
    for column in columns[1:]:
        if _beside(merged[-1], column):
            merged.append(column)
        else:
            merged[-1] = merged[-1] + column
    return merged


def _bands(blocks: Sequence[Block]) -> list[list[Block]]:
    """Blocks parted where nothing stands from left to right, from top to bottom; neighbours that make columns together
    stay together, so that a gap which runs through all columns does not tear them.
    """
    bands = _parted(blocks, 1)
    merged = [bands[0]]
    for band in bands[1:]:
        together = merged[-1] + band
        if len(_columns(together)) > 1:
            merged[-1] = together
        else:
            merged.append(band)
    return merged


def _parted(blocks: Sequence[Block], axis: int) -> list[list[Block]]:
    """Blocks in groups, between which there is a gap along an axis: 0 from left to right, 1 from top to bottom."""
    slack = 0.3 * statistics.median(min(block.box[2] - block.box[0], block.box[3] - block.box[1]) for block in blocks)
    slack = min(slack, 4)  # of boxes that touch, pixels
    ordered = sorted(blocks, key=lambda block: block.box[axis])
    groups = [[ordered[0]]]
    end = ordered[0].box[axis + 2]
    for block in ordered[1:]:
        if block.box[axis] >= end - slack:
            groups.append([])
        groups[-1].append(block)
        end = max(end, block.box[axis + 2])
    return groups


def _beside(left: Sequence[Block], right: Sequence[Block]) -> bool:
    """Whether these are columns: both more than single lines, which are rows of a form, and beside each other."""
    if not all(any(len(block.lines) > 1 or block.label in _SHOWN for block in blocks) for blocks in (left, right)):
        return False
    a, b = (_around([block.box for block in blocks]) for blocks in (left, right))
    return min(a[3], b[3]) - max(a[1], b[1]) >= BESIDE * min(a[3] - a[1], b[3] - b[1])


def _downwards(blocks: Sequence[Block]) -> list[Block]:
    """From top to bottom; those that stand in one row from left to right."""
    rows: list[list[Block]] = []
    for block in sorted(blocks, key=lambda block: (block.box[1] + block.box[3], block.box[0])):
        if rows and _in_one_row(rows[-1][0].box, block.box):
            rows[-1].append(block)
        else:
            rows.append([block])
    return [block for row in rows for block in sorted(row, key=lambda block: block.box[0])]


def _in_one_row(a: Box, b: Box) -> bool:
    """Whether the middle of each lies in the other's height."""
    return a[1] <= (b[1] + b[3]) / 2 <= a[3] and b[1] <= (a[1] + a[3]) / 2 <= b[3]


def _around(boxes: Sequence[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def share(box: Box, of: Box) -> float:
    """How much of `box` lies in `of`, 0 to 1."""
    width = min(box[2], of[2]) - max(box[0], of[0])
    height = min(box[3], of[3]) - max(box[1], of[1])
    area = max(1, (box[2] - box[0]) * (box[3] - box[1]))
    return max(0, width) * max(0, height) / area
