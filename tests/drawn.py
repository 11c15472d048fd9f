"""Drawn pages for the tests of reading: what they say is known."""

import io
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from platoon.media.frame import Pixels

INVOICE = (("Invoice", 20, 50), ("No 4711", 230, 52), ("Total 99.50", 20, 150))
INVOICE_TEXTS = [text for text, _, _ in INVOICE]


def page(*lines: tuple[str, int, int], size: tuple[int, int] = (400, 200)) -> Pixels:
    """A white picture of (width, height) with (text, x, y) lines of black text."""
    drawn = np.full((size[1], size[0], 3), 245, np.uint8)
    for text, x, y in lines:
        cv2.putText(drawn, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 1, (10, 10, 10), 2)
    return drawn


def encoded(picture: Pixels, kind: str = "PNG", **options: Any) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def document(pages: Sequence[Pixels], kind: str = "PDF") -> bytes:
    """Pages as one PDF, a point per pixel, or as one TIFF."""
    first, *others = (Image.fromarray(picture) for picture in pages)
    buffer = io.BytesIO()
    first.save(buffer, kind, save_all=True, append_images=others, **({"resolution": 72} if kind == "PDF" else {}))
    return buffer.getvalue()


def pdf(*objects: bytes) -> bytes:
    """A PDF made of the given objects, of which the first is the catalogue."""
    out = b"%PDF-1.7\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    rows = b"".join(b"%010d 00000 n \n" % place for place in places)
    table = b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, rows)
    trailer = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(out))
    return out + table + trailer


def stream(content: bytes, entries: bytes = b"") -> bytes:
    """A stream object for `pdf`."""
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (entries, len(content), content)


def one_page_pdf(box: bytes = b"[0 0 200 100]", content: bytes = b"", resources: bytes = b"", *more: bytes) -> bytes:
    """A PDF of one page with this content; `more` objects are numbered from 5."""
    return pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox%s/Contents 4 0 R/Resources<<%s>>>>" % (box, resources),
        stream(content),
        *more,
    )


def endless_pdf() -> bytes:
    """A page of two kilobytes that takes hours to parse: forms that draw forms, doubling at each level."""
    levels = 30
    forms = [
        stream(
            b"/F Do /F Do" if level < levels - 1 else b"0 0 9 9 re f",
            b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</F %d 0 R>>>>" % (level + 6),
        )
        for level in range(levels)
    ]
    return one_page_pdf(b"[0 0 200 100]", b"/F Do", b"/XObject<</F 5 0 R>>", *forms)
