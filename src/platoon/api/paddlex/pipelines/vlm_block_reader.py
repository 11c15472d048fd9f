"""Blocks read by a vision-language model: our layout says where they are and in which order, the model what they say.

The prompts are those that PaddleOCR-VL was trained with, one for each kind of block. A block that the model cannot take
keeps what was read here, and one at which it was stopped what it had said; `warnings` of the page name both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NoReply
from typing import Any, Final

import cv2

from platoon.api.paddlex.block_markdown import MARKDOWN
from platoon.api.paddlex.layout_request import VLM, LayoutRequest
from platoon.api.paddlex.layout_result import pruned_result
from platoon.api.paddlex.pipelines.own import Later
from platoon.documents.exports.tables import to_html
from platoon.documents.otsl import is_otsl, table_of
from platoon.documents.page import Cell, Table
from platoon.documents.read import ReadPage
from platoon.engine.chat_server import Said, Unreadable
from platoon.engine.request_context import RequestContext
from platoon.errors import DeadlineExceeded
from platoon.media.frame import Pixels
from platoon.ocr.vision_model import VisionModel

PROMPTS: Final[Mapping[str, str]] = {
    "ocr": "OCR:",
    "table": "Table Recognition:",
    "chart": "Chart Recognition:",
    "formula": "Formula Recognition:",
    "spotting": "Spotting:",
    "seal": "Seal Recognition:",
}
MIN_PIXELS: Final = 112_896
MAX_PIXELS: Final = 1_003_520
"""Between these is a picture scaled for the model unless a caller says otherwise: 336 x 336 and 1280 patches of 28 x 28
pixels, as for PaddleOCR-VL."""
MAX_TOKENS: Final = 4096
_LOCATIONS = re.compile(r"((?:<\|LOC_\d{1,4}\|>){8})")
_LOCATION = re.compile(r"<\|LOC_(\d{1,4})\|>")
_UNSAID = frozenset({"image", "header_image", "footer_image"})


class VlmBlockReader:
    """A `BlockReader` that asks a vision-language model. It closes the model."""

    cannot = VLM

    def __init__(self, model: VisionModel) -> None:
        self._model = model

    def submit(self, read: ReadPage, asked: LayoutRequest, page_count: int, call: RequestContext) -> Later:
        """See `BlockReader`."""
        pruned = pruned_result(read.page, asked.options(), page_count=page_count, word_boxes=bool(asked.returnWordBox))
        if read.page.error is not None:
            return lambda: pruned
        whole_page = not (asked.useLayoutDetection if asked.promptLabel else asked.useLayoutDetection is not False)
        pruned["model_settings"] |= {
            "use_layout_detection": not whole_page,
            "use_formula_recognition": True,
            "use_chart_recognition": bool(asked.useChartRecognition),
            "use_ocr_for_image_block": bool(asked.useOcrForImageBlock),
            "block_content_type": MARKDOWN,
        }
        if whole_page:
            width, height = read.page.size
            whole = {
                "block_label": asked.promptLabel or "ocr",
                "block_content": "",
                "block_bbox": [0, 0, width, height],
            }
            pruned["parsing_res_list"] = [{**whole, "block_id": 0, "block_order": 1}]
        pruned.pop("table_res_list", None)
        replies: list[tuple[dict[str, Any], str, Future[Said]]] = []
        for block in pruned["parsing_res_list"]:
            kind = kind_of_block(block["block_label"], asked)
            part = cut(read.picture, block["block_bbox"])
            if kind is not None and part is not None:
                if kind == "chart" and block["block_label"] == "image":
                    block["block_label"] = "chart"
                    block.pop("block_image", None)  # what it says takes its place
                scaled = within(part, *limits(kind, asked))
                replies.append((block, kind, self._model.ask(scaled, PROMPTS[kind], sampling(asked), call)))
        return lambda: _with_replies(pruned, replies, call)

    def not_ready(self) -> Sequence[str]:
        """See `BlockReader`."""
        return self._model.not_ready()

    def close(self) -> None:
        """See `BlockReader`."""
        self._model.close()


def kind_of_block(label: str, asked: LayoutRequest) -> str | None:
    """What the model is asked about a block; None: nothing."""
    if label in PROMPTS and label != "ocr":
        return label
    if label in _UNSAID:
        if asked.useChartRecognition:
            return "chart"
        return "ocr" if asked.useOcrForImageBlock else None
    return "ocr"


def limits(kind: str, asked: LayoutRequest) -> tuple[int, int]:
    """Fewest and most pixels of a picture of this kind."""
    own = asked.vlmExtraArgs or {}
    least = own.get(f"{kind}_min_pixels", asked.minPixels or min(MIN_PIXELS, asked.maxPixels or MIN_PIXELS))
    most = own.get(f"{kind}_max_pixels", asked.maxPixels or max(MAX_PIXELS, least))
    return min(least, most), most


def sampling(asked: LayoutRequest) -> dict[str, Any]:
    """How the model is to choose its words, in the names of OpenAI-compatible servers."""
    options: dict[str, Any] = {"temperature": asked.temperature or 0, "max_tokens": asked.maxNewTokens or MAX_TOKENS}
    if asked.topP is not None:
        options["top_p"] = asked.topP
    if asked.repetitionPenalty is not None:
        options["repetition_penalty"] = asked.repetitionPenalty
    return options


def cut(picture: Pixels, box: Sequence[int]) -> Pixels | None:
    """The part of the page in a box; None where there is none."""
    left, top, right, bottom = (max(0, side) for side in box)
    part = picture[top:bottom, left:right]
    return part if part.size else None


def within(picture: Pixels, least: int, most: int) -> Pixels:
    """The picture scaled so that it has no fewer and no more pixels; none of its sides becomes less than one."""
    height, width = picture.shape[:2]
    wanted = min(max(width * height, least), most)
    scale = (wanted / (width * height)) ** 0.5
    if scale == 1:
        return picture
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    scaled: Pixels = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return scaled


def content_of(said: str, kind: str) -> str:
    """What the model said, as the content of a block."""
    said = said.strip()
    if kind == "formula":
        return f"$$ {said.strip('$').strip()} $$" if said else ""
    if kind in ("table", "chart"):
        table = table_of(said) if is_otsl(said) else _of_rows(said)
        return to_html(table) if table is not None else said
    return said


def _with_replies(
    pruned: dict[str, Any], replies: Sequence[tuple[dict[str, Any], str, Future[Said]]], call: RequestContext
) -> dict[str, Any]:
    warnings = []
    for block, kind, reply in replies:
        try:
            said = reply.result(call.left_s)
        except Unreadable as error:
            warnings.append(f"block {block['block_id']} was not read by the vision-language model: {error}")
            continue
        except NoReply as error:
            call.check()
            raise DeadlineExceeded("the VLM server did not answer in time") from error
        except CancelledError:
            call.check()
            raise
        if not said.whole:
            warnings.append(f"block {block['block_id']}: the vision-language model was stopped before its end")
        if kind == "spotting":
            width, height = block["block_bbox"][2:]
            pruned["spotting_res"] = spotted(said.text, width, height)
            block["block_content"] = "\n\n".join(pruned["spotting_res"]["rec_texts"])
        else:
            block["block_content"] = content_of(said.text, kind)
    tables = [block for block in pruned["parsing_res_list"] if block["block_label"] == "table"]
    if tables:
        pruned["table_res_list"] = [
            {"table_region_id": block["block_id"], "pred_html": f"<html><body>{block['block_content']}</body></html>"}
            for block in tables
        ]
    if warnings:
        pruned["warnings"] = warnings
    return pruned


def spotted(said: str, width: int, height: int) -> dict[str, list[Any]]:
    """The texts that the model found, and where: each is followed by its corners, in thousandths of the page."""
    parts = _LOCATIONS.split(said)
    texts, polygons = [], []
    for text, locations in zip(parts[::2], parts[1::2], strict=False):
        numbers = [int(number) / 1000 for number in _LOCATION.findall(locations)]
        texts.append(text.strip())
        polygons.append(
            [[round(x * width), round(y * height)] for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
        )
    return {"rec_texts": texts, "rec_polys": polygons}


def _of_rows(said: str) -> Table | None:
    """A table that was written as rows between pipes."""
    lines = [line.strip().strip("|") for line in said.splitlines() if "|" in line]
    rows = [[part.strip() for part in line.split("|")] for line in lines if set(line) - set("|-: ")]
    if not rows:
        return None
    columns = max(len(row) for row in rows)
    cells = [
        Cell(r, c, row[c] if c < len(row) else "", (0, 0, 0, 0)) for r, row in enumerate(rows) for c in range(columns)
    ]
    return Table(len(rows), columns, tuple(cells))
