"""LiteParse's OCR contract: multipart with a picture as `file`, and its `language`.

The answer is `{"results": [{text, bbox: [x1, y1, x2, y2], confidence, polygon}]}`, from top to bottom; `polygon`
has the corners of the text clockwise from its own top left, so that LiteParse sees which way it runs. An error is
`{"error": sentence}`.
"""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from platoon.api.fleet import refusal
from platoon.api.intake import Fields, Incoming, Work
from platoon.api.language import check_language
from platoon.errors import PlatoonError
from platoon.ocr.reading import ReadOptions
from platoon.ocr.service import OcrService


class LiteParse:
    """`POST /ocr` with a form that has `file`, once that is known."""

    name = "liteparse"

    def __init__(self, service: OcrService) -> None:
        self._service = service

    def work_on(self, fields: Fields) -> Work:
        """What a form asks for. Raises InvalidInput."""
        check_language("language", fields.text("language"))
        data = fields.file("file")

        async def work() -> Response:
            reading = await self._service.read_picture(data, ReadOptions())
            results = [
                {
                    "text": line.text,
                    "bbox": list(line.box),
                    "confidence": round(line.confidence, 4),
                    "polygon": [[round(x, 1), round(y, 1)] for x, y in line.reading_quad.tolist()],
                }
                for line in reading.lines
            ]
            return JSONResponse({"results": results})

        return work

    def refuse(self, error: PlatoonError, incoming: Incoming) -> Response:
        """See `Contract.refuse`."""
        del incoming
        return refusal(error)
