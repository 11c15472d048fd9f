"""The fleet's own contract: `POST /ocr` with one `image`, `POST /ocr/batch` with several `images`, as multipart.

A picture's answer is `{mergedText, inferenceMs, lines: [{text, confidence, box}], batchSize, batchInferenceMs,
engine}`: how long it took, how many pictures (with `rec-only`, lines) travelled in its batch, and how long the model
took for that batch. With `plate` each line has `characters` too: for each a list of `[character, probability]`, the
likeliest first. An error is `{error, code, retry}`, in a batch in the place of the picture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from platoon.api.intake import Fields, Incoming, Work
from platoon.api.language import check_language
from platoon.api.problems import headers_for, message_of
from platoon.errors import InvalidInput, PlatoonError
from platoon.ocr.reading import Reading, ReadOptions, options_of
from platoon.ocr.service import OcrService

ENGINE: Final = "modular-det-rec-batch"
FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}


class Fleet:
    """`POST /ocr` with a form that has `image`, once that is known."""

    name = "fleet"

    def __init__(self, service: OcrService) -> None:
        self._service = service

    def work_on(self, incoming: Incoming, fields: Fields) -> Work:
        """What a form asks for. Raises InvalidInput."""
        options = options_asked(incoming, fields)
        data = fields.file("image")

        async def work() -> Response:
            return JSONResponse(as_answer(await self._service.read_picture(data, options), options))

        return work

    def refuse(self, error: PlatoonError, incoming: Incoming) -> Response:
        """See `Contract.refuse`."""
        del incoming
        return refusal(error)


class FleetBatch(Fleet):
    """`POST /ocr/batch`."""

    name = "fleet-batch"

    def work_on(self, incoming: Incoming, fields: Fields) -> Work:
        """What a form asks for. Raises InvalidInput."""
        options = options_asked(incoming, fields)
        files = fields.files.get("images", ())
        if not files or "images" in fields.texts:
            raise InvalidInput("images: send one or more pictures as files in this field")

        async def work() -> Response:
            outcomes = await self._service.read_pictures(files, options)
            return JSONResponse(
                [
                    as_error(found) if isinstance(found, PlatoonError) else as_answer(found, options)
                    for found in outcomes
                ]
            )

        return work

    async def take(self, incoming: Incoming) -> Work:
        """See `Endpoint.take`."""
        return self.work_on(incoming, await incoming.fields("images", most=self._service.settings.max_pictures))


def options_asked(incoming: Incoming, fields: Fields) -> ReadOptions:
    """What the fields `mode`, `find` and `lang`, of the form or the query, ask for.

    Raises:
        InvalidInput: names the field.
    """
    query = incoming.request.query_params
    options = options_of(fields.text("mode") or query.get("mode") or "det-rec")
    if not options.plates:  # plates of all countries are read in A-Z and 0-9
        check_language("lang", fields.text("lang") or query.get("lang", ""))
    if find := fields.text("find") or query.get("find"):
        if find.lower() not in FLAGS:
            raise InvalidInput(f"find: {find[:40]!r} is neither true nor false")
        options = replace(options, find=FLAGS[find.lower()])
    return options


def as_answer(reading: Reading, options: ReadOptions) -> dict[str, Any]:
    """A picture's answer."""
    return {
        "mergedText": ("" if options.plates else " ").join(line.text for line in reading.lines),
        "inferenceMs": round(reading.seconds * 1e3, 2),
        "lines": [
            {"text": line.text, "confidence": round(line.confidence, 4), "box": list(line.box)}
            | ({"characters": line.characters} if options.plates else {})
            for line in reading.lines
        ],
        "batchSize": reading.execution.items,
        "batchInferenceMs": round(reading.execution.seconds * 1e3, 2),
        "engine": ENGINE,
    }


def as_error(error: PlatoonError) -> dict[str, Any]:
    """An error, alone or in the place of a picture."""
    return {"error": message_of(error), "code": type(error).__name__, "retry": error.retry}


def refusal(error: PlatoonError) -> JSONResponse:
    """An error as a response of the contracts that speak multipart."""
    return JSONResponse(as_error(error), error.status, headers_for(error))
