"""Markdown of PaddleX's blocks: `{block_label, block_content, block_bbox}` each, as `/layout-parsing` words them and
`/restructure-pages` takes them back.

How blocks of a `Page` are written for everybody else is `exports.markdown`'s. Here the labels, the centred HTML and the
paths of pictures are those that PaddleX's clients look for.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from platoon.documents.exports.markdown import escaped

Block = Mapping[str, Any]

PLAIN: Final = "text/plain"
"""What `block_content_type` of `model_settings` says where contents are what stands on the page, no markup."""
MARKDOWN: Final = "text/markdown"
"""And where they are Markdown."""
IGNORED: Final = frozenset({"number", "footnote", "header", "header_image", "footer", "footer_image", "aside_text"})
"""Labels that are left out unless a caller names others."""
PICTURES: Final = frozenset({"image", "header_image", "footer_image", "figure", "chart", "seal", "flowchart"})
"""Labels of what is shown rather than said."""
_CAPTIONS = frozenset({"figure_title", "table_title", "chart_title", "figure_table_chart_title", "vision_footnote"})
_TITLES = {"doc_title": 1, "paragraph_title": 2, "abstract_title": 2, "reference_title": 2, "content_title": 2}
_DEEPEST = 6
_CENTRED = '<div style="text-align: center;">{}</div>'
RUNNING: Final = frozenset({"text", "abstract", "reference", "content"})
"""Labels of text that may go on over a page break."""
_END = re.compile(r"""[.!?:;…。！？：；][)\]"'”’»」』）]*\s*$""")


@dataclass(frozen=True, slots=True)
class MarkdownStyle:
    """How a caller wants Markdown to look."""

    pretty: bool = True
    """Tables, pictures and captions centred, as HTML; otherwise as plain as Markdown allows."""
    ignore: frozenset[str] = IGNORED
    """Labels that are left out."""
    formula_numbers: bool = False
    """Write them beside their formulas."""
    words_of_pictures: bool = False
    """Write what a picture says below it."""


def markdown_of(blocks: Iterable[Block], style: MarkdownStyle, *, plain: bool, width: int) -> str:
    """What the blocks say, parted by empty lines.

    Args:
        plain: contents are no markup, so what looks like it is escaped.
        width: of the page, in pixels: pictures are as wide, in relation to it, as on the page.
    """
    said = (block_markdown(block, style, plain=plain, width=width) for block in blocks)
    return "\n\n".join(part for part in said if part)


def block_markdown(block: Block, style: MarkdownStyle, *, plain: bool, width: int) -> str:
    """What one block says; empty where it is left out."""
    label, content = block["block_label"], block["block_content"].strip()
    if label in style.ignore or (label == "formula_number" and not style.formula_numbers):
        return ""
    if label in PICTURES and (path := block.get("block_image")):
        words = content if style.words_of_pictures else ""
        return "\n\n".join(part for part in (_picture(block, path, style, width), _text(words, plain)) if part)
    if not content:
        return ""
    if label == "table":
        return _CENTRED.format(content) if style.pretty and content.startswith("<") else content
    if label in _TITLES:
        level = min(block.get("title_level") or _TITLES[label], _DEEPEST)
        return f"{'#' * level} {_text(' '.join(content.split()), plain)}"
    if label in _CAPTIONS and style.pretty:
        return _CENTRED.format(html.escape(content, quote=False) if plain else content)
    return _text(content, plain)


def begins_paragraph(blocks: Sequence[Block], style: MarkdownStyle) -> bool:
    """Whether the first block that is shown begins something new, and does not go on from the page before."""
    first = next(iter(_shown(blocks, style)), None)
    return first is None or not goes_on(first)


def ends_paragraph(blocks: Sequence[Block], style: MarkdownStyle) -> bool:
    """Whether what the last block says is at its end."""
    last = next(iter(_shown([*reversed(blocks)], style)), None)
    return last is None or not breaks_off(last)


def goes_on(block: Block) -> bool:
    """Whether a block begins within a sentence."""
    return block["block_label"] in RUNNING and block["block_content"].lstrip()[:1].islower()


def breaks_off(block: Block) -> bool:
    """Whether a block ends within a sentence."""
    return block["block_label"] in RUNNING and _END.search(block["block_content"]) is None


def page_width(page: Mapping[str, Any]) -> int:
    """In pixels, at least 1; where the page does not say, as far as its blocks reach."""
    width = page.get("width")
    if isinstance(width, int) and width > 0:
        return width
    reach: list[int] = [math.ceil(block["block_bbox"][2]) for block in page["parsing_res_list"]]
    return max([1, *reach])


def _shown(blocks: Sequence[Block], style: MarkdownStyle) -> Iterable[Block]:
    return (
        block
        for block in blocks
        if block["block_label"] not in style.ignore and (block["block_content"].strip() or block.get("block_image"))
    )


def _picture(block: Block, path: str, style: MarkdownStyle, width: int) -> str:
    if not style.pretty:
        return f"![]({path})"
    left, _, right, _ = block["block_bbox"]
    share = max(1, min(100, round(100 * (right - left) / max(1, width))))
    return _CENTRED.format(f'<img src="{path}" alt="Image" width="{share}%" />')


def _text(content: str, plain: bool) -> str:
    return escaped(content) if plain else content
