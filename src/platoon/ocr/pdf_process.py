"""The process that draws the pages of one PDF, and gives the text they carry; see `confined`.

It writes a line of JSON, `{"sizes": [[width, height], ...]}`, of [0, 0] where a page has none. Then it reads requests,
lines of `[index, whether text is wanted]`, and answers each with a line of JSON: `{"size": [width, height], "stride":
bytes, "scale": pixels per point}`, followed by height x stride bytes of RGB.

Where text was wanted and there is some, that line also has `text`, the number of characters, `pictured`, the share of
the page under pictures, and `matrix`, which makes pixels of the page's own coordinates. Before the rows come, for all
characters, their codes (uint32), their `FLAGS` (uint32), and for each left, bottom, right, top and angle in radians
(float32). What does not work is `{"error": sentence}` in place of a line.

Whoever imports it gets its constants: pdfium is loaded by the process alone, and nothing else is.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
from array import array
from typing import Any, BinaryIO

from platoon.ocr.confined import allow, confine, reply

SCALE = 2
"""Pixels per point: 144 dpi, as PaddleX draws pages."""
MAX_CHARACTERS = 200_000
"""Of a page. One with more counts as one without text."""
FLAGS = {"generated": 1, "hyphen": 2, "unknown": 4}
"""Of a character: no glyph but a gap that pdfium saw; a hyphen at the end of a line; a glyph of unknown meaning."""
DEEPEST_FORM = 3
"""Pictures within more forms than that are not looked for."""


def main(arguments: list[str]) -> int:
    """Arguments: the descriptor of the file, most pages, most seconds of processor time for each."""
    file, max_pages, page_s = map(int, arguments)
    confine()
    out = sys.stdout.buffer
    try:
        with open(file, "rb") as pdf:  # noqa: PTH123 (a descriptor has no path)
            serve(pdf.read(), sys.stdin.buffer, out, max_pages=max_pages, page_s=page_s)
    except _Refused as refusal:
        reply(out, {"error": str(refusal)})
    except BrokenPipeError:
        return 0  # nobody wants the rest
    return 0


class _Refused(Exception):
    pass


def serve(data: bytes, requests: BinaryIO, out: BinaryIO, *, max_pages: int, page_s: int) -> None:
    """Answer requests for pages of the PDF in `data` until there are no more."""
    import pypdfium2

    allow(page_s)
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower()
        raise _Refused("needs a password" if locked else "is no PDF, or damaged") from error
    if not len(document):
        raise _Refused("has no pages")
    if len(document) > max_pages:
        raise _Refused(f"has {len(document)} pages, more than {max_pages}")
    reply(out, {"sizes": [_size(document, index) for index in range(len(document))]})
    document.init_forms()
    for line in requests:
        index, text = json.loads(line)
        allow(page_s)
        try:
            page = document[index]
            bitmap = page.render(scale=SCALE, rev_byteorder=True, prefer_bgrx=False)
            facts, characters = _text(page, bitmap.width, bitmap.height) if text else ({}, b"")
        except (pypdfium2.PdfiumError, MemoryError):
            reply(out, {"error": "cannot be drawn"})
            continue
        reply(out, {"size": [bitmap.width, bitmap.height], "stride": bitmap.stride, "scale": SCALE, **facts})
        out.write(characters)
        out.write(bitmap.buffer)
        out.flush()
        bitmap.close()
        page.close()


def _size(document: Any, index: int) -> list[int]:
    """(width, height) in pixels."""
    import pypdfium2

    try:
        points = document.get_page_size(index)
    except pypdfium2.PdfiumError:
        return [0, 0]
    return [math.ceil(side * SCALE) if math.isfinite(side) and side > 0 else 0 for side in points]


def _text(page: Any, width: int, height: int) -> tuple[dict[str, Any], bytes]:
    """What the answer says of the characters of a page that is drawn at this size, and what is written of them."""
    from pypdfium2 import raw

    text = page.get_textpage()
    count = raw.FPDFText_CountChars(text)
    if not 0 < count <= MAX_CHARACTERS:
        return {}, b""
    codes, flags, places = array("I"), array("I"), array("f")
    box = raw.FS_RECTF()
    for index in range(count):
        codes.append(raw.FPDFText_GetUnicode(text, index))
        flags.append(
            (FLAGS["generated"] if raw.FPDFText_IsGenerated(text, index) == 1 else 0)
            | (FLAGS["hyphen"] if raw.FPDFText_IsHyphen(text, index) == 1 else 0)
            | (FLAGS["unknown"] if raw.FPDFText_HasUnicodeMapError(text, index) == 1 else 0)
        )
        raw.FPDFText_GetLooseCharBox(text, index, box)
        places.extend((box.left, box.bottom, box.right, box.top, raw.FPDFText_GetCharAngle(text, index)))
    facts = {"text": count, "pictured": _pictured(page), "matrix": _matrix(page, width, height)}
    text.close()
    return facts, codes.tobytes() + flags.tobytes() + places.tobytes()


def _matrix(page: Any, width: int, height: int) -> list[float]:
    """a, b, c, d, e, f: x and y of a point of the page are a x + c y + e and b x + d y + f in pixels."""
    from pypdfium2 import raw

    fine, long = 1000, 1000.0  # pdfium gives whole pixels, so it is asked about a larger picture
    x, y = ctypes.c_int(), ctypes.c_int()

    def pixel(of_x: float, of_y: float) -> tuple[float, float]:
        raw.FPDF_PageToDevice(page, 0, 0, width * fine, height * fine, 0, of_x, of_y, x, y)
        return x.value / fine, y.value / fine

    (e, f), (right_x, right_y), (up_x, up_y) = pixel(0, 0), pixel(long, 0), pixel(0, long)
    return [(right_x - e) / long, (right_y - f) / long, (up_x - e) / long, (up_y - f) / long, e, f]


def _pictured(page: Any) -> float:
    """The share of the page that is under pictures, 0 to 1; where they overlap it counts each."""
    from pypdfium2 import raw

    left, bottom, right, top = ctypes.c_float(), ctypes.c_float(), ctypes.c_float(), ctypes.c_float()
    page_area: float = math.prod(page.get_size())
    area = 0.0
    for picture in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=DEEPEST_FORM):
        if raw.FPDFPageObj_GetBounds(picture, left, bottom, right, top):
            area += abs((right.value - left.value) * (top.value - bottom.value))
    return min(1.0, area / page_area)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
