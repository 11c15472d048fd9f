"""A page as PaddleX's layout parsing words it: one of `layoutParsingResults`.

Boxes are pixels of the page as it was drawn, at 144 dpi for a PDF. Contents are plain text, tables are HTML.
`overall_ocr_res` has all lines of the page, so that clients which know `ocrResults` alone find what they look for. What
one did not ask for is worded as it is without: no pictures, no Markdown in the contents.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from platoon.api.paddlex.block_markdown import (
    MARKDOWN,
    PICTURES,
    PLAIN,
    MarkdownStyle,
    begins_paragraph,
    block_markdown,
    ends_paragraph,
    markdown_of,
    page_width,
)
from platoon.documents.exports.markdown import body_height, escaped, title_level
from platoon.documents.exports.overlay import overlay
from platoon.documents.exports.tables import to_html
from platoon.documents.page import MARGINAL, Block, Box, Label, Line, Page
from platoon.documents.read import Options
from platoon.media.frame import Pixels, as_jpeg
from platoon.ocr.pages import Kind
from platoon.ocr.reading import MAX_SIDE, ReadOptions, limit_met

LABELS: Final[Mapping[Label, str]] = {
    Label.TITLE: "paragraph_title",
    Label.TEXT: "text",
    Label.TABLE: "table",
    Label.TABLE_CAPTION: "table_title",
    Label.FIGURE: "image",
    Label.FIGURE_CAPTION: "figure_title",
    Label.EQUATION: "formula",
    Label.REFERENCE: "reference",
    Label.HEADER: "header",
    Label.FOOTER: "footer",
}
"""What PaddleX calls each; the first title of a document is its `doc_title`, if it has the highest letters."""
_CLASSES = (*LABELS.values(), "doc_title")
_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class Shown:
    """What a caller wants to know of a page, and how."""

    style: MarkdownStyle = field(default_factory=MarkdownStyle)
    images: bool = True
    """With the pictures that the Markdown shows."""
    markdown_contents: bool = False
    """`block_content` is Markdown too."""
    word_boxes: bool = False
    """With the words of each line."""
    visualize: bool = False
    """With the page, and with what was found drawn on it."""


def layout_result(
    page: Page, picture: Pixels | None, options: Options, shown: Shown, *, page_count: int
) -> dict[str, Any]:
    """One of `layoutParsingResults`.

    Args:
        picture: the page as it was drawn; none: it is worded without pictures.
        page_count: of the document.
    """
    pruned = pruned_result(page, options, page_count=page_count, word_boxes=shown.word_boxes)
    images, drawn = page_pictures(page, pruned, picture, shown)
    markdown = markdown_of_page(pruned, shown, images)
    if shown.markdown_contents:
        pruned = with_markdown_contents(pruned, shown.style)
    return {"prunedResult": pruned, "markdown": markdown, **drawn}


def markdown_of_page(pruned: Mapping[str, Any], shown: Shown, images: Mapping[str, str]) -> dict[str, Any]:
    """The `markdown` of a page, whoever parsed it.

    Args:
        images: {path: base64 of a picture}, which go with it.
    """
    style, blocks = shown.style, pruned["parsing_res_list"]
    if "error" in pruned:
        text = f"> This page could not be read: {escaped(str(pruned['error']))}"
    else:
        text = markdown_of(blocks, style, plain=is_plain(pruned), width=page_width(pruned))
    return {
        "text": text,
        "images": dict(images),
        "isStart": begins_paragraph(blocks, style),
        "isEnd": ends_paragraph(blocks, style),
    }


def with_markdown_contents(pruned: Mapping[str, Any], style: MarkdownStyle) -> dict[str, Any]:
    """The page with Markdown as the contents of its blocks, of whatever label."""
    plain, width = is_plain(pruned), page_width(pruned)
    everything = replace(style, ignore=frozenset(), formula_numbers=True)
    blocks = [
        {**block, "block_content": block_markdown(block, everything, plain=plain, width=width)}
        for block in pruned["parsing_res_list"]
    ]
    settings = {**pruned["model_settings"], "format_block_content": True, "block_content_type": MARKDOWN}
    return {**pruned, "parsing_res_list": blocks, "model_settings": settings}


def page_pictures(
    page: Page, pruned: Mapping[str, Any], picture: Pixels | None, shown: Shown
) -> tuple[dict[str, str], dict[str, Any]]:
    """The pictures that the Markdown of a page shows, {path: base64 of a JPEG}, and those of the page as a whole."""
    if picture is None or not picture.size:
        return {}, {}
    blocks = pruned["parsing_res_list"]
    images = _cut_out(blocks, picture) if shown.images else {}
    if not shown.visualize:
        return images, {}
    return images, {
        "outputImages": {"layout_det_res": _base64(overlay(page, picture))},
        "inputImage": _base64(picture),
    }


def is_plain(pruned: Mapping[str, Any]) -> bool:
    """Whether the contents of its blocks are what stands on the page, and no markup."""
    return bool(pruned["model_settings"].get("block_content_type") == PLAIN)


def pruned_result(page: Page, options: Options, *, page_count: int, word_boxes: bool = False) -> dict[str, Any]:
    """What PaddleX calls the pruned result: all that is known of a page but for pictures."""
    body = body_height(page)
    blocks = [_parsed(page, index, block, body) for index, block in enumerate(page.blocks)]
    order = (index for index, block in enumerate(page.blocks) if block.label not in MARGINAL)
    for place, index in enumerate(order, 1):
        blocks[index]["block_order"] = place
    width, height = page.size
    result: dict[str, Any] = {
        "page_index": page.index,
        "page_count": page_count,
        "width": width,
        "height": height,
        "model_settings": {
            "use_doc_preprocessor": False,
            "use_seal_recognition": False,
            "use_table_recognition": options.tables,
            "use_formula_recognition": False,
            "use_chart_recognition": False,
            "use_region_detection": False,
            "format_block_content": False,
            "block_content_type": PLAIN,
        },
        "parsing_res_list": blocks,
        "layout_det_res": {
            "boxes": [
                {
                    "cls_id": _CLASSES.index(parsed["block_label"]),
                    "label": parsed["block_label"],
                    "score": round(block.confidence, 4),
                    "coordinate": list(block.box),
                }
                for block, parsed in zip(page.blocks, blocks, strict=True)
            ]
        },
        "overall_ocr_res": overall(page.lines, options.read_options, page.size, word_boxes=word_boxes),
    }
    tables = [_table(index, block) for index, block in enumerate(page.blocks) if block.table is not None]
    if tables:
        result["table_res_list"] = tables
    if page.error is not None:
        result["error"] = page.error
    return result


def overall(
    lines: Sequence[Line], read_options: ReadOptions, size: tuple[int, int], *, word_boxes: bool = False
) -> dict[str, Any]:
    """All lines of a page as PaddleX's OCR words them, texts, scores and places at the same index."""
    corners = [_corners(line) for line in lines]
    result: dict[str, Any] = {
        "model_settings": {"use_doc_preprocessor": False, "use_textline_orientation": read_options.upside_down},
        "dt_polys": corners,
        "text_det_params": text_det_params(read_options, size),
        "text_type": "general",
        "textline_orientation_angles": [_turned(line) if read_options.upside_down else -1 for line in lines],
        "text_rec_score_thresh": read_options.min_confidence,
        "return_word_box": word_boxes,
        "rec_texts": [line.text for line in lines],
        "rec_scores": [round(line.confidence, 4) for line in lines],
        "rec_polys": corners,
        "rec_boxes": [list(line.box) for line in lines],
    }
    if word_boxes:
        result["text_word"] = [[word.text for word in line.words] for line in lines]
        result["text_word_boxes"] = [[list(word.box) for word in line.words] for line in lines]
    return result


def text_det_params(read_options: ReadOptions, size: tuple[int, int]) -> dict[str, Any]:
    """With what lines were looked for in a page of this (width, height), in PaddleX's words."""
    return {
        "limit_side_len": limit_met(*size, read_options),
        "limit_type": read_options.limit_type,
        "thresh": read_options.boxes.threshold,
        "max_side_limit": MAX_SIDE,
        "box_thresh": read_options.boxes.box_threshold,
        "unclip_ratio": read_options.boxes.unclip,
    }


def data_info(kind: Kind, sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """PaddleX's `dataInfo`: what the file was, and (width, height) of its pages."""
    pages = [{"width": width, "height": height} for width, height in sizes]
    info = pages[0] if kind is Kind.IMAGE else {"numPages": len(pages), "pages": pages}
    return {**info, "type": kind.value}


def _parsed(page: Page, index: int, block: Block, body: float) -> dict[str, Any]:
    label = LABELS[block.label]
    level = title_level(block, body) if block.label is Label.TITLE else 0
    if level == 1 and page.index == 0 and not any(other.label is Label.TITLE for other in page.blocks[:index]):
        label = "doc_title"
    content = block.text if block.table is None else to_html(block.table)
    parsed = {
        "block_label": label,
        "block_content": content,
        "block_bbox": list(block.box),
        "block_id": index,
        "block_order": None,
    }
    if level:
        parsed["title_level"] = level
    if label in PICTURES:
        parsed["block_image"] = picture_path(page.index, label, block.box)
    return parsed


def picture_path(page: int, label: str, box: Box) -> str:
    """Where the Markdown has the picture of a block; no other block of the document has it there."""
    return f"imgs/page_{page + 1}_img_in_{label}_box_{'_'.join(map(str, box))}.jpg"


def _table(index: int, block: Block) -> dict[str, Any]:
    assert block.table is not None
    return {
        "table_region_id": index,
        "cell_box_list": [list(cell.box) for cell in block.table.cells],
        "pred_html": f"<html><body>{to_html(block.table)}</body></html>",
        "table_ocr_pred": {
            "rec_texts": [line.text for line in block.lines],
            "rec_scores": [round(line.confidence, 4) for line in block.lines],
            "rec_polys": [_corners(line) for line in block.lines],
            "rec_boxes": [list(line.box) for line in block.lines],
        },
    }


def _cut_out(blocks: Sequence[Mapping[str, Any]], picture: Pixels) -> dict[str, str]:
    pictures = {}
    for block in blocks:
        if path := block.get("block_image"):
            left, top, right, bottom = (max(0, side) for side in block["block_bbox"])
            part = picture[top:bottom, left:right]
            if part.size:
                pictures[path] = _base64(part)
    return pictures


def _turned(line: Line) -> int:
    """Whether a line runs from right to left, as those do that stand on their heads."""
    (x, y), (right, below) = line.corners[:2]
    return int(x - right > abs(below - y))


def _corners(line: Line) -> list[list[int]]:
    return [[round(x), round(y)] for x, y in line.corners]


def _base64(picture: Pixels) -> str:
    return base64.b64encode(as_jpeg(picture, quality=_JPEG_QUALITY)).decode("ascii")
