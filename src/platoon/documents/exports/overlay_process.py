"""The process that lays text over the pages of one PDF and writes it again; see `ocr.confined`.

It writes a line of JSON, `{"pages": how many}`. Then it reads requests: `[index, page]`, a page as `Page.to_json` gives
it, or null for one that is kept as it is; and last null, for which it writes the pages that were named into the second
file, and leaves out all others. It answers each with `{}`.
"""

from __future__ import annotations

import json
import sys
from typing import Any, BinaryIO

import pikepdf

from platoon.documents.exports.invisible_text import InvisibleText
from platoon.documents.page import Page
from platoon.ocr.confined import allow, confine, reply

PROGRAM = "platoon.documents.exports.overlay_process"


def main(arguments: list[str]) -> int:
    """Arguments: the descriptors of the PDF and of the file for the new one, most seconds of processor time a step."""
    source, written, step_s = map(int, arguments)
    confine()
    out = sys.stdout.buffer
    try:
        with open(source, "rb") as file, open(written, "wb") as new:  # noqa: PTH123 (descriptors have no path)
            serve(file, new, sys.stdin.buffer, out, step_s=step_s)
    except (pikepdf.PdfError, IndexError, TypeError, ValueError, MemoryError) as error:
        reason = str(error).rpartition(">: ")[2] or type(error).__name__  # without the descriptor, which has no name
        reply(out, {"error": f"cannot be written again: {reason}"})
    except BrokenPipeError:
        return 0  # nobody wants the rest
    return 0


def serve(source: BinaryIO, written: BinaryIO, requests: BinaryIO, out: BinaryIO, *, step_s: int) -> None:
    """Do as requests say, to the last."""
    allow(step_s)
    with pikepdf.Pdf.open(source, access_mode=pikepdf.AccessMode.stream) as pdf:
        reply(out, {"pages": len(pdf.pages)})
        text = InvisibleText(pdf)
        named = set[int]()
        for line in requests:
            allow(step_s)
            request: tuple[int, dict[str, Any] | None] | None = json.loads(line)
            if request is None:
                text.finish()
                for index in reversed(range(len(pdf.pages))):
                    if index not in named:
                        del pdf.pages[index]
                pdf.save(written, encryption=pdf.is_encrypted)
                written.flush()
                reply(out, {})
                return
            index, page = request
            named.add(index)
            pdf_page = pdf.pages[index]
            if page is not None:
                text.lay(pdf_page, Page.from_json(page))
            reply(out, {})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
