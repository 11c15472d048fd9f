"""PaddleX serving's `/ocr`: a document or picture in JSON, as base64 or a URL, its lines page by page.

Every field of the contract is honoured, or refused by name: nothing a caller asks for is left out in silence. What
a caller sets holds for this call alone.
"""

from __future__ import annotations

import asyncio
import base64
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from pydantic import Field
from starlette.responses import Response

from platoon.api.fetch import Fetcher
from platoon.api.intake import Incoming, Work
from platoon.api.paddlex import envelope
from platoon.api.paddlex.envelope import Faults, file_of, refusal, success, tree_of
from platoon.api.paddlex.layout_result import data_info, text_det_params
from platoon.api.paddlex.reading_request import NO_MODEL, ReadingOptions
from platoon.errors import PlatoonError
from platoon.media.frame import Pixels, Quad, as_jpeg
from platoon.ocr.lines import Turn, upright
from platoon.ocr.pages import Kind
from platoon.ocr.reading import Reading, ReadLine, ReadOptions
from platoon.ocr.service import OcrService

_UNSUPPORTED = ("useDocOrientationClassify", "useDocUnwarping")
_JPEG_QUALITY = 90
_WORD = re.compile(r"[\u4e00-\u9fff]|[A-Za-z0-9](?:[A-Za-z0-9-]|\.(?=[0-9]))*|[^\u4e00-\u9fffA-Za-z0-9]+")
"""PaddleX's words: Chinese characters each alone, letters and digits together, and what is between them."""


class OcrRequest(ReadingOptions):
    """What a caller may send."""

    file: str = Field(min_length=1, json_schema_extra={"anyOf": [{"format": "byte"}, {"format": "uri"}]})
    """The file as base64, or where it is: an http or https URL."""
    fileType: Literal[0, 1] | None = None  # noqa: N815 - the contract's names, here and below
    """0: PDF, 1: image; if missing, the file's first bytes decide."""
    visualize: bool | None = None
    """Send the pages back as pictures, with the lines outlined too."""
    logId: Annotated[str, Field(max_length=256)] | None = None  # noqa: N815


class PaddleX:
    """The contract of `POST /ocr` with JSON.

    Args:
        fetcher: none: URLs are refused.
    """

    name = "paddlex"

    def __init__(self, service: OcrService, fetcher: Fetcher | None) -> None:
        self._service, self._fetcher = service, fetcher

    @staticmethod
    def schema() -> dict[str, Any]:
        """Of the request, for the API's description."""
        return OcrRequest.model_json_schema()

    async def take(self, incoming: Incoming) -> Work:
        """See `Endpoint.take`."""
        body = await incoming.body()
        request = await asyncio.to_thread(_parse, body, incoming)
        del body

        async def work() -> Response:
            return await success(await self._result(request), incoming)

        return work

    def refuse(self, error: PlatoonError, incoming: Incoming) -> Response:
        """See `Contract.refuse`."""
        return refusal(error, incoming)

    async def _result(self, request: OcrRequest) -> dict[str, Any]:
        data = await file_of(request.file, self._fetcher)
        asked = None if request.fileType is None else (Kind.PDF, Kind.IMAGE)[request.fileType]
        options = request.read_options()

        def page(picture: Pixels, reading: Reading) -> tuple[tuple[int, int], dict[str, Any]]:
            return reading.size, page_result(picture, reading, request, options)

        kind, pages = await self._service.read_pages(data, options, page, kind=asked)
        info = data_info(kind, [size for size, _ in pages])
        return {"ocrResults": [result for _, result in pages], "dataInfo": info}


def page_result(picture: Pixels, reading: Reading, request: OcrRequest, options: ReadOptions) -> dict[str, Any]:
    """One of `ocrResults`."""
    result: dict[str, Any] = {"prunedResult": pruned(reading, request, options)}
    if request.visualize:
        result["ocrImage"] = _jpeg(outlined(picture, reading.lines))
        result["inputImage"] = _jpeg(picture)
    return result


def pruned(reading: Reading, request: OcrRequest, options: ReadOptions) -> dict[str, Any]:
    """What PaddleX calls the pruned result: all it knows of a page but for pictures."""
    lines = reading.lines
    result: dict[str, Any] = {
        "model_settings": {"use_doc_preprocessor": False, "use_textline_orientation": options.upside_down},
        "dt_polys": [_corners(quad) for quad in reading.found],
        "text_det_params": text_det_params(options, reading.size),
        "text_type": "general",
        "textline_orientation_angles": [
            int(line.turn is Turn.UPSIDE_DOWN) if options.upside_down else -1 for line in lines
        ],
        "text_rec_score_thresh": options.min_confidence,
        "return_word_box": bool(request.returnWordBox),
        "rec_texts": [line.text for line in lines],
        "rec_scores": [line.confidence for line in lines],
        "rec_polys": [_corners(line.quad) for line in lines],
        "rec_boxes": [list(line.box) for line in lines],
    }
    if request.returnWordBox:
        words = [[word.span() for word in _WORD.finditer(line.text)] for line in lines]
        pairs = list(zip(lines, words, strict=True))
        result["text_word"] = [[line.text[slice(*span)] for span in spans] for line, spans in pairs]
        result["text_word_boxes"] = [[list(upright(line.part(*span))) for span in spans] for line, spans in pairs]
    return result


def outlined(picture: Pixels, lines: Sequence[ReadLine]) -> Pixels:
    """The picture with each line outlined."""
    drawn = picture.copy()
    thickness = max(1, round(math.sqrt(picture.shape[0] * picture.shape[1]) / 500))
    for line in lines:
        cv2.polylines(drawn, [line.quad.astype(np.int32)], isClosed=True, color=(220, 40, 40), thickness=thickness)
    return drawn


def _parse(body: bytes, incoming: Incoming) -> OcrRequest:
    """The request in a body. Raises Faults."""
    try:
        tree = tree_of(body, incoming)
    except Faults:
        raise
    except ValueError as error:
        raise Faults([{"type": "json_invalid", "loc": "body", "msg": f"JSON decode error: {error}"}]) from None
    return validated(tree)


def validated(tree: Any) -> OcrRequest:
    """The request in a tree of JSON. Raises Faults."""
    request = envelope.validated(OcrRequest, tree)
    if faults := dict.fromkeys((name for name in _UNSUPPORTED if getattr(request, name)), NO_MODEL):
        raise Faults.unsupported(faults)
    return request


def _corners(quad: Quad) -> list[list[int]]:
    corners: list[list[int]] = quad.round().astype(int).tolist()
    return corners


def _jpeg(picture: Pixels) -> str:
    return base64.b64encode(as_jpeg(picture, quality=_JPEG_QUALITY)).decode("ascii")
