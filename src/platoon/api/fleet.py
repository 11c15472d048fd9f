"""The fleet's own contract: `POST /ocr` with one `image`, `POST /ocr/batch` with several `images`, as multipart.

A picture's answer is `{mergedText, inferenceMs, lines: [{text, confidence, box}], batchSize, batchInferenceMs,
engine}`: how long it took, how many pictures (with `rec-only` and `plate`, lines) travelled in its batch, and how
long the model took for that batch. An error is `{error, code, retry}`, in a batch in the place of the picture.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.datastructures import FormData, UploadFile
from starlette.responses import JSONResponse, Response

from platoon.api.intake import Incoming, Work, file_in, text_in
from platoon.api.language import check_language
from platoon.api.problems import headers_for
from platoon.errors import InvalidInput, PlatoonError, TooLarge
from platoon.ocr.reading import How, Reading
from platoon.ocr.service import OcrService

ENGINE: Final = "modular-det-rec-batch"
MODES: Final = {"det-rec": How(), "rec-only": How(find=False)}


class Fleet:
    """`POST /ocr` with a form that has `image`, once that is known."""

    name = "fleet"

    def __init__(self, service: OcrService) -> None:
        self._service = service

    async def take(self, incoming: Incoming) -> Work:
        """See `Contract.take`."""
        return await self.take_form(incoming, await incoming.form(max_files=1))

    async def take_form(self, incoming: Incoming, form: FormData) -> Work:
        """The work that a form asks for. Raises InvalidInput."""
        how = how_asked(incoming, form)
        data = await file_in(form, "image")

        async def work() -> Response:
            return JSONResponse(as_answer(await self._service.read_picture(data, how)))

        return work

    def refuse(self, error: PlatoonError, incoming: Incoming) -> Response:
        """See `Contract.refuse`."""
        del incoming
        return refusal(error)


class FleetBatch(Fleet):
    """`POST /ocr/batch`."""

    name = "fleet-batch"

    async def take_form(self, incoming: Incoming, form: FormData) -> Work:
        """The work that a form asks for. Raises InvalidInput."""
        how = how_asked(incoming, form)
        parts = form.getlist("images")
        files = [await part.read() for part in parts if isinstance(part, UploadFile)]
        if not files or len(files) < len(parts):
            raise InvalidInput("images: send one or more pictures as files in this field")

        async def work() -> Response:
            outcomes = await self._service.read_pictures(files, how)
            return JSONResponse(
                [as_error(found) if isinstance(found, PlatoonError) else as_answer(found) for found in outcomes]
            )

        return work

    async def take(self, incoming: Incoming) -> Work:
        """See `Contract.take`."""
        most = self._service.settings.max_pictures
        form = await incoming.form(max_files=most + 1)
        if len(form.getlist("images")) > most:
            raise TooLarge(f"images: at most {most} pictures at once")
        return await self.take_form(incoming, form)


def how_asked(incoming: Incoming, form: FormData) -> How:
    """What the fields `mode` and `lang`, of the form or the query, ask for.

    Raises:
        InvalidInput: names the field.
    """
    query = incoming.request.query_params
    check_language("lang", text_in(form, "lang") or query.get("lang", ""))
    mode = text_in(form, "mode") or query.get("mode") or "det-rec"
    if mode not in MODES:
        raise InvalidInput(f"mode: {mode[:40]!r} is none of {', '.join(MODES)}")
    return MODES[mode]


def as_answer(reading: Reading) -> dict[str, Any]:
    """A picture's answer."""
    return {
        "mergedText": " ".join(line.text for line in reading.lines),
        "inferenceMs": round(reading.seconds * 1e3, 2),
        "lines": [
            {"text": line.text, "confidence": round(line.confidence, 4), "box": list(line.box)}
            for line in reading.lines
        ],
        "batchSize": reading.execution.items,
        "batchInferenceMs": round(reading.execution.seconds * 1e3, 2),
        "engine": ENGINE,
    }


def as_error(error: PlatoonError) -> dict[str, Any]:
    """An error, alone or in the place of a picture."""
    return {"error": str(error), "code": type(error).__name__, "retry": error.retry}


def refusal(error: PlatoonError) -> JSONResponse:
    """An error as a response of the contracts that speak multipart."""
    return JSONResponse(as_error(error), error.status, headers_for(error))
