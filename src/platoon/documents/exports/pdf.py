"""A document as a searchable PDF: what it looks like, with its text lying over it unseen (see `invisible_text`).

Pages of a PDF stay as they are, with their links, letters and size in bytes; all others become pictures. Written by
pikepdf (MPL-2.0), which knows everything of a PDF's structure and leaves the pages' contents alone. Libraries that
make PDFs from nothing (reportlab, fpdf2, Pillow) hold all pages until the last and cannot lay text over those of
others; pdfium would write contents anew in its own way.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from pikepdf import Job, Name, Pdf, Stream

from platoon.documents.exports import overlay_process
from platoon.documents.exports.invisible_text import InvisibleText
from platoon.documents.page import Page
from platoon.media.frame import Pixels, as_jpeg
from platoon.ocr.confined import Confined

QUALITY = 85
"""Of the JPEGs of pages."""
AT_A_TIME = 16
"""Pages that are pictures are held in memory at most, then they wait in temporary files."""
STEP_S = 60.0
"""Opening a PDF, laying text over one of its pages, and writing it may take no longer each."""
SIDES = (3.0, 14_400.0)
"""Points: a page may not be smaller or larger."""
A4 = (595.0, 842.0)


class OverlaidPdf:
    """Lays text over the pages of a PDF. Those that have their text already keep it; those never added are left out.

    It is done in a process of its own, whose memory and time are limited: a few kilobytes of a PDF may unpack to
    gigabytes. It ends with `finish`, with `close`, and with any error.

    Raises:
        InvalidInput: from every method, when `source` cannot be taken apart. DeadlineExceeded: it took too long.
        Unavailable: no process can be started.
    """

    def __init__(self, out: BinaryIO, source: bytes) -> None:
        self._out = out
        with ExitStack() as files:
            given = files.enter_context(tempfile.TemporaryFile())
            given.write(source)
            given.seek(0)
            self._written = files.enter_context(tempfile.TemporaryFile())
            descriptors = [given.fileno(), self._written.fileno()]
            self._process = Confined(overlay_process.PROGRAM, descriptors, [], work="write again", step_s=STEP_S)
            files.callback(self._process.close)
            self._process.answer("the PDF")
            self._files = files.pop_all()

    def add(self, page: Page, _picture: Pixels) -> None:
        """Lay the text of the next page over it."""
        self._ask([page.index, None if page.source == "text-layer" else page.to_json()])

    def finish(self) -> None:
        """Write all pages."""
        self._ask(None)
        with self._files:
            self._written.seek(0)
            shutil.copyfileobj(self._written, self._out)

    def close(self) -> None:
        """Give up what is not finished."""
        self._files.close()

    def _ask(self, request: object) -> None:
        try:
            self._process.begin()
            self._process.ask(request)
            self._process.answer("the PDF")
        except BaseException:
            self.close()
            raise


class PicturePdf:
    """Makes pages of pictures and their text. A page that could not be drawn is an empty one.

    Args:
        files: takes the temporary files, to be closed once the PDF is finished, or given up.
    """

    def __init__(self, out: BinaryIO, files: ExitStack) -> None:
        self._out, self._folder = out, Path(files.enter_context(tempfile.TemporaryDirectory()))
        self._parts: list[str] = []
        self._begin_part()

    def add(self, page: Page, picture: Pixels) -> None:
        """Append the next page."""
        if len(self._part.pages) == AT_A_TIME:
            self._end_part()
            self._begin_part()
        if picture.size:
            append_page(self._part, page, picture, self._text)
        else:
            self._part.add_blank_page(page_size=A4)

    def finish(self) -> None:
        """Write all pages."""
        self._end_part()
        whole = self._folder / "whole.pdf"
        # A `Pdf` would hold all that is put into it from others.
        Job(["pikepdf", "--empty", "--pages", *self._parts, "--", str(whole)]).run()
        with whole.open("rb") as file:
            shutil.copyfileobj(file, self._out)

    def _begin_part(self) -> None:
        self._part = Pdf.new()
        self._text = InvisibleText(self._part)

    def _end_part(self) -> None:
        with self._part as part:
            self._text.finish()
            self._parts.append(str(self._folder / f"{len(self._parts)}.pdf"))
            part.save(self._parts[-1])


def append_page(pdf: Pdf, page: Page, picture: Pixels | None, text: InvisibleText) -> None:
    """Append a page with its text over its picture, or, without one, over nothing."""
    width, height = _points(page)
    pdf_page = pdf.add_blank_page(page_size=(width, height))
    if picture is not None:
        image = Stream(
            pdf,
            as_jpeg(picture, quality=QUALITY),
            Type=Name.XObject,
            Subtype=Name.Image,
            Width=picture.shape[1],
            Height=picture.shape[0],
            ColorSpace=Name.DeviceRGB,
            BitsPerComponent=8,
            Filter=Name.DCTDecode,
        )
        name = pdf_page.add_resource(image, Name.XObject, prefix="Page")
        pdf_page.contents_add(f"q {width:.4f} 0 0 {height:.4f} 0 0 cm {name} Do Q\n".encode("ascii"))
    text.lay(pdf_page, page)


def _points(page: Page) -> tuple[float, float]:
    """The size of a page, as near to its own as a PDF can say."""
    scale = max(page.scale, max(page.size) / SIDES[1])
    return max(SIDES[0], page.size[0] / scale), max(SIDES[0], page.size[1] / scale)
