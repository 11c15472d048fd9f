"""The process that draws the pages of one PDF: the file on standard input, its pages on standard output.

A few hundred bytes of PDF can keep a parser busy for hours or fill the memory, and nothing inside a process can
stop it. So each file is drawn in a process of its own, with little memory and time, which may die alone.

It writes a line of JSON, `{"sizes": [[width, height], ...]}`, and for each page a line `[width, height, stride]`
followed by height x stride bytes of RGB. A full pipe makes it wait, so pages are drawn as they are taken. What
does not work is told as `{"error": sentence}` in place of a line.

Imported by nobody: it loads pdfium and nothing else.
"""

from __future__ import annotations

import json
import math
import resource
import sys
from typing import Any, BinaryIO

SCALE = 2
"""Pixels per point: 144 dpi, as PaddleX draws pages."""
MEMORY_BYTES = 1 << 30


def main(arguments: list[str]) -> int:
    """Arguments: most pages, most seconds of processor time for each."""
    max_pages, page_s = map(int, arguments)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    out = sys.stdout.buffer
    try:
        draw(sys.stdin.buffer.read(), out, max_pages=max_pages, page_s=page_s)
    except _Refused as refusal:
        tell(out, {"error": str(refusal)})
    except BrokenPipeError:
        return 0  # nobody wants the rest
    return 0


class _Refused(Exception):
    pass


def draw(data: bytes, out: BinaryIO, *, max_pages: int, page_s: int) -> None:
    """Write the pages of the PDF in `data`."""
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
    sizes = []
    for index in range(len(document)):
        points = document.get_page_size(index)
        if not all(math.isfinite(side) and side > 0 for side in points):
            raise _Refused(f"page {index + 1} has no size")
        sizes.append([math.ceil(side * SCALE) for side in points])
    tell(out, {"sizes": sizes})
    document.init_forms()
    for index in range(len(document)):
        allow(page_s)
        try:
            page = document[index]
            bitmap = page.render(scale=SCALE, rev_byteorder=True, prefer_bgrx=False)
        except (pypdfium2.PdfiumError, MemoryError) as error:
            raise _Refused(f"page {index + 1} cannot be drawn") from error
        tell(out, [bitmap.width, bitmap.height, bitmap.stride])
        out.write(bitmap.buffer)
        out.flush()
        bitmap.close()
        page.close()


def allow(seconds: int) -> None:
    """End the process once it has used so much more processor time, also when nobody is left to do it."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    until = math.ceil(spent.ru_utime + spent.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))


def tell(out: BinaryIO, message: Any) -> None:
    """One line of JSON."""
    out.write(json.dumps(message).encode() + b"\n")
    out.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
