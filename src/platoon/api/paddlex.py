"""PaddleX serving's `/ocr`: a document or picture in JSON, as base64 or a URL, its lines page by page.

Every field of the contract is honoured, or refused by name: nothing a caller asks for is left out in silence. What
a caller sets holds for this call alone.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar
from uuid import uuid4

import cv2
import numpy as np
import pydantic_core
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import JSONResponse, Response

from platoon.api.fetch import Fetcher
from platoon.api.intake import Incoming, Work
from platoon.api.problems import headers_for
from platoon.errors import InvalidInput, PlatoonError, redact
from platoon.media.frame import Pixels, Quad, as_jpeg
from platoon.ocr.detection import Postprocessing
from platoon.ocr.lines import Turn, upright
from platoon.ocr.pages import Kind
from platoon.ocr.reading import MAX_SIDE, How, Reading, ReadLine
from platoon.ocr.service import OcrService

T = TypeVar("T")
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_NO_MODEL = "is not available: no model for it is part of this service; leave it out or send false"
_UNSUPPORTED = ("useDocOrientationClassify", "useDocUnwarping")
_JPEG_QUALITY = 90
_WORD = re.compile(r"[\u4e00-\u9fff]|[A-Za-z0-9](?:[A-Za-z0-9-]|\.(?=[0-9]))*|[^\u4e00-\u9fffA-Za-z0-9]+")
"""PaddleX's words: Chinese characters each alone, letters and digits together, and what is between them."""


class OcrRequest(BaseModel):
    """What a caller may send."""

    model_config = ConfigDict(extra="forbid")

    file: str = Field(min_length=1, json_schema_extra={"anyOf": [{"format": "byte"}, {"format": "uri"}]})
    """The file as base64, or where it is: an http or https URL."""
    fileType: Literal[0, 1] | None = None  # noqa: N815 - the contract's names, here and below
    """0: PDF, 1: image; if missing, the file's first bytes tell."""
    useDocOrientationClassify: bool | None = None  # noqa: N815
    """Only false: there is no such model here."""
    useDocUnwarping: bool | None = None  # noqa: N815
    """Only false: there is no such model here."""
    useTextlineOrientation: bool | None = None  # noqa: N815
    """Read each line upside down too; the surer reading counts."""
    textDetLimitSideLen: Annotated[int, Field(ge=32, le=MAX_SIDE)] | None = None  # noqa: N815
    textDetLimitType: Literal["min", "max"] | None = None  # noqa: N815
    textDetThresh: Share | None = None  # noqa: N815
    textDetBoxThresh: Share | None = None  # noqa: N815
    textDetUnclipRatio: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = None  # noqa: N815
    textRecScoreThresh: Share | None = None  # noqa: N815
    returnWordBox: bool | None = None  # noqa: N815
    visualize: bool | None = None
    """Send the pages back as pictures, with the lines outlined too."""
    logId: Annotated[str, Field(max_length=256)] | None = None  # noqa: N815

    def how(self) -> How:
        """What it means to the reader."""
        default = How()
        boxes = default.boxes
        return How(
            limit_side=_given(self.textDetLimitSideLen, default.limit_side),
            limit_type=_given(self.textDetLimitType, default.limit_type),
            boxes=Postprocessing(
                threshold=_given(self.textDetThresh, boxes.threshold),
                box_threshold=_given(self.textDetBoxThresh, boxes.box_threshold),
                unclip=_given(self.textDetUnclipRatio, boxes.unclip),
            ),
            min_confidence=_given(self.textRecScoreThresh, 0.0),
            upside_down=bool(self.useTextlineOrientation),
        )


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
            result = await self._result(request)
            content = {"logId": _log_id(incoming), "errorCode": 0, "errorMsg": "Success", "result": result}
            # Pages come with their pictures: megabytes, which are not turned into text on the event loop.
            return Response(await asyncio.to_thread(_as_json, content), media_type="application/json")

        return work

    def refuse(self, error: PlatoonError, incoming: Incoming) -> Response:
        """See `Contract.refuse`."""
        message = str(error)
        if error.status == 422:
            about_file = {"type": "value_error", "loc": "body.file", "msg": message}
            message = json.dumps(error.faults if isinstance(error, Faults) else [about_file])
        content = {"logId": _log_id(incoming), "errorCode": error.status, "errorMsg": message}
        return JSONResponse(content, error.status, headers_for(error))

    async def _result(self, request: OcrRequest) -> dict[str, Any]:
        data = await self._file(request.file)
        asked = None if request.fileType is None else (Kind.PDF, Kind.IMAGE)[request.fileType]
        how = request.how()

        def page(picture: Pixels, reading: Reading) -> tuple[tuple[int, int], dict[str, Any]]:
            return reading.size, page_result(picture, reading, request, how)

        kind, pages = await self._service.read_pages(data, how, page, kind=asked)
        sizes = [{"width": width, "height": height} for (width, height), _ in pages]
        info = sizes[0] if kind is Kind.IMAGE else {"numPages": len(sizes), "pages": sizes}
        return {"ocrResults": [result for _, result in pages], "dataInfo": {**info, "type": kind}}

    async def _file(self, file: str) -> bytes:
        if file.startswith(("http://", "https://")):
            if self._fetcher is None:
                raise Faults.of("file", "is a URL, and this service fetches none; send it as base64")
            try:
                return await self._fetcher.fetch(file)
            except InvalidInput as error:
                raise Faults.of("file", f"cannot be had: {error}", status=error.status) from error
        try:
            return await asyncio.to_thread(_decode, file)
        except (binascii.Error, ValueError):
            raise Faults.of("file", "is neither base64 nor an http or https URL") from None


class Faults(InvalidInput):
    """Fields that cannot be used, as the contract tells them: `{type, loc, msg}` each."""

    def __init__(self, faults: Sequence[Mapping[str, str]], *, status: int = 422) -> None:
        super().__init__("; ".join(fault["msg"] for fault in faults))
        self.faults = [{**fault, "msg": redact(fault["msg"])} for fault in faults]
        self.status = status

    @classmethod
    def of(cls, field: str, message: str, *, status: int = 422) -> Faults:
        """One field's fault."""
        return cls([{"type": "value_error", "loc": f"body.{field}", "msg": f"{field} {message}"}], status=status)


def page_result(picture: Pixels, reading: Reading, request: OcrRequest, how: How) -> dict[str, Any]:
    """One of `ocrResults`."""
    result: dict[str, Any] = {"prunedResult": pruned(reading, request, how)}
    if request.visualize:
        result["ocrImage"] = _jpeg(outlined(picture, reading.lines))
        result["inputImage"] = _jpeg(picture)
    return result


def pruned(reading: Reading, request: OcrRequest, how: How) -> dict[str, Any]:
    """What PaddleX calls the pruned result: all it knows of a page but for pictures."""
    lines = reading.lines
    result: dict[str, Any] = {
        "model_settings": {"use_doc_preprocessor": False, "use_textline_orientation": how.upside_down},
        "dt_polys": [_corners(quad) for quad in reading.found],
        "text_det_params": {
            "limit_side_len": how.limit_side,
            "limit_type": how.limit_type,
            "thresh": how.boxes.threshold,
            "max_side_limit": MAX_SIDE,
            "box_thresh": how.boxes.box_threshold,
            "unclip_ratio": how.boxes.unclip,
        },
        "text_type": "general",
        "textline_orientation_angles": [
            int(line.turn is Turn.UPSIDE_DOWN) if how.upside_down else -1 for line in lines
        ],
        "text_rec_score_thresh": how.min_confidence,
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
    """The request in a body. Raises Faults; the caller's `logId` is kept for the answer in any case."""
    try:
        tree = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Faults([{"type": "json_invalid", "loc": "body", "msg": f"JSON decode error: {error}"}]) from None
    if isinstance(tree, dict) and isinstance(log_id := tree.get("logId"), str) and len(log_id) <= 256:
        incoming.log_id = log_id
    return validated(tree)


def validated(tree: Any) -> OcrRequest:
    """The request in a tree of JSON. Raises Faults."""
    if isinstance(tree, dict):
        tree = {name: value for name, value in tree.items() if value is not None}
    try:
        request = OcrRequest.model_validate(tree)
    except ValidationError as error:
        raise Faults([_fault(fault) for fault in error.errors(include_url=False, include_input=False)]) from None
    faults = [
        {"type": "unsupported", "loc": f"body.{name}", "msg": f"{name} {_NO_MODEL}"}
        for name in _UNSUPPORTED
        if getattr(request, name)
    ]
    if faults:
        raise Faults(faults)
    return request


def _fault(fault: Any) -> dict[str, str]:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])
    name = ".".join(map(str, fault["loc"])) or "body"
    return {"type": fault["type"], "loc": f"body{path}", "msg": f"{name[:80]}: {fault['msg']}"}


def _decode(file: str) -> bytes:
    if file.startswith("data:"):
        file = file.partition(",")[2]
    return base64.b64decode("".join(file.split()), validate=True)


def _log_id(incoming: Incoming) -> str:
    return incoming.log_id or str(uuid4())


def _as_json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _corners(quad: Quad) -> list[list[int]]:
    corners: list[list[int]] = quad.round().astype(int).tolist()
    return corners


def _jpeg(picture: Pixels) -> str:
    return base64.b64encode(as_jpeg(picture, quality=_JPEG_QUALITY)).decode("ascii")


def _given(value: T | None, default: T) -> T:
    return default if value is None else value
