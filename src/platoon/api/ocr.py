"""`POST /ocr` and `POST /ocr/batch`: which contract a caller speaks shows in the content type and the fields."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.responses import Response

from platoon.api.fetch import fetcher_for
from platoon.api.fleet import Fleet, FleetBatch, refusal
from platoon.api.intake import Incoming, Intake, Work, body_of, content_type
from platoon.api.liteparse import LiteParse
from platoon.api.paddlex.envelope import PaddleXRefused
from platoon.api.paddlex.envelope import refusal as paddlex_refusal
from platoon.api.paddlex.ocr import PaddleX
from platoon.api.problems import Problem, described
from platoon.errors import (
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    Overloaded,
    PlatoonError,
    TooLarge,
    Unauthorised,
    Unavailable,
    Unsupported,
)
from platoon.ocr.reading import MODES
from platoon.ocr.service import OcrService


def routes(service: OcrService, intake: Intake) -> APIRouter:
    """The OCR service's own endpoints."""
    router = APIRouter(tags=["reading"])
    settings = service.settings
    fetcher = fetcher_for(settings) if settings.fetch else None
    form, paddlex = Form(service), PaddleX(service, fetcher)
    batch = FleetBatch(service)

    @router.post("/ocr", openapi_extra=_OCR, responses=described(*_REFUSALS, form=Refused | Problem | PaddleXRefused))
    async def ocr(request: Request) -> Response:
        """Read a picture, or a document.

        - multipart with `image` (and `mode`: `det-rec`, `rec-only`, `plate` or `whole-plate`; `find`: `false` where the
          picture is one line; `lang`): `{mergedText, inferenceMs, lines: [{text, confidence, box}], batchSize,
          batchInferenceMs, engine}`
        - multipart with `file` (and `language`), as LiteParse sends it: `{results: [{text, bbox, confidence,
          polygon}]}`
        - JSON with `file`, as PaddleX serving takes it: `{logId, errorCode, errorMsg, result}`
        """
        return await intake.serve(request, paddlex if content_type(request).endswith("json") else form)

    @router.post("/ocr/batch", openapi_extra=_BATCH, responses=described(*_REFUSALS, form=Refused | Problem))
    async def ocr_batch(request: Request) -> Response:
        """Read several pictures, multipart `images`: their answers in order, `{error}` for one that failed."""
        return await intake.serve(request, batch)

    return router


def refuse(error: PlatoonError, connection: HTTPConnection) -> Response:
    """A refusal, as the contract has it that the content type lets expect."""
    return paddlex_refusal(error) if content_type(connection).endswith("json") else refusal(error)


class Form:
    """A multipart body of which it is not known yet who sends it. Both who may read errors alike."""

    name = "form"

    def __init__(self, service: OcrService) -> None:
        self._fleet, self._liteparse = Fleet(service), LiteParse(service)

    async def take(self, incoming: Incoming) -> Work:
        """See `Endpoint.take`."""
        fields = await incoming.fields("image")
        if "image" in fields:
            incoming.contract = self._fleet
            return self._fleet.work_on(incoming, fields)
        if "file" in fields:
            incoming.contract = self._liteparse
            return self._liteparse.work_on(fields)
        raise InvalidInput("image: send a picture as a file in this field (LiteParse sends it as file)")

    def refuse(self, error: PlatoonError, incoming: Incoming) -> Response:
        """See `Contract.refuse`."""
        del incoming
        return refusal(error)


class Refused(BaseModel):
    """An error in the contracts that speak multipart; in a batch, in the place of a picture."""

    error: str
    code: str
    retry: bool


_REFUSALS = (
    Unauthorised,
    Forbidden,
    TooLarge,
    Unsupported,
    InvalidInput,
    Overloaded,
    Unavailable,
    DeadlineExceeded,
)
_FILE = {"type": "string", "format": "binary"}
_MODE = {"type": "string", "enum": list(MODES)}
_FIND = {"type": "string", "enum": ["true", "false"]}
_PICTURE = {
    "type": "object",
    "properties": {
        "image": _FILE,
        "mode": _MODE,
        "find": _FIND,
        "lang": {"type": "string"},
        "file": _FILE,
        "language": {"type": "string"},
    },
    "oneOf": [{"required": ["image"]}, {"required": ["file"]}],
}
_PICTURES = {
    "type": "object",
    "properties": {
        "images": {"type": "array", "items": _FILE},
        "mode": _MODE,
        "find": _FIND,
        "lang": {"type": "string"},
    },
    "required": ["images"],
}
_OCR = body_of({"multipart/form-data": _PICTURE, "application/json": PaddleX.schema()})
_BATCH = body_of({"multipart/form-data": _PICTURES})
