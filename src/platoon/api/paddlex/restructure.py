"""Pages put together to one document, as PaddleX's `/restructure-pages` does: tables that go on over a page break,
levels of headings over the whole, all pages as one.

Pure functions over `prunedResult`s, whoever made them: pages in, new pages out, and nothing of a page is looked at but
its `parsing_res_list` and its width.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from platoon.api.paddlex import html_table
from platoon.api.paddlex.block_markdown import IGNORED, PICTURES, breaks_off, goes_on, page_width
from platoon.api.paddlex.html_table import HtmlTable

Pruned = Mapping[str, Any]

DEEPEST: Final = 6
"""The deepest level of headings, as in HTML and Markdown."""
_SIMILAR: Final = 0.15
"""By how much widths of tables, and heights of letters, differ that are the same on two pages."""
_HIGHEST: Final = 1000.0
_CAPTION = frozenset({"table_title", "figure_table_chart_title", "figure_title"})
_GOES_ON = re.compile(
    r"\b(continued|cont\.|cont'd|suite|fortsetzung|fortgesetzt|continuación|segue)|续表|續表|续上表|続き", re.IGNORECASE
)
_TITLES = frozenset({"doc_title", "paragraph_title", "abstract_title", "reference_title", "content_title"})
_MARKERS = re.compile(r"^\s*#{1,6}\s+")

_NUMBERINGS: Final = (
    (
        "chapter",
        re.compile(
            r"^\s*(?:(?:chapter|part|teil|kapitel|chapitre|partie)\s+[\dIVXLC]+\b|第[一二三四五六七八九十百\d]+[章篇部])",
            re.IGNORECASE,
        ),
    ),
    ("bracket", re.compile(r"^\s*[(（]?(?:\d{1,2}|[a-z])[)）](?=\s|\S)", re.IGNORECASE)),
    ("dotted", re.compile(r"^\s*(\d{1,2}(?:\.\d{1,2})*)(?:\.?(?=\s|$)|\.(?=[^\d\s])|(?=[\u4e00-\u9fff]))")),
    ("roman", re.compile(r"^\s*[IVXL]{1,6}[.．](?=\s|$)")),
    ("letter", re.compile(r"^\s*[A-Z][.．](?=\s|$)")),
    ("chinese", re.compile(r"^\s*[（(]?[一二三四五六七八九十]{1,3}[、）)．.]")),
)
"""How headings are numbered, and for the dotted ones the number; the first that fits counts."""


def restructured(
    pages: Sequence[Pruned], *, merge_tables: bool = True, relevel_titles: bool = True, concatenate: bool = False
) -> list[dict[str, Any]]:
    """The pages of one document, put together: as many as before, or with `concatenate` one, if there is any.

    Each block learns of which page it is (`page_index`), its number in the document (`global_block_id`), and that of
    the block it goes on (`global_group_id`; its own where it begins something).
    """
    whole = numbered(pages)
    if merge_tables:
        whole = with_merged_tables(whole)
    if relevel_titles:
        whole = with_title_levels(whole)
    return [concatenated(whole)] if concatenate and whole else whole


def numbered(pages: Sequence[Pruned]) -> list[dict[str, Any]]:
    """The pages with their blocks numbered through the document."""
    whole = []
    number = 0
    for index, page in enumerate(pages):
        blocks = []
        for block in page["parsing_res_list"]:
            blocks.append({**block, "page_index": index, "global_block_id": number, "global_group_id": number})
            number += 1
        whole.append({**page, "parsing_res_list": blocks})
    return whole


def with_merged_tables(pages: Sequence[Pruned]) -> list[dict[str, Any]]:
    """The pages with each table whole on the page where it begins.

    A table that is the first on its page, but for headers, belongs to one that is the last on the page before, if the
    two are as wide and have as many columns. A head that is repeated is left out; of the block only its place stays.
    """
    whole = _copied(pages)
    chains: list[list[tuple[dict[str, Any], HtmlTable]]] = []
    for above, below in pairwise(whole):
        upper, lower = _last_table(above), _first_table(below)
        if upper is None or lower is None or not _as_wide(upper, above, lower, below):
            continue
        one, other = html_table.parse(upper["block_content"]), html_table.parse(lower["block_content"])
        if one is None or other is None or one.columns != other.columns or not one.columns:
            continue
        if not chains or chains[-1][-1][0] is not upper:
            chains.append([(upper, one)])
        chains[-1].append((lower, other))
    for chain in chains:  # each is put together once, over however many pages it goes
        first = chain[0][0]
        first["block_content"] = html_table.joined([table for _, table in chain])
        for block, _ in chain[1:]:
            block["block_content"] = ""
            block["global_group_id"] = first["global_group_id"]
    return whole


def with_title_levels(pages: Sequence[Pruned]) -> list[dict[str, Any]]:
    """The pages with a `title_level` for each title: 1 for that of the document, no level left out, 6 at most.

    Numbers say most: `1.2` is one deeper than `1`. Titles without are as deep as numbered ones with letters as high, or
    as deep as their own letters are smaller than those of other titles. Markers of Markdown before a title are dropped.
    """
    whole = _copied(pages)
    blocks = [block for page in whole for block in page["parsing_res_list"] if block["block_label"] in _TITLES]
    for block in blocks:
        block["block_content"] = _MARKERS.sub("", block["block_content"])
    headings = [_heading(block) for block in blocks if block["block_label"] != "doc_title"]
    base = 1 + (len(headings) < len(blocks))
    depths = _depths(headings)
    level = {depth: min(base + place, DEEPEST) for place, depth in enumerate(sorted(set(depths)))}
    found = iter(depths)
    for block in blocks:
        block["title_level"] = 1 if block["block_label"] == "doc_title" else level[next(found)]
    return whole


def concatenated(pages: Sequence[Pruned]) -> dict[str, Any]:
    """All pages as one: what the first has, with the blocks, lines and tables of all.

    A paragraph that goes on over a page break becomes one block.
    """
    blocks: list[dict[str, Any]] = []
    before: dict[str, Any] | None = None
    texts: list[str] = []
    """What `before`, the last with content, is made of: put together once, over however many pages it goes."""
    for page in pages:
        own = [dict(block) for block in page["parsing_res_list"]]
        after = _first_with_content(own)
        broken_off = before is not None and breaks_off({**before, "block_content": texts[-1]})
        if before is not None and broken_off and after is not None and goes_on(after):
            texts.append(after["block_content"])
            after["block_content"] = ""
            after["global_group_id"] = before["global_group_id"]
        if (last := _last_with_content(own)) is not None:
            if before is not None:
                before["block_content"] = _joined(texts)
            before, texts = last, [last["block_content"]]
        blocks += own
    if before is not None:
        before["block_content"] = _joined(texts)
    order = 0
    for number, block in enumerate(blocks):
        block["block_id"] = number
        if block.get("block_order") is not None:
            order += 1
            block["block_order"] = order
    whole = {**pages[0], "page_count": len(pages), "parsing_res_list": blocks}
    whole.pop("page_index", None)
    for name in ("layout_det_res", "overall_ocr_res"):
        if any(name in page for page in pages):
            whole[name] = [page.get(name, {}) for page in pages]
    if any(page.get("table_res_list") for page in pages):
        whole["table_res_list"] = [
            {**table, "page_index": index}
            for index, page in enumerate(pages)
            for table in page.get("table_res_list", ())
        ]
    return whole


def _copied(pages: Sequence[Pruned]) -> list[dict[str, Any]]:
    return [{**page, "parsing_res_list": [dict(block) for block in page["parsing_res_list"]]} for page in pages]


def _has_content(block: Mapping[str, Any]) -> bool:
    label = block["block_label"]
    # A table without content is the place of one that was put below another.
    return label not in IGNORED and (label == "table" or label in PICTURES or bool(block["block_content"].strip()))


def _first_with_content(blocks: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    return next(filter(_has_content, blocks), None)


def _last_with_content(blocks: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    return next(filter(_has_content, reversed(blocks)), None)


def _last_table(page: Pruned) -> dict[str, Any] | None:
    block = _last_with_content(page["parsing_res_list"])
    return block if block is not None and block["block_label"] == "table" else None


def _first_table(page: Pruned) -> dict[str, Any] | None:
    for block in filter(_has_content, page["parsing_res_list"]):
        if block["block_label"] == "table":
            found: dict[str, Any] = block
            return found
        if not (block["block_label"] in _CAPTION and _GOES_ON.search(block["block_content"])):
            return None
    return None


def _as_wide(upper: Mapping[str, Any], above: Pruned, lower: Mapping[str, Any], below: Pruned) -> bool:
    one, other = (_width(block) / page_width(page) for block, page in ((upper, above), (lower, below)))
    return abs(one - other) <= _SIMILAR * max(one, other)


def _width(block: Mapping[str, Any]) -> float:
    left, _, right, _ = block["block_bbox"]
    return max(1.0, float(right) - float(left))


@dataclass(frozen=True, slots=True)
class _Heading:
    """What says how deep a title is."""

    kind: str
    """One of `_NUMBERINGS`; empty: it has no number."""
    dots: int
    height: float
    """Of its letters, in pixels, to the half and 1000 at most, so that there are few: all pages of a document are drawn
    at one scale."""


def _heading(block: Mapping[str, Any]) -> _Heading:
    text = block["block_content"]
    _, top, _, bottom = block["block_bbox"]
    lines = max(1, len(text.strip().splitlines()))
    height = round(2 * min(max(1.0, float(bottom) - float(top)) / lines, _HIGHEST)) / 2
    for kind, pattern in _NUMBERINGS:
        if found := pattern.match(text):
            return _Heading(kind, found[1].count(".") if kind == "dotted" else 0, height)
    return _Heading("", 0, height)


def _depths(headings: Sequence[_Heading]) -> list[float]:
    """How deep each is, in relation to the others."""
    base: dict[str, int] = {}
    deepest = -1
    for heading in headings:  # a kind of numbers is below those that began before it
        if heading.kind and heading.kind not in base:
            base[heading.kind] = deepest + 1
        if heading.kind:
            deepest = max(deepest, base[heading.kind] + heading.dots)
    known: dict[float, list[int]] = {}
    for heading in headings:
        if heading.kind:
            depth = base[heading.kind] + heading.dots
            shallowest, lowest = known.get(heading.height, (depth, depth))
            known[heading.height] = [min(shallowest, depth), max(lowest, depth)]
    unnumbered = {heading.height for heading in headings if not heading.kind}
    by_height = {height: _depth_of(height, known, unnumbered) for height in unnumbered}
    return [base[heading.kind] + heading.dots if heading.kind else by_height[heading.height] for heading in headings]


def _depth_of(height: float, known: Mapping[float, Sequence[int]], unnumbered: Collection[float]) -> float:
    """Of a title without a number: as deep as one with letters as high, or just below the deepest with higher ones;
    without such, above all that have numbers, by the size of letters.

    Args:
        known: the least and the greatest depth of titles with numbers, by their height.
        unnumbered: the heights of those without.
    """
    similar = [depths[0] for other, depths in known.items() if _similar(other, height)]
    if similar:
        return min(similar)
    higher = [depths[1] for other, depths in known.items() if other > height]
    if higher:
        return max(higher) + 0.5
    classes: list[float] = []  # the smallest height of each, from the highest
    for other in sorted(unnumbered, reverse=True):
        if classes and _similar(classes[-1], other):
            classes[-1] = other
        else:
            classes.append(other)
    return sum(least > height for least in classes) - len(classes)


def _similar(one: float, other: float) -> bool:
    return abs(one - other) <= _SIMILAR * max(one, other)


def _joined(texts: Sequence[str]) -> str:
    """One text; a word that was parted at the end of one of them is whole again."""
    whole = [texts[0]]
    for after in texts[1:]:
        before = whole[-1].rstrip()
        parted = before.endswith("-") and before[-2:-1].isalpha()
        whole[-1:] = [before[:-1] if parted else f"{before} ", after.lstrip()]
    return "".join(whole)
